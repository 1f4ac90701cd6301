"""What receiving costs when the index holds much already: the same instances into an index of few and into one of many made rows."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from benchmarks.growth import filled
from hostd.archive import instances
from hostd.archive.archive import Archive
from hostd.archive.records import Origin
from hostd.clock import SystemClock
from hostd.dicom.part10 import data_set_offset
from hostd.intake.intake import Intake

_TURN = 20


@dataclass(frozen=True, slots=True)
class Grown:
    """Rows that were there, and what each instance then cost: milliseconds of processor time, and on the wall."""

    rows: int
    cpu_ms: float
    wall_ms: float


class Index:
    """An archive with so many made instances as rows; their files do not exist."""

    def __init__(self, folder: Path, rows: int) -> None:
        folder.mkdir(mode=0o700)
        self.rows = rows
        filled.fill(folder, rows)
        self.archive = Archive(folder, "benchmark", SystemClock())
        self.intake = Intake(self.archive, on_conflict="newest", name_sender=lambda _origin: None)

    def receive(self, file: Path) -> None:
        """Take a file's data set as C-STORE brings it."""
        with file.open("rb") as opened:
            start = data_set_offset(opened)
            data_set = opened.read()
        origin = Origin("dicom", calling_aet="BENCHMARK", called_aet="HOSTD", ip="127.0.0.1")
        reception = self.intake.receive(
            sop_class_uid=start.meta[0x00020002], sop_instance_uid=start.meta[0x00020003],
            transfer_syntax=start.transfer_syntax_uid, origin=origin,
        )  # fmt: skip
        reception.write(data_set)
        reception.finish()

    def count(self) -> int:
        """Return how many instances the index holds."""
        with self.archive.read() as connection:
            return instances.count(connection)


def measured(folder: Path, files: Sequence[Path], sizes: Sequence[int], say: Callable[[str], None]) -> list[Grown]:
    """Receive the files into an index of each size, in turns of a few. Raises `RuntimeError` when one is not there afterwards."""
    opened: list[Index] = []
    try:
        for rows in sizes:
            opened.append(Index(folder / f"{rows}", rows))
            say(f"an index of {rows} made instances is there")
        cpu, wall = dict.fromkeys(sizes, 0.0), dict.fromkeys(sizes, 0.0)
        turns = [files[begin : begin + _TURN] for begin in range(0, len(files), _TURN)]
        for number, turn in enumerate(turns):
            for index in opened if number % 2 else opened[::-1]:
                used, began = time.process_time(), time.monotonic()
                for file in turn:
                    index.receive(file)
                if number:  # the first turn fills caches
                    cpu[index.rows] += time.process_time() - used
                    wall[index.rows] += time.monotonic() - began
        for index in opened:
            if index.count() != index.rows + len(files):
                raise RuntimeError(f"the index of {index.rows} instances does not hold all that was received")
    finally:
        for index in opened:
            index.archive.close()
    count = len(files) - len(turns[0])
    return [Grown(rows, 1000 * cpu[rows] / count, 1000 * wall[rows] / count) for rows in sizes]
