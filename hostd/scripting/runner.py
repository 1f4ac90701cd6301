"""One script: its worker, its cursor, and the thread that takes it through the event log (P2)."""

from __future__ import annotations

import threading
from collections.abc import Callable
from concurrent.futures import Future
from dataclasses import dataclass

import structlog

from hostd.archive import events, plans, scripts
from hostd.archive.archive import Archive
from hostd.archive.plans import Plan
from hostd.archive.records import Event
from hostd.archive.scripts import StaleTokenError, Version
from hostd.dicom.header import Header, element_value
from hostd.dicom.part10 import data_set_offset
from hostd.errors import HostdError, ScriptError, StorageError
from hostd.sandbox import frames
from hostd.scripting.plan import Destinations, as_frames_event, handler_of, resolve
from hostd.scripting.runtime import ScriptWorker, WorkerLost

_log = structlog.get_logger(__name__)

_BATCH = 64
_FIRST_PAUSE_S = 0.5
_OWN_HANDLERS = ("on_start", "on_stop")


@dataclass(frozen=True, slots=True)
class Candidate:
    """A version of a script that compiled and was loaded in a worker of its own."""

    version: Version
    worker: ScriptWorker


@dataclass(frozen=True, slots=True)
class Rules:
    """How runs are judged: wall seconds a run, failures of one event before it is parked, and what a destination's name means."""

    time_limit_s: float
    attempts: int
    destinations: Destinations


class Runner:
    """Takes one script through the event log, one event after another.

    Runs never overlap: a new version waits until the current run has ended or was killed by its limit; then the cursor's token moves and
    nothing of the former version can be committed any more.
    """

    def __init__(
        self, name: str, archive: Archive, rules: Rules, load_version: Callable[[Version], ScriptWorker]
    ) -> None:
        self.name = name
        self._archive = archive
        self._rules = rules
        self._load_version = load_version
        self._log = _log.bind(script=name)
        self._running: Candidate | None = None
        self._token = 0
        self._position = 0
        self._guard = threading.Lock()
        self._offered: Candidate | None = None
        self._leaving = False
        self._stopping = False
        self._pause = threading.Event()
        self._thread = threading.Thread(target=self._serve, name=f"script {name}", daemon=True)
        self._thread.start()

    # -- from other threads

    @property
    def version(self) -> str | None:
        """The hash of the version that is offered or runs."""
        with self._guard:
            candidate = self._offered or self._running
            return candidate.version.hash if candidate else None

    def offer(self, candidate: Candidate) -> None:
        """Hand over a version that takes the place of the running one after the current run."""
        with self._guard:
            replaced, self._offered, self._leaving = self._offered, candidate, False
        if replaced is not None:
            replaced.worker.stop()
        self._wake()

    def leave(self) -> None:
        """Let the current run end, run `on_stop`, and end: the file is gone. The cursor stays."""
        with self._guard:
            self._leaving = True
        self._wake()

    def stop(self) -> None:
        """Let the current run end, then end: the node stops. The version goes on at the next start."""
        self._stopping = True
        self._wake()

    def join(self) -> None:
        """Wait until the thread has ended."""
        self._thread.join()

    def _wake(self) -> None:
        self._pause.set()
        self._archive.bulletin.ring("event")

    # -- the thread

    def _serve(self) -> None:
        try:
            while not self._stopping:
                seen = self._archive.bulletin.seen("event")
                try:
                    if self._is_told():
                        if self._take_over():
                            return
                    elif self._running is None or not self._work():
                        self._archive.bulletin.wait("event", seen, None)
                except StaleTokenError as error:
                    self._log.warning("runs were discarded", reason=str(error))
                    self._resume()
                except StorageError as error:
                    self._log.error("the plan could not be committed; the events are run again", reason=str(error))
                    self._rest(_FIRST_PAUSE_S)
                    self._resume()
                except Exception:  # noqa: BLE001 - a thread that must not end
                    self._log.exception("the script's runner failed; it goes on")
                    self._rest(_FIRST_PAUSE_S)
                    self._resume()
        finally:
            if self._running is not None:
                self._running.worker.stop()
            if self._offered is not None:
                self._offered.worker.stop()

    def _is_told(self) -> bool:
        with self._guard:
            return self._leaving or self._offered is not None

    def _take_over(self) -> bool:
        """Retire the running version, then start the offered one; return whether the script is gone."""
        with self._guard:
            offered, leaving = self._offered, self._leaving
        with self._archive.read() as connection:
            known = scripts.find(connection, self.name)
        assert known is not None, "a script is met before it is run"
        if (
            known.version is not None
            and known.absent_since is None
            and (leaving or (offered and known.version != offered.version.hash))
        ):
            self._retire(known)
        if leaving:
            self._archive.writer.do(lambda c: scripts.vanish(c, self.name, self._archive.clock.now()))
            self._log.info("script is gone; its place in the event log is kept")
            return True
        assert offered is not None
        with self._guard:
            former, self._running = self._running, offered
            if self._offered is offered:
                self._offered = None
        if former is not None:
            former.worker.stop()
        cursor, is_new = self._archive.writer.do(
            lambda c: scripts.accept(c, self.name, offered.version, self._archive.clock.now())
        )
        self._token, self._position = cursor.token, cursor.low_water
        self._log.info(
            "script runs", version=offered.version.hash[:12], new=is_new, handlers=list(offered.version.handlers)
        )
        self._run_own("start", offered)
        return False

    def _retire(self, known: scripts.KnownScript) -> None:
        """Run `on_stop` of the version that ends, on its own worker, wherever its cursor stands."""
        assert known.version is not None
        if "on_stop" not in known.handlers:
            return
        if self._running is None:  # the edit was made while no node ran
            with self._archive.read() as connection:
                version = scripts.get_version(connection, self.name, known.version)
            assert version is not None, "the source of every version that ran is kept"
            try:
                self._running = Candidate(version, self._load_version(version))
            except ScriptError as error:
                self._log.warning(
                    "the former version cannot be run any more, so its on_stop is left out", reason=str(error)
                )
                return
            self._token = known.cursor.token
        with self._archive.read() as connection:
            pending = events.pending_own(connection, "stop", self.name, known.version, known.cursor)
        if pending is None:
            self._archive.writer.do(
                lambda c: events.append(c, "stop", self.name, self._archive.clock.now(), content=known.version)
            )
        self._run_own("stop", self._running)

    def _run_own(self, kind: str, candidate: Candidate) -> None:
        """Run `on_start` or `on_stop` if it waits for this version, out of order: it is about the script, not about what arrived."""
        if f"on_{kind}" not in candidate.version.handlers:
            return
        with self._archive.read() as connection:
            cursor = scripts.get_cursor(connection, self.name)
            event = events.pending_own(connection, kind, self.name, candidate.version.hash, cursor)
        while event is not None and not self._stopping:
            commit = self._run(event, after=None)
            if commit is not None:
                commit.result()
                return

    def _resume(self) -> None:
        """Go back to where the index says that the script stands."""
        with self._archive.read() as connection:
            cursor = scripts.get_cursor(connection, self.name)
        self._position = cursor.low_water
        if cursor.token != self._token and self._running is not None:
            self._running.worker.stop()
            self._running = None

    def _work(self) -> bool:
        """Take the next events; return whether there were any."""
        assert self._running is not None
        kinds = [
            handler.removeprefix("on_") for handler in self._running.version.handlers if handler not in _OWN_HANDLERS
        ]
        with self._archive.read() as connection:
            newest = events.last_number(connection)
            batch = events.after(connection, self._position, kinds, _BATCH)
        if not batch:
            if newest > self._position:  # nothing in between concerns this script
                self._advance(newest)
            return False
        commits: list[Future[None]] = []
        for event in batch:
            commit = self._take(event)
            if commit is None:
                break
            commits.append(commit)
            self._position = event.number
        for commit in commits:
            commit.result()
        return True

    def _take(self, event: Event) -> Future[None] | None:
        """Run an event until it is done or parked; None when something else comes first."""
        pause = _FIRST_PAUSE_S
        while not (self._stopping or self._is_told()):
            commit = self._run(event, after=self._position)
            if commit is not None:
                return commit
            self._rest(pause)
            pause *= 2
        return None

    def _advance(self, newest: int) -> None:
        after = self._position
        self._archive.writer.do(lambda c: scripts.advance(c, self.name, self._token, after=after, to=newest))
        self._position = newest

    def _rest(self, seconds: float) -> None:
        self._pause.clear()
        if not (self._stopping or self._is_told()):
            self._pause.wait(seconds)

    # -- one run

    def _run(self, event: Event, *, after: int | None) -> Future[None] | None:
        """Run the handler once. Return the commit of its plan, or None when it failed and is to be run again."""
        running = self._running
        assert running is not None
        begun = self._archive.clock.now()
        try:
            result = running.worker.run(
                as_frames_event(event),
                time_limit_s=self._rules.time_limit_s,
                answer=lambda question: self._answer(question, event),
            )
            error = _why_failed(result.failure) if result.failure else None
            actions = () if error else resolve(result.actions, event, self._rules.destinations)
        except WorkerLost as lost:
            result, error, actions = frames.Result(event.number, [], [], []), str(lost), ()
            self._running = Candidate(running.version, self._load_version(running.version))
        except HostdError as refused:
            error, actions = str(refused), ()
        header = Header.decode(event.header) if event.header else None
        plan = Plan(
            script=self.name,
            version=running.version.hash,
            event=event,
            sop_instance_uid=header.sop_instance_uid if header else "",
            sop_class_uid=header.sop_class_uid if header else "",
            outcome="parked" if error else "done",
            actions=actions,
            tags_read=tuple(result.tags_read),
            log=tuple(result.log),
            error=error,
            at=begun,
            seconds=self._archive.clock.now() - begun,
        )
        if error is not None and not self._is_last_try(plan):
            return None
        token = self._token
        topics = ("delivery",) if actions else ()
        return self._archive.writer.submit(lambda c: plans.enter(c, plan, token, after=after), topics=topics)

    def _is_last_try(self, plan: Plan) -> bool:
        """Record a failed run; return whether the event is to be parked now. The log says so either way."""
        with self._archive.read() as connection:
            failures = plans.failures(connection, self.name, plan.event.number) + 1
        last = failures >= self._rules.attempts
        self._log.error(
            "script failed",
            handler=handler_of(plan.event),
            event=plan.event.number,
            instance=plan.event.subject,
            failures=failures,
            parked=last,
            reason=plan.error,
        )
        if not last:
            self._archive.writer.do(lambda c: plans.write_failure(c, plan))
        return last

    def _answer(self, question: frames.Question, event: Event) -> frames.Answer:
        """Fetch a value that did not travel with the event."""
        if event.blob is None:
            return frames.Answer(question.id, error="the content of this event was refused and is not kept")
        try:
            with self._archive.blobs.path(event.blob).open("rb") as file:
                start = data_set_offset(file)
                value = element_value(
                    file,
                    offset=start.offset,
                    transfer_syntax=start.transfer_syntax_uid,
                    path=question.path,
                    limit=frames.MAX_VALUE,
                )
        except (OSError, HostdError) as error:
            return frames.Answer(question.id, error=f"the stored file cannot be read: {error}")
        if value is None:
            return frames.Answer(question.id, error="the value is larger than 1 MiB", too_large=True)
        return frames.Answer(question.id, value)


def _why_failed(failure: frames.Failure) -> str:
    where = f" (line {failure.line})" if failure.line else ""
    return f"{failure.type}: {failure.message}{where}"
