"""The small durable store of each script: one value, read by a run and committed with its plan, or not at all (P2)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import sqlalchemy as sa
from sqlalchemy import Connection

from hostd.archive import tables as t
from hostd.archive.scripts import StaleTokenError


class StateConflictError(StaleTokenError):
    """Another run of the script has changed its state meanwhile: this one is discarded, and its event is run again."""


@dataclass(frozen=True, slots=True)
class State:
    """What a script keeps. `version` counts its changes."""

    version: int
    value: dict[str, Any]


def get(connection: Connection, script: str) -> State:
    """Return what a script keeps, nothing when it never kept anything."""
    row = connection.execute(sa.select(t.script_state).where(t.script_state.c.script == script)).first()
    return State(row.version, row.value) if row else State(0, {})


def put(connection: Connection, script: str, value: dict[str, Any], *, over: int) -> None:
    """Keep a value in the place of that version. Raises `StateConflictError` when there is another by now."""
    values = {"version": over + 1, "value": value}
    if over == 0 and get(connection, script).version == 0:
        connection.execute(sa.insert(t.script_state).values(script=script, **values))
        return
    same = t.script_state.c.script == script, t.script_state.c.version == over
    if connection.execute(sa.update(t.script_state).where(*same).values(**values)).rowcount != 1:
        raise StateConflictError(
            f"{script}: another run has changed its state; this one is discarded, and is done again"
        )
