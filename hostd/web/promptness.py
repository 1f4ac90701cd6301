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
T = TypeVar("T")

_NOWAIT: int = getattr(os, "RWF_NOWAIT", 0)
"""Linux has it; without it nothing is prompt."""


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
    return bool(_NOWAIT) and getattr(function, "is_prompt", False)


def call_promptly(function: Callable[..., T], **values: Any) -> T:
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


class PromptFile(io.RawIOBase):
    """A file of which, on the event loop, only that is read which is in memory. Reading raises `TakesLongError` where it is not.

    It does not grow: where it ends is looked at once.
    """

    def __init__(self, descriptor: int) -> None:
        """Take over an open file, which is closed with it."""
        self._descriptor = descriptor
        self._at = 0
        self._end = os.fstat(descriptor).st_size

    def readable(self) -> bool:
        """Say that it can be read."""
        return True

    def seekable(self) -> bool:
        """Say that it can be read from anywhere."""
        return True

    def seek(self, offset: int, whence: int = os.SEEK_SET, /) -> int:
        """Go to where is read next, and return that."""
        self._at = offset + (self._at if whence == os.SEEK_CUR else self._end if whence == os.SEEK_END else 0)
        return self._at

    def tell(self) -> int:
        """Return where is read next."""
        return self._at

    def fileno(self) -> int:
        """Return the descriptor. Raises `ValueError` when it is closed."""
        if self.closed:
            raise ValueError("the file is closed")
        return self._descriptor

    def readinto(self, buffer: Any, /) -> int:
        """Read into a buffer."""
        try:
            length = os.preadv(self._descriptor, [buffer], self._at, _NOWAIT if _CALLS.are_prompt else 0)
        except BlockingIOError as error:
            raise TakesLongError from error
        except OSError as error:
            if error.errno == errno.EOPNOTSUPP and _CALLS.are_prompt:  # of another file system
                raise CannotTellError from error
            raise
        self._at += length
        return length

    def close(self) -> None:
        """Close it."""
        if not self.closed:
            os.close(self._descriptor)
        super().close()


def open_file(path: str | os.PathLike[str]) -> io.BufferedReader:
    """Open a file that can be read promptly. Raises `OSError`."""
    return io.BufferedReader(PromptFile(os.open(path, os.O_RDONLY | os.O_CLOEXEC)))


def reads_promptly(file: object) -> bool:
    """Tell whether an open file is one of `open_file`: any other may wait for the disk."""
    return isinstance(getattr(file, "raw", None), PromptFile)
