"""The newest events, read once for all scripts: each of them asks after every event, and what one has read the others need too."""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Collection
from dataclasses import dataclass

from hostd.archive import events
from hostd.archive.archive import Archive
from hostd.archive.records import Event

_KEPT = 200
"""Events that are kept, with their headers of up to 50 kB. A script that is further behind reads the index itself."""


@dataclass(frozen=True, slots=True)
class News:
    """Events above a number, in order. With all that `is_more` says, the log was looked at up to event `upto`."""

    events: list[Event]
    upto: int
    is_more: bool


class Feed:
    """The end of the event log, for any thread."""

    def __init__(self, archive: Archive) -> None:
        self._archive = archive
        self._guard = threading.Lock()
        # What follows is for who holds `_guard`.
        self._kept: deque[Event] = deque()
        self._start = self._end = -1
        """Every event above the one and up to the other is kept."""
        self._told = -1
        """How often new events had been told of when the index was read."""

    def after(self, number: int, kinds: Collection[str], limit: int, *, script: str) -> News:
        """Return events of these kinds above `number`, those for all scripts and those for `script` alone, at most so many."""
        with self._guard:
            told = self._archive.bulletin.seen(
                "event"
            )  # before the question: what is told of after it is read next time
            if told != self._told:
                self._read_on()
                self._told = told
            if number < self._start:
                found = None
            else:
                found = [event for event in self._newer(number) if event.kind in kinds and events.is_for(event, script)]
                end = self._end
        if found is None:
            return self._from_index(number, kinds, limit, script)
        if len(found) > limit:
            found = found[:limit]
            return News(self._completed(found), found[-1].number, is_more=True)
        return News(self._completed(found), max(end, number), is_more=False)

    def _newer(self, number: int) -> list[Event]:
        newer: list[Event] = []
        for event in reversed(self._kept):
            if event.number <= number:
                break
            newer.append(event)
        newer.reverse()
        return newer

    def _read_on(self) -> None:
        with self._archive.read() as connection:
            new = events.above(connection, self._end, _KEPT + 1) if self._end >= 0 else None
            if new is None or len(new) > _KEPT:
                self._kept.clear()
                self._start = self._end = events.last_number(connection)
                return
        self._kept.extend(new)
        while len(self._kept) > _KEPT:
            self._start = self._kept.popleft().number
        if new:
            self._end = new[-1].number

    def _from_index(self, number: int, kinds: Collection[str], limit: int, script: str) -> News:
        with self._archive.read() as connection:
            newest = events.last_number(connection)
            found = events.after(connection, number, kinds, limit, script=script)
        if len(found) == limit:
            return News(found, found[-1].number, is_more=True)
        return News(found, max(newest, number), is_more=False)

    def _completed(self, found: list[Event]) -> list[Event]:
        if not any(map(events.is_incomplete, found)):
            return found
        with self._archive.read() as connection:
            return [events.complete(connection, event) for event in found]
