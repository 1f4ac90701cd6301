"""What is answered on the event loop itself: to have a thread do it takes longer than most of these answers do.

The function of a route that is `prompt` is called there first. It may look up a few rows of an index that is a file of this machine, and
read what the system has of a file in memory. Whatever may take longer says so beforehand (`takes_long`, `PromptFile`): then the function is
called again, in a thread.
"""

from __future__ import annotations

import errno
import io
import os
import threading
from collections.abc import Callable
from typing import Any, TypeVar

Function = TypeVar("Function", bound=Callable[..., Any])

_NOWAIT: int | None = getattr(os, "RWF_NOWAIT", None)
"""Linux has it."""


class _Calls(threading.local):
    are_prompt = False


_CALLS = _Calls()


class TakesLongError(Exception):
    """What was to be answered promptly cannot be."""


class CannotTellError(TakesLongError):
    """It cannot be told how long a read takes; that will be so the next time, too."""


def prompt(function: Function) -> Function:
    """Mark the function of a route. Called once more, it must do the same again."""
    function.is_prompt = True  # type: ignore[attr-defined]
    return function


def is_prompt(function: Callable[..., Any]) -> bool:
    """Tell whether a function is marked so, and the system knows what it has of a file in memory."""
    return _NOWAIT is not None and getattr(function, "is_prompt", False)


def call_promptly(function: Callable[..., Any], **values: Any) -> Any:
    """Call a function on the event loop. Raises `TakesLongError` where it is to be called in a thread."""
    _CALLS.are_prompt = True
    try:
        return function(**values)
    finally:
        _CALLS.are_prompt = False


def takes_long() -> None:
    """Say that what follows may take longer than a change of threads. Raises `TakesLongError` on the event loop."""
    if _CALLS.are_prompt:
        raise TakesLongError


def open_file(path: str | os.PathLike[str]) -> io.BufferedReader:
    """Open a file to be read, whether promptly or not. Raises `OSError`."""
    return io.BufferedReader(PromptFile(path)) if _CALLS.are_prompt else open(path, "rb")  # noqa: PTH123 - Path.open takes longer


class PromptFile(io.FileIO):
    """A file of which, on the event loop, only that is read which is in memory. Reading raises `TakesLongError` where it is not."""

    def read(self, size: int | None = -1, /) -> Any:
        """Read so many bytes at most, or all."""
        return io.RawIOBase.read(self, -1 if size is None else size)  # by `readinto`

    def readall(self) -> Any:
        """Read all."""
        return io.RawIOBase.readall(self)

    def readinto(self, buffer: Any, /) -> int | None:
        """Read into a buffer."""
        if not _CALLS.are_prompt:
            return super().readinto(buffer)
        assert _NOWAIT is not None, "nothing is prompt where this cannot be known"
        at = self.tell()
        try:
            length = os.preadv(self.fileno(), [buffer], at, _NOWAIT)
        except BlockingIOError as error:
            raise TakesLongError from error
        except OSError as error:
            if error.errno == errno.EOPNOTSUPP:  # of another file system
                raise CannotTellError from error
            raise
        self.seek(at + length)
        return length
