"""Files that nobody needs any more, to be written over: a file whose pages are there already is written in a third of the time of a new one."""

from __future__ import annotations

import contextlib
import os
import threading
from collections import deque
from pathlib import Path

from hostd.transcoding import file_leases

_MOST = 32
_LARGEST = 8 << 20
"""Bytes of a file that is kept to be written over."""


class UsedFiles:
    """Keeps up to `most` of them. For any number of threads.

    What a path led to once, or an open file has, never becomes another's content: a file is written over under another name, and only when
    the system says that nobody has it open, neither here nor in a process that was handed its descriptor.
    """

    def __init__(self, *, most: int = _MOST) -> None:
        self._most = most if file_leases.IS_KNOWN else 0
        self._lock = threading.Lock()
        # What follows is for who holds `_lock`.
        self._files: deque[Path] = deque()
        self._is_closed = False

    def give(self, path: Path, size: int) -> None:
        """Take a file over that is not wanted any more, of so many bytes. Raises `OSError` where it is to be removed and cannot be."""
        with self._lock:
            if len(self._files) < self._most and size <= _LARGEST and not self._is_closed:
                self._files.append(path)
                return
        path.unlink(missing_ok=True)

    def open(self, path: Path) -> int:
        """Return a descriptor of a file at `path`, where none may be, to be written from its beginning. Raises `OSError`.

        It may be longer than what will be written: who writes it cuts it off.
        """
        with self._lock:
            used = self._files.popleft() if self._files else None
        descriptor = _taken_over(used, path) if used is not None else None
        return create(path) if descriptor is None else descriptor

    def clear(self) -> None:
        """Remove those that are there."""
        with self._lock:
            files, self._files = self._files, deque()
        for path in files:
            _remove(path)

    def close(self) -> None:
        """Remove those that are there; from now on none is kept."""
        with self._lock:
            self._is_closed = True
        self.clear()


def create(path: Path) -> int:
    """Return a descriptor of a new file. Raises `OSError`."""
    return os.open(path, os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)


def _taken_over(used: Path, path: Path) -> int | None:
    """Return a descriptor of a used file, which is at `path` now; None, and it is removed, where anybody else may have it open."""
    try:
        used.rename(path)  # who comes by its old name from now on does not find it
        descriptor = os.open(path, os.O_RDWR | os.O_CLOEXEC)
    except OSError:
        _remove(used)
        _remove(path)
        return None
    if file_leases.has_alone(descriptor):
        return descriptor
    os.close(descriptor)
    _remove(path)
    return None


def _remove(path: Path) -> None:
    with contextlib.suppress(OSError):  # it is left to the sweep
        path.unlink(missing_ok=True)
