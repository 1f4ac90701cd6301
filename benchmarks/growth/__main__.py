"""`python -m benchmarks.growth`: measure what things cost when the index holds much, and write the section "Cost that does not grow"."""

from __future__ import annotations

import argparse
import os
import signal
import sys
import tempfile
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from benchmarks import document, machine
from benchmarks.growth import measured
from benchmarks.growth.measured import TASKS, Cost
from benchmarks.receive import made

SECTION = "growth"
MOST = 1.2
"""How many times as much each may cost."""
FEW = 10_000


def main() -> None:
    """Measure, print, and with `--write` write the section."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.growth", description=__doc__)
    parser.add_argument("--rows", type=int, default=1_000_000, help="instances in the larger index (default a million)")
    parser.add_argument("--instances", type=int, default=400, help="how many are received (default 400)")
    parser.add_argument("--folder", type=Path, help="where the indexes are (default: the system's temporary folder)")
    parser.add_argument("--write", action="store_true", help="write the section into the page")
    parser.add_argument("--page", type=Path, default=document.PAGE, help="the page (default docs/performance.md)")
    asked = parser.parse_args()
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(128 + signal.SIGTERM))
    with tempfile.TemporaryDirectory(prefix="hostd-benchmark-", dir=asked.folder) as folder:
        found = taken(Path(folder), few=min(FEW, asked.rows), many=asked.rows, instances=asked.instances)
    text = section(found, few=min(FEW, asked.rows), many=asked.rows)
    print(text)  # noqa: T201 - what the command is for
    if asked.write:
        document.write_section(asked.page, SECTION, text)


def taken(folder: Path, *, few: int, many: int, instances: int) -> list[Cost]:
    """Measure with so few and so many instances in the index."""
    (files,) = made.made(folder / "files", replace(made.SMALL, count=instances), 1)
    return measured.measured(folder, sorted(files.iterdir()), (few, many), say)


def section(found: Sequence[Cost], *, few: int, many: int) -> str:
    """Return the section in Markdown."""
    rows = [
        f"| {TASKS[one.task]} | {one.few_ms:.3f} | {one.many_ms:.3f} | **{one.ratio:.2f}** | {'yes' if one.ratio <= MOST else '**no**'} |"
        for one in found
    ]
    load = os.getloadavg()[0] / (os.cpu_count() or 1)
    return f"""## Cost that does not grow

Made by `python -m benchmarks.growth`; see `benchmarks/README.md`. An index of {few} made instances and one of {many}, each with their events
and deliveries that have ended; the same tasks on both by turns, one after another in one process, SQLite with `synchronous=FULL`. Milliseconds
of processor time for one, the median over turns of twenty. At most {MOST:g} times as much is aimed at. For each processor {load:.1f}
processes wanted one when this ended.

| task | {few} instances, ms | {many} instances, ms | times | reached |
|---|---|---|---|---|
{chr(10).join(rows)}

Listed are a page of instances by identifier, the newest, one by its SOP Instance UID, those of a series, and a study by its UID.

Machine: {machine.described()}."""


def say(line: str) -> None:
    """Tell whoever waits."""
    print(line, file=sys.stderr)  # noqa: T201 - a command's own progress


if __name__ == "__main__":
    main()
