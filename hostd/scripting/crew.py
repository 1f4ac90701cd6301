"""The workers of a script at work: they take it through the event log, each in a thread of its own, events of one study in order (P2).

A crew begins where the index says that the script stands, and knows nothing else. When anything is in doubt it ends, and another begins.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import Future

import structlog
from sqlalchemy.exc import OperationalError

from hostd.archive import cursors, events
from hostd.archive.archive import Archive
from hostd.archive.records import Cursor, Event
from hostd.errors import StorageError
from hostd.scripting import lane as lanes
from hostd.scripting.interest import concerns
from hostd.scripting.lane import Lane
from hostd.scripting.window import Waiting, Window

_log = structlog.get_logger(__name__)

_BATCH = 64
_PASS_WITHIN_S = 0.05
"""Seconds for which the note that events were passed over waits for something else to be committed with."""


class Crew:
    """Begins at once. `handlers` and `handles` say what concerns the script; `on_trouble` is called once the crew cannot go on."""

    def __init__(
        self,
        archive: Archive,
        cursor: Cursor,
        crew: Sequence[Lane],
        handlers: Sequence[str],
        handles: Mapping[str, Sequence[str]] | None,
        on_trouble: Callable[[], None],
    ) -> None:
        self._archive = archive
        self._cursor = cursor
        self._lanes = crew
        self._handlers = handlers
        self._kinds = events.kinds_of(handlers)
        self._handles = handles
        self._on_trouble = on_trouble
        self.has_gone_on = False
        """Whether any event came to its end since it began."""
        self._ending = threading.Event()
        self._changed = threading.Condition()
        # What follows is for who holds `_changed`.
        self._window = Window(is_one=len(crew) == 1)
        self._looked_to = cursor.low_water
        self._is_more = True
        self._passed: list[Future[None]] = []
        self._trouble: BaseException | None = None
        self._threads = [
            threading.Thread(target=self._serve, args=(number,), name=f"script {cursor.script} {number}", daemon=True)
            for number in range(len(crew))
        ]
        for thread in self._threads:
            thread.start()

    @property
    def is_in_trouble(self) -> bool:
        """Whether it cannot go on; `end` tells why."""
        with self._changed:
            return self._trouble is not None

    def look(self) -> None:
        """Look for new events: some have come. Raises what reading the index raises."""
        with self._changed:
            self._fill()
            self._changed.notify_all()

    def end(self) -> None:
        """Let each worker end its run, and wait until all plans are committed or refused. Raises what the crew ended of, if it did."""
        with self._changed:
            self._ending.set()
            self._changed.notify_all()
        for thread in self._threads:
            thread.join()
        for commit in self._passed:
            commit.exception()
        if self._trouble is not None:
            raise self._trouble

    # -- the event log

    def _fill(self) -> None:
        """Take the next events of the log into the window, as many as there is room for; pass those that concern nobody."""
        self._check_passed()
        limit = min(_BATCH * len(self._lanes), self._window.room)
        if limit <= 0:
            self._is_more = True
            return
        with self._archive.read() as connection:
            newest = events.last_number(connection)
            batch = events.after(connection, self._looked_to, self._kinds, limit, script=self._cursor.script)
        first, unasked = self._looked_to + 1, 0
        for event in batch:
            if self._cursor.has_passed(event.number):
                continue
            if event.handler not in self._handlers or not concerns(self._handles, event):
                unasked += 1
                last = event.number
                continue
            if unasked:
                self._pass(first, last, unasked)
                first, unasked = last + 1, 0
            self._window.put(Waiting(event, first))
            first = event.number + 1
        if batch:
            newest = max(newest, batch[-1].number)
        self._is_more = len(batch) == limit
        upto = batch[-1].number if self._is_more else newest
        if upto >= first:
            self._pass(first, upto, unasked)
        self._looked_to = max(self._looked_to, upto)

    def _pass(self, first: int, last: int, unasked: int) -> None:
        """Move the cursor past events that do not concern the script; those that it does not handle by its own word are counted."""
        script, token = self._cursor.script, self._lanes[0].token
        unit = lambda c: cursors.pass_over(c, script, token, (first, last), skipped=unasked)  # noqa: E731 - a unit of the writer
        self._passed.append(self._archive.writer.submit(unit, within_s=_PASS_WITHIN_S))

    def _check_passed(self) -> None:
        for commit in [one for one in self._passed if one.done()]:
            self._passed.remove(commit)
            try:
                commit.result()
            except OperationalError as error:  # the disk
                raise StorageError(f"the index could not be written: {error}") from error

    # -- a worker's thread

    def _serve(self, number: int) -> None:
        lane = self._lanes[number]
        after = self._cursor.low_water
        try:
            while (waiting := self._next(number)) is not None:
                if not self._take(lane, waiting, after):
                    break  # the crew ends; the event waits for the next one
                after = waiting.event.number
            self._settle(lane, wait=True)
        except BaseException as error:  # noqa: BLE001 - it is raised by `end`
            with self._changed:
                self._trouble = self._trouble or error
                self._ending.set()
                self._changed.notify_all()
            lane.give_back()
            self._on_trouble()

    def _next(self, number: int) -> Waiting | None:
        """Return the next event for a worker; None when the crew ends."""
        lane = self._lanes[number]
        while True:
            self._settle(lane, wait=False)
            with self._changed:
                waiting = self._find(number)
            if waiting is not None or self._ending.is_set():
                return waiting
            self._settle(lane, wait=True)
            with self._changed:
                self._changed.wait_for(lambda: self._ending.is_set() or self._may_find(number))

    def _find(self, number: int) -> Waiting | None:
        if self._ending.is_set():
            return None
        found = self._window.take(number)
        while found is None and self._is_more and self._window.room > 0:
            self._fill()
            found = self._window.take(number)
        return found

    def _may_find(self, number: int) -> bool:
        return self._window.has_for(number) or (self._is_more and self._window.room > 0)

    def _take(self, lane: Lane, waiting: Waiting, after: int) -> bool:
        """Run an event until it is done or parked; False when the crew ends before."""
        pause = lanes.FIRST_PAUSE_S
        while not lane.attempt(waiting.event, after=after, first=waiting.first):
            if self._ending.wait(pause):
                return False
            pause = min(pause * 2, lanes.LONGEST_PAUSE_S)
        return True

    def _settle(self, lane: Lane, *, wait: bool) -> None:
        settled: list[Event] = lane.settle(wait=wait)
        if settled:
            self.has_gone_on = True
            with self._changed:
                for event in settled:
                    self._window.settle(event)
                self._changed.notify_all()
