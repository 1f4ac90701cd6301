"""The picture of the section: how many times as fast as each of the others."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path


def draw(bars: Sequence[tuple[str, str, float]], path: Path) -> bool:
    """Write an SVG; tell whether matplotlib was there to do it."""
    try:
        import matplotlib as mpl  # noqa: PLC0415 - an extra: the figures can be taken without it
        from matplotlib.figure import Figure  # noqa: PLC0415
    except ImportError:
        return False
    mpl.rcParams["svg.hashsalt"] = "hostd"  # the same figures give the same file
    tasks = list(dict.fromkeys(task for task, _, _ in bars))
    others = list(dict.fromkeys(other for _, other, _ in bars))
    figure = Figure(figsize=(9, 0.45 * len(tasks) + 1.6), layout="constrained")
    axes = figure.add_subplot()
    for number, other in enumerate(others):
        points = [(tasks.index(task), ratio) for task, name, ratio in bars if name == other]
        offset = (number - (len(others) - 1) / 2) * 0.13
        axes.plot([r for _, r in points], [at + offset for at, _ in points], "o", markersize=5, label=f"beside {other}")
    axes.axvline(1, color="black", linewidth=1)
    axes.set_xscale("log")
    ticks = [0.5, 1, 2, 4, 8, 16]
    axes.set_xticks(ticks, [f"{tick:g}x" for tick in ticks])
    axes.minorticks_off()
    axes.set_yticks(range(len(tasks)), tasks)
    axes.invert_yaxis()
    axes.grid(axis="both", alpha=0.3)
    axes.set_xlabel("times as fast as the other, without verification, one core (right of 1: hostd is faster)")
    figure.legend(loc="outside upper center", ncols=3, fontsize="small")
    figure.savefig(path, metadata={"Date": None})
    return True
