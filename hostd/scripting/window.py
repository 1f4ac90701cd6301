"""What of the event log is before the workers of a script: which event may be taken next, so that those of one study stay in order.

Values only: no thread, no index.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass

from hostd.archive.records import Event

MOST = 1000
"""Events that wait here at most. Behind a study that is stuck so many of its own may wait before others are held up."""


@dataclass(frozen=True, slots=True)
class Waiting:
    """An event that is to be taken. With it all are passed from `first` on: what is between concerns nobody."""

    event: Event
    first: int


class Window:
    """Events in the order of the log. `is_one` when one worker takes all of them, in that order."""

    def __init__(self, *, is_one: bool) -> None:
        self._is_one = is_one
        self._waiting: list[Waiting] = []
        self._held_by: dict[str, int] = {}
        self._unsettled: Counter[str] = Counter()

    @property
    def room(self) -> int:
        """How many more events may wait here."""
        return MOST - len(self._waiting)

    def put(self, waiting: Waiting) -> None:
        """Add the next event of the log."""
        self._waiting.append(waiting)

    def take(self, lane: int) -> Waiting | None:
        """Return the first event that worker may take, None when there is none: what belongs to a study that another one is at has to wait."""
        for place, waiting in enumerate(self._waiting):
            key = self._key(waiting.event)
            if self._held_by.setdefault(key, lane) == lane:
                self._unsettled[key] += 1
                del self._waiting[place]
                return waiting
        return None

    def has_for(self, lane: int) -> bool:
        """Tell whether there is an event that worker may take."""
        return any(self._held_by.get(self._key(waiting.event), lane) == lane for waiting in self._waiting)

    def settle(self, event: Event) -> None:
        """Note that an event that was taken is done, and that this is committed."""
        key = self._key(event)
        self._unsettled[key] -= 1
        if not self._unsettled[key]:
            del self._unsettled[key], self._held_by[key]

    def _key(self, event: Event) -> str:
        return "" if self._is_one else event.study or event.subject
