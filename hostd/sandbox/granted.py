"""What the parts of `host` share: the run that they act in, what the configuration grants it, and how values are named in errors."""

from __future__ import annotations

import datetime as dt
import math
import sys

from hostd.sandbox.read_only import ReadOnly
from hostd.sandbox.refusals import NotAllowed
from hostd.sandbox.run import Run, missing


class Granted(ReadOnly):
    """A part of `host`: it knows its run, and asks before it does what not every script may do."""

    __slots__ = ("_run",)
    _run: Run

    def __init__(self, run: Run) -> None:
        object.__setattr__(self, "_run", run)

    def _destination(self, name: object) -> str:
        if not isinstance(name, str):
            raise TypeError(f"a destination is named by a text, not {shown(name)}")
        text, load = str.__str__(name), self._run.world.load
        if text in load.destinations:
            return text
        if text in load.known_destinations:
            line = self._run.world.config_line("destinations", [*load.destinations, text])
            raise NotAllowed(
                f"this script may not send to {text!r}; this line of the configuration would allow it: {line}"
            )
        raise self._unknown_destination(text)

    def _known_destination(self, name: object) -> str:
        """Return the name of a destination that is only asked about."""
        if not isinstance(name, str):
            raise TypeError(f"a destination is named by a text, not {shown(name)}")
        text = str.__str__(name)
        if text not in self._run.world.load.known_destinations:
            raise self._unknown_destination(text)
        return text

    def _unknown_destination(self, text: str) -> ValueError:
        return ValueError(missing("destination", text, self._run.world.load.known_destinations))

    def _need(self, capability: str) -> None:
        load = self._run.world.load
        if capability not in load.may:
            line = self._run.world.config_line("may", [*load.may, capability])
            raise NotAllowed(
                f"this script may not do that ({capability}); this line of the configuration would allow it: {line}"
            )


def moment(value: object, name: str = "not_before") -> float | None:
    """Return an aware datetime, or seconds, as seconds since 1970 UTC; None for None. Raises `ValueError`."""
    if value is None:
        return None
    if isinstance(value, dt.datetime):
        if value.tzinfo is None:
            raise ValueError(f"{name} has no time zone: build it from host.now(), or give it one")
        return value.timestamp()
    if isinstance(value, bool) or not isinstance(value, (int, float)) or not 0 <= value < 1e11 or math.isnan(value):
        raise ValueError(f"{name} must be an aware datetime or seconds since 1970 UTC, not {shown(value)}")
    return float(value)


def shown(value: object) -> str:
    """Name a value in an error without asking a script's object for its text."""
    if isinstance(value, str):
        return repr(str.__str__(value)[:64])
    if isinstance(value, (bool, float)) or value is None or (isinstance(value, int) and abs(value) < 1 << 64):
        return repr(value)
    return f"a {type(value).__name__}"


def text_of(value: object, what: str) -> str:
    """Return a text that a script gave, as a plain one that can travel. Raises `TypeError` or `ValueError`."""
    if not isinstance(value, str):
        raise TypeError(f"{what} must be a text, not {shown(value)}")
    plain = str.__str__(value)
    try:
        plain.encode()
    except UnicodeEncodeError:
        raise ValueError(f"{what} cannot be written as UTF-8") from None
    return plain


def line() -> int:
    """Return the line of the script that called an action; 0 when no frame of it is on the stack."""
    frame = sys._getframe(1)  # noqa: SLF001 - the only way to know the caller's line
    while frame is not None:
        if frame.f_code.co_filename == "<script>":
            return frame.f_lineno
        if frame.f_back is None:
            break
        frame = frame.f_back
    return 0
