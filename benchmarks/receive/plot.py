"""The picture of the section: how many times as fast as Orthanc each server received, by size and associations."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

Point = tuple[str, str, float, float, float]
"""What was sent, the server, and its rate beside Orthanc's: the median of the rounds, the least and the most."""

_TICKS = (0.125, 0.25, 0.5, 1, 2, 4, 8, 16)


def draw(points: Sequence[Point], targets: Sequence[tuple[str, float]], path: Path) -> bool:
    """Write an SVG; `targets` say what is aimed at. Tell whether matplotlib was there to do it."""
    try:
        import matplotlib as mpl  # noqa: PLC0415 - an extra: the figures can be taken without it
        from matplotlib.figure import Figure  # noqa: PLC0415
    except ImportError:
        return False
    mpl.rcParams["svg.hashsalt"] = "hostd"  # the same figures give the same file
    cases = list(dict.fromkeys(case for case, *_ in points))
    servers = list(dict.fromkeys(server for _, server, *_ in points))
    figure = Figure(figsize=(9, 0.4 * len(cases) + 1.6), layout="constrained")
    axes = figure.add_subplot()
    for number, server in enumerate(servers):
        mine = [(cases.index(case), *ratio) for case, name, *ratio in points if name == server]
        offset = (number - (len(servers) - 1) / 2) * 0.16
        axes.errorbar(
            [median for _, median, _, _ in mine],
            [at + offset for at, *_ in mine],
            xerr=([median - low for _, median, low, _ in mine], [high - median for _, median, _, high in mine]),
            fmt="o", markersize=5, linewidth=1, label=server,
        )  # fmt: skip
    if known := [(cases.index(case), target) for case, target in targets if case in cases]:
        axes.plot([t for _, t in known], [at for at, _ in known], "k|", markersize=22, label="aimed at, of hostd")
    axes.axvline(1, color="black", linewidth=1)
    axes.set_xscale("log")
    axes.set_xticks(_TICKS, [f"{tick:g}x" for tick in _TICKS])
    axes.minorticks_off()
    axes.set_yticks(range(len(cases)), cases)
    axes.invert_yaxis()
    axes.grid(axis="both", alpha=0.3)
    axes.set_xlabel("times Orthanc's instances a second (right of 1: faster); bars from the least to the most")
    figure.legend(loc="outside upper center", ncols=4, fontsize="small")
    figure.savefig(path, metadata={"Date": None})
    return True
