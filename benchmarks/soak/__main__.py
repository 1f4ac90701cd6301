"""`python -m benchmarks.soak`: look at a node's memory while instances come and go, and write the section "Memory over time" of docs/performance.md."""

from __future__ import annotations

import argparse
import os
import signal
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path

from benchmarks import document, machine
from benchmarks.soak import measured
from benchmarks.soak.measured import ASSOCIATIONS, DELETERS, Soak

SECTION = "soak"
MOST_SLOPE = 64 << 10
"""Bytes for each thousand instances that count as flat: 6 MiB in a hundred thousand, which is what allocators take and give."""


def main() -> None:
    """Measure, print, and with `--write` write the section."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.soak", description=__doc__)
    parser.add_argument(
        "--count",
        type=int,
        default=100_000,
        help="how many instances are sent each time (default 100000: some ten minutes)",
    )
    parser.add_argument("--by", choices=DELETERS, help="only with what this deletes (default: one after the other)")
    parser.add_argument("--looks", type=int, default=20, help="how often memory is looked at (default 20)")
    parser.add_argument(
        "--folder", type=Path, help="where the node has its files (default: the system's temporary folder)"
    )
    parser.add_argument("--write", action="store_true", help="write the section into the page")
    parser.add_argument("--page", type=Path, default=document.PAGE, help="the page (default docs/performance.md)")
    asked = parser.parse_args()
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(128 + signal.SIGTERM))  # the node is ended on the way out
    found = []
    for deleter in DELETERS if asked.by is None else [asked.by]:
        with tempfile.TemporaryDirectory(prefix="hostd-benchmark-", dir=asked.folder) as folder:
            say(f"{deleter} deletes")
            count, looks = max(asked.count, asked.looks), max(4, asked.looks)
            found.append(measured.measured(Path(folder), deleter, count, looks, say))
    text = section(found)
    print(text)  # noqa: T201 - what the command is for
    if asked.write:
        document.write_section(asked.page, SECTION, text)


def section(soaks: Sequence[Soak]) -> str:
    """Return the section in Markdown."""
    load = os.getloadavg()[0] / (os.cpu_count() or 1)
    parts = "\n\n".join(map(_part, soaks))
    return f"""## Memory over time

Made by `python -m benchmarks.soak`; see `benchmarks/README.md`. {soaks[0].instances} instances of 30 kB over {ASSOCIATIONS} associations at a time, a new one for each
series of 200, into a node that deletes what comes. Every instance was taken. The main process is to be flat: {MOST_SLOPE >> 10} KiB for each thousand
instances, over the second half, count as such. For each processor {load:.1f} processes wanted one when this ended.

{parts}

Machine: {machine.described()}."""


def _part(soak: Soak) -> str:
    rows = [
        f"| {one.instances} | {one.resident / (1 << 20):.1f} | {one.shared / (1 << 20):.1f} |" for one in soak.looks
    ]
    return f"""### Where {"a script deletes each of them" if soak.deleter == "a script" else "`[storage]` recycles the patients of whom nothing came for longest"}

Within {soak.seconds:.0f} s; {soak.kept} instances were kept at the end, and of all there were {soak.files} files, which housekeeping looks after. The main process grew by
**{soak.slope / 1024:.1f} KiB for each thousand instances** ({"reached" if soak.slope <= MOST_SLOPE else "**missed**"}).

| instances | main process, MiB | all processes, MiB |
|---|---|---|
{chr(10).join(rows)}"""


def say(line: str) -> None:
    """Tell whoever waits."""
    print(line, file=sys.stderr)  # noqa: T201 - a command's own progress


if __name__ == "__main__":
    main()
