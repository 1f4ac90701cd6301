"""The deliveries of a job that sends: asked for together, looked at together, and ended with it (P3)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import sqlalchemy as sa
from sqlalchemy import Connection

from hostd.archive import deliveries, endings, jobs
from hostd.archive import tables as t
from hostd.archive.deliveries import DUE
from hostd.archive.jobs import Job
from hostd.archive.records import Attempt

TAKEN = ("delivered", "warning", "present")
"""States of a delivery that arrived."""
_GIVEN_UP = ("failed", "discarded")
_TROUBLE = ("unreached", "waiting", "lost")
"""Outcomes of an attempt after which it is tried again, which whoever waits for the job does not wait for."""


@dataclass(frozen=True, slots=True)
class Way:
    """How a job sends: where to, after which transform (unless the file is in the syntax `is_in` already), and in which manner."""

    destination: str
    transform: str
    is_in: str | None
    manner: str
    priority: int


def ask(connection: Connection, job: Job, way: Way, items: Sequence[tuple[int, str]], now: float) -> list[str]:
    """Ask for deliveries of these (position, instance); return the instances that are no longer there.

    What waits for the same already is tried at once, and is not ended with the job: somebody else asked for it, too.
    """
    query = sa.select(t.instance, t.blob.c.transfer_syntax).join(t.blob, t.blob.c.name == t.instance.c.blob)
    found = {
        row.id: row for row in connection.execute(query.where(t.instance.c.id.in_([instance for _, instance in items])))
    }
    gone, waited = [], []
    for position, instance in items:
        row = found.get(instance)
        if row is None:
            gone.append(instance)
            continue
        number, is_new = deliveries.ask(
            connection,
            instance=row.id,
            sop_instance_uid=row.sop_instance_uid,
            sop_class_uid=row.sop_class_uid,
            destination=way.destination,
            content=row.received_sha256,
            blob=row.blob,
            transform="" if row.transfer_syntax == way.is_in else way.transform,
            priority=way.priority,
            manner=way.manner,
            now=now,
        )
        if not is_new:
            waited.append(number)
        connection.execute(
            sa.update(t.job_item)
            .where(t.job_item.c.job == job.number, t.job_item.c.position == position)
            .values(delivery=number, is_own=is_new)
        )
    deliveries.hasten(connection, waited, now)
    return gone


def note(connection: Connection, job: str, position: int, delivery: int, is_own: bool) -> None:
    """Note the delivery that was asked for one of the instances of a job, and whether it was not there already."""
    number = sa.select(t.job.c.number).where(t.job.c.id == job).scalar_subquery()
    connection.execute(
        sa.update(t.job_item)
        .where(t.job_item.c.job == number, t.job_item.c.position == position)
        .values(delivery=delivery, is_own=is_own)
    )


@dataclass(frozen=True, slots=True)
class Trouble:
    """A delivery that failed, or is to be tried again: its number, and what was said last; `status` is DIMSE's or HTTP's."""

    delivery: int
    state: str
    reason: str
    status: int | None
    is_reached: bool


@dataclass(frozen=True, slots=True)
class Standing:
    """How the deliveries of a job stand: how many there are, arrived, failed for good, and are on their way; and some that are in trouble."""

    count: int
    taken: int
    failed: int
    open: int
    troubles: tuple[Trouble, ...]


def standing(connection: Connection, job: Job, since: float, *, limit: int, final: bool) -> Standing:
    """Return how the deliveries of a job stand.

    Trouble are tries since then that came to nothing, and with `final` what failed for good, too; at most `limit` are returned.
    """
    mine = t.job_item.c.job == job.number, t.job_item.c.delivery == t.delivery.c.id
    states = dict(
        tuple(row)
        for row in connection.execute(
            sa.select(t.delivery.c.state, sa.func.count()).where(*mine).group_by(t.delivery.c.state)
        )
    )
    failed = sum(states.get(state, 0) for state in _GIVEN_UP)
    taken = sum(states.get(state, 0) for state in TAKEN)
    count = sum(states.values())
    return Standing(
        count, taken, failed, count - failed - taken, tuple(_troubles(connection, job, since, limit, final=final))
    )


def _troubles(connection: Connection, job: Job, since: float, limit: int, *, final: bool) -> list[Trouble]:
    tried = t.attempt.alias("tried")
    last = (
        sa.select(sa.func.max(tried.c.id))
        .where(tried.c.delivery == t.delivery.c.id, tried.c.at >= since)
        .correlate(t.delivery)
        .scalar_subquery()
    )
    # A try that hostd itself did not finish has no duration: it is made again after the restart.
    has_ended = t.attempt.c.outcome.in_(_TROUBLE), t.attempt.c.seconds.is_not(None)
    was_tried = sa.and_(t.delivery.c.state.in_(DUE), *has_ended)
    query = (
        sa.select(t.delivery.c.id, t.delivery.c.state, t.delivery.c.last_error, t.attempt.c.status, t.attempt.c.outcome)
        .join(t.job_item, t.job_item.c.delivery == t.delivery.c.id)
        .outerjoin(t.attempt, t.attempt.c.id == last)
        .where(t.job_item.c.job == job.number, sa.or_(t.delivery.c.state.in_(_GIVEN_UP if final else ()), was_tried))
        .order_by(t.delivery.c.id)
        .limit(limit)
    )
    return [
        Trouble(row.id, row.state, row.last_error or "", row.status, row.outcome != "unreached")
        for row in connection.execute(query)
    ]


def failed(connection: Connection, job: Job) -> list[int]:
    """Return the deliveries of a job that failed for good."""
    query = sa.select(t.delivery.c.id).join(t.job_item, t.job_item.c.delivery == t.delivery.c.id)
    return list(
        connection.execute(query.where(t.job_item.c.job == job.number, t.delivery.c.state == "failed")).scalars()
    )


def count_open(connection: Connection, job: Job) -> int:
    """Return how many of a job's own deliveries have not ended."""
    query = (
        sa.select(sa.func.count()).select_from(t.job_item).join(t.delivery, t.delivery.c.id == t.job_item.c.delivery)
    )
    own = t.job_item.c.job == job.number, t.job_item.c.is_own, t.delivery.c.state.in_(t.OPEN_STATES)
    return connection.execute(query.where(*own)).scalar_one()


def give_up(connection: Connection, job: Job, numbers: Sequence[int] | None, reason: str, now: float) -> int:
    """End deliveries of a job that wait (all of them with `numbers` None) as failed, with that reason; return how many.

    Those that others asked for, too, stay; so do those that may be on their way just now: what comes of it is told by their rows. What is
    claimed, but not on its way, is not sent any more.
    """
    waits = sa.or_(
        t.delivery.c.state.in_((*DUE, "held")), sa.and_(t.delivery.c.state == "sending", ~t.delivery.c.on_wire)
    )
    query = _OWN.where(t.job_item.c.job == job.number, waits)
    if numbers is not None:
        query = query.where(t.delivery.c.id.in_(numbers))
    return _fail(connection, query, reason, now)


def give_up_left(connection: Connection, which: sa.ColumnElement[bool], now: float) -> int:
    """End those deliveries that wait again, but whose job ended while they were sent; return how many.

    `which` is a condition on `delivery`. What a person had tried again meanwhile stays.
    """
    query = _OWN.join(t.job, t.job.c.number == t.job_item.c.job)
    has_ended = t.job.c.state.in_(jobs.ENDED), t.delivery.c.state.in_(DUE)
    return _fail(connection, query.where(which, *has_ended), "its job ended while it was sent", now)


def disown(connection: Connection, numbers: Sequence[int]) -> None:
    """Note that deliveries are not only their jobs' any more: a person has them tried again, whatever becomes of the job."""
    connection.execute(sa.update(t.job_item).where(t.job_item.c.delivery.in_(numbers)).values(is_own=False))


_OWN = (
    sa.select(t.delivery.c.id, t.delivery.c.state, t.delivery.c.attempts, t.delivery.c.last_error)
    .join(t.job_item, t.job_item.c.delivery == t.delivery.c.id)
    .where(t.job_item.c.is_own)
)


def _fail(connection: Connection, query: sa.Select[Any], reason: str, now: float) -> int:
    attempts = []
    for row in connection.execute(query).all():
        tried = row.attempts - (row.state == "sending")  # what is only claimed was not
        why = f"{reason}; last: {row.last_error}" if row.last_error else reason
        attempts.append(Attempt(row.id, tried, now, "failed", why))
        connection.execute(
            sa.update(t.delivery)
            .where(t.delivery.c.id == row.id)
            .values(state="failed", finished_at=now, last_error=why, attempts=tried)
        )
    if attempts:
        endings.record(connection, attempts)
        endings.follow_up(connection, attempts)
    return len(attempts)


def hold(connection: Connection, job: Job, reason: str) -> None:
    """Keep back what waits of a job's own deliveries."""
    _change(connection, job, DUE, state="held", last_error=reason)


def release(connection: Connection, job: Job, reason: str, now: float) -> None:
    """Let go on what was held for that reason."""
    state = sa.case((t.delivery.c.transform == "", "waiting"), else_="preparing")
    _change(
        connection, job, ("held",), t.delivery.c.last_error == reason, state=state, next_attempt_at=now, last_error=None
    )


def is_held(connection: Connection, job: Job, reason: str) -> bool:
    """Tell whether a delivery of a job is held for that reason."""
    query = sa.select(t.delivery.c.id).join(t.job_item, t.job_item.c.delivery == t.delivery.c.id)
    which = t.job_item.c.job == job.number, t.delivery.c.state == "held", t.delivery.c.last_error == reason
    return connection.execute(query.where(*which).limit(1)).first() is not None


def _change(
    connection: Connection, job: Job, states: Sequence[str], *which: sa.ColumnElement[bool], **values: object
) -> None:
    own = sa.select(t.job_item.c.delivery).where(t.job_item.c.job == job.number, t.job_item.c.is_own)
    connection.execute(
        sa.update(t.delivery).where(t.delivery.c.id.in_(own), t.delivery.c.state.in_(states), *which).values(**values)
    )


def bytes_sent(connection: Connection, job: Job) -> int:
    """Return how many bytes the files have that were taken: what was made of each, where something was."""
    made = (
        sa.select(t.receipt.c.result)
        .where(t.receipt.c.source == t.delivery.c.blob, t.receipt.c.transform == t.delivery.c.transform)
        .correlate(t.delivery)
        .scalar_subquery()
    )
    sent = sa.func.coalesce(made, t.delivery.c.blob)
    query = (
        sa.select(sa.func.coalesce(sa.func.sum(t.blob.c.size), 0))
        .select_from(t.job_item)
        .join(t.delivery, t.delivery.c.id == t.job_item.c.delivery)
        .join(t.blob, t.blob.c.name == sent)
        .where(t.job_item.c.job == job.number, t.delivery.c.state.in_(TAKEN))
    )
    return int(connection.execute(query).scalar_one())
