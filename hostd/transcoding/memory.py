"""Files in memory, for what is sent soon and kept by nobody: within a budget, and gone with this process (Linux)."""

from __future__ import annotations

import fcntl
import os
import threading
from pathlib import Path, PosixPath

_BYTES = 256 << 20
"""That all of them have together."""
_FILES = 512
"""Of which each has a descriptor; at most the fourth part of those that the process may have."""


class MemoryPath(PosixPath):
    """Where this process opens a file in memory.

    The file stays as long as this object does, so that the place, which is named after a descriptor, never comes to be another file's.
    Who opens it therefore holds the object, not its text.
    """

    held: _Held | None = None
    """The file; paths that are made of this one hold none."""


class Memory:
    """Makes them. For any number of threads."""

    def __init__(self, most_bytes: int = _BYTES, most_files: int = _FILES) -> None:
        self._most_bytes = most_bytes
        self._most_files = min(most_files, _descriptors() // 4)
        self._lock = threading.Lock()
        self._sizes: dict[int, int] = {}
        """Bytes that each may have, by its descriptor. Taken away without the lock, wherever the last who holds a file lets it go."""

    @property
    def sizes(self) -> list[int]:
        """The bytes that each file may have that is there now."""
        return list(self._sizes.copy().values())

    def file(self, most_bytes: int) -> MemoryPath | None:
        """Return an empty file that may have so many bytes; None where there is no room, or no such thing as files in memory."""
        if not hasattr(os, "memfd_create"):
            return None
        with self._lock:
            sizes = self.sizes
            if len(sizes) >= self._most_files or sum(sizes) + most_bytes > self._most_bytes:
                return None
            try:
                descriptor = os.memfd_create("hostd", os.MFD_CLOEXEC | os.MFD_ALLOW_SEALING)
            except OSError:  # the system has none, or none left: a file on disk serves as well
                return None
            self._sizes[descriptor] = most_bytes
            held = _Held(descriptor, self._sizes)
        path = MemoryPath(f"/proc/self/fd/{descriptor}")
        path.held = held
        return path if path.exists() else None

    def seal(self, path: MemoryPath) -> None:
        """Have nobody change the file from now on, whoever still has it open, and give back the room that it does not need."""
        descriptor = descriptor_of(path)
        fcntl.fcntl(descriptor, fcntl.F_ADD_SEALS, fcntl.F_SEAL_WRITE | fcntl.F_SEAL_GROW | fcntl.F_SEAL_SHRINK)
        self._sizes[descriptor] = os.fstat(descriptor).st_size


def descriptor_of(path: Path) -> int:
    """Return the descriptor of a file in memory, which whoever holds the path may use."""
    assert isinstance(path, MemoryPath)
    assert path.held is not None
    return path.held.descriptor


class _Held:
    """An open file in memory, closed when nobody holds this."""

    def __init__(self, descriptor: int, sizes: dict[int, int]) -> None:
        self.descriptor = descriptor
        self._sizes = sizes

    def __del__(self) -> None:
        del self._sizes[self.descriptor]  # before the number can be another file's
        os.close(self.descriptor)


def _descriptors() -> int:
    return os.sysconf("SC_OPEN_MAX")
