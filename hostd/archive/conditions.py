"""What is amiss: a row a thing, so that its beginning and its end are told once each, over restarts too."""

from __future__ import annotations

from dataclasses import dataclass

import sqlalchemy as sa
from sqlalchemy import Connection

from hostd.archive import tables as t


@dataclass(frozen=True, slots=True)
class Condition:
    """How a thing is, since when (seconds since 1970 UTC) and, while it is amiss or afterwards, why it was."""

    name: str
    is_amiss: bool
    since: float
    reason: str


def get(connection: Connection, name: str) -> Condition | None:
    """Return how that thing is; None when nothing was ever noted of it."""
    row = connection.execute(sa.select(t.condition).where(t.condition.c.name == name)).first()
    return Condition(row.name, row.is_amiss, row.since, row.reason) if row else None


def amiss(connection: Connection) -> list[Condition]:
    """Return what is amiss now, the longest first."""
    query = sa.select(t.condition).where(t.condition.c.is_amiss).order_by(t.condition.c.since)
    return [Condition(row.name, row.is_amiss, row.since, row.reason) for row in connection.execute(query)]


def begin(connection: Connection, name: str, reason: str, now: float) -> bool:
    """Note that a thing is amiss; return whether it was not before."""
    known = get(connection, name)
    if known is not None and known.is_amiss:
        return False
    note(connection, Condition(name, True, now, reason))
    return True


def end(connection: Connection, name: str, now: float) -> Condition | None:
    """Note that a thing is well again; return how it was, None when it was not amiss."""
    known = get(connection, name)
    if known is None or not known.is_amiss:
        return None
    note(connection, Condition(name, False, now, known.reason))
    return known


def note(connection: Connection, condition: Condition) -> None:
    """Write how a thing is."""
    values = {"is_amiss": condition.is_amiss, "since": condition.since, "reason": condition.reason}
    where = t.condition.c.name == condition.name
    if connection.execute(sa.update(t.condition).where(where).values(**values)).rowcount == 0:
        connection.execute(sa.insert(t.condition).values(name=condition.name, **values))
