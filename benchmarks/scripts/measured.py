"""The measurements: an archive, a folder of scripts, and events that are offered to them."""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from statistics import median, quantiles

from benchmarks import machine
from hostd.archive import events, scripts
from hostd.archive.archive import Archive
from hostd.clock import SystemClock
from hostd.errors import NotFoundError
from hostd.scripting.asking import Means
from hostd.scripting.host import ScriptHost
from hostd.scripting.loading import Names
from hostd.testing.made import offer

FORWARDS = "def on_stored_instance(instance, host):\n    host.forward(instance, to='archive')\n"
READS = "def on_stored_instance(instance, host):\n    instance.tags.PatientID, instance.tags.Modality\n"
IS_NOT_ASKED = 'handles = {"Modality": ["MR"]}\n' + READS
TEN = (
    {f"forwards{number}.py": FORWARDS for number in range(2)}
    | {f"reads{number}.py": READS for number in range(5)}
    | {f"is_not_asked{number}.py": IS_NOT_ASKED for number in range(3)}
)
_PATIENCE_S = 600.0


@dataclass(frozen=True, slots=True)
class Load:
    """Events that were offered at once, and taken by all scripts: what entering them cost is in it."""

    events: int
    wall_s: float
    host_cpu_s: float
    workers_cpu_s: float


@dataclass(frozen=True, slots=True)
class Latency:
    """How long it took from the commit of an event to that of its plan, one at a time."""

    count: int
    median_ms: float
    p99_ms: float
    cpu_ms: float


@dataclass(frozen=True, slots=True)
class Figures:
    """All that was measured. `busy` is the load average of each core before."""

    none: Load
    ten: Load
    reading: Load
    skipping: Load
    latency: Latency
    worker_kb: int
    host_kb: int
    busy: float


class Bench:
    """Scripts that run over an archive, and a count of what they have passed."""

    def __init__(self, archive: Archive, names: tuple[str, ...]) -> None:
        self.archive = archive
        self._names = names
        self._offered = 0

    def offer(self, count: int) -> None:
        """Enter so many new events."""
        offer(self.archive, range(self._offered + 1, self._offered + count + 1))
        self._offered += count

    def wait_passed(self) -> None:
        """Wait until every script has passed every event."""
        with self.archive.read() as connection:
            newest = events.last_number(connection)

        def passed() -> bool:
            with self.archive.read() as connection:
                known = [scripts.find(connection, name) for name in self._names]
            return all(one is not None and one.cursor.low_water >= newest for one in known)

        _wait(passed)


def taken(folder: Path, count: int) -> Figures:
    """Measure everything, in a folder that is thrown away."""
    busy = os.getloadavg()[0] / (os.cpu_count() or 1)
    before = _memory("/proc/self/status", "VmRSS")
    with _running(folder / "none", {}) as bench:
        none = _load(bench, count)
    with _running(folder / "ten", TEN) as bench:
        ten = _load(bench, count)
        shares = [_memory(f"/proc/{pid}/smaps_rollup", "Pss") for pid in machine.children()]
        host_kb = _memory("/proc/self/status", "VmRSS") - before
    with _running(folder / "reads", {"reads.py": READS}) as bench:
        reading = _load(bench, count)
    with _running(folder / "skips", {"skips.py": IS_NOT_ASKED}) as bench:
        skipping = _load(bench, count)
    with _running(folder / "latency", {"forwards.py": FORWARDS}) as bench:
        latency = _latency(bench, min(count, 300))
    return Figures(none, ten, reading, skipping, latency, round(median(shares)), host_kb, busy)


@contextmanager
def _running(folder: Path, sources: Mapping[str, str]) -> Iterator[Bench]:
    for part in ("data", "scripts"):
        (folder / part).mkdir(parents=True, mode=0o700)
    for name, text in sources.items():
        (folder / "scripts" / name).write_text(text)
    archive = Archive(folder / "data", "benchmark", SystemClock())
    host = ScriptHost(
        archive, folder / "scripts", entries={}, names=Names(["archive"]), means=Means(_resolve),
        isolation="required", attempts=3, rescan_s=60.0, check_file=lambda _path: None,
    )  # fmt: skip
    host.start()
    try:
        bench = Bench(archive, tuple(sources))
        _wait(lambda: _all_run(archive, tuple(sources)))
        yield bench
    finally:
        host.stop()
        archive.close()


def _all_run(archive: Archive, names: tuple[str, ...]) -> bool:
    with archive.read() as connection:
        known = [scripts.find(connection, name) for name in names]
    return all(one is not None and one.state == "running" for one in known)


def _load(bench: Bench, count: int) -> Load:
    bench.offer(20)  # what is done once is not measured
    bench.wait_passed()
    host, everything, began = time.process_time(), machine.cpu_seconds(), time.monotonic()
    for _ in range(0, count, 20):
        bench.offer(20)
    bench.wait_passed()
    wall, in_host = time.monotonic() - began, time.process_time() - host
    return Load(count, wall, in_host, max(0.0, machine.cpu_seconds() - everything - in_host))


def _latency(bench: Bench, count: int) -> Latency:
    waits: list[float] = []
    bulletin = bench.archive.bulletin
    bench.offer(1)
    bench.wait_passed()
    host = time.process_time()
    for _ in range(count):
        seen = bulletin.seen("delivery")
        bench.offer(1)
        began = time.monotonic()
        bulletin.wait("delivery", seen, _PATIENCE_S)
        waits.append(1e3 * (time.monotonic() - began))
    cpu_ms = 1e3 * (time.process_time() - host) / count
    return Latency(count, median(waits), quantiles(waits, n=100)[98], cpu_ms)


def _memory(file: str, key: str) -> int:
    """Return a figure in kB of a file of /proc."""
    for line in Path(file).read_text(encoding="utf-8").splitlines():
        if line.startswith(f"{key}:"):
            return int(line.split()[1])
    raise NotFoundError(f"{file} has no {key}")


def _resolve(name: str) -> str:
    return f"modality:{name}"


def _wait(condition: Callable[[], bool]) -> None:
    ends = time.monotonic() + _PATIENCE_S
    while not condition():
        if time.monotonic() > ends:
            raise TimeoutError(f"the scripts did not come to an end in {_PATIENCE_S:g} s")
        time.sleep(0.02)
