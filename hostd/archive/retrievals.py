"""Retrievals: what other systems had sent to somebody by C-MOVE, or got by C-GET, and how each instance went (P3)."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from itertools import islice
from typing import Any, Literal

import sqlalchemy as sa
from sqlalchemy import Connection

from hostd.archive import catalogue, rows
from hostd.archive import tables as t
from hostd.dicom.retrieve import Wanted

Kind = Literal["move", "get"]
State = Literal["done", "cancelled", "failed", "broken"]
"""`done`: all sub-operations were made, well or not; `failed`: they could not be made; `broken`: the association ended first."""

_AT_ONCE = 500
"""UIDs in one query."""


@dataclass(frozen=True, slots=True)
class Found:
    """An instance that is to be sent: its current file, and the SHA-256 of its data set as it was received."""

    instance: str
    sop_class_uid: str
    sop_instance_uid: str
    blob: str
    content: str
    transfer_syntax: str
    size: int
    """Bytes of the file."""


@dataclass(frozen=True, slots=True)
class Sent:
    """What became of one instance of a retrieval; `outcome` is delivered, warning or failed, `answer` for people."""

    instance: str
    sop_instance_uid: str
    outcome: Literal["delivered", "warning", "failed"]
    answer: str
    at: float
    status: int | None = None
    sent_syntax: str | None = None


@dataclass(frozen=True, slots=True)
class Retrieval:
    """A retrieval. `destination` is `modality:x`, or `caller:AET` where somebody who is no configured modality got it."""

    id: int
    kind: Kind
    at: float
    calling_aet: str
    ip: str
    association: int | None
    destination: str
    asked: dict[str, Any]
    count: int
    completed: int
    warnings: int
    failed: int
    state: str
    reason: str | None
    ended_at: float | None
    node: str


def matching(connection: Connection, wanted: Wanted) -> list[str]:
    """Return Orthanc's identifiers of the instances that are meant, series by series, in the order in which they came."""
    column, values = {
        "PATIENT": (t.instance.c.patient, _patients(connection, wanted.patient_id or "")),
        "STUDY": (t.instance.c.study_instance_uid, wanted.studies),
        "SERIES": (t.instance.c.series_instance_uid, wanted.series),
        "IMAGE": (t.instance.c.sop_instance_uid, wanted.instances),
    }[wanted.level]
    query = sa.select(t.instance.c.id).order_by(t.instance.c.series_instance_uid, t.instance.c.told, t.instance.c.id)
    if wanted.patient_id is not None:
        query = query.where(t.instance.c.patient_id == wanted.patient_id)
    if wanted.level != "STUDY" and wanted.studies:
        query = query.where(t.instance.c.study_instance_uid.in_(wanted.studies))
    if wanted.level != "SERIES" and wanted.series:
        query = query.where(t.instance.c.series_instance_uid.in_(wanted.series))
    found: list[str] = []
    for some in _pieces(values, _AT_ONCE):
        found += connection.execute(query.where(column.in_(some))).scalars()
    return list(dict.fromkeys(found))


def _patients(connection: Connection, patient_id: str) -> Sequence[str]:
    """Return Orthanc's identifiers of the patients that may have that ID."""
    alike = t.patient.c.patient_id_key == catalogue.key(patient_id)
    return connection.execute(sa.select(t.patient.c.id).where(alike)).scalars().all()


def current(connection: Connection, ids: Sequence[str]) -> dict[str, Found]:
    """Return those of these instances that are still there, by their identifier."""
    query = sa.select(
        t.instance.c.id,
        t.instance.c.sop_class_uid,
        t.instance.c.sop_instance_uid,
        t.instance.c.blob,
        t.instance.c.received_sha256,
        t.blob.c.transfer_syntax,
        t.blob.c.size,
    ).join(t.blob, t.blob.c.name == t.instance.c.blob)
    return {row.id: Found(*row) for row in connection.execute(query.where(t.instance.c.id.in_(ids)))}


def kinds(connection: Connection, ids: Sequence[str]) -> dict[tuple[str, str], str]:
    """Return (SOP class, transfer syntax) of these instances, each with the identifier of one of them."""
    found: dict[tuple[str, str], str] = {}
    for some in _pieces(ids, _AT_ONCE):
        query = (
            sa.select(t.instance.c.sop_class_uid, t.blob.c.transfer_syntax, sa.func.min(t.instance.c.id))
            .join(t.blob, t.blob.c.name == t.instance.c.blob)
            .where(t.instance.c.id.in_(some))
            .group_by(t.instance.c.sop_class_uid, t.blob.c.transfer_syntax)
        )
        for sop_class, syntax, one in connection.execute(query):
            found.setdefault((sop_class, syntax), one)
    return found


def begin(
    connection: Connection,
    *,
    kind: Kind,
    at: float,
    calling_aet: str,
    ip: str,
    association: int | None,
    destination: str,
    wanted: Wanted,
    count: int,
    node: str,
) -> int:
    """Enter a retrieval that begins; return its number."""
    return rows.insert(
        connection,
        t.retrieval,
        kind=kind,
        at=at,
        calling_aet=calling_aet,
        ip=ip,
        association=association,
        destination=destination,
        asked=wanted.in_words(),
        count=count,
        node=node,
    )


def note(connection: Connection, number: int, sent: Sequence[Sent]) -> None:
    """Enter what became of some instances of a retrieval."""
    if not sent:
        return
    connection.execute(sa.insert(t.retrieved), [{"retrieval": number, **asdict(one)} for one in sent])
    column = {"delivered": t.retrieval.c.completed, "warning": t.retrieval.c.warnings, "failed": t.retrieval.c.failed}
    added = {c.name: c + sum(one.outcome == outcome for one in sent) for outcome, c in column.items()}
    connection.execute(sa.update(t.retrieval).where(t.retrieval.c.id == number).values(**added))


def end(connection: Connection, number: int, state: State, reason: str | None, at: float) -> None:
    """Note how a retrieval ended."""
    connection.execute(
        sa.update(t.retrieval).where(t.retrieval.c.id == number).values(state=state, reason=reason, ended_at=at)
    )


def close_interrupted(connection: Connection, node: str, at: float) -> None:
    """Close the rows of a node's retrievals that an end without warning left open."""
    connection.execute(
        sa.update(t.retrieval)
        .where(sa.text("retrieval.state = 'under way'"), t.retrieval.c.node == node)
        .values(state="broken", reason="hostd ended while it lasted", ended_at=at)
    )


def listing(connection: Connection, *, limit: int = 100) -> list[Retrieval]:
    """Return the newest retrievals."""
    query = sa.select(t.retrieval).order_by(t.retrieval.c.id.desc()).limit(limit)
    return [Retrieval(**row._mapping) for row in connection.execute(query)]  # noqa: SLF001 - SQLAlchemy's public name


def get(connection: Connection, number: int) -> Retrieval | None:
    """Return a retrieval."""
    row = connection.execute(sa.select(t.retrieval).where(t.retrieval.c.id == number)).first()
    return Retrieval(**row._mapping) if row else None  # noqa: SLF001 - SQLAlchemy's public name


def sent(connection: Connection, number: int) -> list[Sent]:
    """Return what became of the instances of a retrieval, in order."""
    query = sa.select(t.retrieved).where(t.retrieved.c.retrieval == number).order_by(t.retrieved.c.id)
    return [_sent(row) for row in connection.execute(query)]


def of_instance(connection: Connection, instance: str) -> list[tuple[Retrieval, Sent]]:
    """Return each time that an instance was retrieved, in order."""
    query = (
        sa.select(t.retrieval, t.retrieved)
        .join(t.retrieved, t.retrieved.c.retrieval == t.retrieval.c.id)
        .where(t.retrieved.c.instance == instance)
        .order_by(t.retrieved.c.id)
    )
    names = [column.name for column in t.retrieval.c]
    return [(Retrieval(**dict(zip(names, row, strict=False))), _sent(row)) for row in connection.execute(query)]


def _sent(row: sa.Row[Any]) -> Sent:
    mapping = row._mapping  # noqa: SLF001 - SQLAlchemy's public name
    return Sent(**{name: mapping[t.retrieved.c[name]] for name in Sent.__dataclass_fields__})


def purge(connection: Connection, *, older_than: float, limit: int) -> int:
    """Forget some rows of old retrievals that have ended; return how many."""
    old = sa.select(t.retrieval.c.id).where(t.retrieval.c.at < older_than, t.retrieval.c.ended_at.is_not(None))
    members = sa.select(t.retrieved.c.id).where(t.retrieved.c.retrieval.in_(old)).limit(limit)
    gone = connection.execute(sa.delete(t.retrieved).where(t.retrieved.c.id.in_(members))).rowcount
    if gone:
        return gone
    return connection.execute(sa.delete(t.retrieval).where(t.retrieval.c.id.in_(old.limit(limit)))).rowcount


def _pieces(values: Sequence[str], size: int) -> Iterator[tuple[str, ...]]:
    left = iter(values)
    while piece := tuple(islice(left, size)):
        yield piece
