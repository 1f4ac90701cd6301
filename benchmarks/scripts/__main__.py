"""`python -m benchmarks.scripts`: measure, and write the section "Scripts" of docs/performance.md."""

from __future__ import annotations

import argparse
import logging
import os
import signal
import sys
import tempfile
from pathlib import Path

import structlog

from benchmarks import document, machine
from benchmarks.scripts import measured
from benchmarks.scripts.measured import Figures

SECTION = "scripts"


def main() -> None:
    """Measure and write."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.scripts", description=__doc__)
    parser.add_argument("--quick", action="store_true", help="few events, to see that it runs")
    parser.add_argument("--events", type=int, default=1000, help="how many events (default 1000)")
    parser.add_argument(
        "--page", type=Path, default=document.PAGE, help="the page to write (default docs/performance.md)"
    )
    asked = parser.parse_args()
    structlog.configure(wrapper_class=structlog.make_filtering_bound_logger(logging.ERROR))
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(128 + signal.SIGTERM))  # workers are ended on the way out
    events = 20 if asked.quick else max(20, asked.events)
    with tempfile.TemporaryDirectory(prefix="hostd-benchmark-") as folder:
        figures = measured.taken(Path(folder), events)
    document.write_section(asked.page, SECTION, section(figures))
    sys.stderr.write(f"written to {asked.page}\n")


def section(figures: Figures) -> str:
    """Return the section: what was measured, then the machine."""
    ten, latency = figures.ten, figures.latency
    rows = [
        f"| {what} | {load.events / load.wall_s:.0f} | {1e3 * load.host_cpu_s / load.events:.2f} | "
        f"{1e3 * load.workers_cpu_s / load.events:.2f} |"
        for what, load in (
            ("no script: entering the events alone", figures.none),
            ("10 scripts: 2 forward, 5 read two attributes and do nothing, 3 are not asked by their `handles`", ten),
            ("1 script that reads two attributes and does nothing", figures.reading),
            ("1 script that is not asked by its `handles`", figures.skipping),
        )
    ]
    return f"""## Scripts

Made by `python -m benchmarks.scripts`; see `benchmarks/README.md`. Events of made rows, {ten.events} of them offered at once (twenty a
transaction, which is in every figure) to scripts with real jailed workers, over SQLite with `synchronous=FULL` in a temporary folder. CPU time is that of the
processes, which other work on the machine hardly changes; by the clock the machine was {figures.busy:.1f} times as busy as it has cores
when this began.

Machine: {machine.described()}; load average {os.getloadavg()[0]:.1f} at the end.

| what | events a second by the clock | ms of CPU an event in the host | ms of CPU an event in all workers |
|---|---|---|---|
{chr(10).join(rows)}

- **From event to plan**, one event at a time, one script that forwards, {latency.count} events: the plan was committed
  {latency.median_ms:.1f} ms after the event was (median; 99 % within {latency.p99_ms:.1f} ms), with {latency.cpu_ms:.2f} ms of CPU in the host.
- **Memory**: a worker holds {figures.worker_kb / 1024:.1f} MiB of its own and shares the rest (proportional set size); ten scripts and all
  these events added {figures.host_kb / 1024:.1f} MiB to the host's resident set.
"""


if __name__ == "__main__":
    main()
