"""What filters did: rows beside the event log, so that what was discarded, changed or turned away by a failure can be told (P1).

Each is an event that no script handles, with the header as received, and a run for each filter that did, said or failed something.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal

import sqlalchemy as sa
from sqlalchemy import Connection

from hostd.archive import events, rows
from hostd.archive import tables as t
from hostd.archive.records import Origin

Kind = Literal["filtered_instance", "discarded_instance", "refused_instance", "filtered_outgoing", "refused_request"]
VERBS = ("accept", "discard")
"""Verbs of actions that are a filter's: they route nothing."""
_AGAIN_S = 3600.0
"""Seconds in which the same failure on the same instance, which its sender tries again and again, is one row."""


@dataclass(frozen=True, slots=True)
class FilterRun:
    """One filter that was asked. `verb` is what it did, None when it let all pass; `outcome` is done or failed."""

    script: str
    version: str
    outcome: Literal["done", "failed"]
    verb: Literal["accept", "discard"] | None
    inputs: dict[str, Any]
    tags_read: tuple[str, ...]
    log: tuple[tuple[str, str], ...]
    error: str | None
    at: float
    seconds: float

    @property
    def is_worth_a_row(self) -> bool:
        """Whether it did, said or failed something."""
        return bool(self.verb or self.log or self.error)


@dataclass(frozen=True, slots=True)
class Filtering:
    """What filters made of one instance, or request: `header` is the encoded one as received, `content` the SHA-256 of its data set."""

    kind: Kind
    header: bytes | None
    content: str | None
    origin: Origin | None
    at: float
    runs: tuple[FilterRun, ...]


def enter(connection: Connection, filtering: Filtering, subject: str) -> None:
    """Enter what filters did, in the caller's transaction; `subject` is the instance's identifier, or the script's name.

    A discard always leaves its row. Otherwise nothing is entered where no filter did, said or failed anything new.
    """
    runs = [run for run in filtering.runs if run.is_worth_a_row and not _is_known(connection, filtering, subject, run)]
    if not runs:
        return
    event = events.append(
        connection, filtering.kind, subject, filtering.at,
        content=filtering.content, header=filtering.header, origin=filtering.origin,
    )  # fmt: skip
    for run in runs:
        _enter_run(connection, event, run)


def _enter_run(connection: Connection, event: int, run: FilterRun) -> None:
    number = rows.insert(
        connection, t.run,
        script=run.script, version=run.version, event=event, outcome=run.outcome, tags_read=list(run.tags_read),
        log=[list(line) for line in run.log], error=run.error, at=run.at, seconds=run.seconds,
    )  # fmt: skip
    if run.verb is not None:
        rows.insert(
            connection, t.action,
            run=number, script=run.script, event=event, position=0, verb=run.verb, inputs=run.inputs, state="done",
        )  # fmt: skip


def _is_known(connection: Connection, filtering: Filtering, subject: str, run: FilterRun) -> bool:
    """Tell whether that version of the script failed on the same thing a short while ago."""
    if run.outcome != "failed":
        return False
    query = (
        sa.select(t.run.c.id)
        .join(t.event, t.event.c.number == t.run.c.event)
        .where(
            t.event.c.subject == subject,
            t.event.c.kind == filtering.kind,
            t.event.c.at > filtering.at - _AGAIN_S,
            t.run.c.script == run.script,
            t.run.c.version == run.version,
            t.run.c.outcome == "failed",
            t.run.c.error == run.error,
        )
    )
    return connection.execute(query.limit(1)).first() is not None
