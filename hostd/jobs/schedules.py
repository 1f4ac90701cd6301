"""Raises the events of schedules: functions of scripts that run by the clock.

What is due, and when, are rows; this thread holds nothing. What became due while no node ran is told when one starts, once however
often it was missed (P2); of several nodes that notice it, the index lets one tell it.
"""

from __future__ import annotations

from functools import partial

import structlog
from sqlalchemy import Connection

from hostd.archive import schedules
from hostd.archive.archive import Archive
from hostd.archive.schedules import Schedule
from hostd.archive.turning import Turning
from hostd.jobs.timetable import Timetable

_log = structlog.get_logger(__name__)

_LONGEST_S = 30.0
"""The longest pause: clocks are set."""
_BUSY_S = 1.0
"""The pause while the script of something that is due is busy."""
_SHORTEST_S = 0.02
_AGAIN_S = 1.0


class Schedules(Turning):
    """Looks at what is due, in a thread of its own."""

    def __init__(self, archive: Archive, timetable: Timetable) -> None:
        super().__init__(archive.bulletin, schedules.TOPIC, "schedules")
        self._archive = archive
        self._timetable = timetable
        self._looked_at = archive.clock.now()

    def look(self) -> int:
        """Tell what is due by the archive's clock; return how many events came of it."""
        now = self._archive.clock.now()
        if now < self._looked_at:
            self._archive.writer.do(partial(_correct, timetable=self._timetable, now=now))
        self._looked_at = now
        return tell_due(self._archive, self._timetable)

    def failed(self) -> float:
        """Log it; what is due stays due, and the next turn tells it."""
        _log.exception("schedules could not be told; hostd tries again")
        return _AGAIN_S

    def turn(self) -> float:
        """Tell what is due; return for how many seconds nothing is."""
        self.look()
        now = self._archive.clock.now()
        with self._archive.read() as connection:
            due_at = schedules.next_due(connection)
        if due_at is None:
            return _LONGEST_S
        if due_at <= now:  # it waits for its last event, or was told just now
            return _BUSY_S
        return min(max(due_at - now, _SHORTEST_S), _LONGEST_S)


def tell_due(archive: Archive, timetable: Timetable) -> int:
    """Raise the event of every schedule that is due by the archive's clock; return how many."""
    now = archive.clock.now()
    with archive.read() as connection:
        found = schedules.due(connection, now)
    told = [_tell(archive, timetable, one, now) for one in found]
    return sum(told)


def _tell(archive: Archive, timetable: Timetable, one: Schedule, now: float) -> bool:
    assert one.due_at is not None, "it is due"
    next_at = timetable.next_due(one.timing, one.due_at, now)
    number = archive.writer.do(lambda c: schedules.tell(c, one, next_at, now), topics=("event",))
    return number is not None


def _correct(connection: Connection, *, timetable: Timetable, now: float) -> None:
    """Let nothing wait for a time that is further away than it ever is, since the clock was set back."""
    for one in schedules.known(connection):
        if one.due_at is not None and one.due_at > now:
            schedules.correct(connection, one, now, timetable.next_after)
