"""Quiet time: tells a series, study or patient as stable when nothing more of it has come for its time.

What is waited for, and until when, are rows; this thread holds nothing. A node that was down tells what became due meanwhile when it
starts, once (P2).
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence
from functools import partial

import structlog
from sqlalchemy import Connection

from hostd.archive import levels
from hostd.archive.archive import Archive
from hostd.archive.levels import Due
from hostd.archive.quieting import TOPIC
from hostd.archive.turning import Turning

_log = structlog.get_logger(__name__)

_CHUNK = 20
"""Levels told in one unit of the writer."""
_LONGEST_S = 30.0
_SHORTEST_S = 0.02
_BUSY_S = 0.5
"""The pause while what is due waits for its transcodes."""
_AGAIN_S = 5.0


class QuietTime(Turning):
    """Looks at what is due, in a thread of its own. `shortest_s` gives the shortest quiet time: nothing that comes is due sooner."""

    def __init__(self, archive: Archive, *, shortest_s: Callable[[], float]) -> None:
        super().__init__(archive.bulletin, TOPIC, "quiet time")
        self._archive = archive
        self._shortest_s = shortest_s

    def tell_due(self) -> int:
        """Tell what is due by the archive's clock; return how many events came of it."""
        return tell_due(self._archive, self._closing)

    def failed(self) -> float:
        """Log it; what is due stays due, and the next turn tells it."""
        _log.exception("stable series, studies and patients could not be told; hostd tries again")
        return _AGAIN_S

    def turn(self) -> float:
        """Tell what is due; return for how many seconds nothing is."""
        self.tell_due()
        with self._archive.read() as connection:
            due_at = levels.next_due(connection)
        now, longest_s = self._archive.clock.now(), min(self._shortest_s(), _LONGEST_S)
        if due_at is None:
            return longest_s
        if due_at <= now:
            return _BUSY_S
        return min(max(due_at - now, _SHORTEST_S), longest_s)


def tell_due(archive: Archive, stopping: threading.Event | None = None) -> int:
    """Tell every level whose quiet time has ended by the archive's clock; return how many events came of it."""
    told = 0
    while stopping is None or not stopping.is_set():
        now = archive.clock.now()
        with archive.read() as connection:
            due = levels.due(connection, now, limit=_CHUNK)
        if not due:
            break
        told += archive.writer.do(partial(_tell, due=due, at=now), topics=("event",))
    return told


def _tell(connection: Connection, *, due: Sequence[Due], at: float) -> int:
    return sum(levels.tell_stable(connection, one, at) is not None for one in due)
