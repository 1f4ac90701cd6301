"""What a benchmark says: figures with their spread, targets, tables and a picture, which together are a section of docs/performance.md."""

from __future__ import annotations

import os
import statistics
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Self

from benchmarks import machine


@dataclass(frozen=True, slots=True)
class Spread:
    """A figure that was taken several times: its median, and the smallest and the largest; of what was taken once they are the same."""

    median: float
    low: float
    high: float

    @classmethod
    def of(cls, values: Iterable[float]) -> Self:
        """Return that of all values, of which there must be some."""
        taken = sorted(values)
        return cls(statistics.median(taken), taken[0], taken[-1])

    @classmethod
    def middle(cls, values: Iterable[float]) -> Self:
        """Return that of the middle 80 %: where much is taken, the extremes are those of something else that happened."""
        taken = sorted(values)
        left_out = len(taken) // 10
        return cls.of(taken[left_out : len(taken) - left_out])

    def times(self, factor: float) -> Self:
        """Return it in another unit."""
        return self.__class__(factor * self.median, factor * self.low, factor * self.high)

    def said(self, digits: int | None = None) -> str:
        """Return it in words; without `digits` with as many as its size asks for."""
        digits = _digits(self.median) if digits is None else digits
        if self.low == self.high:
            return f"{self.median:.{digits}f}"
        return f"{self.median:.{digits}f} [{self.low:.{digits}f} to {self.high:.{digits}f}]"


class Ratio(Spread):
    """How many times as much or as fast one is as another, taken round by round."""

    __slots__ = ()

    @classmethod
    def between(cls, ones: Iterable[float], others: Iterable[float], *, middle: bool = False) -> Self:
        """Return what the ones are divided by the others, of which there must be as many."""
        each = [one / other for one, other in zip(ones, others, strict=True)]
        return cls.middle(each) if middle else cls.of(each)

    def said(self, digits: int | None = None) -> str:
        """Return it in words, its median in bold."""
        median, *rest = super().said(2 if digits is None else digits).split(" ", 1)
        return " ".join([f"**{median}**", *rest])


Cell = str | int | float | Spread | None


@dataclass(frozen=True, slots=True)
class Target:
    """What is aimed at, and what was measured: `least` or `most` of it, in `unit`.

    Where the spread is that of several things, of which each is to reach it, `every` is set, and the median is their mean.
    """

    what: str
    measured: Spread
    least: float | None = None
    most: float | None = None
    unit: str = "times"
    every: bool = False
    note: str = ""
    """What else there is to say of it, in Markdown."""

    @property
    def is_reached(self) -> bool:
        """Whether it is, on everything where that is asked for."""
        if self.least is not None:
            return (self.measured.low if self.every else self.measured.median) >= self.least
        assert self.most is not None, "one of the two"
        return (self.measured.high if self.every else self.measured.median) <= self.most

    @property
    def aimed(self) -> str:
        """What is aimed at, in words."""
        return f"at most {self.most:g} {self.unit}" if self.least is None else f"at least {self.least:g} {self.unit}"

    @property
    def verdict(self) -> str:
        """Whether it is reached, in Markdown."""
        if self.is_reached:
            return "yes"
        mean = Target(self.what, self.measured, self.least, self.most)
        return "**in the mean only**" if self.every and mean.is_reached else "**no**"

    @classmethod
    def of_each(cls, what: str, found: Mapping[str, Spread], least: float, note: str) -> Target:
        """Return that of several ratios, by what they are of, each of which is to reach it; their mean is the geometric one."""
        medians = [one.median for one in found.values()]
        measured = Spread(statistics.geometric_mean(medians), min(medians), max(medians))
        return cls(what, measured, least=least, every=True, note=note)

    @classmethod
    def none_slower(cls, what: str, found: Mapping[str, Spread]) -> Target:
        """Return that nothing is slower than Orthanc, of how many times as fast each is; what is slower is named."""
        slower = [f"{name} {one.median:.2f}" for name, one in found.items() if one.median < 1]
        note = f"{len(slower)} of {len(found)} are slower: {'; '.join(slower)}" if slower else "none is slower"
        return cls.of_each(f"{what}: times as fast as Orthanc", found, 1, note)

    def row(self) -> tuple[Cell, ...]:
        """Return it as a row of a table."""
        return self.what, self.aimed, Spread.said(self.measured), self.verdict

    def as_json(self) -> dict[str, Any]:
        """Return it as JSON has it."""
        spread = {"median": self.measured.median, "low": self.measured.low, "high": self.measured.high}
        return {
            "what": self.what, "least": self.least, "most": self.most, "unit": self.unit, **spread, "every": self.every,
            "note": self.note, "reached": self.is_reached,
        }  # fmt: skip

    @classmethod
    def from_json(cls, found: Mapping[str, Any]) -> Target:
        """Return what `as_json` gave."""
        given = {name: found[name] for name in ("what", "least", "most", "unit", "every", "note")}
        return cls(measured=Spread(found["median"], found["low"], found["high"]), **given)


@dataclass(frozen=True, slots=True)
class Table:
    """Figures side by side, under their title and what is to be known of them."""

    head: Sequence[str]
    rows: Sequence[Sequence[Cell]]
    title: str = ""
    text: str = ""
    after: str = ""
    """What is said below it."""

    def markdown(self) -> str:
        """Return it in Markdown."""
        lines = [self.head, ["---"] * len(self.head), *([said(cell) for cell in row] for row in self.rows)]
        table = "\n".join(f"| {' | '.join(line)} |".replace("|  |", "| |") for line in lines)
        title = f"### {self.title}" if self.title else ""
        return "\n\n".join(part for part in (title, self.text, table if self.rows else "", self.after) if part)

    def as_json(self) -> dict[str, Any]:
        """Return it as JSON has it."""
        return {
            "title": self.title,
            "head": list(self.head),
            "rows": [[_plain(cell) for cell in row] for row in self.rows],
        }


@dataclass(frozen=True, slots=True)
class Dots:
    """A picture: a row for each thing, and in it a dot with its spread for each of those that are compared."""

    points: Sequence[tuple[str, str, Spread]]
    """What was done, by whom, and the figure."""
    says: str
    """What the axis shows."""
    marks: Sequence[tuple[str, float]] = ()
    """What was done, and what is aimed at there."""
    ratio: bool = True
    """Whether 1 is the one beside whom all are."""


@dataclass(frozen=True, slots=True)
class Lines:
    """A picture: a line for each name."""

    lines: Mapping[str, Sequence[tuple[float, float]]]
    x: str
    y: str
    from_zero: bool = True


@dataclass(frozen=True, slots=True)
class Section:
    """A section of the page: what was measured, how, and what came out."""

    name: str
    """Of its markers, and of its picture."""
    title: str
    command: str
    rounds: int
    how: str
    tables: Sequence[Table]
    targets: Sequence[Target] = ()
    picture: Dots | Lines | None = None
    caption: str = ""
    """What the picture shows, for those who do not see it."""
    machine: str = field(default_factory=machine.described)
    load: float = field(default_factory=lambda: os.getloadavg()[0] / (os.cpu_count() or 1))
    """Average of those that wanted a processor, for each there is, when it ended."""

    def markdown(self, picture: str = "") -> str:
        """Return it in Markdown; `picture` is the name of its picture's file, where there is one."""
        rounds = f"{self.rounds} rounds" if self.rounds > 1 else "1 round"
        parts = [
            f"## {self.title}",
            f"Made by `{self.command}` in {rounds}; see `benchmarks/README.md`. {self.how}",
            f"Machine: {self.machine}. For each processor {self.load:.1f} processes wanted one when this ended.",
            _targets(self.targets).markdown() if self.targets else "",
            f"![{self.caption}]({picture})" if picture else "",
            *(table.markdown() for table in self.tables),
        ]
        return "\n\n".join(part for part in parts if part)

    def as_json(self) -> dict[str, Any]:
        """Return what a summary is made of: where the figures are from, and the targets."""
        return {
            "title": self.title, "command": self.command, "rounds": self.rounds, "machine": self.machine, "load": round(self.load, 2),
            "targets": [target.as_json() for target in self.targets],
        }  # fmt: skip


def said(cell: Cell) -> str:
    """Return a cell of a table in words."""
    if cell is None:
        return ""
    if isinstance(cell, Spread):
        return cell.said()
    return f"{cell:.{_digits(cell)}f}" if isinstance(cell, float) else str(cell)


def _digits(value: float) -> int:
    return 0 if abs(value) >= 100 else 1 if abs(value) >= 10 else 2


def _plain(cell: Cell) -> Any:
    return {"median": cell.median, "low": cell.low, "high": cell.high} if isinstance(cell, Spread) else cell


def _targets(targets: Sequence[Target]) -> Table:
    head = ("target", "aimed at", "measured", "reached")
    if any(target.note for target in targets):
        return Table((*head, "besides"), [(*target.row(), target.note) for target in targets], "Targets")
    return Table(head, [target.row() for target in targets], "Targets")
