"""Measuring in turns: in every round each server receives the same instances once, every other round in reverse order."""

from __future__ import annotations

import subprocess
import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from benchmarks import machine
from benchmarks.figures import Ratio, Spread
from benchmarks.receive.made import HUGE, Size, made
from benchmarks.receive.servers import ENVIRONMENT, Server

_LOOK_S = 0.1


@dataclass(frozen=True, slots=True)
class Case:
    """Instances of one size, over so many associations at once."""

    size: Size
    associations: int


@dataclass(frozen=True, slots=True)
class Memory:
    """Resident bytes of one process, before it received anything, and at most while it did."""

    name: str
    before: int
    most: int


@dataclass(frozen=True, slots=True)
class Sample:
    """One turn: seconds on the wall from the first association to the end of the last, and of the server's processors."""

    wall: float
    cpu: float
    instances: int
    memory: tuple[Memory, ...] = ()
    """Of each process of the server, where that was looked at."""

    @property
    def rate(self) -> float:
        """Instances a second."""
        return self.instances / self.wall

    @property
    def cpu_ms(self) -> float:
        """Milliseconds of processor time for each instance."""
        return 1000 * self.cpu / self.instances


Cells = dict[tuple[Case, str], list[Sample]]
"""What was measured of each case and server."""


def ratio(cells: Cells, case: Case, one: str, other: str) -> Ratio | None:
    """Compare two servers round by round. None where one of them was not measured."""
    first, second = cells.get((case, one)), cells.get((case, other))
    if not first or not second:
        return None
    return times(first, second)


def times(ones: Sequence[Sample], others: Sequence[Sample]) -> Ratio:
    """Return how many times as fast the ones are as the others, round by round."""
    return Ratio.between((one.rate for one in ones), (other.rate for other in others))


def rates(samples: Sequence[Sample]) -> Spread:
    """Return the instances a second."""
    return Spread.of(sample.rate for sample in samples)


def cpu_ms(samples: Sequence[Sample]) -> Spread:
    """Return the milliseconds of processor time for each instance."""
    return Spread.of(sample.cpu_ms for sample in samples)


def measured(
    folder: Path, cases: Sequence[Case], servers: Sequence[type[Server]], rounds: int, say: Callable[[str], None]
) -> Cells:
    """Measure all cases. Raises `RuntimeError` when not all that was sent is stored."""
    folders = {case: made(folder / f"{number}", case.size, case.associations) for number, case in enumerate(cases)}
    cells: Cells = {(case, server.name): [] for case in cases for server in servers}
    for number in range(rounds):
        running = [server(folder / f"{server.name.replace(' ', '-')}") for server in servers]
        try:
            expected = 0
            for case in cases:
                expected += sum(1 for one in folders[case] for _ in one.iterdir())
                for server in running if number % 2 == 0 else reversed(running):
                    sample = send(folders[case], server, looks=case.size == HUGE)
                    cells[case, server.name].append(sample)
                    say(
                        f"round {number + 1}, {case.size.name}, {case.associations} associations, {server.name}: "
                        f"{sample.rate:.1f}/s, {sample.cpu_ms:.2f} ms of CPU each"
                    )
                    if (stored := server.stored()) != expected:
                        raise RuntimeError(f"{server.name} holds {stored} of {expected} instances")
        finally:
            for server in running:
                server.stop()
    return cells


def send(folders: Sequence[Path], server: Server, *, looks: bool = False) -> Sample:
    """Send each folder over an association of its own, all at once; where it `looks`, note the server's memory meanwhile.

    Raises `RuntimeError` when a sender is not content.
    """
    count = sum(1 for one in folders for _ in one.iterdir())
    watched = Watched(server.process.pid) if looks else None
    cpu, began = server.cpu_s(), time.monotonic()
    senders = [
        subprocess.Popen(
            ["storescu", "-q", "-R", "-pdu", "131072", "-aec", "ANY", "127.0.0.1", str(server.port), "+sd", str(one)],
            env=ENVIRONMENT, stdout=subprocess.DEVNULL,
        )
        for one in folders
    ]  # fmt: skip
    failed = [sender for sender in senders if sender.wait() != 0]
    wall = time.monotonic() - began
    memory = watched.end() if watched is not None else ()
    if failed:
        raise RuntimeError(f"storescu failed at {server.name}")
    return Sample(wall, server.cpu_s() - cpu, count, memory)


class Watched:
    """Looks a few times a second how much memory each process of a server has, until `end`."""

    def __init__(self, process: int) -> None:
        self._process = process
        self._before = machine.tree_rss_bytes(process)
        self._most = dict(self._before)
        self._ended = threading.Event()
        self._thread = threading.Thread(target=self._look, daemon=True)
        self._thread.start()

    def end(self) -> tuple[Memory, ...]:
        """Return what was seen; those with most come first."""
        self._ended.set()
        self._thread.join()
        found = [Memory(key[1], self._before.get(key, 0), most) for key, most in self._most.items()]
        return tuple(sorted(found, key=lambda one: -one.most))

    def _look(self) -> None:
        while not self._ended.wait(_LOOK_S):
            for key, now in machine.tree_rss_bytes(self._process).items():
                self._most[key] = max(now, self._most.get(key, 0))
