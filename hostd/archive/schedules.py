"""Schedules: the functions of scripts that run by the clock, a row each, and the events that they raise.

When one is due next is worked out by the caller; here it is made sure that one due time gives one event, whoever notices it (P2).
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any

import sqlalchemy as sa
from sqlalchemy import Connection, Row

from hostd.archive import events, scripts
from hostd.archive import tables as t
from hostd.archive.records import SCHEDULE

TOPIC = "schedule"
"""Is rung when a script has other schedules."""
_RESTS = 1e11
"""Seconds since 1970 UTC at which what never comes again is due: the year 5138."""


@dataclass(frozen=True, slots=True)
class Timing:
    """When a function is to run: every so many seconds, or by a cron expression; one of them is None."""

    every_s: float | None
    cron: str | None

    @property
    def words(self) -> str:
        """When it runs, in words; also what tells two schedules of one function apart."""
        return f"every {self.every_s:g} s" if self.every_s is not None else f"at {self.cron}"


@dataclass(frozen=True, slots=True)
class Schedule:
    """A function of a script that runs by the clock. `due_at` is None for what never comes again, `told_at` before the first time."""

    script: str
    function: str
    timing: Timing
    due_at: float | None
    told_at: float | None
    event: int | None
    """The number of its last event."""


Next = Callable[[Timing, float], float | None]
"""Returns the first time of a timing after another time, None when there is none."""


def renew(
    connection: Connection, script: str, wanted: Iterable[tuple[str, Timing]], now: float, next_after: Next
) -> None:
    """Have a script's schedules be these: (function, timing) each. One that it had before keeps its time, also a time that was missed."""
    before = {(one.function, one.timing.words): one for one in of_script(connection, script)}
    for function, timing in dict.fromkeys(wanted):
        known = before.pop((function, timing.words), None)
        if known is None:
            connection.execute(
                sa.insert(t.schedule).values(
                    script=script,
                    function=function,
                    words=timing.words,
                    every_s=timing.every_s,
                    cron=timing.cron,
                    due_at=_stored(next_after(timing, now)),
                )
            )
        elif known.due_at is None or known.due_at > now:
            correct(connection, known, now, next_after)
    for gone in before.values():
        connection.execute(sa.delete(t.schedule).where(*_is(gone)))


def correct(connection: Connection, known: Schedule, now: float, next_after: Next) -> None:
    """Work out anew when something not yet due is: the time zone may be another one, or the clock have been set back."""
    due_at = next_after(known.timing, now)
    if known.timing.every_s is not None and known.due_at is not None and due_at is not None:
        due_at = min(known.due_at, due_at)  # it keeps its distance over a restart
    connection.execute(sa.update(t.schedule).where(*_is(known)).values(due_at=_stored(due_at)))


def of_script(connection: Connection, script: str) -> list[Schedule]:
    """Return the schedules of a script, by what is due next."""
    return [one for one in known(connection) if one.script == script]


def known(connection: Connection) -> list[Schedule]:
    """Return all schedules, by what is due next."""
    query = sa.select(t.schedule).order_by(t.schedule.c.due_at, t.schedule.c.script, t.schedule.c.function)
    return [_schedule(row) for row in connection.execute(query)]


def due(connection: Connection, now: float) -> list[Schedule]:
    """Return what is to be told: its time has come, its script runs, and its last event is done."""
    query = (
        sa.select(t.schedule)
        .join(t.script, t.script.c.name == t.schedule.c.script)
        .where(t.schedule.c.due_at <= now, t.script.c.state == "running")
        .order_by(t.schedule.c.due_at, t.schedule.c.script, t.schedule.c.function)
    )
    found = [_schedule(row) for row in connection.execute(query)]
    cursors = {one.script: scripts.get_cursor(connection, one.script) for one in found if one.event is not None}
    return [one for one in found if one.event is None or cursors[one.script].has_passed(one.event)]


def next_due(connection: Connection) -> float | None:
    """Return when something of a script that runs is due next, overdue or not; None when nothing is."""
    query = (
        sa.select(sa.func.min(t.schedule.c.due_at))
        .join(t.script, t.script.c.name == t.schedule.c.script)
        .where(t.script.c.state == "running")
    )
    found: float | None = connection.execute(query).scalar()
    return found


def tell(connection: Connection, one: Schedule, next_at: float | None, now: float) -> int | None:
    """Raise the event of something that is due, and note when it is due next; return the event's number.

    None when somebody else has told that time, or the script runs no more.
    """
    is_mine = connection.execute(
        sa.update(t.schedule)
        .where(*_is(one), t.schedule.c.due_at == one.due_at, t.schedule.c.script.in_(_RUNNING))
        .values(due_at=_stored(next_at), told_at=now)
    )
    if is_mine.rowcount != 1:
        return None
    facts = {"function": one.function, "schedule": one.timing.words, "due_at": one.due_at}
    number = events.append(connection, SCHEDULE, one.script, now, facts=facts, only_for=one.script)
    connection.execute(sa.update(t.schedule).where(*_is(one)).values(event=number))
    return number


_RUNNING = sa.select(t.script.c.name).where(t.script.c.state == "running")


def _is(one: Schedule) -> tuple[sa.ColumnElement[bool], ...]:
    c = t.schedule.c
    return c.script == one.script, c.function == one.function, c.words == one.timing.words


def _stored(due_at: float | None) -> float:
    return _RESTS if due_at is None else due_at


def _schedule(row: Row[Any]) -> Schedule:
    due_at = None if row.due_at >= _RESTS else row.due_at
    return Schedule(row.script, row.function, Timing(row.every_s, row.cron), due_at, row.told_at, row.event)


__all__ = ["TOPIC", "Next", "Schedule", "Timing", "correct", "due", "known", "next_due", "of_script", "renew", "tell"]
