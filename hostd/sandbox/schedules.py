"""`@every(minutes=10)` and `@cron("0 2 * * *")`: functions of a script that run by the clock.

The decorators only note what was asked for; when a function runs next is for the host to know.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from types import FunctionType
from typing import Any
from weakref import WeakKeyDictionary

from hostd.sandbox.frames import Finding, Schedule
from hostd.sandbox.granted import shown, text_of

MAX_SCHEDULES = 100
"""How many a script may have."""
SHORTEST_S, LONGEST_S = 1.0, 366 * 86_400.0
"""Seconds between two runs of a function."""
MAX_CRON = 100
"""Characters of a cron expression."""

_VARARGS = 0x04  # inspect.CO_VARARGS: importing `inspect` costs a worker 10 ms
_PREFIXES = ("on_", "filter_")
_marked: WeakKeyDictionary[FunctionType, list[tuple[float | None, str | None]]] = WeakKeyDictionary()

Decorator = Callable[[Any], Any]


def every(*, days: float = 0, hours: float = 0, minutes: float = 0, seconds: float = 0) -> Decorator:
    """Run a function again and again, as `@every(minutes=10)`: the first time so long after the script was taken up.

    The function takes `host` alone. Its times keep their distance over edits of the script and restarts of the node; those
    that came while no node ran the script, or while the function's last run had not ended, are made up for by one run. Of
    several nodes on one index one runs it. From a second to 366 days.
    """
    parts = ((days, 86_400.0), (hours, 3600.0), (minutes, 60.0), (seconds, 1.0))
    if not all(type(number) in (int, float) for number, _ in parts):
        raise TypeError("every takes numbers, as @every(minutes=10)")
    total = sum(number * unit for number, unit in parts)
    if not SHORTEST_S <= total <= LONGEST_S:
        raise ValueError(f"every takes from a second to 366 days, as @every(minutes=10), not {total:g} s")
    return _mark(total, None)


def cron(expression: str) -> Decorator:
    """Run a function at the times of a cron expression: minute, hour, day of the month, month, day of the week.

    `@cron("0 2 * * *")` is every night at two, `@cron("*/15 8-17 * * MON-FRI")` every quarter of an hour in office hours. The
    time zone is `scripting.time_zone`, or that of the machine. Where clocks change, hostd does as Debian's cron: a time that is
    left out comes right after the change, one that comes twice is meant once, and what runs every hour or more often follows
    the clock. Otherwise as `every`.
    """
    text = " ".join(text_of(expression, "a cron expression").split())
    if not 0 < len(text) <= MAX_CRON:
        raise ValueError(f'a cron expression has up to {MAX_CRON} characters, as @cron("0 2 * * *")')
    return _mark(None, text)


DECORATORS: Mapping[str, Callable[..., Decorator]] = {"every": every, "cron": cron}
"""What scripts find by name, and in `hostd.api`."""


def _mark(every_s: float | None, expression: str | None) -> Decorator:
    def decorate(function: Any) -> Any:
        if not isinstance(function, FunctionType):
            raise TypeError(f"a schedule is for a function, not {shown(function)}; write it above its `def`")
        _marked.setdefault(function, []).insert(0, (every_s, expression))
        return function

    return decorate


def found(names: Mapping[str, object], file_of: Callable[[str], str | None]) -> tuple[list[Schedule], list[Finding]]:
    """Return the schedules of a script whose globals are `names`, and what is wrong with them.

    `file_of` tells the helper's file of a compiled file name. A function of a helper runs by the clock in the scripts that import it by name.
    """

    def problem(function: FunctionType, message: str) -> Finding:
        line, file = place(function)
        return Finding("problem", line, 0, function.__name__, message, file)

    def place(function: FunctionType) -> tuple[int, str]:
        return function.__code__.co_firstlineno, file_of(function.__code__.co_filename) or ""

    bound: dict[FunctionType, str] = {}
    for name, value in names.items():
        if isinstance(value, FunctionType) and value in _marked:
            bound.setdefault(value, name)
    problems = [
        problem(function, "a schedule is for a function at the top level of the script, by its name")
        for function in list(_marked)
        if function.__globals__ is names and function not in bound
    ]
    schedules: list[Schedule] = []
    for function, name in sorted(bound.items(), key=lambda pair: pair[0].__code__.co_firstlineno):
        problems += [problem(function, message) for message in _faults(name, function)]
        line, file = place(function)
        schedules += [Schedule(name, every_s, expression, line, file) for every_s, expression in _marked[function]]
    if len(schedules) > MAX_SCHEDULES:
        problems.append(Finding("problem", 1, 0, "", f"a script has up to {MAX_SCHEDULES} schedules"))
    return schedules, problems


def _faults(name: str, function: FunctionType) -> Iterator[str]:
    if name.startswith(_PREFIXES):
        yield f"{name} is called by what its name says, and not by the clock as well: schedule a function of another name"
    code, given = function.__code__, len(function.__defaults__ or ())
    keyword_only = code.co_kwonlyargcount - len(function.__kwdefaults__ or ())
    takes_one = code.co_argcount >= 1 or code.co_flags & _VARARGS
    if code.co_argcount - given > 1 or not takes_one or keyword_only > 0:
        yield f"{name} is called with (host): write `def {name}(host):`"
