"""One worker of a script, and what becomes of its runs: plans that are committed, in their order, or not at all (P2)."""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Callable
from concurrent.futures import Future
from dataclasses import dataclass, replace

import structlog
from sqlalchemy import Connection
from sqlalchemy.exc import OperationalError

from hostd.archive import cursors, plans, quieting
from hostd.archive.archive import Archive
from hostd.archive.handling import PlannedDeal
from hostd.archive.marks import PlannedMark
from hostd.archive.notices import PlannedNotify
from hostd.archive.plans import Plan, PlannedDelete, PlannedForward
from hostd.archive.quieting import PlannedStable
from hostd.archive.records import Event
from hostd.archive.scripts import StaleTokenError, Version
from hostd.archive.tasks import PlannedTask
from hostd.archive.usage import QuotaError
from hostd.errors import HostdError, StorageError
from hostd.scripting.execution import Rules, execute
from hostd.scripting.notebook import Notebook
from hostd.scripting.ordering import Candidate
from hostd.scripting.runtime import ScriptWorker

_log = structlog.get_logger(__name__)

FIRST_PAUSE_S = 0.5
LONGEST_PAUSE_S = 60.0
_MOST_UNSETTLED = 64


class ScriptParkedError(HostdError):
    """The script itself was parked with the plan that was entered last; the index says why."""


class OverQuotaError(HostdError):
    """The script has used up what it may do in a day; its event waits."""

    def __init__(self, plan: Plan, reason: str) -> None:
        super().__init__(reason)
        self.plan = plan


class RefusedPlanError(HostdError):
    """The index refused a plan, which counts as a failure of its event; what was handed over after it was not committed."""


@dataclass(frozen=True, slots=True)
class _Entered:
    """A plan in the hands of the writer; see `plans.enter`."""

    plan: Plan
    after: int | None
    first: int | None
    commit: Future[bool]


class _Together:
    """Events that were done without effect, and that one unit of the writer notes together: all that wait when it begins."""

    def __init__(self, notebook: Notebook, script: str, token: int, step: tuple[int, int | None, int]) -> None:
        self.token = token
        self._script = script
        self._steps = [step]
        self._guard = threading.Lock()
        self._has_begun = False
        self.commit = notebook.enter(self._unit)

    def add(self, step: tuple[int, int | None, int]) -> bool:
        """Add an event; False when the writer is at it already."""
        with self._guard:
            if not self._has_begun:
                self._steps.append(step)
            return not self._has_begun

    def _unit(self, connection: Connection) -> bool:
        with self._guard:
            self._has_begun = True
        before = cursors.advance_through(connection, self._script, self.token, self._steps)
        cursors.count_parked(connection, self._script, before.parked_in_a_row, parked=False)
        return False


class Lane:
    """Runs events one after another, for one thread at a time. Without a worker it starts one when it is first needed."""

    def __init__(
        self,
        script: str,
        archive: Archive,
        notebook: Notebook,
        rules: Rules,
        version: Version,
        load: Callable[[], ScriptWorker],
        worker: ScriptWorker | None = None,
    ) -> None:
        self.worker = worker
        self.token = 0
        """The fencing token under which plans are entered."""
        self.on_commit: Callable[[], None] = lambda: None
        """Called once what was handed to the writer is committed or refused, in the thread that does so, which must not be held up."""
        self._script = script
        self._archive = archive
        self._notebook = notebook
        self._rules = rules
        self._version = version
        self._load = load
        self._is_lost = False
        self._entered: deque[_Entered] = deque()
        self._together: _Together | None = None
        self._settled: list[Event] = []
        self._log = _log.bind(script=script)

    def attempt(self, event: Event, *, after: int | None, first: int | None = None, at_once: bool = False) -> bool:
        """Run the handler once and hand its plan to the writer; False when it failed and is to be run again.

        `after` and `first` are as for `plans.enter`. With `at_once` there is nothing else to do meanwhile: a plan that has effects is
        committed before this returns. Raises `ScriptError` when no worker can be started, and what `settle` raises.
        """
        if len(self._entered) >= _MOST_UNSETTLED:
            self._settled.append(self._settle_one())
        worker = self._living()
        plan, self._is_lost = execute(
            self._archive, worker, event, self._rules, script=self._script, version=self._version.hash
        )
        if plan.error is not None and not self._is_last_try(plan):
            return False
        entered = self._enter(plan, after, first, at_once=at_once)
        self._entered.append(entered)
        if not entered.commit.done():
            entered.commit.add_done_callback(lambda _: self.on_commit())
        return True

    def settle(self, *, wait: bool = True) -> list[Event]:
        """Return the events whose plans were committed since; with `wait`, all that were handed over.

        Raises `StaleTokenError` and `StorageError` when it is for the index to say how far the script is, and the errors of this module.
        What was handed over after the plan that they are about is not committed, or will be found in the index.
        """
        while self._entered and (wait or self._entered[0].commit.done()):
            self._settled.append(self._settle_one())
        settled, self._settled = self._settled, []
        return settled

    def give_back(self) -> None:
        """Wait until nothing of this lane is with the writer any more, whatever becomes of it."""
        self._notebook.hurry()
        while self._entered:
            self._entered.popleft().commit.exception()

    def stop(self) -> None:
        """End its worker."""
        if self.worker is not None:
            self.worker.stop()
        self.worker = None

    def _living(self) -> ScriptWorker:
        if self._is_lost:
            self.stop()
        if self.worker is None:
            self.worker = self._load()
        self._is_lost = False
        return self.worker

    def _enter(self, plan: Plan, after: int | None, first: int | None, *, at_once: bool = False) -> _Entered:
        if after is not None and plan.is_empty:
            return _Entered(plan, after, first, self._note(plan, after, first))
        is_parked = plan.outcome == "parked"  # after which the script may be, and nothing of it is noted any more
        if self._together is not None or is_parked:
            self._notebook.hurry()  # what was done or passed before this plan is noted before it
            self._together = None
        token, rules = self.token, self._rules

        def unit(connection: Connection) -> bool:
            return plans.enter(
                connection, plan, token, after=after, first=first, quota=rules.quota, park_after=rules.park_after
            )

        if at_once and not self._entered and not is_parked:  # behind what is not committed yet it has to wait its turn
            return _Entered(plan, after, first, self._commit(unit, _topics(plan)))
        return _Entered(plan, after, first, self._archive.writer.submit(unit, topics=_topics(plan)))

    def _commit(self, unit: Callable[[Connection], bool], topics: list[str]) -> Future[bool]:
        """Have a unit committed now, by this thread if the writer is free: to wake another and to be woken takes as long as that."""
        commit: Future[bool] = Future()
        try:
            commit.set_result(self._archive.writer.do(unit, topics=topics, urgent=True))
        except Exception as error:  # noqa: BLE001 - it is raised by whoever settles it
            commit.set_exception(error)
        return commit

    def _note(self, plan: Plan, after: int, first: int | None) -> Future[bool]:
        """Have the writer note that an event is done, together with those before it that it has not begun to note."""
        step, together = (after, first, plan.event.number), self._together
        if together is None or together.token != self.token or not together.add(step):
            self._together = together = _Together(self._notebook, self._script, self.token, step)
        return together.commit

    def _settle_one(self) -> Event:
        """See what became of the oldest plan. One that the index refuses is a failure of its event, as if the script had failed."""
        one = self._entered.popleft()
        if not one.commit.done():
            self._notebook.hurry()
        try:
            is_parked = one.commit.result()
        except (StaleTokenError, StorageError):
            raise
        except QuotaError as error:
            raise OverQuotaError(one.plan, str(error)) from error
        except OperationalError as error:  # the disk, not the plan
            raise StorageError(f"the index could not be written: {error}") from error
        except Exception as error:
            self._log.exception("the index refused a plan", number=one.plan.event.number)
            self.give_back()
            plan = replace(
                one.plan, outcome="parked", actions=(), state=None, error=f"the plan could not be entered: {error}"
            )
            is_parked = self._is_last_try(plan) and self._enter(plan, one.after, one.first).commit.result()
            if not is_parked:
                raise RefusedPlanError(str(error)) from error
        if is_parked:
            raise ScriptParkedError(self._script)
        return one.plan.event

    def _is_last_try(self, plan: Plan) -> bool:
        """Record a failed run; return whether the event is to be parked now. The log says so either way."""
        with self._archive.read() as connection:
            failures = plans.failures(connection, self._script, plan.event.number) + 1
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


@dataclass(slots=True)
class Running:
    """The version that runs, and its workers; the first lane has the one that it was loaded in."""

    candidate: Candidate
    lanes: list[Lane]

    @property
    def version(self) -> Version:
        """What is running."""
        return self.candidate.version

    @property
    def worker(self) -> ScriptWorker | None:
        """The worker of the first lane, None when it was lost."""
        return self.lanes[0].worker

    def enter_as(self, token: int) -> None:
        """Enter plans under that fencing token from now on."""
        for lane in self.lanes:
            lane.token = token

    def stop(self) -> None:
        """End all workers."""
        for lane in self.lanes:
            lane.stop()


def _topics(plan: Plan) -> list[str]:
    """Return what is to be rung once a plan is committed: whoever is woken for nothing takes time from those who are not."""
    is_parked = plan.outcome == "parked"

    def has(*kinds: type) -> bool:
        return any(isinstance(action, kinds) for action in plan.actions)

    rung = {
        "delivery": has(PlannedForward, PlannedDeal),
        "action": has(PlannedTask, PlannedDeal),
        "event": is_parked or has(PlannedDelete, PlannedMark, PlannedDeal),
        "notification": is_parked or has(PlannedNotify),
        quieting.TOPIC: has(PlannedStable),
    }
    return [topic for topic, is_rung in rung.items() if is_rung]
