"""The host's side of a script worker: start it, give it events, hold it to its time, end it.

The worker runs a stranger's code, so everything that comes from it is data of a declared type, of limited size, and is
checked against what the script may do before anyone acts on it. Time is enforced from here, by SIGKILL: inside, a script
could catch whatever told it to stop.
"""

from __future__ import annotations

import signal
import subprocess
import time
from collections.abc import Callable, Container, Sequence
from typing import Any, Literal

import msgspec

from hostd.errors import ScriptError
from hostd.launcher import Launcher
from hostd.sandbox import api, filters, frames
from hostd.sandbox.channel import FrameError, encoded
from hostd.scripting import processes
from hostd.scripting.honesty import dishonest, dishonest_question, dishonest_verdict
from hostd.scripting.processes import WorkerLost, WorkerProcess
from hostd.scripting.schedules import are_possible, bad_times

Isolation = Literal["required", "best-effort"]

_MAX_QUESTIONS = 10_000
"""Questions of one run. Their time does not count against the script, so their number must end."""
_MAX_FILTER_QUESTIONS = 100
"""Questions of one filter, for which a sender waits."""
_SEND_LIMIT_S = 10.0
_STOP_LIMIT_S = 1.0


class RefusedScriptError(ScriptError):
    """A script cannot be used; `problems` says why, with lines."""

    def __init__(self, name: str, problems: Sequence[frames.Finding]) -> None:
        where = "; ".join(f"{problem.place}: {problem.message}" for problem in problems)
        super().__init__(f"{name}: {where}")
        self.problems = list(problems)


class ScriptWorker:
    """One process that runs one version of one script. For one thread at a time."""

    def __init__(self, load: frames.Load, started: WorkerProcess) -> None:
        """Take a process that waits for its script, and may use the memory that `load` says; `start` does it all."""
        self._load = load
        self._process = started.process
        self._channel = started.channel
        self._channel.settimeout(_SEND_LIMIT_S)
        self._lossy: set[str] = set()
        self._lost: str | None = None
        self._given: Container[str] = ()
        self.layers: dict[str, int] = {}
        """Layers of the jail in force: see `hostd.sandbox.jail.enter`."""
        self.ready = frames.Ready([], [])
        """What the worker said of the script when it was loaded."""

    @classmethod
    def start(
        cls,
        load: frames.Load,
        *,
        load_time_limit_s: float = 10.0,
        isolation: Isolation = "required",
        forked_by: Launcher | None = None,
    ) -> ScriptWorker:
        """Start a worker, have it compile the script and run its module body.

        Raises `RefusedScriptError` when the script cannot be used, and `WorkerLost` when the worker took longer than the
        limit, died, or is not jailed although isolation is required.
        """
        worker = cls(load, processes.start(load.name, load.memory_bytes, forked_by))
        deadline = time.monotonic() + load_time_limit_s
        try:
            worker._greet(deadline, load_time_limit_s, isolation)
            worker._load_script(deadline, load_time_limit_s)
        except BaseException:
            worker._end()
            raise
        return worker

    @property
    def pid(self) -> int:
        """The worker's process id."""
        return self._process.pid

    def run(
        self,
        event: frames.Event,
        *,
        time_limit_s: float,
        answer: Callable[[frames.Question], frames.Answer],
        given: Container[str] = (),
        body: bytes | None = None,
    ) -> frames.Result:
        """Run the handler of an event and return what came of it, a failure of the script included.

        `body` is the event `encoded`, where that was done for another script already.

        `answer` is called in this thread for what the script asks; the time it takes does not count against the script's.
        What it raises ends the worker and is passed on. An answer over `frames.MAX_VALUE`, or beyond `frames.MAX_VALUES`
        in one run, does not reach the script, which gets `ValueTooLarge`. `given` are the ids of what answers gave it to act upon.

        Raises `WorkerLost`; the worker is then dead.
        """
        self._given = given
        result = self._guarded(event, time_limit_s, answer, body)
        assert isinstance(result, frames.Result)
        return result

    def judge(
        self, question: frames.Filter, *, time_limit_s: float, answer: Callable[[frames.Question], frames.Answer]
    ) -> frames.Verdict:
        """Run a filter and return what it decided, a failure of the script included; otherwise as `run`."""
        verdict = self._guarded(question, time_limit_s, answer)
        assert isinstance(verdict, frames.Verdict)
        return verdict

    def stop(self) -> None:
        """Close the connection, on which the worker leaves; one that has not left after a second is killed."""
        self._lost = self._lost or "it was stopped"
        self._channel.close()
        try:
            self._process.wait(_STOP_LIMIT_S)
        except subprocess.TimeoutExpired:
            self._end()

    # -- one frame after another

    def _guarded(
        self,
        asked: frames.Event | frames.Filter,
        limit_s: float,
        answer: Callable[[frames.Question], frames.Answer],
        body: bytes | None = None,
    ) -> frames.Result | frames.Verdict:
        if self._lost is not None:
            raise WorkerLost(f"the worker of {self._load.name} is not running: {self._lost}")
        try:
            return self._run(asked, limit_s, answer, encoded(asked) if body is None else body)
        except BaseException as error:
            self._lost = str(error)
            self._end()
            raise

    def _greet(self, deadline: float, limit_s: float, isolation: Isolation) -> None:
        hello = self._receive(deadline, limit_s)
        if not isinstance(hello, frames.Hello):
            raise WorkerLost(f"the worker of {self._load.name} sent something else than its hello")
        self.layers = hello.layers
        missing = [layer for layer in ("landlock", "seccomp") if not hello.layers.get(layer)]
        if isolation == "required" and missing:
            raise WorkerLost(
                f"{self._load.name} was not started: this system has no {' and no '.join(missing)}, and isolation is required. "
                "Run hostd on Linux 5.13 or newer with Landlock among its security modules (cat /sys/kernel/security/lsm), and, in a "
                "container, with a runtime that lets landlock and seccomp pass. To run scripts with what there is, write in the "
                'configuration: [scripting] isolation = "best-effort"; or start with --no-scripts'
            )

    def _load_script(self, deadline: float, limit_s: float) -> None:
        self._lossy = {syntax.uid for syntax in self._load.syntaxes.values() if syntax.is_lossy}
        self._send(encoded(self._load))
        reply = self._receive(deadline, limit_s)
        if isinstance(reply, frames.Refused):
            raise RefusedScriptError(self._load.name, reply.problems)
        if not isinstance(reply, frames.Ready) or not self._is_honest(reply):
            raise WorkerLost(f"the worker of {self._load.name} sent something else than what became of the script")
        if problems := bad_times(reply.schedules):
            raise RefusedScriptError(self._load.name, problems)
        self.ready = reply

    def _is_honest(self, ready: frames.Ready) -> bool:
        """Tell whether a script as it was loaded can be so."""
        known = api.HANDLERS.keys() | (filters.FILTERS.keys() if filters.CAPABILITY in self._load.may else set())
        by_the_clock = {schedule.function for schedule in ready.schedules}
        return set(ready.handlers) <= known | by_the_clock and are_possible(ready.schedules)

    def _run(
        self,
        asked: frames.Event | frames.Filter,
        limit_s: float,
        answer: Callable[[frames.Question], frames.Answer],
        body: bytes,
    ) -> frames.Result | frames.Verdict:
        expected = frames.Result if isinstance(asked, frames.Event) else frames.Verdict
        most = _MAX_QUESTIONS if isinstance(asked, frames.Event) else _MAX_FILTER_QUESTIONS
        deadline = time.monotonic() + limit_s
        self._send(body)
        values_left, questions = frames.MAX_VALUES, 0
        while True:
            message = self._receive(deadline, limit_s)
            if isinstance(message, expected):
                problem = self._problem_of(message, asked)
                if problem is not None:
                    raise WorkerLost(f"the worker of {self._load.name} sent {problem}; it may have been taken over")
                return message
            if not isinstance(message, frames.Question):
                raise WorkerLost(f"the worker of {self._load.name} sent something else than a result")
            questions += 1
            if questions > most:
                raise WorkerLost(f"{self._load.name} was killed after {most} questions in one run")
            self._check(message, asked)
            began = time.monotonic()
            if message.verb == "value":
                reply, size = _limited(answer(message), message.id, values_left)
                values_left -= size
            else:  # what the worker has looked at it may forget, so there is no limit on the whole
                reply, _ = _limited(answer(message), message.id, frames.MAX_VALUE)
            self._send(encoded(reply))
            deadline += time.monotonic() - began

    def _check(self, question: frames.Question, asked: frames.Event | frames.Filter) -> None:
        """Refuse to ask others what the script may not ask, and to have made what it may not have made."""
        problem = dishonest_question(question, self._load) or ""
        if question.actions and not isinstance(asked, frames.Event):
            problem = "a question that a filter does not have"
        elif question.actions and isinstance(asked, frames.Event):
            made = frames.Result(asked.id, list(question.actions), [], [])
            problem = dishonest(made, asked, self._load, self._lossy, self._given) or ""
        if problem:
            raise WorkerLost(f"the worker of {self._load.name} sent {problem}; it may have been taken over")

    def _problem_of(self, message: frames.Result | frames.Verdict, asked: frames.Event | frames.Filter) -> str | None:
        if isinstance(message, frames.Result) and isinstance(asked, frames.Event):
            return dishonest(message, asked, self._load, self._lossy, self._given)
        assert isinstance(message, frames.Verdict)
        assert isinstance(asked, frames.Filter)
        return dishonest_verdict(message, asked)

    def _send(self, body: bytes) -> None:
        try:
            self._channel.send_encoded(body)
        except TimeoutError:
            raise WorkerLost(f"the worker of {self._load.name} does not read; it was killed") from None
        except OSError:
            raise WorkerLost(self._why_it_died()) from None

    def _receive(self, deadline: float, limit_s: float) -> Any:
        try:
            return self._channel.receive(deadline=deadline)
        except TimeoutError:
            raise WorkerLost(f"{self._load.name} was killed after {limit_s:g} s: it had not ended") from None
        except FrameError as error:
            raise WorkerLost(f"the worker of {self._load.name} sent garbage: {error}") from None
        except (EOFError, OSError):
            raise WorkerLost(self._why_it_died()) from None

    # -- the end

    def _why_it_died(self) -> str:
        name = self._load.name
        try:
            code = self._process.wait(_STOP_LIMIT_S)
        except subprocess.TimeoutExpired:
            return f"the worker of {name} closed its connection"
        if code == frames.EXIT_MEMORY:
            return f"{name} ran out of memory: it may use {self._load.memory_bytes >> 20} MiB"
        if code == frames.EXIT_PROTOCOL:
            return f"the worker of {name} did not understand what it was sent"
        if code == -signal.SIGKILL:
            return f"the worker of {name} was killed from outside, perhaps because the machine ran out of memory"
        if code < 0:
            return f"the worker of {name} died of {signal.Signals(-code).name}"
        return f"the worker of {name} ended with exit code {code}"

    def _end(self) -> None:
        self._process.kill()
        self._channel.close()
        self._process.wait()


def _limited(answer: frames.Answer, question: int, bytes_left: int) -> tuple[frames.Answer, int]:
    """Return the answer as it may be sent, and its size."""
    if answer.error is not None:
        return msgspec.structs.replace(answer, id=question), 0
    size = len(msgspec.msgpack.encode(answer.value))
    if size > frames.MAX_VALUE:
        reason = f"the value has {size} bytes; a script may read values of up to {frames.MAX_VALUE >> 20} MiB"
        return frames.Answer(question, error=reason, too_large=True), 0
    if size > bytes_left:
        reason = f"this run has read {frames.MAX_VALUES >> 20} MiB of large values, and may read no more"
        return frames.Answer(question, error=reason, too_large=True), 0
    return msgspec.structs.replace(answer, id=question), size
