"""The measurements: an archive, a folder of scripts, and events that are offered to them."""

from __future__ import annotations

import hashlib
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import Future
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from statistics import median, quantiles
from typing import Any

import sqlalchemy as sa
from sqlalchemy import Connection

from benchmarks import machine
from benchmarks.scripts import headers
from hostd.archive import events, receiving, scripts
from hostd.archive import tables as t
from hostd.archive.archive import Archive
from hostd.archive.receiving import Arrival
from hostd.archive.records import Blob, Origin
from hostd.cli.imports import collect_seldom, keep_what_is_there
from hostd.clock import SystemClock
from hostd.errors import NotFoundError
from hostd.scripting import processes
from hostd.scripting.asking import Means
from hostd.scripting.host import Limits, ScriptHost
from hostd.scripting.loading import Names

FORWARDS = "def on_stored_instance(instance, host):\n    host.forward(instance, to='archive')\n"
READS = "def on_stored_instance(instance, host):\n    instance.tags.PatientID, instance.tags.Modality\n"
IS_NOT_ASKED = 'handles = {"Modality": ["MR"]}\n' + READS
TEN = (
    {f"forwards{number}.py": FORWARDS for number in range(2)}
    | {f"reads{number}.py": READS for number in range(5)}
    | {f"is_not_asked{number}.py": IS_NOT_ASKED for number in range(3)}
)
SERIES = "1.2.3.4"
_PATIENCE_S = 600.0


@dataclass(frozen=True, slots=True)
class Load:
    """Events that were offered at once, and taken by all scripts: what entering them cost is in it."""

    events: int
    wall_s: float
    host_cpu_s: float
    workers_cpu_s: float


@dataclass(frozen=True, slots=True)
class Paced:
    """Events that were offered evenly, so many a second, and how long it took from the commit of each to that of its plans.

    `waits_ms` has one of each plan with an action, in order of size. `late_ms` is by how much the last event was offered later than it
    was to be. Cores include what it took to enter the events.
    """

    rate: float
    events: int
    waits_ms: Sequence[float]
    host_cores: float
    workers_cores: float
    late_ms: float

    @property
    def median_ms(self) -> float:
        """Half of all waited no longer."""
        return median(self.waits_ms)

    @property
    def p99_ms(self) -> float:
        """99 % waited no longer."""
        return quantiles(self.waits_ms, n=100)[98]


@dataclass(frozen=True, slots=True)
class Figures:
    """All that was measured in one round. `worker_kb` is the median of ten workers, `host_kb` by how much the host grew."""

    none: Load
    ten: Load
    reading: Load
    skipping: Load
    paced_none: Paced
    paced_one: Paced
    paced_ten: Paced
    worker_kb: int
    host_kb: int


class Bench:
    """Scripts that run over an archive, and a count of what they have passed."""

    def __init__(self, archive: Archive, names: tuple[str, ...], forwarding: int) -> None:
        self.archive = archive
        self.forwarding = forwarding
        """How many of the scripts enter a plan with an action for each event."""
        self.offered: list[float] = []
        """When each event was committed, by the monotonic clock."""
        self.planned: list[float] = []
        """When each plan with a delivery was committed."""
        self._names = names
        writer = archive.writer
        self._do, self._submit = writer.do, writer.submit
        # The two ways to the writer; it tells nobody else when it has committed.
        writer.do = self._doing  # type: ignore[method-assign]
        writer.submit = self._submitting  # type: ignore[method-assign]

    def offer(self, count: int) -> None:
        """Enter so many new events in one transaction: rows alone, whose files do not exist."""
        first = len(self.offered) + 1
        arrivals = [_arrival(number, self.archive.clock.now()) for number in range(first, first + count)]

        def enter(connection: Connection) -> None:
            for arrival in arrivals:
                receiving.take_in(connection, arrival, "newest")

        self.archive.writer.do(enter, topics=("event",), urgent=True)
        self.offered += [time.monotonic()] * count

    def waits_ms(self, first: int) -> list[float]:
        """Return how long each plan with an action was later than its event, of those from an event on."""
        with self.archive.read() as connection:
            of = connection.execute(sa.select(t.run.c.event).order_by(t.run.c.id)).scalars().all()
            stored = sa.select(t.event.c.number).where(t.event.c.kind == "stored_instance").order_by(t.event.c.number)
            places = {number: place for place, number in enumerate(connection.execute(stored).scalars())}
        if (len(of), len(places)) != (len(self.planned), len(self.offered)):
            raise RuntimeError(f"{len(of)} plans are in the index, and {len(self.planned)} were seen to be committed")
        pairs = ((places[number], at) for number, at in zip(of, self.planned, strict=True))
        return sorted(1e3 * (at - self.offered[place]) for place, at in pairs if place >= first)

    def _doing(self, unit: Callable[[Connection], Any], **how: Any) -> Any:
        done = self._do(unit, **how)
        if how.get("urgent") and "delivery" in how.get("topics", ()):  # what is not urgent is submitted
            self.planned.append(time.monotonic())
        return done

    def _submitting(self, unit: Callable[[Connection], Any], **how: Any) -> Future[Any]:
        commit: Future[Any] = self._submit(unit, **how)
        if "delivery" in how.get("topics", ()):
            commit.add_done_callback(lambda _: self.planned.append(time.monotonic()))
        return commit

    def wait_passed(self) -> None:
        """Wait until every script has passed every event, and every plan was seen to be committed."""
        with self.archive.read() as connection:
            newest = events.last_number(connection)

        def passed() -> bool:
            with self.archive.read() as connection:
                known = [scripts.find(connection, name) for name in self._names]
                plans = connection.execute(sa.select(sa.func.count()).select_from(t.run)).scalar_one()
            is_over = all(one is not None and one.cursor.low_water >= newest for one in known)
            return is_over and plans == len(self.planned)

        _wait(passed)


def taken(folder: Path, count: int, rate: float = 200.0) -> Figures:
    """Measure everything, in a folder that is thrown away. Raises `RuntimeError` where a script did not have what it was to have."""
    before = _memory("/proc/self/status", "VmRSS")
    with _running(folder / "none", {}) as bench:
        none, paced_none = _load(bench, count), _paced(bench, count, rate)
    with _running(folder / "ten", TEN) as bench:
        ten = _load(bench, count)
        shares = [_memory(f"/proc/{pid}/smaps_rollup", "Pss") for pid in machine.descendants()]
        host_kb = _memory("/proc/self/status", "VmRSS") - before
        paced_ten = _paced(bench, count, rate)
    with _running(folder / "reads", {"reads.py": READS}) as bench:
        reading = _load(bench, count)
    with _running(folder / "skips", {"skips.py": IS_NOT_ASKED}) as bench:
        skipping = _load(bench, count)
    with _running(folder / "one", {"forwards.py": FORWARDS}) as bench:
        paced_one = _paced(bench, count, rate)
    return Figures(none, ten, reading, skipping, paced_none, paced_one, paced_ten, round(median(shares)), host_kb)


@contextmanager
def _running(folder: Path, sources: Mapping[str, str]) -> Iterator[Bench]:
    for part in ("data", "scripts"):
        (folder / part).mkdir(parents=True, mode=0o700)
    for name, text in sources.items():
        (folder / "scripts" / name).write_text(text)
    archive = Archive(folder / "data", "benchmark", SystemClock())
    launcher = processes.launcher()
    host = ScriptHost(
        archive, folder / "scripts", entries={}, names=Names(["archive"]), means=Means(_resolve),
        isolation="required", launcher=launcher, limits=Limits(3), rescan_s=60.0, check_file=lambda _path: None,
    )  # fmt: skip
    host.start()
    try:
        collect_seldom()  # as `hostd run` does
        keep_what_is_there()
        bench = Bench(archive, tuple(sources), sum("host.forward" in text for text in sources.values()))
        _wait(lambda: _all_run(archive, tuple(sources)))
        yield bench
    finally:
        host.stop()
        launcher.close()
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


def _paced(bench: Bench, count: int, rate: float) -> Paced:
    """Offer events evenly. The first ones, of half a second, are not measured."""
    bench.offer(1)
    bench.wait_passed()
    _offer_evenly(bench, max(1, int(rate / 2)), rate)
    bench.wait_passed()
    first, planned = len(bench.offered), len(bench.planned)
    host, everything, began = time.process_time(), machine.cpu_seconds(), time.monotonic()
    late = _offer_evenly(bench, count, rate)
    took = time.monotonic() - began
    bench.wait_passed()
    in_host = time.process_time() - host
    workers = max(0.0, machine.cpu_seconds() - everything - in_host)
    forwarding = (len(bench.planned) - planned) / count
    if forwarding != bench.forwarding:
        raise RuntimeError(f"{forwarding:g} plans were entered for an event, and {bench.forwarding} scripts forward it")
    return Paced(rate, count, bench.waits_ms(first), in_host / took, workers / took, 1e3 * late)


def _offer_evenly(bench: Bench, count: int, rate: float) -> float:
    """Offer one event after another, so many a second; return by how many seconds the last was late."""
    began, late = time.monotonic(), 0.0
    for number in range(count):
        late = began + number / rate - time.monotonic()
        if late > 0:
            time.sleep(late)
        bench.offer(1)
    return max(0.0, -late)


def _arrival(number: int, at: float) -> Arrival:
    header = headers.of(number, SERIES)
    digest = hashlib.sha256(header.sop_instance_uid.encode()).hexdigest()
    blob = Blob(f"made/{number}", header.size, digest, header.transfer_syntax)
    return Arrival(header, blob, digest, Origin("dicom", calling_aet="CT1"), at, quiet_s=1e6)


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
