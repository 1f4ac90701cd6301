"""Carries out what scripts decide about all deliveries that wait for a destination, a few at a time, so that the writer stays free."""

from __future__ import annotations

from functools import partial

from sqlalchemy import Connection

from hostd.archive import handling
from hostd.archive.archive import Archive
from hostd.archive.handling import Deal
from hostd.archive.tasks import Task
from hostd.jobs.carrying import Done

QUEUE = "deliveries"
_AT_ONCE = 50


class Dealing:
    """Carries out the queue `deliveries`: `details` have the destination (`kind:name`), the verb, where to instead, and the event."""

    def __init__(self, archive: Archive) -> None:
        self._archive = archive

    def prepare(self, task: Task) -> Done:
        """Deal with all that wait. What was dealt with before a crash waits no more, so that nothing is dealt with twice."""
        details = task.details
        deal = Deal(details["verb"], details["to"], task.script, details["event"], task.action)
        dealt, last, after = 0, -1, 0
        while after != last:
            last = after
            some = partial(self._some, destination=details["destination"], deal=deal, after=last)
            done, after = self._archive.writer.do(some, topics=("delivery", "event"))
            dealt += done
        return Done({"outcome": details["verb"], "destination": details["destination"], "count": dealt})

    def _some(self, connection: Connection, *, destination: str, deal: Deal, after: int) -> tuple[int, int]:
        now = self._archive.clock.now()
        return handling.some_of(connection, destination, deal, now, after=after, limit=_AT_ONCE)
