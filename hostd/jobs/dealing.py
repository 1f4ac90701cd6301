"""Carries out what scripts decide about all deliveries that wait for a destination, a few at a time, so that the writer stays free."""

from __future__ import annotations

import time
from functools import partial

from sqlalchemy import Connection

from hostd.archive import handling
from hostd.archive.archive import Archive
from hostd.archive.handling import Deal
from hostd.archive.tasks import Task
from hostd.jobs.carrying import Done, NotYetError

QUEUE = "deliveries"
_AT_ONCE = 50
_PATIENCE_S = 2.0
"""Seconds that a task waits, before others have their turn, for what is being sent just when it is decided about all that waits."""
_LONGEST_PAUSE_S = 60.0
_TOPICS = ("delivery", "event")


class Dealing:
    """Carries out the queue `deliveries`: `details` have the destination (`kind:name`), the verb, where to instead, and the event.

    While a destination fails one delivery now and then is being sent, to see whether it still does. That one waits for it as the others do,
    so that the task ends only once that one was dealt with too, or has arrived.
    """

    def __init__(self, archive: Archive) -> None:
        self._archive = archive
        self._begun: dict[int, tuple[int, list[int]]] = {}
        """Task that is put off → how many it has dealt with, and what was being sent meanwhile."""

    def prepare(self, task: Task) -> Done:
        """Deal with all that wait. What was dealt with before a crash waits no more, so that nothing is dealt with twice.

        Raises `NotYetError` while something of it is being sent.
        """
        details = task.details
        deal = Deal(details["verb"], details["to"], task.script, details["event"], task.action)
        destination = details["destination"]
        begun = self._begun.pop(task.id, None)
        dealt, on_the_way = begun if begun is not None else self._all(destination, deal)
        came_back, on_the_way = self._await(on_the_way, deal)
        dealt += came_back
        if on_the_way:
            self._begun[task.id] = dealt, on_the_way
            reason = f"{len(on_the_way)} of the deliveries to {destination} are being sent just now"
            raise NotYetError(reason, min(float(task.attempts), _LONGEST_PAUSE_S))
        return Done({"outcome": details["verb"], "destination": destination, "count": dealt})

    def _all(self, destination: str, deal: Deal) -> tuple[int, list[int]]:
        """Deal with all that wait; return how many there were, and what was being sent."""
        dealt, last, after = 0, -1, 0
        sent: list[int] = []
        while after != last:
            last = after
            some = partial(self._some, destination=destination, deal=deal, after=last)
            done, after, on_the_way = self._archive.writer.do(some, topics=_TOPICS)
            dealt += done
            sent += on_the_way
        return dealt, sent

    def _await(self, on_the_way: list[int], deal: Deal) -> tuple[int, list[int]]:
        """Deal with what was being sent as soon as it waits again; return how many that were, and what is being sent still."""
        dealt, ends = 0, time.monotonic() + _PATIENCE_S
        while on_the_way and (left := ends - time.monotonic()) > 0:
            seen = self._archive.bulletin.seen("delivery")
            with self._archive.read() as connection:
                still = handling.on_the_way(connection, on_the_way)
            if len(still) == len(on_the_way):
                self._archive.bulletin.wait("delivery", seen, left)
                continue
            done, on_the_way = self._archive.writer.do(
                partial(self._come_back, numbers=on_the_way, deal=deal), topics=_TOPICS
            )
            dealt += done
        return dealt, on_the_way

    def _some(self, connection: Connection, *, destination: str, deal: Deal, after: int) -> tuple[int, int, list[int]]:
        now = self._archive.clock.now()
        return handling.some_of(connection, destination, deal, now, after=after, limit=_AT_ONCE)

    def _come_back(self, connection: Connection, *, numbers: list[int], deal: Deal) -> tuple[int, list[int]]:
        return handling.come_back(connection, numbers, deal, self._archive.clock.now())
