"""One script inside its worker: compile it, run its module body, run its handlers, and say what came of it."""

from __future__ import annotations

import ast
import contextlib
from collections.abc import Callable, Iterator
from inspect import CO_GENERATOR
from types import FunctionType, TracebackType
from typing import Any

import msgspec

from hostd.sandbox import api, filters, frames, handles, library, policy, reading, schedules, told
from hostd.sandbox.facades.numbers import give_zones
from hostd.sandbox.namespace import Language
from hostd.sandbox.orthanc.callbacks import CALLBACKS, HEARTBEAT
from hostd.sandbox.orthanc.spelling import Spelling
from hostd.sandbox.run import YIELDS, Ask, Log, Run, World, called

_MAX_MESSAGE = 2000
_MAX_FRAMES = 20


class RefusedScriptError(Exception):
    """The script cannot be used; `problems` says why, with lines."""

    def __init__(self, problems: list[frames.Finding]) -> None:
        super().__init__(f"{len(problems)} problems")
        self.problems = problems


class Script:
    """A script that was compiled and whose module body has run. Its globals last as long as this object."""

    def __init__(self, load: frames.Load) -> None:
        """Compile and run the module body. Raises `RefusedScriptError`."""
        self._world = World(load)
        self._output: Log = Log(load.max_log_bytes)
        try:
            tree = policy.parse(load.source)
            helpers = library.read(tree, load.helpers)
            self.findings = _read(tree, helpers, self._world)
            self.handles = handles.declared(tree)
            self._spelling = Spelling(tree, lambda text: self._output.write("info", text))
            modules = library.Library(helpers)
            code = policy.compile_tree(tree, helpers=helpers.names)
        except policy.PolicyError as error:
            problems = [frames.Finding("problem", p.line, p.column, "", p.message, p.file) for p in error.problems]
            raise RefusedScriptError(problems[:100]) from None
        wrong = reading.problems(self.findings)
        if wrong:
            raise RefusedScriptError(wrong)
        give_zones(load.zones)
        found = {"print": self._printer(), **api.SCRIPT_EXCEPTIONS, **schedules.DECORATORS, **self._spelling.names()}
        self._globals = Language.namespace(modules.use(found))
        failure = _failure_of(lambda: exec(code, self._globals))  # noqa: S102 - compiled under the policy, inside the jail
        if failure is not None:
            message = f"the script failed while it was loaded: {failure.type}: {failure.message}"
            raise RefusedScriptError([frames.Finding("problem", failure.line or 1, 0, "", message, failure.file)])
        spelled = self._spelling.handlers()
        self.handlers = [
            name for name in (*api.HANDLERS, *filters.FILTERS) if callable(self._globals.get(name)) or name in spelled
        ]
        for name in self.handlers:
            if (
                name in filters.FILTERS and filters.CAPABILITY not in load.may
            ):  # one that is no `def`, else `reading` met it
                raise RefusedScriptError(
                    [frames.Finding("problem", 1, 0, name, reading.not_allowed(name, self._world))]
                )
        self.schedules = self._scheduled()
        self.handlers += dict.fromkeys(schedule.function for schedule in self.schedules)
        if yielding := list(self._yielding()):
            raise RefusedScriptError(yielding)
        self.load_log = self._output.lines

    def run(self, event: frames.Event, ask: Ask) -> frames.Result:
        """Run the handler of an event. Whatever the script does becomes part of the result; nothing is raised."""
        run = Run(self._world, event.now, ask)
        self._output = run.log
        host = api.Host(run)
        subject = told.subject(run, event)
        is_called = event.handler in self.handlers and event.handler not in (*filters.FILTERS, HEARTBEAT)
        handler = self._globals.get(event.handler) if is_called else None
        try:
            if callable(handler):
                failure = _failure_of(lambda: called(handler, *subject, host))
            elif event.handler in self._spelling.handlers():
                failure = _failure_of(lambda: self._spelling.run(run, event, self._globals))
            else:
                failure = frames.Failure("LookupError", f"the script has no function called {event.handler}")
        finally:
            run.closed = True
        kept: list[dict[str, Any] | None] = [None]
        if failure is None:
            failure = _failure_of(lambda: kept.append(run.kept()))
        actions = [] if failure is not None else run.actions
        return frames.Result(event.id, actions, run.log.lines, list(run.read), failure, kept[-1])

    def judge(self, question: frames.Filter, ask: Ask) -> frames.Verdict:
        """Run a filter. Whatever the script does becomes part of the verdict; nothing is raised."""
        run = Run(self._world, 0.0, ask)
        self._output = run.log
        host = filters.FilterHost(run, question.handler)
        handler = self._globals.get(question.handler) if question.handler in filters.FILTERS else None
        decided = [frames.Verdict(0, "accept", [], [])]

        def ask_filter() -> object:
            if handler is not None:
                return called(handler, *filters.subjects(run, question), host)
            if question.handler in self._spelling.handlers():
                return self._spelling.judge(run, question, host, self._globals)
            raise LookupError(f"the script has no function called {question.handler}")

        def decide() -> None:
            decided.append(filters.judged(host, ask_filter))

        try:
            failure = _failure_of(decide)
        finally:
            run.closed = True
        return msgspec.structs.replace(
            decided[-1], id=question.id, log=run.log.lines, tags_read=list(run.read), failure=failure
        )

    def _yielding(self) -> Iterator[frames.Finding]:
        """Find the handlers that are generators."""
        for name in dict.fromkeys((*self.handlers, *CALLBACKS)):
            handler = self._globals.get(name)
            if isinstance(handler, FunctionType) and handler.__code__.co_flags & CO_GENERATOR:
                code = handler.__code__
                file = policy.file_of(code.co_filename) or ""
                yield frames.Finding("problem", code.co_firstlineno, 0, name, f"{name} {YIELDS}", file)

    def _scheduled(self) -> list[frames.Schedule]:
        """Return what runs by the clock. Raises `RefusedScriptError`."""
        found, problems = schedules.found(self._globals, policy.file_of)
        try:
            found += self._spelling.schedules(self._world.load.config)
        except ValueError as error:
            problems.append(frames.Finding("problem", 1, 0, HEARTBEAT, str(error)))
        if problems:
            raise RefusedScriptError(problems)
        self.findings += [frames.Finding("schedule", one.line, 0, one.function, one.words, one.file) for one in found]
        return found

    def _printer(self) -> Callable[..., None]:
        """Return the `print` of this script: it writes to the log of the run, at level "info", a call a line."""

        def print_(*values: object, sep: str | None = " ", end: str | None = "\n", flush: bool = False) -> None:
            del flush
            separator, ending = " " if sep is None else str(sep), "" if end in (None, "\n") else str(end)
            self._output.write("info", separator.join(map(str, values)) + ending)

        return print_


def _read(tree: ast.Module, helpers: library.Reading, world: World) -> list[frames.Finding]:
    try:
        found = reading.read(tree, world)
        for name, helper in helpers.trees.items():
            found += reading.read(helper, world, file=f"{policy.LIBRARY}/{name}.py")
        return found[:1000]
    except RecursionError:
        return []  # the compiler, which meets the same tree next, refuses it with a reason


def _failure_of(call: Callable[[], object]) -> frames.Failure | None:
    """Call something of the script's; return how it failed, or None."""
    try:
        call()
    except BaseException as error:  # noqa: BLE001 - whatever a script raises ends its run, never its worker
        failure = _describe(error)
        _forget(error)
        return failure
    return None


def _describe(error: BaseException) -> frames.Failure:
    places = _script_frames(error.__traceback__)
    text = ""
    with contextlib.suppress(BaseException):  # a script's own exception may have arguments that cannot be shown
        text = str(error)
    if isinstance(error, MemoryError):
        text = text or "the script used more memory than it may"
    elif isinstance(error, RecursionError):
        text = "the script's functions call one another too deeply"
    line, _, file = places[-1] if places else (None, "", "")
    return frames.Failure(
        _text(type(error).__name__),
        _text(text),
        line,
        [
            (number, f"{function} in {where}" if where else function)
            for number, function, where in places[-_MAX_FRAMES:]
        ],
        file,
    )


def _script_frames(trace: TracebackType | None) -> list[tuple[int, str, str]]:
    """Return (line, function, helper's file) of the frames of the script and its helpers, outermost first."""
    places: list[tuple[int, str, str]] = []
    while trace is not None:
        code = trace.tb_frame.f_code
        file = policy.file_of(code.co_filename)
        if file is not None:
            places.append((trace.tb_lineno, _text(code.co_name), file))
        trace = trace.tb_next
    return places


def _forget(error: BaseException) -> None:
    """Let go of the frames, and of all the memory that their variables hold, before the result is made."""
    chain: BaseException | None = error
    for _ in range(100):
        if chain is None:
            break
        chain.__traceback__ = None
        chain = chain.__context__


def _text(text: str) -> str:
    return text[:_MAX_MESSAGE].encode("utf-8", "replace").decode()
