"""One script: its versions, its place in the event log, and the thread that decides what its workers do (P2)."""

from __future__ import annotations

import threading
from collections.abc import Callable

import structlog
from sqlalchemy import Connection

from hostd.archive import occurrences, schedules, scripts
from hostd.archive.archive import Archive
from hostd.archive.records import Cursor, Event
from hostd.archive.schedules import Timing
from hostd.archive.scripts import KnownScript, StaleTokenError, Version
from hostd.archive.states import StateConflictError
from hostd.errors import ScriptError, StorageError
from hostd.jobs.timetable import Timetable
from hostd.scripting import lane as lanes
from hostd.scripting import own_events
from hostd.scripting.crew import Crew
from hostd.scripting.execution import Rules
from hostd.scripting.feed import Feed
from hostd.scripting.lane import Lane, OverQuotaError, RefusedPlanError, Running, ScriptParkedError
from hostd.scripting.notebook import Notebook
from hostd.scripting.ordering import Candidate, Order, Orders
from hostd.scripting.runtime import ScriptWorker
from hostd.scripting.turn import Turn

_log = structlog.get_logger(__name__)


class Runner:
    """Takes one script through the event log as long as the node runs, from version to version.

    Runs of two versions never overlap: a new one waits until all current runs have ended or were killed by their limit. Then the cursor's
    token moves, and nothing of the former version can be committed any more.
    """

    def __init__(
        self,
        name: str,
        archive: Archive,
        feed: Feed,
        notebook: Notebook,
        rules: Rules,
        load_version: Callable[[Version], ScriptWorker],
        timetable: Timetable,
        *,
        workers: int = 1,
    ) -> None:
        self.name = name
        self._archive = archive
        self._feed = feed
        self._notebook = notebook
        self._rules = rules
        self._load_version = load_version
        self._timetable = timetable
        self._workers = workers
        self._log = _log.bind(script=name)
        self._turn = Turn(archive, name)
        # Of several nodes it asks before new events whether they are its own; otherwise its workers hear of them without it.
        self._topic = "event" if archive.is_shared else f"script {name}"
        self._orders = Orders()
        self._stopping = False
        self._pause = threading.Event()
        # What follows belongs to the thread.
        self._running: Running | None = None
        self._crew: Crew | None = None
        self._start_is_due = False
        self._token = 0
        self._pause_s = lanes.FIRST_PAUSE_S
        self._thread = threading.Thread(target=self._serve, name=f"script {name}", daemon=True)
        self._thread.start()

    # -- from other threads

    @property
    def version(self) -> str | None:
        """The hash of the version that is to run, None when there is none."""
        return self._orders.version

    def is_to_take_up(self, version: str) -> bool:
        """Tell whether that version was handed over and is not taken up yet."""
        return self._orders.is_to_take_up(version)

    def change_rules(self, rules: Rules, workers: int) -> None:
        """Have other rules hold, and so many workers run, from the version on that is offered next."""
        self._rules, self._workers = rules, workers

    def offer(self, candidate: Candidate) -> None:
        """Hand over a version that takes the place of the running one after the current run."""
        self._tell(Order(candidate))

    def leave(self) -> None:
        """Let the current run end, run `on_stop`, and rest: the file is gone. The cursor stays, and `offer` goes on from there."""
        self._tell(Order(None, is_gone=True))

    def rest(self) -> None:
        """Let the current run end, run `on_stop`, and rest: the script is disabled. `offer` goes on from there."""
        self._tell(Order(None))

    def stop(self) -> None:
        """Let the current run end, then end: the node stops. The version goes on at the next start."""
        self._stopping = True
        self._wake()

    def join(self) -> None:
        """Wait until the thread has ended."""
        self._thread.join()

    def _tell(self, order: Order) -> None:
        self._orders.give(order)
        self._wake()

    def _wake(self) -> None:
        self._pause.set()
        self._archive.bulletin.ring(self._topic)

    # -- the thread

    def _serve(self) -> None:
        while True:
            seen = self._archive.bulletin.seen(
                self._topic
            )  # before the question: what is rung after it ends the wait below
            if self._stopping:
                break
            try:
                if not self._step():
                    self._archive.bulletin.wait(self._topic, seen, self._turn.patience_s)
            except Exception as error:  # noqa: BLE001 - a thread that must not end
                if self._recover(error):
                    self._rest(self._pause_s)
                    self._pause_s = min(self._pause_s * 2, lanes.LONGEST_PAUSE_S)
        try:
            self._disband()
        except Exception as error:  # noqa: BLE001 - the next start begins where the index says
            self._say(error)
        self._orders.drop_all()
        self._stand_down()

    def _step(self) -> bool:
        """Do what comes next; return whether there may be more to do at once."""
        if not self._turn.is_ours():
            self._step_aside()
            return False
        if self._crew is not None and self._crew.is_in_trouble:
            self._disband()
        if self._orders.is_there_one:
            self._disband()
            self._take_over()
            return True
        if self._running is None:
            return False
        if self._start_is_due:
            self._start()
            return True
        if self._crew is None:
            self._muster()
        elif self._archive.is_shared:
            self._crew.look()
        return False

    def _step_aside(self) -> None:
        """Leave the script to the node that has its lease; should that go, the version that ran here is taken up again."""
        self._disband()
        running = self._running
        if running is not None:
            kept = Candidate(running.version, running.worker or self._load_version(running.version))
            for lane in running.lanes[1:]:
                lane.stop()
            self._orders.put_back(Order(kept))
            self._running, self._start_is_due = None, False

    def _muster(self) -> None:
        """Have the workers go on where the index says that the script stands, if it is still this runner's."""
        assert self._running is not None
        with self._archive.read() as connection:
            known = scripts.find(connection, self.name)
        if known is None or known.cursor.token != self._token:
            self._log.error("another holder has this script's cursor; it is left to it")
            self._stand_down()
            self._orders.want_none()
            return
        ready = self._running.candidate.worker.ready
        self._crew = Crew(
            self._archive, self._feed, self._notebook, known.cursor, self._running.lanes, ready.handlers, ready.handles, on_trouble=self._wake,
            hears=not self._archive.is_shared,
        )  # fmt: skip

    def _disband(self) -> None:
        """Let the runs that go on end. Raises what the crew ended of, if it did by itself."""
        crew, self._crew = self._crew, None
        if crew is not None:
            try:
                crew.end()
            finally:
                if crew.has_gone_on:
                    self._pause_s = lanes.FIRST_PAUSE_S

    def _recover(self, error: Exception) -> bool:
        """Do what follows from what the workers, or this thread, ended of; return whether to pause before it goes on."""
        try:
            self._disband()
        except Exception as of_the_crew:  # noqa: BLE001 - both came of the same, and this one may decide what to do
            error = of_the_crew
        if isinstance(error, ScriptParkedError):
            self._give_up()
            return False
        if isinstance(error, OverQuotaError):
            return not self._park(error)
        self._say(error)
        return not isinstance(error, (RefusedPlanError, StateConflictError))

    def _say(self, error: Exception) -> None:
        match error:
            case RefusedPlanError():
                pass  # it was said where it happened
            case StateConflictError():  # of two workers one was first; as many as they are, one always is
                self._log.debug("a run is done again", reason=str(error))
            case StaleTokenError():
                self._log.warning("runs were discarded", reason=str(error))
            case StorageError():
                self._log.error(
                    "the index could not be written; what was not committed is done again", reason=str(error)
                )
            case ScriptError():
                self._log.error("the script's worker cannot be started; its events wait", reason=str(error))
            case _:
                self._log.error("the script's runner failed; it goes on", exc_info=error)

    def _rest(self, seconds: float) -> None:
        self._pause.clear()
        if not self._stopping:
            self._pause.wait(seconds)

    def _stand_down(self) -> None:
        if self._running is not None:
            self._running.stop()
        self._running, self._start_is_due = None, False

    # -- from version to version

    def _take_over(self) -> None:
        """Retire the running version, then start the one that was ordered, if any."""
        order = self._orders.begin()
        candidate = order.candidate
        with self._archive.read() as connection:
            known = scripts.find(connection, self.name)
        assert known is not None, "a script is met before it is run"
        if candidate is not None and candidate.version.hash == known.parked:  # the folder was looked at just before
            order.drop()
            self._orders.end()
            self._stand_down()
            self._orders.want_none()
            return
        changes = candidate is None or candidate.version.hash != known.version
        if known.state == "running" and changes and not self._retire(known):
            return  # the node stops in between: the next start does it
        now = self._archive.clock.now()
        if candidate is None:
            if not order.is_gone:
                self._archive.writer.do(lambda c: scripts.rest(c, self.name, now))
                self._log.info("script is disabled; its events wait")
            elif known.absent_since is None:
                self._archive.writer.do(lambda c: scripts.vanish(c, self.name, now))
                self._log.info("script is gone; its place in the event log is kept")
            self._stand_down()
        else:
            cursor, is_new = self._archive.writer.do(
                lambda c: self._accept(c, candidate, now), topics=(schedules.TOPIC,)
            )
            self._stand_down()
            self._running, self._start_is_due = self._manned(candidate), True
            self._hold(cursor.token)
            handlers = list(candidate.version.handlers)
            self._log.info("script runs", version=candidate.version.hash[:12], new=is_new, handlers=handlers)
        self._orders.end()

    def _accept(self, connection: Connection, candidate: Candidate, now: float) -> tuple[Cursor, bool]:
        wanted = [(one.function, Timing(one.every_s, one.cron)) for one in candidate.worker.ready.schedules]
        accepted = scripts.accept(connection, self.name, candidate.version, now)
        schedules.renew(connection, self.name, wanted, now, self._timetable.next_after)
        return accepted

    def _retire(self, known: KnownScript) -> bool:
        """Run `on_stop` of the version that ends, wherever its cursor stands; return whether it is over and done with."""
        assert known.version is not None, "only what was accepted runs"
        if "on_stop" not in known.handlers:
            return True
        stop = own_events.due_stop(self._archive, known)
        if stop is None:
            return True
        with self._archive.read() as connection:
            version = scripts.get_version(connection, self.name, known.version)
        try:
            if self._running is None:  # the edit was made while no node ran
                assert version is not None, "the source of every version that ran is kept"
                self._running = self._manned(Candidate(version, self._load_version(version)))
                self._hold(known.cursor.token)
            return self._run_own(stop)
        except ScriptError as error:
            self._log.warning("the former version cannot be run, so its on_stop is left out", reason=str(error))
            return True

    def _start(self) -> None:
        """Run `on_start` if this version has not had it yet."""
        assert self._running is not None
        event = own_events.due_start(self._archive, self.name, self._running.version)
        if event is None or self._run_own(event):
            self._start_is_due = False

    def _run_own(self, event: Event) -> bool:
        """Run `on_start` or `on_stop`, out of order: it is about the script, not about what arrived. Return whether that is done."""
        assert self._running is not None
        lane = self._running.lanes[0]
        while not self._stopping:
            if lane.attempt(event, after=None):
                lane.settle()
                return True
            self._rest(lanes.FIRST_PAUSE_S)
        return False

    # -- workers

    def _manned(self, candidate: Candidate) -> Running:
        """Return a version with as many lanes as it may have workers; all but the first start theirs when they need it."""
        version = candidate.version

        def lane(worker: ScriptWorker | None) -> Lane:
            return Lane(
                self.name,
                self._archive,
                self._notebook,
                self._rules,
                version,
                lambda: self._load_version(version),
                worker,
            )

        return Running(candidate, [lane(candidate.worker), *(lane(None) for _ in range(self._workers - 1))])

    def _hold(self, token: int) -> None:
        """Enter plans under that token from now on."""
        assert self._running is not None
        self._token = token
        self._running.enter_as(token)

    # -- giving up

    def _park(self, error: OverQuotaError) -> bool:
        """Give the script up before an event, which waits; return whether that is done."""
        token, plan = self._token, error.plan
        try:
            self._archive.writer.do(
                lambda c: scripts.park(c, self.name, token, plan.version, str(error), plan.at),
                topics=occurrences.TOPICS,
            )
        except (StaleTokenError, StorageError) as problem:
            self._say(problem)
            return False
        self._give_up()
        return True

    def _give_up(self) -> None:
        """Rest until another version comes or someone lets this one go on: the index says that the script is parked."""
        with self._archive.read() as connection:
            known = scripts.find(connection, self.name)
        self._log.error(
            "script parked; its events wait for its next good version, or for `hostd scripts enable`",
            reason=known.parked_why if known else None,
        )
        self._stand_down()
        self._orders.want_none()
