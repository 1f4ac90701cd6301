"""How destinations do, worked out from the index: what waits for each, since when, and what went lately. A few queries, whatever the backlog."""

from __future__ import annotations

from dataclasses import dataclass, field

import sqlalchemy as sa
from sqlalchemy import Connection

from hostd.archive import conditions, deliveries
from hostd.archive import tables as t

RATE_S = 300.0
"""Seconds over which the rate is worked out."""
_LATEST = 20_000
"""Attempts that are looked at for it, at most."""


@dataclass(frozen=True, slots=True)
class Standing:
    """How one destination does.

    `states` counts its deliveries by state; `oldest_at` is when the oldest that is not done was asked for. `failing_since` is None while
    it works; `last_error` is what was last said of an attempt that failed. Times are seconds since 1970 UTC; the rates of what was
    delivered are over the last five minutes.
    """

    name: str
    states: dict[str, int] = field(default_factory=dict)
    oldest_at: float | None = None
    failing_since: float | None = None
    failing_why: str | None = None
    last_error: str | None = None
    instances_per_s: float = 0.0
    bytes_per_s: float = 0.0

    @property
    def backlog(self) -> int:
        """How many deliveries are not done."""
        return sum(self.states.get(state, 0) for state in t.OPEN_STATES)


def standings(connection: Connection, names: tuple[str, ...], now: float) -> list[Standing]:
    """Return how these destinations do (`kind:name`), and all others that deliveries were asked to."""
    counts = deliveries.counts(connection)
    rates = _rates(connection, now)
    found = []
    for name in sorted({*names, *counts}):
        condition = conditions.get(connection, f"destination:{name}")
        is_failing = condition is not None and condition.is_amiss
        instances, size = rates.get(name, (0, 0))
        found.append(
            Standing(
                name=name,
                states=counts.get(name, {}),
                oldest_at=_oldest(connection, name),
                failing_since=condition.since if condition is not None and is_failing else None,
                failing_why=condition.reason if condition is not None and is_failing else None,
                last_error=_last_error(connection, name),
                instances_per_s=instances / RATE_S,
                bytes_per_s=size / RATE_S,
            )
        )
    return found


def _oldest(connection: Connection, destination: str) -> float | None:
    """Return when the first of those not done was asked for: numbers grow with time."""
    first = [
        connection.execute(
            sa.select(t.delivery.c.created_at)
            .where(
                t.delivery.c.destination == destination, t.delivery.c.state == state, t.delivery.c.priority == priority
            )
            .order_by(t.delivery.c.id)
            .limit(1)
        ).scalar()
        for state in t.OPEN_STATES
        for priority in deliveries.PRIORITIES.values()
    ]
    return min((at for at in first if at is not None), default=None)


def _last_error(connection: Connection, destination: str) -> str | None:
    latest = (
        sa.select(t.attempt.c.delivery, t.attempt.c.answer, t.attempt.c.outcome, t.attempt.c.id)
        .order_by(t.attempt.c.id.desc())
        .limit(_LATEST)
        .subquery()
    )
    query = (
        sa.select(latest.c.answer)
        .join(t.delivery, t.delivery.c.id == latest.c.delivery)
        .where(
            t.delivery.c.destination == destination, latest.c.outcome.in_(["failed", "waiting", "unreached", "lost"])
        )
        .order_by(latest.c.id.desc())
        .limit(1)
    )
    return connection.execute(query).scalar()


def _rates(connection: Connection, now: float) -> dict[str, tuple[int, int]]:
    """Return destination → how many instances and bytes were delivered lately."""
    latest = sa.select(t.attempt).order_by(t.attempt.c.id.desc()).limit(_LATEST).subquery()
    query = (
        sa.select(t.delivery.c.destination, sa.func.count(), sa.func.coalesce(sa.func.sum(t.blob.c.size), 0))
        .select_from(latest)
        .join(t.delivery, t.delivery.c.id == latest.c.delivery)
        .outerjoin(t.blob, t.blob.c.name == t.delivery.c.blob)
        .where(latest.c.at > now - RATE_S, latest.c.outcome.in_(["delivered", "warning"]))
        .group_by(t.delivery.c.destination)
    )
    return {row[0]: (int(row[1]), int(row[2])) for row in connection.execute(query)}
