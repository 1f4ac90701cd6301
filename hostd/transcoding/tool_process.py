"""One run of an external tool: a process of its own session behind a wall, watched, and ended with all that it started."""

from __future__ import annotations

import contextlib
import json
import math
import os
import selectors
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO, Any

from hostd.errors import ToolError

_CODE = Path(__file__).resolve().parents[2]
_COMMAND = (sys.executable, "-I", "-S", "-B", str(_CODE / "hostd" / "sandbox" / "tool.py"))
_PATH = "/usr/local/bin:/usr/bin:/bin"
_OPEN_FILES = 256
_TAIL = 4096
_LOOK_S = 0.5
"""Seconds between looks at how much was written."""
_SYSTEM = (
    "/usr", "/bin", "/sbin", "/lib", "/lib32", "/lib64", "/nix/store",
    "/etc/ld.so.cache", "/etc/ld.so.preload", "/etc/localtime", "/etc/alternatives", "/etc/dcmtk", "/etc/fonts",
)  # fmt: skip
_DEVICES = ("/dev/null", "/dev/zero", "/dev/urandom", "/dev/random")
_STOPPING = "it was ended because the node stops"


@dataclass(frozen=True, slots=True)
class Limits:
    """What one run may take: seconds, bytes of memory a process, bytes of its result, processes, and the network or not."""

    time_s: float
    memory_bytes: int
    output_bytes: int
    processes: int
    network: bool


@dataclass(frozen=True, slots=True)
class Ended:
    """How a run ended: its exit status, and the end of what it wrote to standard output and error."""

    status: int
    said: str


@dataclass(slots=True)
class _Watch:
    """What is known of a running tool."""

    tail: bytearray = field(default_factory=bytearray)
    has_ended: bool = False
    trouble: str = ""


class ToolProcesses:
    """Runs tools, at most `at_once` at one time; for any number of threads, which wait for their turn.

    `layers` are those of the isolation of the last run: see `hostd.sandbox.jail.confine`.
    """

    def __init__(self, *, at_once: int) -> None:
        self._turns = threading.BoundedSemaphore(at_once)
        self._lock = threading.Lock()
        self._running: set[int] = set()
        self._is_closed = False
        self.layers: Mapping[str, int] = {}

    def run(self, command: tuple[str, ...], folder: Path, reads: tuple[Path, ...], limits: Limits) -> Ended:
        """Run a command in its folder, the only place where it may write, until it ends.

        `reads` is what it may read beside the system's programs and libraries. Raises `ToolError` when it had to be ended, and
        `OSError` when it could not be started.
        """
        with self._turns:
            before = _bytes_in(folder)
            process, report = self._start(command, folder, reads, limits)
            watch = _Watch()
            try:
                _follow(process, watch, folder, limits, most=before + 2 * limits.output_bytes)
            finally:
                self._end(process, watch)
                with os.fdopen(report, "rb") as file:
                    said = file.read()
            if self._is_closed:
                raise ToolError(_STOPPING)
            self._judge_start(command[0], said)
            text = _printable(bytes(watch.tail), folder)
            if watch.trouble:
                raise ToolError(f"it {watch.trouble}, and was ended{_quoted(text)}")
            return Ended(process.returncode, text)

    def close(self) -> None:
        """End all that run, with all that they started; later runs fail."""
        with self._lock:
            self._is_closed = True
            for group in self._running:
                _kill(group)

    def _start(
        self, command: tuple[str, ...], folder: Path, reads: tuple[Path, ...], limits: Limits
    ) -> tuple[subprocess.Popen[bytes], int]:
        report, theirs = os.pipe()
        try:
            with self._lock:
                if self._is_closed:
                    raise ToolError(_STOPPING)
                process = subprocess.Popen(
                    [*_COMMAND, _order(command, folder, reads, limits, theirs)],
                    pass_fds=[theirs],
                    env={},
                    cwd=folder,
                    stdin=subprocess.DEVNULL,
                    stdout=subprocess.PIPE,
                    stderr=subprocess.STDOUT,
                    start_new_session=True,
                )
                self._running.add(process.pid)
            assert process.stdout is not None
            os.set_blocking(process.stdout.fileno(), False)  # what has left the group could hold it open
        except BaseException:
            os.close(report)
            raise
        finally:
            os.close(theirs)
        return process, report

    def _end(self, process: subprocess.Popen[bytes], watch: _Watch) -> None:
        """End the whole group, then take the status: as long as that is not taken, the group's number is nobody else's."""
        with self._lock:
            _kill(process.pid)
            self._running.discard(process.pid)
            process.wait()
        assert process.stdout is not None
        with process.stdout as pipe:
            while _read(pipe, watch):
                pass

    def _judge_start(self, program: str, report: bytes) -> None:
        """Raise `OSError` when the program could not be started."""
        lines: list[dict[str, Any]] = [json.loads(line) for line in report.splitlines()]
        if not lines:
            raise ToolError(f"{program} could not be started: its process ended before")
        self.layers = lines[0].get("layers", {})
        failed = lines[-1]
        if "errno" in failed:
            raise OSError(failed["errno"], failed["reason"], program)


def _order(command: tuple[str, ...], folder: Path, reads: tuple[Path, ...], limits: Limits, report: int) -> str:
    order = {
        "code": str(_CODE),
        "report": report,
        "command": command,
        "environment": {"PATH": _PATH, "HOME": str(folder), "TMPDIR": str(folder), "LANG": "C.UTF-8"},
        "memory_bytes": limits.memory_bytes,
        # What still runs when hostd itself was killed ends by this.
        "cpu_seconds": math.ceil(limits.time_s * (os.cpu_count() or 1)) + 1,
        "open_files": _OPEN_FILES,
        "file_bytes": limits.output_bytes,
        "processes": limits.processes,
        "network": limits.network,
        "reads": [*_SYSTEM, *map(str, reads)],
        "writes": [str(folder), *_DEVICES],
    }
    return json.dumps(order)


def _follow(process: subprocess.Popen[bytes], watch: _Watch, folder: Path, limits: Limits, *, most: int) -> None:
    """Return when the process has ended, or has to be."""
    ends = time.monotonic() + limits.time_s
    looks = 0.0
    pipe = process.stdout
    assert pipe is not None
    with selectors.DefaultSelector() as selector, _ending_of(process) as ending:
        selector.register(ending, selectors.EVENT_READ)
        selector.register(pipe, selectors.EVENT_READ)
        while not watch.has_ended:
            now = time.monotonic()
            if now >= ends:
                watch.trouble = f"took longer than {limits.time_s:g} s"
                return
            if now >= looks:
                looks = now + _LOOK_S
                if _bytes_in(folder) > most:
                    watch.trouble = f"wrote more than {most >> 20} MiB"
                    return
            for key, _ in selector.select(min(ends - now, _LOOK_S)):
                if key.fd == ending:
                    watch.has_ended = True
                elif _read(pipe, watch) is None:
                    selector.unregister(pipe)


@contextlib.contextmanager
def _ending_of(process: subprocess.Popen[bytes]) -> Iterator[int]:
    """Give a descriptor that can be read once the process has ended, which takes no status from it."""
    descriptor = os.pidfd_open(process.pid)
    try:
        yield descriptor
    finally:
        os.close(descriptor)


def _read(pipe: IO[bytes], watch: _Watch) -> bool | None:
    """Keep the end of what was said; None at its end, False when nothing waits."""
    try:
        said = os.read(pipe.fileno(), 1 << 16)
    except BlockingIOError:
        return False
    watch.tail = (watch.tail + said)[-_TAIL:]
    return True if said else None


def _kill(group: int) -> None:
    with contextlib.suppress(ProcessLookupError, PermissionError):
        os.killpg(group, signal.SIGKILL)


def _bytes_in(folder: Path) -> int:
    """Return how much of the disk everything in a folder takes."""
    total = 0
    for path, _, names in os.walk(folder):
        for name in names:
            with contextlib.suppress(OSError):  # it may be gone by now
                total += os.lstat(os.path.join(path, name)).st_blocks * 512  # noqa: PTH118 - what os.walk gave
    return total


def _printable(tail: bytes, folder: Path) -> str:
    """Return what was said as one line of text, without the name of the temporary folder."""
    text = tail.decode("utf-8", "replace").replace(f"{folder}/", "").replace(str(folder), ".")
    return " ".join("".join(letter if letter.isprintable() else " " for letter in text).split())


def _quoted(text: str) -> str:
    return f"; it said: {text[-300:]}" if text else ""
