"""The workers of a script at work: they take it through the event log, each in a thread of its own, events of one study in order (P2).

A crew begins where the index says that the script stands, and knows nothing else. When anything is in doubt it ends, and another begins.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import Future

import structlog
from sqlalchemy import Connection
from sqlalchemy.exc import OperationalError

from hostd.archive import cursors, events
from hostd.archive.archive import Archive
from hostd.archive.records import Cursor, Event
from hostd.errors import StorageError
from hostd.scripting import lane as lanes
from hostd.scripting.bell import Bell
from hostd.scripting.feed import Feed
from hostd.scripting.interest import concerns
from hostd.scripting.lane import Lane
from hostd.scripting.notebook import Notebook
from hostd.scripting.window import Waiting, Window

_log = structlog.get_logger(__name__)

_BATCH = 64


class _Passing:
    """Events that concern nobody, and that one unit of the writer passes: all that follow one another until it begins."""

    def __init__(self, script: str, token: int, first: int, last: int, skipped: int) -> None:
        self._script, self._token = script, token
        self._first, self._last, self._skipped = first, last, skipped
        self._guard = threading.Lock()
        self._has_begun = False

    def add(self, first: int, last: int, skipped: int) -> bool:
        """Add what comes next; False when it does not, or when the writer is at it already."""
        with self._guard:
            if self._has_begun or first != self._last + 1:
                return False
            self._last, self._skipped = last, self._skipped + skipped
            return True

    def unit(self, connection: Connection) -> bool:
        """Note it."""
        with self._guard:
            self._has_begun = True
        span = self._first, self._last
        cursors.pass_over(connection, self._script, self._token, span, skipped=self._skipped)
        return False


class Crew:
    """Begins at once. `handlers` and `handles` say what concerns the script; `on_trouble` is called once the crew cannot go on.

    One that `hears` of new events by itself need not be told to `look`.
    """

    def __init__(
        self,
        archive: Archive,
        feed: Feed,
        notebook: Notebook,
        cursor: Cursor,
        crew: Sequence[Lane],
        handlers: Sequence[str],
        handles: Mapping[str, Sequence[str]] | None,
        on_trouble: Callable[[], None],
        *,
        hears: bool,
    ) -> None:
        self._archive = archive
        self._feed = feed
        self._notebook = notebook
        self._cursor = cursor
        self._lanes = crew
        self._handlers = handlers
        self._kinds = events.kinds_of(handlers)
        self._handles = handles
        self._on_trouble = on_trouble
        self._hears = hears
        self.has_gone_on = False
        """Whether any event came to its end since it began."""
        self._ending = threading.Event()
        self._woken = [Bell() for _ in crew]
        """Rung when a worker is to look again whether there is something for it."""
        self._is_news = False
        self._guard = threading.Lock()
        # What follows is for who holds `_guard`.
        self._window = Window(is_one=len(crew) == 1)
        self._looked_to = cursor.low_water
        self._is_more = True
        self._passing: _Passing | None = None
        self._passed: list[Future[bool]] = []
        self._trouble: BaseException | None = None
        for lane, woken in zip(crew, self._woken, strict=True):
            lane.on_commit = woken.ring
        if hears:
            archive.bulletin.follow("event", self.look)
        self._threads = [
            threading.Thread(target=self._serve, args=(number,), name=f"script {cursor.script} {number}", daemon=True)
            for number in range(len(crew))
        ]
        for thread in self._threads:
            thread.start()

    @property
    def is_in_trouble(self) -> bool:
        """Whether it cannot go on; `end` tells why."""
        with self._guard:
            return self._trouble is not None

    def end(self) -> None:
        """Let each worker end its run, and wait until all plans are committed or refused. Raises what the crew ended of, if it did."""
        if self._hears:
            self._archive.bulletin.unfollow("event", self.look)
        self._ending.set()
        self._wake()
        for thread in self._threads:
            thread.join()
        self._notebook.hurry()
        for commit in self._passed:
            commit.exception()
        if self._trouble is not None:
            raise self._trouble

    def look(self) -> None:
        """Look for new events: some have come."""
        self._is_news = True
        self._wake()

    def _wake(self) -> None:
        for woken in self._woken:
            woken.ring()

    # -- the event log

    def _fill(self) -> None:
        """Take the next events of the log into the window, as many as there is room for; pass those that concern nobody."""
        self._check_passed()
        limit = min(_BATCH * len(self._lanes), self._window.room)
        if limit <= 0:
            return
        self._is_news = False  # before the question: what comes after it is looked for again
        news = self._feed.after(self._looked_to, self._kinds, limit, script=self._cursor.script)
        first, unasked = self._looked_to + 1, 0
        for event in news.events:
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
        self._is_more = news.is_more
        if news.upto >= first:
            self._pass(first, news.upto, unasked)
        self._looked_to = news.upto

    def _is_to_fill(self) -> bool:
        return (self._is_more or self._is_news) and self._window.room > 0

    def _pass(self, first: int, last: int, unasked: int) -> None:
        """Move the cursor past events that do not concern the script; those that it does not handle by its own word are counted."""
        if self._passing is None or not self._passing.add(first, last, unasked):
            self._passing = _Passing(self._cursor.script, self._lanes[0].token, first, last, unasked)
            self._passed.append(self._notebook.enter(self._passing.unit))

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
                if not self._take(lane, waiting, after, at_once=not self._has_more(number)):
                    break  # the crew ends; the event waits for the next one
                after = waiting.event.number
            self._settle(lane, wait=True)
        except BaseException as error:  # noqa: BLE001 - it is raised by `end`
            with self._guard:
                self._trouble = self._trouble or error
            self._ending.set()
            self._wake()
            lane.give_back()
            self._on_trouble()

    def _next(self, number: int) -> Waiting | None:
        """Return the next event for a worker; None when the crew ends."""
        lane, woken = self._lanes[number], self._woken[number]
        while True:
            woken.hush()
            self._settle(lane, wait=False)
            with self._guard:
                waiting = self._find(number)
            if waiting is not None or self._ending.is_set():
                return waiting
            woken.wait()

    def _find(self, number: int) -> Waiting | None:
        if self._ending.is_set():
            return None
        found = self._window.take(number)
        while found is None and self._is_to_fill():
            self._fill()
            found = self._window.take(number)
        return found

    def _has_more(self, number: int) -> bool:
        with self._guard:
            return self._window.has_for(number)

    def _take(self, lane: Lane, waiting: Waiting, after: int, *, at_once: bool) -> bool:
        """Run an event until it is done or parked; False when the crew ends before."""
        pause = lanes.FIRST_PAUSE_S
        while not lane.attempt(waiting.event, after=after, first=waiting.first, at_once=at_once):
            if self._ending.wait(pause):
                return False
            pause = min(pause * 2, lanes.LONGEST_PAUSE_S)
        return True

    def _settle(self, lane: Lane, *, wait: bool) -> None:
        settled: list[Event] = lane.settle(wait=wait)
        if settled:
            self.has_gone_on = True
            with self._guard:
                for event in settled:
                    self._window.settle(event)
            if len(self._lanes) > 1:
                self._wake()
