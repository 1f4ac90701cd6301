"""Figures of what was sent: attempts, bytes and seconds a destination, outcome and day. They are kept when the rows are purged."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

import sqlalchemy as sa
from sqlalchemy import Connection

from hostd.archive import tables as t

_DAY_S = 86_400
_ATTEMPT = "attempt"
SENT = ("delivered", "warning")
"""Outcomes whose bytes have arrived."""


@dataclass(frozen=True, slots=True)
class Figure:
    """How often a destination (`kind:name`) was tried with that outcome, how many bytes of stored files that were, and for how many seconds."""

    destination: str
    outcome: str
    attempts: int
    size: int
    seconds: float


def reckon(connection: Connection, *, limit: int = 2000) -> bool:
    """Add some attempts, that are not yet in them, to the figures; return whether there may be more."""
    upto = reckoned(connection)
    last = connection.execute(
        sa.select(sa.func.max(t.attempt.c.id)).where(
            t.attempt.c.id.in_(
                sa.select(t.attempt.c.id).where(t.attempt.c.id > upto).order_by(t.attempt.c.id).limit(limit)
            )
        )
    ).scalar()
    if last is None:
        return False
    day = sa.cast(t.attempt.c.at, sa.BigInteger) // _DAY_S
    for row in connection.execute(_grouped(upto, last, day)).all():
        key = {"destination": row.destination, "outcome": row.outcome, "day": int(row.day)}
        added = {"attempts": row.attempts, "bytes": int(row.size), "seconds": float(row.seconds)}
        where = sa.and_(*(t.figure.c[name] == value for name, value in key.items()))
        more = {name: t.figure.c[name] + value for name, value in added.items()}
        if connection.execute(sa.update(t.figure).where(where).values(**more)).rowcount == 0:
            connection.execute(sa.insert(t.figure).values(**key, **added))
    _note(connection, last)
    return True


def reckoned(connection: Connection) -> int:
    """Return the number of the last attempt that is in the figures."""
    return connection.execute(sa.select(t.reckoned.c.upto).where(t.reckoned.c.what == _ATTEMPT)).scalar() or 0


def totals(connection: Connection) -> list[Figure]:
    """Return the figures of all days, with the attempts that are not yet in them."""
    kept = sa.select(
        t.figure.c.destination,
        t.figure.c.outcome,
        sa.func.sum(t.figure.c.attempts),
        sa.func.sum(t.figure.c.bytes),
        sa.func.sum(t.figure.c.seconds),
    ).group_by(t.figure.c.destination, t.figure.c.outcome)
    found: dict[tuple[str, str], Figure] = {}
    newer = connection.execute(_grouped(reckoned(connection), None, sa.literal(0))).all()
    rows: Iterable[tuple[str, str, int, int, float]] = [
        *((str(r[0]), str(r[1]), int(r[2]), int(r[3]), float(r[4])) for r in connection.execute(kept)),
        *((r.destination, r.outcome, int(r.attempts), int(r.size), float(r.seconds)) for r in newer),
    ]
    for destination, outcome, attempts, size, seconds in rows:
        old = found.get((destination, outcome), Figure(destination, outcome, 0, 0, 0.0))
        found[destination, outcome] = Figure(
            destination, outcome, old.attempts + attempts, old.size + size, old.seconds + seconds
        )
    return sorted(found.values(), key=lambda one: (one.destination, one.outcome))


def _grouped(
    above: int, upto: int | None, day: sa.ColumnElement[int]
) -> sa.Select[tuple[str, str, int, int, int, float]]:
    named = day.label("day")
    query = (
        sa.select(
            t.delivery.c.destination,
            t.attempt.c.outcome,
            named,
            sa.func.count().label("attempts"),
            sa.func.coalesce(sa.func.sum(t.blob.c.size), 0).label("size"),
            sa.func.coalesce(sa.func.sum(t.attempt.c.seconds), 0.0).label("seconds"),
        )
        .select_from(t.attempt)
        .join(t.delivery, t.delivery.c.id == t.attempt.c.delivery)
        .outerjoin(t.blob, t.blob.c.name == t.delivery.c.blob)
        .where(t.attempt.c.id > above)
        .group_by(t.delivery.c.destination, t.attempt.c.outcome, named)
    )
    return query if upto is None else query.where(t.attempt.c.id <= upto)


def _note(connection: Connection, upto: int) -> None:
    where = t.reckoned.c.what == _ATTEMPT
    if connection.execute(sa.update(t.reckoned).where(where).values(upto=upto)).rowcount == 0:
        connection.execute(sa.insert(t.reckoned).values(what=_ATTEMPT, upto=upto))
