"""Carries out what actions ask to be done later: tasks, each by the executor of its queue, in a thread a queue (P7).

How a verb gets here, in three steps:

1. The plan holds an `archive.tasks.PlannedTask`, whose `queue` says who carries it out; `details` are the executor's own, as plain values.
2. An `Executor` for that queue. `prepare(task)` does the slow part, outside of any transaction, and may be called again after a crash: what
   must not be done twice belongs into `Done.commit`, which runs in the very transaction that ends the row. It raises `ActionFault` (or
   `InstanceFault`, or a `TranscodeError`) for what will never work: the task fails, in the open. Whatever else it raises is tried again with
   growing waits, `MAX_TRIES` times; but for `NotYetError`, which is no failure: the task goes on when it says.
3. The node hands `{queue: executor}` to `Carriers`. A queue is served by one node at a time, one task after another; two queues do
   not wait for one another.

`on_action_done` tells every end, with `result`, which should be small. A task survives kill -9: it is done again at the next start.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol

import structlog
from sqlalchemy import Connection

from hostd.archive import leases, occurrences, tasks
from hostd.archive.archive import Archive
from hostd.archive.tasks import TOPIC, Task
from hostd.archive.turning import Turning, stopped
from hostd.archive.writer import Write
from hostd.errors import ActionFault, InstanceFault, LimitReachedError, TranscodeError

_log = structlog.get_logger(__name__)

LEASE_S = leases.SECONDS
"""Seconds that a node owns a queue without renewing. It renews with every task that it takes and every outcome that it records."""
MAX_TRIES = 20
"""Tries of one task after which it is given up."""
_LONGEST_WAIT_S = 3600.0
_FIRST_PAUSE_S = 5.0


@dataclass(frozen=True, slots=True)
class Done:
    """What an executor has prepared: its `result`, as small plain values, and, if need be, its effect on the index.

    `commit` is called in the transaction that ends the task, and what it returns is added to the result; it may raise as `prepare`, and
    then nothing of it holds. `blobs` are new files that it makes rows of, `topics` what is to be rung for it. `after` is called once all is
    committed, with the whole result, and must not raise; `undo` when it is certain that nothing was. `write` does the transaction, in the
    place of the writer.
    """

    result: dict[str, Any] = field(default_factory=dict)
    commit: Callable[[Connection], dict[str, Any]] | None = None
    blobs: Sequence[str] = ()
    topics: Sequence[str] = ()
    after: Callable[[dict[str, Any]], None] | None = None
    undo: Callable[[], None] | None = None
    write: Write | None = None


class Executor(Protocol):
    """Carries out the tasks of one queue."""

    def prepare(self, task: Task) -> Done:
        """Do the slow part of a task; see the module's text for what it may raise."""
        ...


class Waits(Protocol):
    """When to try again: `hostd.delivery.retry.RetryPolicy`."""

    def next_attempt(self, now: float, attempts: int, random: float) -> float:
        """Return the time of the next try after so many failed ones; `random` is from 0 to 1."""
        ...


class NotYetError(Exception):
    """A task has to wait for something else, named in the text, and goes on in `seconds`; those behind it in the queue do not wait for it."""

    def __init__(self, message: str, seconds: float) -> None:
        super().__init__(message)
        self.seconds = seconds


class LostError(Exception):
    """Another node carries out the tasks of this queue now."""


class Carrier(Turning):
    """Carries out the tasks of one queue, in a thread of its own, until it is asked to stop."""

    def __init__(self, archive: Archive, queue: str, executor: Executor, waits: Waits) -> None:
        super().__init__(archive.bulletin, TOPIC, f"actions {queue}")
        self.queue = queue
        self._archive = archive
        self.executor = executor
        """Who carries them out; it may be replaced, and is looked at once a task."""
        self._waits = waits
        self._lease = f"actions:{queue}"
        self._token: int | None = None
        self._log = _log.bind(queue=queue)

    def failed(self) -> float:
        """Log it; what was under way is recovered."""
        self._log.exception("actions could not be carried out; hostd goes on after a pause")
        self._token = None
        return _FIRST_PAUSE_S

    def turn(self) -> float | None:
        """Carry out one task if one is due, where no other node does; return for how long there is nothing to do."""
        try:
            return self._turn()
        except LostError:
            self._log.warning("another node has taken over these actions")
            self._token = None
            return leases.LOOK_S

    def _turn(self) -> float | None:
        """Carry out one task if one is due; return for how many seconds there is nothing to do, None for until it is rung."""
        if self._token is None and not self._own():
            return leases.LOOK_S
        now = self._archive.clock.now()
        with self._archive.read() as connection:
            due = tasks.next_due(connection, self.queue)
        if due is None:
            return None
        if due > now:
            return min(due - now, _LONGEST_WAIT_S)
        task = self._claim()
        if task is not None:
            self._carry_out(task)
        return 0

    def _own(self) -> bool:
        def take(connection: Connection) -> tuple[int | None, int]:
            now = self._archive.clock.now()
            token = leases.acquire(connection, self._lease, self._archive.node, now, LEASE_S)
            return token, tasks.recover(connection, self.queue, token, now) if token is not None else 0

        self._token, recovered = self._archive.writer.do(take)
        if recovered:
            self._log.warning("actions were interrupted and are carried out again", count=recovered)
        return self._token is not None

    def _claim(self) -> Task | None:
        token = self._owned()

        def claim(connection: Connection) -> Task | None:
            now = self._archive.clock.now()
            self._renew(connection, token, now)
            return tasks.claim(connection, self.queue, token, now)

        return self._archive.writer.do(claim)

    def _renew(self, connection: Connection, token: int, now: float) -> None:
        if not leases.renew(connection, self._lease, token, now, LEASE_S):
            raise LostError(self._lease)

    def _owned(self) -> int:
        assert self._token is not None
        return self._token

    # -- one task -----------------------------------------------------------------------------------------------------

    def _carry_out(self, task: Task) -> None:
        done: Done | None = None
        try:
            done = self.executor.prepare(task)
            result = self._commit(task, done)
        except LostError:
            _undo(done)
            raise
        except NotYetError as wait:
            reason, seconds = str(wait), wait.seconds
            self._record(task, lambda c, now: tasks.put_off(c, task.id, now + seconds, reason))
        except (ActionFault, InstanceFault, TranscodeError) as fault:
            _undo(done)
            if self._closing.is_set():
                return  # a codec that ends with the node says nothing about its file: the next start does it again
            reason, came_of_it = str(fault), fault.result if isinstance(fault, ActionFault) else None
            self._record(task, lambda c, now: tasks.fail(c, task.id, reason, now, came_of_it))
            self._log.error("an action failed", task=task.id, verb=task.verb, script=task.script, reason=reason)
        except LimitReachedError as full:
            _undo(done)
            self._try_again(task, full)
        except Exception as error:  # noqa: BLE001 - whatever it is, it is recorded, and the others go on
            # Nothing is undone: of a failed commit nobody knows whether it holds. The sweep removes a file without a row.
            self._log.warning("an action could not be carried out now", task=task.id, verb=task.verb, exc_info=error)
            self._try_again(task, error)
        else:
            if done.after is not None:
                done.after(result)

    def _commit(self, task: Task, done: Done) -> dict[str, Any]:
        token = self._owned()

        def unit(connection: Connection) -> dict[str, Any]:
            now = self._archive.clock.now()
            if not tasks.is_mine(connection, task.id, token):
                raise LostError(self._lease)
            leases.renew(connection, self._lease, token, now, LEASE_S)
            result = done.result | (done.commit(connection) if done.commit is not None else {})
            tasks.finish(connection, task.id, result, now)
            return result

        topics = (*occurrences.TOPICS, *done.topics)
        return (done.write or self._archive.writer.do)(unit, blobs=done.blobs, topics=topics)

    def _try_again(self, task: Task, error: Exception) -> None:
        reason = str(error) or type(error).__name__
        if task.attempts >= MAX_TRIES:
            given_up = f"given up after {task.attempts} tries: {reason}"
            self._record(task, lambda c, now: tasks.fail(c, task.id, given_up, now))
            return
        jitter = random.random()  # noqa: S311 - spreads load, hides nothing
        waits = self._waits
        self._record(
            task, lambda c, now: tasks.put_off(c, task.id, waits.next_attempt(now, task.attempts, jitter), reason)
        )

    def _record(self, task: Task, outcome: Callable[[Connection, float], None]) -> None:
        token = self._owned()

        def unit(connection: Connection) -> None:
            now = self._archive.clock.now()
            self._renew(connection, token, now)
            if not tasks.is_mine(connection, task.id, token):
                raise LostError(self._lease)
            outcome(connection, now)

        self._archive.writer.do(unit, topics=occurrences.TOPICS)


class Carriers:
    """All carriers of a node: `executors` by queue."""

    def __init__(self, archive: Archive, executors: Mapping[str, Executor], waits: Waits) -> None:
        self._archive = archive
        self._waits = waits
        self._executors = dict(executors)
        self._carriers: dict[str, Carrier] = {}

    def start(self) -> None:
        """Begin with what an earlier node left."""
        self.use(self._executors)

    def use(self, executors: Mapping[str, Executor]) -> None:
        """Have these queues carried out by these from the next task on; others go on as they are."""
        for queue, executor in executors.items():
            if queue in self._carriers:
                self._carriers[queue].executor = executor
            else:
                self._carriers[queue] = Carrier(self._archive, queue, executor, self._waits)
                self._carriers[queue].start()

    def stop(self, grace_s: float) -> list[str]:
        """End after the tasks that are being carried out; return the queues that had not ended within `grace_s` seconds."""
        late = [one.queue for one in stopped(self._archive.bulletin, TOPIC, [*self._carriers.values()], grace_s)]
        if late:
            _log.warning("actions are still being carried out and are left behind", queues=late)
        return late


def _undo(done: Done | None) -> None:
    if done is not None and done.undo is not None:
        done.undo()
