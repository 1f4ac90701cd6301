"""The pictures of docs/performance.md: SVG by matplotlib, drawn of the figures that the section has."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

from benchmarks.figures import Dots, Lines

_NARROW = 2.5
"""What differs no more than so many times is shown on a plain scale, not on a logarithmic one."""


def draw(picture: Dots | Lines, path: Path) -> bool:
    """Write it; tell whether matplotlib was there to do so."""
    try:
        import matplotlib as mpl  # noqa: PLC0415 - an extra: the figures can be taken without it
        from matplotlib.figure import Figure  # noqa: PLC0415
    except ImportError:
        return False
    # The same figures give the same file, and letters are letters.
    with mpl.rc_context({"svg.hashsalt": "hostd", "svg.fonttype": "none"}):
        figure = _dots(picture, Figure) if isinstance(picture, Dots) else _lines(picture, Figure)
        figure.savefig(path, metadata={"Date": None})
    # No line ends with a blank, as editors and git want it.
    path.write_text("".join(f"{line.rstrip()}\n" for line in path.read_text(encoding="utf-8").splitlines()))
    return True


def _dots(picture: Dots, make: Any) -> Any:
    rows = list(dict.fromkeys(row for row, *_ in picture.points))
    values = [value for _, _, spread in picture.points for value in (spread.low, spread.high)]
    names = list(dict.fromkeys(name for _, name, _ in picture.points))
    figure = make(figsize=(9, 0.4 * len(rows) + 1.6), layout="constrained")
    axes = figure.add_subplot()
    apart = min(0.16, 0.8 / len(names))
    for number, name in enumerate(names):
        mine = [(rows.index(row), spread) for row, of, spread in picture.points if of == name]
        offset = (number - (len(names) - 1) / 2) * apart
        axes.errorbar(
            [spread.median for _, spread in mine],
            [at + offset for at, _ in mine],
            xerr=([s.median - s.low for _, s in mine], [s.high - s.median for _, s in mine]),
            fmt="o", markersize=5, linewidth=1, label=name.replace("`", ""),
        )  # fmt: skip
    if known := [(rows.index(row), target) for row, target in picture.marks if row in rows]:
        axes.plot([t for _, t in known], [at for at, _ in known], "k|", markersize=22, label="aimed at")
    if picture.ratio:
        axes.axvline(1, color="black", linewidth=1)
        values.append(1)
    if max(values) > _NARROW * min(values):
        ticks = _ticks(values)
        axes.set_xscale("log")
        axes.set_xticks(ticks, [f"{tick:g}{'x' if picture.ratio else ''}" for tick in ticks])
        axes.minorticks_off()
    axes.set_yticks(range(len(rows)), [row.replace("`", "") for row in rows])
    axes.invert_yaxis()
    axes.grid(axis="both", alpha=0.3)
    axes.set_xlabel(picture.says)
    figure.legend(loc="outside upper center", ncols=4, fontsize="small")
    return figure


def _ticks(values: list[float]) -> list[float]:
    """Return the powers of two between which all values are."""
    low, high = (math.log2(value) for value in (min(values), max(values)))
    return [2.0**power for power in range(math.floor(low), math.ceil(high) + 1)]


def _lines(picture: Lines, make: Any) -> Any:
    figure = make(figsize=(9, 4), layout="constrained")
    axes = figure.add_subplot()
    for name, points in picture.lines.items():
        axes.plot([x for x, _ in points], [y for _, y in points], marker="." if len(points) < 50 else "", label=name)
    if picture.from_zero:
        axes.set_ylim(bottom=0)
    axes.grid(axis="both", alpha=0.3)
    axes.set_xlabel(picture.x)
    axes.set_ylabel(picture.y)
    figure.legend(loc="outside upper center", ncols=4, fontsize="small")
    return figure
