"""`python -m benchmarks.soak`: look at a node's memory while instances come and go, and write the section "Memory over time" of docs/performance.md."""

from __future__ import annotations

import argparse
import os
import signal
import sys
import tempfile
from pathlib import Path

from benchmarks import document, machine
from benchmarks.soak import measured
from benchmarks.soak.measured import ASSOCIATIONS, Soak

SECTION = "soak"
MOST_SLOPE = 64 << 10
"""Bytes for each thousand instances that count as flat: 6 MiB in a hundred thousand, which is what allocators take and give."""


def main() -> None:
    """Measure, print, and with `--write` write the section."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.soak", description=__doc__)
    parser.add_argument(
        "--count", type=int, default=100_000, help="how many instances are sent (default 100000: some ten minutes)"
    )
    parser.add_argument("--looks", type=int, default=20, help="how often memory is looked at (default 20)")
    parser.add_argument(
        "--folder", type=Path, help="where the node has its files (default: the system's temporary folder)"
    )
    parser.add_argument("--write", action="store_true", help="write the section into the page")
    parser.add_argument("--page", type=Path, default=document.PAGE, help="the page (default docs/performance.md)")
    asked = parser.parse_args()
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(128 + signal.SIGTERM))  # the node is ended on the way out
    with tempfile.TemporaryDirectory(prefix="hostd-benchmark-", dir=asked.folder) as folder:
        found = measured.measured(Path(folder), max(asked.count, asked.looks), max(4, asked.looks), say)
    text = section(found)
    print(text)  # noqa: T201 - what the command is for
    if asked.write:
        document.write_section(asked.page, SECTION, text)


def section(soak: Soak) -> str:
    """Return the section in Markdown."""
    rows = [
        f"| {one.instances} | {one.resident / (1 << 20):.1f} | {one.shared / (1 << 20):.1f} |" for one in soak.looks
    ]
    load = os.getloadavg()[0] / (os.cpu_count() or 1)
    return f"""## Memory over time

Made by `python -m benchmarks.soak`; see `benchmarks/README.md`. {soak.instances} instances of 30 kB over {ASSOCIATIONS} associations at a time, a new one for each
series of 200, into a node with a script that deletes what comes, within {soak.seconds:.0f} s. Every instance was taken, and none is left; {soak.left} files
waited for housekeeping at the end. For each processor {load:.1f} processes wanted one when this ended.

Over the second half the main process grew by **{soak.slope / 1024:.1f} KiB for each thousand instances**; it is to be flat, and {MOST_SLOPE >> 10} KiB count as
such ({"reached" if soak.slope <= MOST_SLOPE else "**missed**"}).

| instances | main process, MiB | all processes, MiB |
|---|---|---|
{chr(10).join(rows)}

Machine: {machine.described()}."""


def say(line: str) -> None:
    """Tell whoever waits."""
    print(line, file=sys.stderr)  # noqa: T201 - a command's own progress


if __name__ == "__main__":
    main()
