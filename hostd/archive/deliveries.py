"""Deliveries: durable rows, claimed under a lease's token, settled with what the peer said (P3)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict
from typing import Any

import sqlalchemy as sa
from sqlalchemy import Connection, Row

from hostd.archive import deletes, occurrences, receipts, rows
from hostd.archive import tables as t
from hostd.archive.records import Attempt, Delivery
from hostd.errors import NotFoundError

DUE = ("preparing", "waiting")
PINNING = (*t.OPEN_STATES, "failed")
"""States in which a delivery pins its file."""

PRIORITIES = {"low": 0, "normal": 10, "high": 20, "stat": 30}


def ask(
    connection: Connection,
    *,
    instance: str,
    sop_instance_uid: str,
    sop_class_uid: str,
    destination: str,
    content: str,
    blob: str,
    transform: str = "",
    priority: int = PRIORITIES["normal"],
    not_before: float = 0.0,
    now: float,
    script: str | None = None,
    action: int | None = None,
) -> tuple[int, bool]:
    """Ask for a delivery; return its number, and whether it is new.

    An open delivery of the same content and transform to the same destination absorbs the request; a finished one never does.
    """
    open_one = connection.execute(
        sa.select(t.delivery.c.id).where(
            t.delivery.c.destination == destination,
            t.delivery.c.content == content,
            t.delivery.c.transform == transform,
            t.delivery.c.state.in_(t.OPEN_STATES),
        )
    ).scalar()
    if open_one is not None:
        return int(open_one), False
    return rows.insert(
        connection,
        t.delivery,
        action=action,
        script=script,
        instance=instance,
        sop_instance_uid=sop_instance_uid,
        sop_class_uid=sop_class_uid,
        destination=destination,
        content=content,
        blob=blob,
        transform=transform,
        priority=priority,
        state="preparing" if transform else "waiting",
        not_before=not_before,
        next_attempt_at=max(now, not_before),
        created_at=now,
    ), True


def claim(connection: Connection, destination: str, token: int, now: float, limit: int) -> list[Delivery]:
    """Take up to `limit` deliveries that are due, the urgent ones first, then in order of reception."""
    due = (
        sa.select(t.delivery.c.id)
        .where(
            t.delivery.c.destination == destination,
            t.delivery.c.state.in_(DUE),
            t.delivery.c.next_attempt_at <= now,
        )
        .order_by(t.delivery.c.priority.desc(), t.delivery.c.id)
        .limit(limit)
    )
    chosen = list(connection.execute(due).scalars())
    connection.execute(
        sa.update(t.delivery)
        .where(t.delivery.c.id.in_(chosen))
        .values(state="sending", token=token, attempts=t.delivery.c.attempts + 1)
    )
    rows = connection.execute(
        sa.select(t.delivery).where(t.delivery.c.id.in_(chosen)).order_by(t.delivery.c.priority.desc(), t.delivery.c.id)
    )
    return [_delivery(row) for row in rows]


def recover(connection: Connection, destination: str, token: int, now: float) -> int:
    """Give back what an earlier holder of the lease was sending when it ended; return how many.

    Whether the peer got them is not known: each is recorded as a possible double.
    """
    stranded = connection.execute(
        sa.select(t.delivery.c.id, t.delivery.c.attempts).where(
            t.delivery.c.destination == destination, t.delivery.c.state == "sending", t.delivery.c.token != token
        )
    ).all()
    for row in stranded:
        _record(
            connection,
            Attempt(
                row.id, row.attempts, now, "lost", "hostd ended before the answer was recorded; the peer may have it"
            ),
        )
    connection.execute(
        sa.update(t.delivery)
        .where(t.delivery.c.id.in_([row.id for row in stranded]))
        .values(
            state="waiting",
            next_attempt_at=now,
            possible_doubles=t.delivery.c.possible_doubles + 1,
            last_error="hostd ended before the answer was recorded",
        )
    )
    return len(stranded)


def finish(connection: Connection, attempt: Attempt, token: int) -> bool:
    """Record a final answer: `attempt.outcome` is delivered, warning or failed. False when the lease was lost meanwhile."""
    settled = _settle(
        connection,
        attempt,
        token,
        state=attempt.outcome,
        finished_at=attempt.at,
        last_error=None if attempt.outcome == "delivered" else attempt.answer,
    )
    if settled:
        occurrences.delivery_ended(connection, attempt)  # before what follows from it: a delete that waited
        deletes.reconsider(connection, attempt.delivery, attempt.at)
        _release_file(connection, attempt.delivery)
    return settled


def put_off(connection: Connection, attempt: Attempt, token: int, until: float) -> bool:
    """Record a try that is to be repeated: outcome waiting, lost when the peer's answer was, unreached when it counts for nothing."""
    lost = attempt.outcome == "lost"
    return _settle(
        connection,
        attempt,
        token,
        state="waiting",
        next_attempt_at=until,
        last_error=attempt.answer,
        possible_doubles=t.delivery.c.possible_doubles + int(lost),
        attempts=t.delivery.c.attempts - int(attempt.outcome == "unreached"),
    )


def give_back(connection: Connection, claimed: Sequence[int], token: int, until: float, reason: str | None) -> None:
    """Return claimed deliveries that were not tried: what was the destination's fault counts against no instance."""
    connection.execute(
        sa.update(t.delivery)
        .where(t.delivery.c.id.in_(claimed), t.delivery.c.token == token, t.delivery.c.state == "sending")
        .values(
            state="waiting",
            next_attempt_at=until,
            attempts=t.delivery.c.attempts - 1,
            **({"last_error": reason} if reason is not None else {}),
        )
    )


def _settle(connection: Connection, attempt: Attempt, token: int, **values: Any) -> bool:
    settled = connection.execute(
        sa.update(t.delivery)
        .where(t.delivery.c.id == attempt.delivery, t.delivery.c.token == token, t.delivery.c.state == "sending")
        .values(**values)
    )
    if settled.rowcount != 1:
        stray = f"under a lost lease, so it changed nothing: {attempt.outcome}: {attempt.answer}"
        _record(connection, Attempt(**(asdict(attempt) | {"outcome": "stray", "answer": stray})))
        return False
    _record(connection, attempt)
    return True


def _record(connection: Connection, attempt: Attempt) -> None:
    connection.execute(sa.insert(t.attempt).values(**asdict(attempt)))


def _release_file(connection: Connection, delivery: int) -> None:
    """Have the collector look again at the files that this delivery pinned, where they were let go already."""
    made = sa.and_(t.receipt.c.source == t.delivery.c.blob, receipts.is_on_the_way(t.delivery.c.transform))
    found = connection.execute(
        sa.select(t.delivery.c.blob, t.receipt.c.result).outerjoin(t.receipt, made).where(t.delivery.c.id == delivery)
    )
    names = {name for row in found for name in row if name is not None}
    connection.execute(sa.update(t.blob).where(t.blob.c.name.in_(names), t.blob.c.released).values(unpinned_at=None))


def retry(connection: Connection, numbers: Sequence[int], now: float) -> list[int]:
    """Make failed or held deliveries wait for another attempt at once; return those that were.

    Raises `NotFoundError` when one of them is in another state, or its file is gone.
    """
    for number in numbers:
        delivery = get(connection, number)
        if delivery is None:
            raise NotFoundError(f"there is no delivery {number}")
        if delivery.state not in {"failed", "held", "waiting", "preparing", "warning"}:
            raise NotFoundError(f"delivery {number} is {delivery.state}, only one that failed or waits can be retried")
        if _open_twin(connection, delivery):
            raise NotFoundError(f"delivery {number} was asked for again meanwhile; retry that one")
        if connection.execute(sa.select(t.blob.c.name).where(t.blob.c.name == delivery.blob)).first() is None:
            raise NotFoundError(f"the file of delivery {number} is no longer in the archive")
    connection.execute(
        sa.update(t.delivery)
        .where(t.delivery.c.id.in_(numbers))
        .values(
            state=sa.case((t.delivery.c.transform == "", "waiting"), else_="preparing"),
            next_attempt_at=now,
            finished_at=None,
        )
    )
    return list(numbers)


def _open_twin(connection: Connection, delivery: Delivery) -> bool:
    twin = sa.select(t.delivery.c.id).where(
        t.delivery.c.destination == delivery.destination,
        t.delivery.c.content == delivery.content,
        t.delivery.c.transform == delivery.transform,
        t.delivery.c.state.in_(t.OPEN_STATES),
        t.delivery.c.id != delivery.id,
    )
    return connection.execute(twin).first() is not None


# -- reading ----------------------------------------------------------------------------------------------------------


def next_due(connection: Connection, destination: str) -> float | None:
    """Return when the next delivery to that destination is due, None when none waits."""
    return connection.execute(
        sa.select(sa.func.min(t.delivery.c.next_attempt_at)).where(
            t.delivery.c.destination == destination, t.delivery.c.state.in_(DUE)
        )
    ).scalar()


def get(connection: Connection, number: int) -> Delivery | None:
    """Return one delivery."""
    row = connection.execute(sa.select(t.delivery).where(t.delivery.c.id == number)).first()
    return _delivery(row) if row else None


def listing(
    connection: Connection,
    *,
    states: Sequence[str] = (),
    destination: str | None = None,
    instance: str | None = None,
    study: str | None = None,
    limit: int = 100,
) -> list[Delivery]:
    """Return the newest deliveries that match; `study` is a Study Instance UID."""
    query = sa.select(t.delivery).order_by(t.delivery.c.id.desc()).limit(limit)
    if states:
        query = query.where(t.delivery.c.state.in_(states))
    if destination is not None:
        query = query.where(t.delivery.c.destination == destination)
    if instance is not None:
        query = query.where(t.delivery.c.instance == instance)
    if study is not None:
        query = query.where(
            t.delivery.c.instance.in_(sa.select(t.instance.c.id).where(t.instance.c.study_instance_uid == study))
        )
    return [_delivery(row) for row in connection.execute(query)]


def counts(connection: Connection) -> dict[str, dict[str, int]]:
    """Return destination → state → how many deliveries."""
    query = sa.select(t.delivery.c.destination, t.delivery.c.state, sa.func.count()).group_by(
        t.delivery.c.destination, t.delivery.c.state
    )
    found: dict[str, dict[str, int]] = {}
    for destination, state, number in connection.execute(query):
        found.setdefault(destination, {})[state] = number
    return found


def attempts(connection: Connection, delivery: int) -> list[Attempt]:
    """Return all attempts of a delivery, in order."""
    query = sa.select(t.attempt).where(t.attempt.c.delivery == delivery).order_by(t.attempt.c.id)
    return [
        Attempt(
            row.delivery,
            row.number,
            row.at,
            row.outcome,
            row.answer,
            row.status,
            row.seconds,
            row.sent_syntax,
            row.sent_sop_instance_uid,
        )
        for row in connection.execute(query)
    ]


def _delivery(row: Row[Any]) -> Delivery:
    return Delivery(**{name: getattr(row, name) for name in Delivery.__dataclass_fields__})
