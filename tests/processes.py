"""What Linux tells of processes (proc(5)). Any of them may end while it is looked at, and then counts as ended."""

import contextlib
import time
from pathlib import Path

_PROCESSES = Path("/proc")
_ENDED = "ZX"
"""States of a process of which only the exit code is left, for its parent."""


def is_there(pid):
    """Tell whether anything of a process is left, be it only its exit code."""
    return _state_and_parent(pid) is not None


def is_alive(pid):
    """Tell whether a process runs."""
    return (found := _state_and_parent(pid)) is not None and found[0] not in _ENDED


def has_ended(pid, within_s=60.0):
    """Wait until a process runs no more, for so long at most, and tell whether that is so."""
    ends = time.monotonic() + within_s
    while (alive := is_alive(pid)) and time.monotonic() < ends:
        time.sleep(0.01)
    return not alive


def parent_of(pid):
    """Return the process that a process is a child of, or None where it is gone."""
    return (found := _state_and_parent(pid)) and found[1]


def descendants_of(pid):
    """Return the children of a process, theirs, and so on, as far as they run."""
    parents = {
        int(folder.name): parent_of(folder.name)
        for folder in _PROCESSES.iterdir()
        if folder.name.isdecimal() and is_alive(folder.name)
    }
    found, left = set(), {pid}
    while left:
        left = {one for one, parent in parents.items() if parent in left}
        found |= left
    return found


def threads_of(pid):
    """Return the numbers of the threads of a process; none where it is gone."""
    with contextlib.suppress(FileNotFoundError, ProcessLookupError):
        return {int(task.name) for task in (_PROCESSES / str(pid) / "task").iterdir()}
    return set()


def open_files_of(pid):
    """Return what a process holds open, as paths; a file that was deleted ends in ` (deleted)`."""
    found = []
    with contextlib.suppress(FileNotFoundError, ProcessLookupError):
        for link in (_PROCESSES / str(pid) / "fd").iterdir():
            with contextlib.suppress(FileNotFoundError):  # closed meanwhile
                found.append(link.readlink())
    return found


def peak_bytes(pid):
    """Return the most memory that a process has had at a time, or None where it has ended."""
    return _memory(pid, "VmHWM:")


def resident_bytes(pid):
    """Return the memory that a process has now, or None where it has ended."""
    return _memory(pid, "VmRSS:")


def _state_and_parent(pid):
    # The name in parentheses may hold anything; after it come state and parent.
    fields = _read(pid, "stat").rpartition(")")[2].split()
    return (fields[0], int(fields[1])) if fields else None


def _memory(pid, name):
    for line in _read(pid, "status").splitlines():
        if line.startswith(name):
            return int(line.split()[1]) << 10
    return None


def _read(pid, name):
    with contextlib.suppress(FileNotFoundError, ProcessLookupError):
        return (_PROCESSES / str(pid) / name).read_text(errors="replace")
    return ""
