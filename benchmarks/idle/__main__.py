"""`python -m benchmarks.idle`: measure starts and idle servers, and write the section "While nothing happens" of docs/performance.md."""

from __future__ import annotations

import argparse
import os
import shutil
import signal
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path

from benchmarks import document, machine
from benchmarks.idle.standing import ASSOCIATIONS, HostdWithScripts, PatientHostd, Standing, standing
from benchmarks.receive.servers import Orthanc, Server

SECTION = "idle"
MOST_START_S, MOST_CORE, LEAST_SLEEP_S, MOST_MEMORY = 1.5, 0.01, 5.0, 300 << 20
"""What is aimed at for a node with ten scripts."""


def main() -> None:
    """Measure, print, and with `--write` write the section."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.idle", description=__doc__)
    parser.add_argument("--seconds", type=int, default=60, help="how long each is looked at (default 60)")
    parser.add_argument("--starts", type=int, default=5, help="how often each is started (default 5)")
    parser.add_argument("--write", action="store_true", help="write the section into the page")
    parser.add_argument("--page", type=Path, default=document.PAGE, help="the page (default docs/performance.md)")
    asked = parser.parse_args()
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(128 + signal.SIGTERM))  # servers are ended on the way out
    kinds: list[type[Server]] = [HostdWithScripts, PatientHostd, *([Orthanc] if shutil.which("Orthanc") else [])]
    found = taken(kinds, idle_s=asked.seconds, settling_s=12.0, starts=asked.starts)
    text = section(found)
    print(text)  # noqa: T201 - what the command is for
    if asked.write:
        document.write_section(asked.page, SECTION, text)


def taken(kinds: Sequence[type[Server]], *, idle_s: int, settling_s: float, starts: int) -> list[Standing]:
    """Measure one server after another, each from nothing."""
    found = []
    for kind in kinds:
        with tempfile.TemporaryDirectory(prefix="hostd-benchmark-") as folder:
            found.append(standing(kind, Path(folder), idle_s=idle_s, settling_s=settling_s, starts=starts))
    return found


def section(found: Sequence[Standing]) -> str:
    """Return the section in Markdown."""
    load = os.getloadavg()[0] / (os.cpu_count() or 1)
    targets = [
        f"{MOST_START_S:g} s to its first association {_reached(one.start_s <= MOST_START_S)}, {100 * MOST_CORE:g} % of a core "
        f"{_reached(one.idle_core < MOST_CORE)}, no thread wakes more often than every {LEAST_SLEEP_S:g} s "
        f"{_reached(one.most_restless_s >= LEAST_SLEEP_S * 0.9)}, {MOST_MEMORY >> 20} MiB {_reached(one.memory < MOST_MEMORY)}"
        for one in found
        if one.name == HostdWithScripts.name
    ]
    head = "| server | start, s | CPU until then, s | idle, % of a core | wake-ups/s | most restless thread, every s | memory, MiB |"
    rows = [
        f"| {one.name} | {one.start_s:.2f} [{min(s.wall_s for s in one.starts):.2f} to {max(s.wall_s for s in one.starts):.2f}] "
        f"| {min(s.cpu_s for s in one.starts):.2f} | {100 * one.idle_core:.2f} | {one.wakes:.1f} | {one.most_restless_s:.1f} "
        f"| {one.memory / (1 << 20):.0f} |"
        for one in found
    ]
    return f"""## While nothing happens

Made by `python -m benchmarks.idle`; see `benchmarks/README.md`. Start: seconds from the start of the process until its first association
was accepted, into an empty folder and with scripts that are new to it; the median of {len(found[0].starts)}, in brackets the smallest and the largest. The least
processor time of one, with all its processes. Idle: with {ASSOCIATIONS} open associations that send nothing (others than hostd: one). Wake-ups are the voluntary
context switches of all threads. Memory is that of all processes, what they share counted once (PSS). For each processor {load:.1f} processes wanted
one when this ended.

Aimed at, with ten scripts: {"; ".join(targets) or "not measured"}.

{head}
|{"---|" * (head.count("|") - 1)}
{chr(10).join(rows)}

Machine: {machine.described()}."""


def _reached(is_reached: bool) -> str:
    return "(reached)" if is_reached else "(**missed**)"


if __name__ == "__main__":
    main()
