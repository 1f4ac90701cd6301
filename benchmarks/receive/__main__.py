"""`python -m benchmarks.receive`: measure receiving beside others, and write the section "Receiving" of docs/performance.md."""

from __future__ import annotations

import argparse
import os
import shutil
import signal
import sys
import tempfile
from dataclasses import replace
from pathlib import Path

from benchmarks import document, machine
from benchmarks.receive import grown, made, plot, report, rounds
from benchmarks.receive.made import Size
from benchmarks.receive.report import Run
from benchmarks.receive.rounds import Case
from benchmarks.receive.servers import SERVERS, Hostd, Orthanc, Pynetdicom

SECTION = "receiving"
_PROGRAMS = {"Orthanc": "Orthanc", "DCMTK storescp": "storescp"}


def main() -> None:
    """Measure, print, and write."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.receive", description=__doc__)
    parser.add_argument(
        "--quick", action="store_true", help="a few instances of hostd and pynetdicom, once: does it run?"
    )
    parser.add_argument(
        "--short", action="store_true", help="30 kB and 0.5 MB over 1 and 4 associations, beside Orthanc alone"
    )
    parser.add_argument("--rounds", type=int, default=5, help="how often each is measured (default 5)")
    parser.add_argument("--huge", action="store_true", help="instances of 1 GB too")
    parser.add_argument("--rows", type=int, default=0, help="receive into an index of so many made instances too")
    parser.add_argument(
        "--folder", type=Path, help="where servers have their files (default: the system's temporary folder)"
    )
    parser.add_argument("--write", action="store_true", help="write the section into the page")
    parser.add_argument("--page", type=Path, default=document.PAGE, help="the page (default docs/performance.md)")
    asked = parser.parse_args()
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(128 + signal.SIGTERM))  # servers are ended on the way out
    if shutil.which("storescu") is None:
        parser.error("DCMTK's storescu is not on the PATH")
    with tempfile.TemporaryDirectory(prefix="hostd-benchmark-", dir=asked.folder) as folder:
        run = taken(
            Path(folder), rounds_=asked.rounds, quick=asked.quick, short=asked.short, huge=asked.huge, rows=asked.rows
        )
    picture = report.plot_path(asked.page)
    text = report.section(run, picture.name if asked.write and drawn(run, picture) else "")
    print(text)  # noqa: T201 - what the command is for
    if asked.write:
        document.write_section(asked.page, SECTION, text)


def drawn(run: Run, picture: Path) -> bool:
    """Draw the picture, where there is anything beside Orthanc; tell whether it is there."""
    points = report.points(run)
    if points and not plot.draw(points, report.targets(run), picture):
        say("no plot: matplotlib is not installed (pip install 'hostd[bench]')")
        return False
    return bool(points)


def taken(
    folder: Path, *, rounds_: int, quick: bool = False, short: bool = False, huge: bool = False, rows: int = 0
) -> Run:
    """Measure everything in an empty folder."""
    servers = [one for one in SERVERS if shutil.which(_PROGRAMS.get(one.name, "storescu"))]
    cases = [Case(size, count) for size in (made.SMALL, made.CT, made.LARGE) for count in (1, 4, 16)]
    sizes = [10_000, rows]
    if short:
        servers = [one for one in servers if one in (Hostd, Orthanc)]
        cases = [Case(size, count) for size in (made.SMALL, made.CT) for count in (1, 4)]
    if huge:
        cases.append(Case(made.HUGE, 1))
    if quick:
        servers = [one for one in servers if one in (Hostd, Pynetdicom)]
        cases = [Case(replace(made.SMALL, count=6), count) for count in (1, 2)]
        sizes, rounds_ = [100, rows], 1
    for name in ("turns", "grown"):
        (folder / name).mkdir()
    cells = rounds.measured(folder / "turns", cases, servers, rounds_, say)
    return Run(
        machine=machine.described(),
        load=os.getloadavg()[0] / (os.cpu_count() or 1),
        rounds=rounds_,
        cases=cases,
        servers=[one.name for one in servers],
        cells=cells,
        grown=_grown(folder / "grown", sizes) if rows else (),
    )


def _grown(folder: Path, sizes: list[int]) -> list[grown.Grown]:
    small: Size = replace(made.SMALL, count=60 if sizes[0] < 10_000 else 400)
    (files,) = made.made(folder / "files", small, 1)
    return grown.measured(folder, sorted(files.iterdir()), sizes, say)


def say(line: str) -> None:
    """Tell whoever waits."""
    print(line, file=sys.stderr)  # noqa: T201 - a command's own progress


if __name__ == "__main__":
    main()
