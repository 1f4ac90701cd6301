"""Promises: what hostd has told others it will keep, by storage commitment (PS3.4 Annex J), and who asked for that (P4).

A request is `asked` when it was taken, `judged` when each reference was verified and what is there was promised, `reported` when who asked
has heard of it, and `failed` when it could not be told. A promise holds its instance until an administrator breaks it.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import sqlalchemy as sa
from sqlalchemy import ColumnElement, Connection, Row

from hostd.archive import rows
from hostd.archive import tables as t
from hostd.dicom.commitment import Reference

TOPIC = "promise"
"""What the bulletin rings when there is a request to look at."""

_AT_ONCE = 500
_KEPT = sa.text("promise.broken_at IS NULL")
_UNREPORTED = sa.text("promise_request.state IN ('asked', 'judged')")


@dataclass(frozen=True, slots=True)
class Request:
    """A request for storage commitment of the modality of that name. `failed` is None until it was judged: SOP Instance UID → failure reason."""

    id: int
    transaction_uid: str
    modality: str
    called_aet: str
    asked_at: float
    references: tuple[Reference, ...]
    state: str
    failed: dict[str, int] | None
    attempts: int
    last_error: str | None


@dataclass(frozen=True, slots=True)
class Candidate:
    """A stored instance that a reference means, with its current file and that file's digest."""

    instance: str
    sop_class_uid: str
    sop_instance_uid: str
    content: str
    blob: str
    sha256: str
    is_pending: bool
    """Whether its ingest has not ended: its file may still be another."""


# -- requests ---------------------------------------------------------------------------------------------------------


def ask(
    connection: Connection,
    transaction_uid: str,
    modality: str,
    called_aet: str,
    association: int | None,
    references: Sequence[Reference],
    now: float,
) -> int:
    """Enter a request; return its number."""
    return rows.insert(
        connection,
        t.promise_request,
        transaction_uid=transaction_uid,
        modality=modality,
        called_aet=called_aet,
        association=association,
        asked_at=now,
        asked=[[one.sop_class_uid, one.sop_instance_uid] for one in references],
        next_at=now,
    )


def next_at(connection: Connection) -> float | None:
    """Return when a request is to be looked at next, None while there is none."""
    return connection.execute(sa.select(sa.func.min(t.promise_request.c.next_at)).where(_UNREPORTED)).scalar()


def claim(connection: Connection, node: str, now: float, until: float) -> Request | None:
    """Take the request that is due first, for this node, until that time; None when none is due, or others have them."""
    free = sa.or_(t.promise_request.c.claimed_until <= now, t.promise_request.c.node == node)
    query = (
        sa.select(t.promise_request)
        .where(_UNREPORTED, t.promise_request.c.next_at <= now, free)
        .order_by(t.promise_request.c.next_at)
        .limit(1)
    )
    row = connection.execute(query).first()
    if row is None:
        return None
    taken = connection.execute(
        sa.update(t.promise_request)
        .where(t.promise_request.c.id == row.id, free)
        .values(node=node, claimed_until=until)
    )
    return _request(row) if taken.rowcount else None


def get(connection: Connection, number: int) -> Request | None:
    """Return a request."""
    row = connection.execute(sa.select(t.promise_request).where(t.promise_request.c.id == number)).first()
    return _request(row) if row else None


def listing(connection: Connection, limit: int = 100) -> list[Request]:
    """Return the newest requests."""
    query = sa.select(t.promise_request).order_by(t.promise_request.c.id.desc()).limit(limit)
    return [_request(row) for row in connection.execute(query)]


def postpone(connection: Connection, number: int, until: float, error: str, *, is_attempt: bool) -> None:
    """Have a request looked at again later."""
    more = int(is_attempt)
    connection.execute(
        sa.update(t.promise_request)
        .where(t.promise_request.c.id == number)
        .values(next_at=until, last_error=error, attempts=t.promise_request.c.attempts + more, claimed_until=0)
    )


def end(connection: Connection, number: int, *, reported: bool, error: str | None, now: float) -> None:
    """Note that a request was reported on, or that this was given up."""
    connection.execute(
        sa.update(t.promise_request)
        .where(t.promise_request.c.id == number)
        .values(
            state="reported" if reported else "failed",
            last_error=error,
            ended_at=now,
            attempts=t.promise_request.c.attempts + 1,
            claimed_until=0,
        )
    )


def purge(connection: Connection, *, older_than: float, limit: int) -> int:
    """Forget old requests that have ended; return how many. Promises stay."""
    old = (
        sa.select(t.promise_request.c.id)
        .where(t.promise_request.c.asked_at < older_than, t.promise_request.c.ended_at.is_not(None))
        .limit(limit)
    )
    return connection.execute(sa.delete(t.promise_request).where(t.promise_request.c.id.in_(old))).rowcount


def _request(row: Row[Any]) -> Request:
    return Request(
        id=row.id,
        transaction_uid=row.transaction_uid,
        modality=row.modality,
        called_aet=row.called_aet,
        asked_at=row.asked_at,
        references=tuple(Reference(*one) for one in row.asked),
        state=row.state,
        failed=row.failed,
        attempts=row.attempts,
        last_error=row.last_error,
    )


# -- promises ---------------------------------------------------------------------------------------------------------


def candidates(connection: Connection, uids: Sequence[str]) -> dict[str, list[Candidate]]:
    """Return what is stored under these SOP Instance UIDs."""
    found: dict[str, list[Candidate]] = {}
    for start in range(0, len(uids), _AT_ONCE):
        query = (
            sa.select(
                t.instance.c.id,
                t.instance.c.sop_class_uid,
                t.instance.c.sop_instance_uid,
                t.instance.c.received_sha256,
                t.instance.c.blob,
                t.blob.c.sha256,
                sa.exists().where(t.ingest.c.instance == t.instance.c.id),
            )
            .join(t.blob, t.blob.c.name == t.instance.c.blob)
            .where(t.instance.c.sop_instance_uid.in_(uids[start : start + _AT_ONCE]))
            .order_by(t.instance.c.id)
        )
        for row in connection.execute(query):
            candidate = Candidate(*row)
            found.setdefault(candidate.sop_instance_uid, []).append(candidate)
    return found


def judge(
    connection: Connection,
    request: Request,
    verified: Sequence[Candidate],
    failed: Mapping[str, int],
    gone: int,
    now: float,
) -> dict[str, int]:
    """Promise what was verified and is still as it was; return all that failed: SOP Instance UID → failure reason.

    What went or changed meanwhile fails with the reason `gone`.
    """
    missing = dict(failed)
    for one in verified:
        still = connection.execute(
            sa.select(t.instance.c.id).where(t.instance.c.id == one.instance, t.instance.c.blob == one.blob)
        ).first()
        if still is None:
            missing[one.sop_instance_uid] = gone
            continue
        if request.modality in holders(connection, one.instance):
            continue
        rows.insert(
            connection,
            t.promise,
            instance=one.instance,
            sop_instance_uid=one.sop_instance_uid,
            content=one.content,
            modality=request.modality,
            transaction_uid=request.transaction_uid,
            at=now,
        )
    connection.execute(
        sa.update(t.promise_request).where(t.promise_request.c.id == request.id).values(state="judged", failed=missing)
    )
    return missing


def holds(instance: ColumnElement[str]) -> ColumnElement[bool]:
    """Tell whether an instance is promised, as a condition of a query."""
    return sa.exists().where(t.promise.c.instance == instance, _KEPT)


def holders(connection: Connection, instance: str) -> list[str]:
    """Return the modalities to which an instance is promised."""
    query = sa.select(t.promise.c.modality).where(t.promise.c.instance == instance, _KEPT).distinct()
    return sorted(connection.execute(query).scalars())


def of_many(connection: Connection, instances: Sequence[str]) -> dict[str, list[str]]:
    """Return those of these instances that are promised, with to whom."""
    found: dict[str, list[str]] = {}
    for start in range(0, len(instances), _AT_ONCE):
        query = (
            sa.select(t.promise.c.instance, t.promise.c.modality)
            .where(t.promise.c.instance.in_(instances[start : start + _AT_ONCE]), _KEPT)
            .distinct()
        )
        for row in connection.execute(query):
            found.setdefault(row.instance, []).append(row.modality)
    return found


def among(connection: Connection, condition: ColumnElement[bool], limit: int) -> list[str]:
    """Return some of the instances of that condition that are promised."""
    query = sa.select(t.instance.c.id).where(condition, holds(t.instance.c.id)).limit(limit)
    return list(connection.execute(query).scalars())


def break_by(connection: Connection, instance: str, who: str, now: float) -> None:
    """Note that an administrator had an instance deleted although it was promised."""
    connection.execute(
        sa.update(t.promise).where(t.promise.c.instance == instance, _KEPT).values(broken_at=now, broken_by=who)
    )
