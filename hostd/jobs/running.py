"""Carries out jobs: what somebody asked for that takes a while, step by step, so that it survives kill -9 (P2, P3).

How a kind of job gets here, in three steps:

1. Whoever is asked submits it, in the transaction of its own choice: `archive.writer.do(lambda c: jobs.submit(c, "Type", asked, now, ...),
   topics=jobs.TOPICS)`. `asked` is what the kind needs to know, as plain values; `items` the instances that it is about, of which there may
   be thousands (`jobs.items` reads them).
2. A `Kind` for that type. `step(job)` does the next piece of work outside of any transaction, a second or so of it, and returns a `Step`.
   The runner commits the step's `memo` (how far it has come), its `content` (what `GET /jobs/{id}` shows, merged into what was shown
   before) and what its `commit` does with the index, all in one transaction, under the job's token, so that it enters exactly once. A job
   that was killed in the middle of a step gets the same `memo` again: what a step does outside of its `commit` must bear being done twice.
   The first step of a job, and of one that is submitted again, has an empty `memo`.
3. The node hands `{type: kind}` to `Runner`.

What a step raises ends the job: `JobFault` with its number, `InstanceFault`, `ActionFault`, `TranscodeError`, `NotFoundError` and
`ReceptionError` with theirs. Whatever else it raises is tried again, `MAX_TRIES` times with growing waits, in the state `retry`.
A step that waits for something else says so with `rest_s`: no thread waits meanwhile, and the job is looked at again then, or, with
`on_events`, as soon as any event was written (`on_delivery_done` is one).

Between two steps it is looked at whether somebody wants the job cancelled or paused. `halted` is told, in the transaction that notes it,
so that what the job has begun ends in the open; it is also told of a failure. `Runner.run` is for those who wait for the end.
"""

from __future__ import annotations

import random
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal, Protocol

import structlog
from sqlalchemy import Connection

from hostd.archive import jobs, leases, occurrences
from hostd.archive.archive import Archive
from hostd.archive.jobs import TOPIC, Hands, Job
from hostd.archive.turning import turn_after_turn
from hostd.archive.writer import Write
from hostd.errors import (
    ActionFault,
    HostdError,
    InstanceFault,
    NoRoomError,
    NotFoundError,
    ReceptionError,
    StorageError,
    TranscodeError,
)
from hostd.jobs import faults
from hostd.jobs.faults import JobFault

_log = structlog.get_logger(__name__)

MAX_TRIES = 5
"""Tries of one step after which a job fails."""
_AT_ONCE = 100
_FIRST_PAUSE_S = 5.0
_LONGEST_WAIT_S = 3600.0
_TOGETHER_S = 0.02
"""Seconds between two looks at jobs that wait for events, however many come."""

Halt = Literal["paused", "canceled", "failed"]


@dataclass(frozen=True, slots=True)
class Step:
    """What came of one step of a job; see the module's text.

    `progress` is from 0 to 1. `commit` is called in the transaction that notes the step, returns what is shown besides, and may raise as
    `step`. `blobs` are new files that it makes rows of, `topics` what is to be rung for it. `after` is called once all is committed, and
    must not raise; `undo` when it is certain that nothing was. `write` does the transaction, in the place of the writer. With `is_done` the
    job has succeeded.
    """

    memo: dict[str, Any] = field(default_factory=dict)
    content: dict[str, Any] = field(default_factory=dict)
    progress: float = 0.0
    is_done: bool = False
    rest_s: float = 0.0
    on_events: bool = False
    commit: Callable[[Connection], dict[str, Any]] | None = None
    blobs: Sequence[str] = ()
    topics: Sequence[str] = ()
    after: Callable[[], None] | None = None
    undo: Callable[[], None] | None = None
    write: Write | None = None


class Kind(Protocol):
    """Carries out the jobs of one type."""

    def step(self, job: Job) -> Step:
        """Do the next piece of work; see the module's text for what it may raise."""
        ...

    def halted(self, connection: Connection, job: Job, why: Halt, reason: str, now: float) -> None:
        """Do what must follow when a job is paused, or ends as cancelled or failed: in the transaction that notes it."""
        ...

    def forgotten(self, job: Job) -> None:
        """Remove what a job left outside of the index, for its row is gone. It must not raise."""
        ...


class Waits(Protocol):
    """When to try again: `hostd.delivery.retry.RetryPolicy`."""

    def next_attempt(self, now: float, attempts: int, random: float) -> float:
        """Return the time of the next try after so many failed ones; `random` is from 0 to 1."""
        ...


class NotEndedError(HostdError):
    """A job has not ended within the time that somebody had for it, and is cancelled."""

    def __init__(self, identifier: str, seconds: float) -> None:
        super().__init__(
            f"job {identifier} has not ended within {seconds:g} s (jobs.synchronous_limit_s) and is cancelled:"
            ' ask for it with "Asynchronous": true'
        )


class _LostError(Exception):
    """Another node works on this job now."""


@dataclass(frozen=True, slots=True)
class _Rest:
    """Until when a job rests, by the monotonic clock, and how often events had been rung when it began, where any event wakes it."""

    until: float
    seen: int | None


class Runner:
    """Works on jobs in `at_once` threads until `stop`. `kinds` are by the type of job."""

    def __init__(self, archive: Archive, kinds: Mapping[str, Kind], waits: Waits, *, at_once: int) -> None:
        self._archive = archive
        self.kinds = dict(kinds)
        """Who carries out which jobs."""
        self._waits = waits
        self._closing = threading.Event()
        self._lock = threading.Lock()
        self._busy: set[int] = set()
        self._resting: dict[int, _Rest] = {}
        self._listens = threading.Event()
        """Set where a job has begun to rest that events wake: while there is none, no event wakes a thread."""
        self._threads = [
            threading.Thread(target=self._serve, name=f"jobs {number}", daemon=True) for number in range(at_once)
        ]
        self._waker = threading.Thread(target=self._wake, name="jobs wake", daemon=True)

    def start(self) -> None:
        """Begin, with what an earlier node left."""
        for thread in (*self._threads, self._waker):
            thread.start()

    def stop(self, grace_s: float) -> bool:
        """End after the steps that are being done; return whether all have ended within `grace_s` seconds. The next start goes on."""
        self._closing.set()
        self._listens.set()
        self._archive.bulletin.ring(TOPIC, "event")
        end = time.monotonic() + grace_s
        for thread in (*self._threads, self._waker):
            if thread.ident is not None:  # it was started
                thread.join(max(0.0, end - time.monotonic()))
        is_late = any(thread.is_alive() for thread in self._threads)
        if is_late:
            _log.warning("a step of a job is still being done and is left behind; the next start does it again")
        return not is_late

    def run(self, submit: Callable[[Connection], str], *, seconds: float) -> Job:
        """Submit a job and return it once it has ended. Raises `NotEndedError` when that takes longer than so many seconds: it is cancelled."""
        archive = self._archive
        identifier = archive.writer.do(submit, topics=jobs.TOPICS, urgent=True)
        job = self.await_end(identifier, seconds=seconds)
        if not job.has_ended:
            archive.writer.do(lambda c: jobs.decide(c, identifier, "cancel", archive.clock.now()), topics=jobs.TOPICS)
            raise NotEndedError(identifier, seconds)
        return job

    def await_end(self, identifier: str, *, seconds: float) -> Job:
        """Return a job once it has ended, or as it is after so many seconds. Raises `NotFoundError` when there is none."""
        return self._await(identifier, lambda job: job.has_ended, seconds)

    def await_taken_up(self, identifier: str, *, seconds: float) -> Job:
        """Return a job once nothing is wanted of it that was not done, or as it is after so many seconds."""
        return self._await(identifier, lambda job: job.wanted is None, seconds)

    def _await(self, identifier: str, is_enough: Callable[[Job], bool], seconds: float) -> Job:
        archive, end = self._archive, time.monotonic() + seconds
        while True:
            seen = archive.bulletin.seen(TOPIC)
            with archive.read() as connection:
                job = jobs.get(connection, identifier)
            if job is None:
                raise NotFoundError(f"there is no job {identifier}")
            left = end - time.monotonic()
            if is_enough(job) or left <= 0 or self._closing.is_set():
                return job
            archive.bulletin.wait(TOPIC, seen, min(left, 5.0))

    def forget(self, *, ended_before: float) -> int:
        """Forget jobs that ended before that time, and what they left; return how many."""
        writer, gone = self._archive.writer, 0
        while some := writer.do(lambda c: jobs.purge(c, ended_before=ended_before, limit=_AT_ONCE)):
            for job in some:
                self._forgotten(job)
            gone += len(some)
        return gone

    def delete(self, identifier: str) -> None:
        """Forget one job, and what it left. Raises `NotFoundError` when there is none, or it has not ended."""
        self._forgotten(self._archive.writer.do(lambda c: jobs.delete(c, identifier), urgent=True))

    def _forgotten(self, job: Job) -> None:
        if job.type in self.kinds:
            self.kinds[job.type].forgotten(job)

    # -- whose turn it is ---------------------------------------------------------------------------------------------

    def _serve(self) -> None:
        turn_after_turn(self._archive.bulletin, TOPIC, self._closing, self.turn, self._failed)

    def _failed(self) -> float:
        """Log it; what was under way is done again."""
        _log.exception("jobs could not be carried out; hostd goes on after a pause")
        return _FIRST_PAUSE_S

    def turn(self) -> float | None:
        """Work on one job if one is due; return for how many seconds there is nothing to do, None for until it is rung."""
        job = self._claim()
        if job is None:
            return self._pause()
        try:
            self._work(job)
        except _LostError:
            _log.warning("another node works on a job now", job=job.id)
        finally:
            with self._lock:
                self._busy.discard(job.number)
        return 0

    def _claim(self) -> Job | None:
        """Take a job, and have no other thread of this node take it."""
        archive = self._archive
        with self._lock:
            now, here = archive.clock.now(), time.monotonic()
            self._resting = {number: rest for number, rest in self._resting.items() if rest.until > here}
            has = self._hands()
            with archive.read() as connection:
                due = jobs.next_due(connection, has)
            if due is None or due > now:
                return None
            job = archive.writer.do(lambda c: jobs.claim(c, archive.node, now, has))
            if job is not None:
                self._resting.pop(job.number, None)
                self._busy.add(job.number)
        return job

    def _hands(self) -> Hands:
        return Hands(tuple(self.kinds), tuple(self._busy), tuple(self._resting))

    def _pause(self) -> float | None:
        archive = self._archive
        with self._lock:
            here = time.monotonic()
            rests = [rest.until - here for rest in self._resting.values()]
            with archive.read() as connection:
                due = jobs.next_due(connection, self._hands())
        if due is not None:
            # What is due and was not claimed is worked on by another node, which may end.
            rests.append(max(due - archive.clock.now(), leases.LOOK_S if archive.is_shared else 0.0))
        return min(max(0.01, min(rests)), _LONGEST_WAIT_S) if rests else None

    def _wake(self) -> None:
        """Wake the jobs that wait for events."""
        bulletin = self._archive.bulletin
        while not self._closing.is_set():
            self._listens.wait()
            self._listens.clear()
            with self._lock:
                listeners = self._listeners()
            if not listeners:
                continue
            bulletin.wait("event", min(listeners.values()), None)
            with self._lock:
                for number in self._listeners():
                    del self._resting[number]
            bulletin.ring(TOPIC)
            self._closing.wait(_TOGETHER_S)

    def _listeners(self) -> dict[int, int]:
        """Return the jobs that wait for events, under the lock, and how often events had been rung when each began to."""
        return {number: rest.seen for number, rest in self._resting.items() if rest.seen is not None}

    # -- one job ------------------------------------------------------------------------------------------------------

    def _work(self, job: Job) -> None:
        kind = self.kinds[job.type]
        while True:
            if job.wanted is not None:
                self._halt(kind, job)
                return
            seen = self._archive.bulletin.seen("event")
            following = self._take(kind, job)
            if following is None:
                return
            job, step = following
            if job.wanted is not None:
                continue
            if step.rest_s > 0:
                self._lie_down(job, step, seen)
                return
            if self._closing.is_set():
                self._record(job, lambda c, now, job=job: jobs.rest(c, job, now))  # type: ignore[misc]  # bound at once
                return

    def _lie_down(self, job: Job, step: Step, seen: int) -> None:
        """Let a job rest, unless an event came since the step began that it may have missed."""
        bulletin = self._archive.bulletin
        with self._lock:
            rung = bulletin.seen("event") if step.on_events else None
            rest_s = _TOGETHER_S if rung not in (None, seen) else step.rest_s
            self._resting[job.number] = _Rest(time.monotonic() + rest_s, rung)
        if step.on_events:
            self._listens.set()
        bulletin.ring(TOPIC)  # the threads that sleep work out anew for how long

    def _take(self, kind: Kind, job: Job) -> tuple[Job, Step] | None:
        """Do one step and note it; return the job as it is then, None when it has ended, or is put off."""
        step: Step | None = None
        try:
            step = kind.step(job)
            noted = self._commit(job, step)
        except _LostError:
            _undo(step)
            raise
        except StorageError as error:
            if not isinstance(error, NoRoomError):
                self._try_again(kind, job, error)
                return None
            _undo(step)
            self._fail(kind, job, faults.FULL_STORAGE, str(error))
            return None
        except _VERDICTS as verdict:
            _undo(step)
            if self._closing.is_set() and isinstance(verdict, TranscodeError):
                return None  # a codec that ends with the node says nothing about its file: the next start does it again
            self._fail(kind, job, *_said(verdict))
            return None
        except Exception as error:  # noqa: BLE001 - whatever it is, it is recorded, and the others go on
            _log.warning("a step of a job could not be done now", job=job.id, type=job.type, exc_info=error)
            self._try_again(kind, job, error)
            return None
        if step.after is not None:
            step.after()
        return (noted, step) if not step.is_done else None

    def _commit(self, job: Job, step: Step) -> Job:
        def unit(connection: Connection) -> Job:
            now = self._archive.clock.now()
            self._require(connection, job, now)
            content = step.content | (step.commit(connection) if step.commit is not None else {})
            noted = jobs.proceed(connection, job, step.memo, content, step.progress)
            if step.is_done:
                jobs.succeed(connection, noted, now)
            return noted

        is_as_it_was = (
            step.commit is None and not step.is_done and step.memo == job.memo and step.progress == job.progress
            and job.content | step.content == job.content and job.tries == 0
        )  # fmt: skip
        if is_as_it_was:
            with self._archive.read() as connection:
                found = jobs.get(connection, job.id)
            if found is None or found.token != job.token:
                raise _LostError
            return found
        topics = (TOPIC, *step.topics, *(occurrences.TOPICS if step.is_done else ()))
        return (step.write or self._archive.writer.do)(unit, blobs=step.blobs, topics=topics)

    def _halt(self, kind: Kind, job: Job) -> None:
        """Pause or cancel a job, as somebody wants."""

        def unit(connection: Connection, now: float) -> None:
            if job.wanted == "pause":
                kind.halted(connection, job, "paused", "the job is paused", now)
                jobs.pause(connection, job, now)
                return
            kind.halted(connection, job, "canceled", "the job was cancelled", now)
            jobs.fail(connection, job, now, faults.CANCELED, "")

        self._record(job, unit)

    def _fail(self, kind: Kind, job: Job, code: int, reason: str, payload: dict[str, Any] | None = None) -> None:
        def unit(connection: Connection, now: float) -> None:
            kind.halted(connection, job, "failed", reason, now)
            jobs.fail(connection, job, now, code, reason, payload)

        self._record(job, unit)
        _log.warning("a job failed", job=job.id, type=job.type, reason=reason)

    def _try_again(self, kind: Kind, job: Job, error: Exception) -> None:
        """Put a step off, or give the job up. Nothing was undone: of a failed commit nobody knows whether it holds."""
        reason = str(error) if isinstance(error, StorageError) else f"{type(error).__name__}: {error}"
        if job.tries + 1 >= MAX_TRIES:
            self._fail(kind, job, faults.INTERNAL_ERROR, f"given up after {MAX_TRIES} tries: {reason}")
            return
        jitter = random.random()  # noqa: S311 - spreads load, hides nothing
        self._record(
            job,
            lambda c, now: jobs.put_off(
                c, job, now, self._waits.next_attempt(now, job.tries + 1, jitter), reason, faults.INTERNAL_ERROR
            ),
        )

    def _record(self, job: Job, outcome: Callable[[Connection, float], None]) -> None:
        def unit(connection: Connection) -> None:
            now = self._archive.clock.now()
            self._require(connection, job, now)
            outcome(connection, now)

        self._archive.writer.do(unit, topics=(TOPIC, "delivery", *occurrences.TOPICS))

    def _require(self, connection: Connection, job: Job, now: float) -> None:
        if not jobs.is_mine(connection, job, now):
            raise _LostError(job.id)


_VERDICTS = (JobFault, ActionFault, InstanceFault, TranscodeError, NotFoundError, ReceptionError)
"""What says that a job will never work."""


def _said(verdict: Exception) -> tuple[int, str, dict[str, Any] | None]:
    """Return Orthanc's number, the reason, and what is told besides."""
    match verdict:
        case JobFault():
            return verdict.code, str(verdict), verdict.payload
        case NotFoundError():
            return faults.UNKNOWN_RESOURCE, str(verdict), None
        case ReceptionError():
            return faults.BAD_FILE_FORMAT, str(verdict), None
        case TranscodeError():
            return faults.NOT_IMPLEMENTED, str(verdict), None
        case _:
            return faults.INTERNAL_ERROR, str(verdict), None


def _undo(step: Step | None) -> None:
    if step is not None and step.undo is not None:
        step.undo()
