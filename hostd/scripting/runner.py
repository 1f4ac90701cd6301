"""One script: its worker, its cursor, and the thread that takes it through the event log (P2)."""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence
from concurrent.futures import Future, wait
from dataclasses import dataclass, replace
from typing import Any

import structlog
from sqlalchemy import Connection
from sqlalchemy.exc import OperationalError

from hostd.archive import events, occurrences, plans, schedules, scripts
from hostd.archive.archive import Archive
from hostd.archive.marks import PlannedMark
from hostd.archive.notices import PlannedNotify
from hostd.archive.plans import Plan, PlannedDelete
from hostd.archive.records import Cursor, Event
from hostd.archive.schedules import Timing
from hostd.archive.scripts import KnownScript, StaleTokenError, Version
from hostd.archive.usage import QuotaError
from hostd.errors import ScriptError, StorageError
from hostd.jobs.timetable import Timetable
from hostd.scripting.execution import Rules, execute
from hostd.scripting.interest import concerns
from hostd.scripting.runtime import ScriptWorker

_log = structlog.get_logger(__name__)

_BATCH = 64
_FIRST_PAUSE_S = 0.5
_LONGEST_PAUSE_S = 60.0


@dataclass(frozen=True, slots=True)
class Candidate:
    """A version of a script that compiled and was loaded in a worker of its own."""

    version: Version
    worker: ScriptWorker


@dataclass(frozen=True, slots=True)
class _Order:
    """What the runner is told: run this version from now on, or, with None, stop, for the file is gone or the script is disabled."""

    candidate: Candidate | None
    is_gone: bool = False

    def drop(self) -> None:
        if self.candidate is not None:
            self.candidate.worker.stop()


@dataclass(frozen=True, slots=True)
class _Entered:
    """A plan in the hands of the writer. `after` is where the cursor is to stand before, None for an event out of order."""

    plan: Plan
    after: int | None
    commit: Future[bool]


class Runner:
    """Takes one script through the event log, one event after another, in one thread as long as the node runs.

    Runs never overlap, because all versions run in this thread: a new one waits until the current run has ended or was killed by its
    limit. Then the cursor's token moves, and nothing of the former version can be committed any more.
    """

    def __init__(
        self,
        name: str,
        archive: Archive,
        rules: Rules,
        load_version: Callable[[Version], ScriptWorker],
        timetable: Timetable,
    ) -> None:
        self.name = name
        self._archive = archive
        self._rules = rules
        self._load_version = load_version
        self._timetable = timetable
        self._log = _log.bind(script=name)
        self._guard = threading.Lock()
        self._wanted: str | None = None
        self._order: _Order | None = None
        self._stopping = False
        self._pause = threading.Event()
        # What follows belongs to the thread.
        self._doing: _Order | None = None
        self._running: Candidate | None = None
        self._is_lost = False
        self._start_is_due = False
        self._is_unsure = False
        self._token = 0
        self._position = 0
        self._thread = threading.Thread(target=self._serve, name=f"script {name}", daemon=True)
        self._thread.start()

    # -- from other threads

    @property
    def version(self) -> str | None:
        """The hash of the version that is to run, None when there is none."""
        with self._guard:
            return self._wanted

    def offer(self, candidate: Candidate) -> None:
        """Hand over a version that takes the place of the running one after the current run."""
        self._tell(_Order(candidate))

    def leave(self) -> None:
        """Let the current run end, run `on_stop`, and rest: the file is gone. The cursor stays, and `offer` goes on from there."""
        self._tell(_Order(None, is_gone=True))

    def rest(self) -> None:
        """Let the current run end, run `on_stop`, and rest: the script is disabled. `offer` goes on from there."""
        self._tell(_Order(None))

    def stop(self) -> None:
        """Let the current run end, then end: the node stops. The version goes on at the next start."""
        self._stopping = True
        self._wake()

    def join(self) -> None:
        """Wait until the thread has ended."""
        self._thread.join()

    def _tell(self, order: _Order) -> None:
        with self._guard:
            replaced, self._order = self._order, order
            self._wanted = order.candidate.version.hash if order.candidate else None
        if replaced is not None:
            replaced.drop()
        self._wake()

    def _wake(self) -> None:
        self._pause.set()
        self._archive.bulletin.ring("event")

    # -- the thread

    def _serve(self) -> None:
        pause = _FIRST_PAUSE_S
        while True:
            seen = self._archive.bulletin.seen(
                "event"
            )  # before the question: what is rung after it ends the wait below
            if self._stopping:
                break
            try:
                if not self._step():
                    self._archive.bulletin.wait("event", seen, None)
                pause = _FIRST_PAUSE_S
                continue
            except StaleTokenError as error:
                self._log.warning("runs were discarded", reason=str(error))
            except StorageError as error:
                self._log.error(
                    "the index could not be written; what was not committed is done again", reason=str(error)
                )
            except ScriptError as error:
                self._log.error("the script's worker cannot be started; its events wait", reason=str(error))
            except Exception:  # noqa: BLE001 - a thread that must not end
                self._log.exception("the script's runner failed; it goes on")
            self._is_unsure = True
            self._rest(pause)
            pause = min(pause * 2, _LONGEST_PAUSE_S)
        with self._guard:
            order, self._order = self._order, None
        for left in (order, self._doing, _Order(self._running)):
            if left is not None:
                left.drop()

    def _step(self) -> bool:
        """Do what comes next; return whether there may be more to do at once."""
        if self._is_unsure:
            self._resume()
            self._is_unsure = False
        if self._is_told():
            self._take_over()
            return True
        if self._running is None:
            return False
        if self._start_is_due:
            self._start()
            return True
        return self._work()

    def _is_told(self) -> bool:
        with self._guard:
            return self._order is not None or self._doing is not None

    def _rest(self, seconds: float, *, unless_told: bool = False) -> None:
        self._pause.clear()
        if not (self._stopping or (unless_told and self._is_told())):
            self._pause.wait(seconds)

    def _resume(self) -> None:
        """Go back to where the index says that the script stands."""
        with self._archive.read() as connection:
            known = scripts.find(connection, self.name)
        self._position = known.cursor.low_water if known else 0
        if self._running is not None and (known is None or known.cursor.token != self._token):
            self._stand_down()
            if not self._is_told():
                self._log.error("another holder has this script's cursor; it is left to it")
                self._want_none()

    def _want_none(self) -> None:
        """Say that no version is to run, unless another order came."""
        with self._guard:
            if self._order is None:
                self._wanted = None

    def _stand_down(self) -> None:
        if self._running is not None:
            self._running.worker.stop()
        self._running = None
        self._is_lost = self._start_is_due = False

    # -- from version to version

    def _take_over(self) -> None:
        """Retire the running version, then start the one that was ordered, if any."""
        self._claim()
        assert self._doing is not None
        candidate, is_gone = self._doing.candidate, self._doing.is_gone
        with self._archive.read() as connection:
            known = scripts.find(connection, self.name)
        assert known is not None, "a script is met before it is run"
        if candidate is not None and candidate.version.hash == known.parked:  # the folder was looked at just before
            self._doing.drop()
            self._doing = None
            self._stand_down()
            self._want_none()
            return
        changes = candidate is None or candidate.version.hash != known.version
        if known.state == "running" and changes and not self._retire(known):
            return  # the node stops in between: the next start does it
        now = self._archive.clock.now()
        if candidate is None:
            if not is_gone:
                self._archive.writer.do(lambda c: scripts.rest(c, self.name, now))
                self._log.info("script is disabled; its events wait")
            elif known.absent_since is None:
                self._archive.writer.do(lambda c: scripts.vanish(c, self.name, now))
                self._log.info("script is gone; its place in the event log is kept")
            self._stand_down()
        else:
            cursor, is_new = self._archive.writer.do(lambda c: self._accept(c, candidate, now))
            self._stand_down()
            self._running, self._start_is_due = candidate, True
            self._token, self._position = cursor.token, cursor.low_water
            handlers = list(candidate.version.handlers)
            self._log.info("script runs", version=candidate.version.hash[:12], new=is_new, handlers=handlers)
        self._doing = None

    def _accept(self, connection: Connection, candidate: Candidate, now: float) -> tuple[Cursor, bool]:
        wanted = [(one.function, Timing(one.every_s, one.cron)) for one in candidate.worker.ready.schedules]
        accepted = scripts.accept(connection, self.name, candidate.version, now)
        schedules.renew(connection, self.name, wanted, now, self._timetable.next_after)
        return accepted

    def _claim(self) -> None:
        """Take the newest order; one that was begun and not ended gives way to it."""
        given_up: _Order | None = None
        with self._guard:
            if self._order is not None:
                given_up, self._doing, self._order = self._doing, self._order, None
        if given_up is not None:
            given_up.drop()

    def _retire(self, known: KnownScript) -> bool:
        """Run `on_stop` of the version that ends, wherever its cursor stands; return whether it is over and done with."""
        assert known.version is not None, "only what was accepted runs"
        if "on_stop" not in known.handlers:
            return True
        with self._archive.read() as connection:
            begun = events.last_own(connection, "start", self.name, known.version)
            stop = events.last_own(connection, "stop", self.name, known.version)
            version = scripts.get_version(connection, self.name, known.version)
        if stop is not None and (
            begun is None or stop.number > begun.number
        ):  # hostd ended between on_stop and the next
            if known.cursor.has_passed(stop.number):
                return True
        else:
            stop = self._announce_stop(known.version)
        try:
            if self._running is None:  # the edit was made while no node ran
                assert version is not None, "the source of every version that ran is kept"
                self._running = Candidate(version, self._load_version(version))
                self._token = known.cursor.token
            return self._run_own(stop)
        except ScriptError as error:
            self._log.warning("the former version cannot be run, so its on_stop is left out", reason=str(error))
            return True

    def _announce_stop(self, version: str) -> Event:
        now = self._archive.clock.now()
        number = self._archive.writer.do(lambda c: events.append(c, "stop", self.name, now, content=version))
        with self._archive.read() as connection:
            event = events.get(connection, number)
        assert event is not None, "it was written just now"
        return event

    def _start(self) -> None:
        """Run `on_start` if this version has not had it yet."""
        assert self._running is not None
        version = self._running.version
        if "on_start" in version.handlers:
            with self._archive.read() as connection:
                known = scripts.find(connection, self.name)
                event = events.last_own(connection, "start", self.name, version.hash)
            assert known is not None, "it was accepted"
            if event is not None and not known.cursor.has_passed(event.number) and not self._run_own(event):
                return
        self._start_is_due = False

    def _run_own(self, event: Event) -> bool:
        """Run `on_start` or `on_stop`, out of order: it is about the script, not about what arrived. Return whether that is done."""
        while not self._stopping:
            entered = self._run(event, after=None)
            if entered is not None:
                self._settle([entered])
                return not self._is_unsure
            self._rest(_FIRST_PAUSE_S)
        return False

    # -- from event to event

    def _work(self) -> bool:
        """Take the next events; return whether there were any."""
        assert self._running is not None
        handlers = self._running.version.handlers
        with self._archive.read() as connection:
            newest = events.last_number(connection)
            batch = events.after(connection, self._position, events.kinds_of(handlers), _BATCH, script=self.name)
        if not batch:
            if newest > self._position:  # nothing in between concerns this script
                self._advance(newest)
            return False
        entered: list[_Entered] = []
        passed: list[Future[None]] = []
        unasked: list[Event] = []
        handles = self._running.worker.ready.handles
        try:
            for event in batch:
                if event.handler not in handlers or not concerns(handles, event):
                    unasked.append(event)
                    continue
                self._pass(unasked, passed)
                one = self._take(event)
                if one is None:
                    break
                entered.append(one)
                self._position = event.number
            self._pass(unasked, passed)
        finally:
            commits: list[Future[Any]] = [*(one.commit for one in entered), *passed]
            wait(commits)
        self._settle(entered)
        if not self._is_unsure:
            _settle_passed(passed)
        return True

    def _pass(self, unasked: list[Event], passed: list[Future[None]]) -> None:
        """Move the cursor past events that the script does not handle, by its own word; they are counted and let go."""
        if not unasked:
            return
        count, to, after, token = len(unasked), unasked[-1].number, self._position, self._token
        passed.append(
            self._archive.writer.submit(
                lambda c: scripts.advance(c, self.name, token, after=after, to=to, skipped=count), topics=[]
            )
        )
        self._position = to
        unasked.clear()

    def _advance(self, newest: int) -> None:
        after, token = self._position, self._token
        self._archive.writer.do(lambda c: scripts.advance(c, self.name, token, after=after, to=newest))
        self._position = newest

    def _take(self, event: Event) -> _Entered | None:
        """Run an event until it is done or parked; None when something else comes first."""
        pause = _FIRST_PAUSE_S
        while not (self._stopping or self._is_told()):
            entered = self._run(event, after=self._position)
            if entered is not None:
                return entered
            self._rest(pause, unless_told=True)
            pause = min(pause * 2, _LONGEST_PAUSE_S)
        return None

    def _run(self, event: Event, *, after: int | None) -> _Entered | None:
        """Run the handler once. Hand its plan to the writer, or return None when it failed and is to be run again."""
        running = self._revived()
        plan, self._is_lost = execute(
            self._archive, running.worker, event, self._rules, script=self.name, version=running.version.hash
        )
        if plan.error is not None and not self._is_last_try(plan):
            return None
        return self._enter(plan, after)

    def _revived(self) -> Candidate:
        """Return the running version with a worker that lives. Raises `ScriptError` when none can be started."""
        assert self._running is not None
        if self._is_lost:
            self._running.worker.stop()
            self._running = replace(self._running, worker=self._load_version(self._running.version))
            self._is_lost = False
        return self._running

    def _enter(self, plan: Plan, after: int | None) -> _Entered:
        token = self._token
        topics = ["delivery", "action"] if plan.actions else []
        if plan.outcome == "parked" or any(isinstance(action, (PlannedDelete, PlannedMark)) for action in plan.actions):
            topics.append("event")
        if plan.outcome == "parked" or any(isinstance(action, PlannedNotify) for action in plan.actions):
            topics.append("notification")
        rules = self._rules
        commit = self._archive.writer.submit(
            lambda c: plans.enter(c, plan, token, after=after, quota=rules.quota, park_after=rules.park_after),
            topics=topics,
        )
        return _Entered(plan, after, commit)

    def _settle(self, entered: Sequence[_Entered]) -> None:
        """See what became of plans. One that the index refuses is a failure of its event, as if the script had failed."""
        for one in entered:
            try:
                if one.commit.result():
                    self._give_up()
                    return  # what was handed over after it is discarded, and waits
            except (StaleTokenError, StorageError):
                raise
            except QuotaError as error:
                self._park(one.plan, str(error))
                return
            except OperationalError as error:  # the disk, not the plan
                raise StorageError(f"the index could not be written: {error}") from error
            except Exception as error:  # noqa: BLE001 - a bug or a broken index must not stop the script for ever
                self._log.exception("the index refused a plan", number=one.plan.event.number)
                self._is_unsure = True
                plan = replace(one.plan, outcome="parked", actions=(), error=f"the plan could not be entered: {error}")
                if self._is_last_try(plan) and self._enter(plan, one.after).commit.result():
                    self._give_up()
                return  # the plans after it expect the cursor where it is not

    def _park(self, plan: Plan, why: str) -> None:
        """Give the script up before an event; the event waits."""
        token = self._token
        self._archive.writer.do(
            lambda c: scripts.park(c, self.name, token, plan.version, why, plan.at), topics=occurrences.TOPICS
        )
        self._give_up()

    def _give_up(self) -> None:
        """Rest until another version comes or someone lets this one go on: the index says that the script is parked."""
        with self._archive.read() as connection:
            known = scripts.find(connection, self.name)
        self._log.error(
            "script parked; its events wait for its next good version, or for `hostd scripts enable`",
            reason=known.parked_why if known else None,
        )
        self._stand_down()
        self._want_none()
        self._is_unsure = True

    def _is_last_try(self, plan: Plan) -> bool:
        """Record a failed run; return whether the event is to be parked now. The log says so either way."""
        with self._archive.read() as connection:
            failures = plans.failures(connection, self.name, plan.event.number) + 1
        last = failures >= self._rules.attempts
        self._log.error(
            "script failed",
            handler=plan.event.handler,
            number=plan.event.number,
            instance=plan.event.subject,
            failures=failures,
            parked=last,
            reason=plan.error,
        )
        if not last:
            self._archive.writer.do(lambda c: plans.write_failure(c, plan))
        return last


def _settle_passed(passed: Sequence[Future[None]]) -> None:
    for commit in passed:
        try:
            commit.result()
        except OperationalError as error:  # the disk
            raise StorageError(f"the index could not be written: {error}") from error
