"""Ending the quiet time of a series, study or patient before it is over, because a script knows that nothing more will come."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import sqlalchemy as sa
from sqlalchemy import Connection

from hostd.archive import levels
from hostd.archive import tables as t
from hostd.archive.fanout import Many
from hostd.archive.levels import LEVELS

TOPIC = "stable"
"""Is rung when a quiet time is ended before its time."""


@dataclass(frozen=True, slots=True)
class PlannedStable:
    """A level that is to be told as stable, with what is below it."""

    position: int
    inputs: dict[str, Any]
    of: Many


def declare(connection: Connection, of: Many, at: float) -> tuple[str, dict[str, Any]]:
    """End the quiet time of a level and of those below it; return the action's state and result."""
    mine = t.stable.c.level == of.level, t.stable.c.id == of.id
    due_at = connection.execute(sa.select(t.stable.c.due_at).where(*mine)).scalar()
    if due_at is None:
        return "skipped", {"reason": f"nothing of the {of.level} came since it was last told as stable"}
    for level in LEVELS[: LEVELS.index(of.level) + 1]:  # LEVELS begins with the lowest
        within = sa.select(levels.column(level)).where(levels.column(of.level) == of.id)
        waits = t.stable.c.level == level, t.stable.c.id.in_(within), t.stable.c.due_at > at
        connection.execute(sa.update(t.stable).where(*waits).values(due_at=at))
    return "done", {"level": of.level, "id": of.id}
