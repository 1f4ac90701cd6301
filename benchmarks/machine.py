"""What a figure depends on: processor, cores and versions. The machine is named by nothing else."""

from __future__ import annotations

import contextlib
import os
import platform
import re
import resource
import shutil
import subprocess
from collections.abc import Iterator
from importlib import metadata
from pathlib import Path

_TICKS_A_SECOND = os.sysconf("SC_CLK_TCK")
_LIBRARIES = ("hostd", "imagecodecs", "pylibjpeg-openjpeg", "pyjpegls", "pylibjpeg-rle", "python-gdcm", "numpy")
_VOLUNTARY = re.compile(r"^voluntary_ctxt_switches:\s*(\d+)", re.MULTILINE)
_NAME = re.compile(r"^Name:\s*(.+)$", re.MULTILINE)
_RESIDENT = re.compile(r"^VmRSS:\s*(\d+) kB", re.MULTILINE)
_VERSION = re.compile(r"\d+(\.\d+)+")


def described() -> str:
    """Return processor, cores, Python and the versions of what was measured, as one sentence."""
    found = [f"{name} {version}" for name in _LIBRARIES if (version := _installed(name))]
    found += [f"{name} {version}" for name, tool in _TOOLS if (version := _tool_version(tool))]
    return f"{_processor()}, {os.cpu_count()} cores; Python {platform.python_version()}; {', '.join(found)}"


_TOOLS = (
    ("DCMTK", ("dcmcjpeg", "--version")),
    ("gdcmconv", ("gdcmconv", "--version")),
    ("Orthanc", ("Orthanc", "--version")),
)


def without_niceness() -> None:
    """Give the descendants of this process its own priority, where that is permitted.

    Codec workers are nice, and on a busy machine would be measured waiting for everybody else.
    """
    for one in descendants():
        with contextlib.suppress(PermissionError, ProcessLookupError):
            os.setpriority(os.PRIO_PROCESS, one, os.getpriority(os.PRIO_PROCESS, 0))


def descendants() -> list[int]:
    """Return the process ids of what this process has started, and of what that has."""
    return list(_tree(os.getpid(), _families()))[1:]


def cpu_seconds() -> float:
    """Return the processor time of this process, of its children that have ended, and of those that run and theirs."""
    used = sum(
        usage.ru_utime + usage.ru_stime
        for usage in map(resource.getrusage, (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN))
    )
    return used + sum(map(_own_and_waited_ticks, descendants())) / _TICKS_A_SECOND


def tree_cpu_seconds(process: int) -> float:
    """Return the processor time of a process, of its children that have ended, and of those that run and theirs."""
    families = _families()
    return sum(_own_and_waited_ticks(one) for one in _tree(process, families)) / _TICKS_A_SECOND


def resident_bytes(process: int) -> int:
    """Return the resident memory of a process, what it shares with others included."""
    return int(Path(f"/proc/{process}/statm").read_text(encoding="ascii").split()[1]) * os.sysconf("SC_PAGE_SIZE")


def tree_pss_bytes(process: int) -> int:
    """Return the memory of a process and all its descendants: what several share is counted once (PSS)."""
    total = 0
    for one in _tree(process, _families()):
        with contextlib.suppress(OSError):  # it ended while we looked
            for line in Path(f"/proc/{one}/smaps_rollup").read_text(encoding="ascii").splitlines():
                if line.startswith("Pss:"):
                    total += int(line.split()[1]) << 10
    return total


def tree_rss_bytes(process: int) -> dict[tuple[int, str], int]:
    """Return the resident memory of a process and of each of its descendants, by number and name."""
    found = {}
    for one in _tree(process, _families()):
        with contextlib.suppress(OSError):  # it ended while we looked
            status = Path(f"/proc/{one}/status").read_text(errors="replace")
            name, resident = _NAME.search(status), _RESIDENT.search(status)
            if name is not None and resident is not None:
                found[one, name[1]] = int(resident[1]) << 10
    return found


def tree_wakes(process: int) -> dict[tuple[int, int], int]:
    """Return how often each thread of a process and of its descendants has waited, by the numbers of process and thread."""
    found = {}
    for one in _tree(process, _families()):
        with contextlib.suppress(OSError):  # it ended while we looked
            for task in Path(f"/proc/{one}/task").iterdir():
                switches = _VOLUNTARY.search((task / "status").read_text(errors="replace"))
                if switches is not None:
                    found[one, int(task.name)] = int(switches[1])
    return found


def _families() -> dict[int, list[int]]:
    """Return the children of each process."""
    found: dict[int, list[int]] = {}
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit():
            found.setdefault(_parent(entry), []).append(int(entry.name))
    return found


def _tree(process: int, families: dict[int, list[int]]) -> Iterator[int]:
    yield process
    for child in families.get(process, ()):
        yield from _tree(child, families)


def _own_and_waited_ticks(process: int) -> int:
    with contextlib.suppress(OSError):  # it ended while we looked
        fields = Path(f"/proc/{process}/stat").read_text(errors="replace").rpartition(")")[2].split()
        return sum(map(int, fields[11:15]))
    return 0


def _parent(entry: Path) -> int:
    with contextlib.suppress(OSError):  # it ended while we looked
        # The name in parentheses may hold anything; after it come state and parent.
        return int((entry / "stat").read_text(errors="replace").rpartition(")")[2].split()[1])
    return 0


def _processor() -> str:
    for line in Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines():
        if line.startswith("model name"):
            return line.partition(":")[2].strip()
    return platform.machine()


def _installed(distribution: str) -> str | None:
    try:
        return metadata.version(distribution)
    except metadata.PackageNotFoundError:
        return None


def _tool_version(command: tuple[str, ...]) -> str | None:
    if shutil.which(command[0]) is None:
        return None
    said = subprocess.run(command, capture_output=True, text=True, timeout=30, check=False)
    found = _VERSION.search(said.stdout + said.stderr)
    return found[0] if found else None
