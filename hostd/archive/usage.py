"""What scripts did in the last day, and what they may do: a script beyond its quota is parked, and loses no event."""

from __future__ import annotations

from dataclasses import dataclass

import sqlalchemy as sa
from sqlalchemy import Connection

from hostd.archive import rows
from hostd.archive import tables as t
from hostd.errors import HostdError

_HOUR_S = 3600.0
_DAY_H = 24


class QuotaError(HostdError):
    """A script wants to do more than it may in a day; what it asked for is not entered."""


@dataclass(frozen=True, slots=True)
class Quota:
    """How many actions, and how many bytes of files to forward, a script may ask for in 24 hours; None: any."""

    actions_per_day: int | None = None
    bytes_per_day: int | None = None


NO_QUOTA = Quota()


def charge(connection: Connection, script: str, run: int, at: float, quota: Quota) -> None:
    """Count what a run asked for, in the caller's transaction. Raises `QuotaError` when it is more than the script may.

    A forward counts the stored file's size; one that was skipped, or that an open delivery absorbed, counts none.
    """
    actions, size = _asked(connection, run)
    hour = int(at // _HOUR_S)
    if _CHARGE.change(connection, of=script, now=hour, more_actions=actions, more_bytes=size) == 0:
        connection.execute(sa.insert(t.usage).values(script=script, hour=hour, actions=actions, bytes=size))
        connection.execute(sa.delete(t.usage).where(t.usage.c.script == script, t.usage.c.hour <= hour - _DAY_H))
    if quota != NO_QUOTA:
        _check(connection, script, hour, quota)


def reset(connection: Connection, script: str) -> None:
    """Count anew: someone has looked at what the script did."""
    connection.execute(sa.delete(t.usage).where(t.usage.c.script == script))


_CHARGE = rows.Prepared(
    sa.update(t.usage)
    .where(t.usage.c.script == sa.bindparam("of"), t.usage.c.hour == sa.bindparam("now"))
    .values(
        actions=t.usage.c.actions + sa.bindparam("more_actions"), bytes=t.usage.c.bytes + sa.bindparam("more_bytes")
    )
)
_ASKED = rows.Prepared(
    sa.select(sa.func.count(t.action.c.id.distinct()), sa.func.coalesce(sa.func.sum(t.blob.c.size), 0))
    .select_from(
        t.action.outerjoin(t.delivery, t.delivery.c.action == t.action.c.id).outerjoin(
            t.blob, t.blob.c.name == t.delivery.c.blob
        )
    )
    .where(t.action.c.run == sa.bindparam("of"))
)


def _asked(connection: Connection, run: int) -> tuple[int, int]:
    ((actions, size),) = _ASKED.rows(connection, of=run)
    return int(actions), int(size)


def _check(connection: Connection, script: str, hour: int, quota: Quota) -> None:
    row = connection.execute(
        sa.select(_total(t.usage.c.actions), _total(t.usage.c.bytes)).where(
            t.usage.c.script == script, t.usage.c.hour > hour - _DAY_H
        )
    ).one()
    for used, allowed, what, key in (
        (row[0], quota.actions_per_day, "actions", "actions_per_day"),
        (row[1], quota.bytes_per_day, "bytes to forward", "bytes_per_day"),
    ):
        if allowed is not None and used > allowed:
            raise QuotaError(
                f"it asked for {used} {what} within 24 hours and may ask for {allowed} ({key}); when that is right, raise it, "
                f"or let it go on with `hostd scripts enable {script}`, which counts anew"
            )


def _total(column: sa.Column[int]) -> sa.ColumnElement[int]:
    return sa.cast(sa.func.sum(column), sa.BigInteger)  # PostgreSQL adds whole numbers up to a decimal one
