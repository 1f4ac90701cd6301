"""Measuring in turns: in every round each subject does the same task once, so that what disturbs the machine disturbs all."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from benchmarks import machine
from benchmarks.figures import Ratio, Spread
from benchmarks.transcode.peers import Orthanc
from benchmarks.transcode.subjects import CannotMeasureError, Subject, Task
from hostd.errors import HostdError
from hostd.transcoding.transcode import pixel_hash

_MOST_REPEATS = 40


@dataclass(frozen=True, slots=True)
class Effort:
    """How much is measured."""

    rounds: int
    least_s: float
    """A sample repeats what is shorter than this, as the clock of other processes ticks in hundredths of a second."""
    instances: int
    """For the workers on two cores."""


@dataclass(frozen=True, slots=True)
class Sample:
    """Seconds of one run, on the wall and of processors."""

    wall: float
    cpu: float


@dataclass(slots=True)
class Cell:
    """What one subject did with one task."""

    subject: str
    task: Task
    samples: list[Sample] = field(default_factory=list)
    size: int = 0
    """Bytes of the result file."""
    failure: str = ""

    @property
    def milliseconds(self) -> Spread:
        """On the wall."""
        return Spread.of(1000 * sample.wall for sample in self.samples)


@dataclass(frozen=True, slots=True)
class Faster:
    """How many times as fast one is as another, by the clock and by processor time, both round by round."""

    wall: Ratio
    cpu: Ratio | None
    """None where the clock of processor time did not tick, or was not read."""


def ratio(one: Cell, other: Cell) -> Faster | None:
    """Compare round by round. None when either has failed."""
    if one.failure or other.failure or not one.samples or not other.samples:
        return None
    wall = Ratio.between((sample.wall for sample in other.samples), (sample.wall for sample in one.samples))
    used, others = ([sample.cpu for sample in cell.samples] for cell in (one, other))
    return Faster(wall, Ratio.between(others, used) if min(used) > 0 else None)


def measured(
    task: Task, subjects: Sequence[Subject], effort: Effort, pixels: str, folder: Path, say: Callable[[str], None]
) -> list[Cell]:
    """Check every subject's result, then measure those that were right in turns. `pixels` is the hash that must come out.

    With an empty `pixels` the target is lossy, and hostd's own verification is what says that the result is good.
    """
    return measured_together([(task, subjects, pixels)], effort, folder, say)[0]


def measured_together(
    asked: Sequence[tuple[Task, Sequence[Subject], str]], effort: Effort, folder: Path, say: Callable[[str], None]
) -> list[list[Cell]]:
    """Do as `measured` does with several tasks, all of which have their turn in every round; return the cells of each task."""
    runs: list[_Run] = []
    found: list[list[Cell]] = []
    for task, subjects, pixels in asked:
        cells = []
        for subject in (subject for subject in subjects if subject.does(task)):
            cell = Cell(subject.name, task)
            cells.append(cell)
            try:
                seconds = _checked(subject, cell, pixels, folder)
                repeats = max(1, min(_MOST_REPEATS, round(effort.least_s / max(seconds, 1e-6))))
                runs.append(_Run(subject, cell, repeats))
            except CannotMeasureError as error:
                cell.failure = str(error)
                say(f"{task.image} {task.syntax.name}, {subject.name}: {error}")
        found.append(cells)
    for number in range(effort.rounds):
        _take(runs if number % 2 == 0 else runs[::-1], folder)
    return found


@dataclass(frozen=True, slots=True)
class _Run:
    """What is done in every round."""

    subject: Subject
    cell: Cell
    repeats: int


def _take(runs: Iterable[_Run], folder: Path) -> None:
    for run in runs:
        if not run.cell.failure:
            try:
                run.cell.samples.append(_sample(run.subject, run.cell.task, run.repeats, folder)[0])
            except CannotMeasureError as error:
                run.cell.failure = str(error)


def _checked(subject: Subject, cell: Cell, pixels: str, folder: Path) -> float:
    """See that the pixels are right, which also loads and starts what is on first use; return how many seconds it takes then."""
    if isinstance(subject, Orthanc):
        subject.prepare(cell.task)
    _, result = _sample(subject, cell.task, 1, folder, keep=True)
    try:
        with result.open("rb") as made:
            seen = pixel_hash(made)
    except HostdError as error:
        raise CannotMeasureError(f"its result cannot be read: {error}") from error
    machine.without_niceness()
    cell.size = result.stat().st_size
    result.unlink()
    if pixels and seen != pixels:
        raise CannotMeasureError("its pixels differ from the original's, so that it is not measured")
    return _sample(subject, cell.task, 1, folder)[0].wall


def _sample(subject: Subject, task: Task, repeats: int, folder: Path, *, keep: bool = False) -> tuple[Sample, Path]:
    result = folder / "result.dcm"
    wall = 0.0
    cpu = machine.cpu_seconds()
    for _ in range(repeats):
        result.unlink(missing_ok=True)
        began = time.perf_counter()
        subject.run(task, result)
        wall += time.perf_counter() - began
    cpu = machine.cpu_seconds() - cpu
    if not keep:
        result.unlink(missing_ok=True)
    return Sample(wall / repeats, cpu / repeats), result
