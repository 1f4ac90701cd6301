"""`python -m benchmarks.scripts`: measure, and with `--write` write the section "Scripts" of docs/performance.md."""

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
from benchmarks.scripts import headers, measured
from benchmarks.scripts.measured import Figures, Paced

SECTION = "scripts"
MOST_MEDIAN_MS, MOST_CORES = 10.0, 0.6
"""What is aimed at for one script."""
_TEN = "2 forward, 5 read two attributes and do nothing, 3 are not asked by their `handles`"


def main() -> None:
    """Measure and write."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.scripts", description=__doc__)
    parser.add_argument("--quick", action="store_true", help="few events, to see that it runs")
    parser.add_argument("--events", type=int, default=1000, help="how many events (default 1000)")
    parser.add_argument("--write", action="store_true", help="write the section into the page")
    parser.add_argument("--page", type=Path, default=document.PAGE, help="the page (default docs/performance.md)")
    asked = parser.parse_args()
    structlog.configure(wrapper_class=structlog.make_filtering_bound_logger(logging.ERROR))
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(128 + signal.SIGTERM))  # workers are ended on the way out
    events = 20 if asked.quick else max(20, asked.events)
    with tempfile.TemporaryDirectory(prefix="hostd-benchmark-") as folder:
        figures = measured.taken(Path(folder), events)
    text = section(figures)
    print(text)  # noqa: T201 - what the command is for
    if asked.write:
        document.write_section(asked.page, SECTION, text)


def section(figures: Figures) -> str:
    """Return the section: what was measured, then the machine."""
    ten, one = figures.ten, figures.paced_one
    loads = [
        f"| {what} | {load.events / load.wall_s:.0f} | {1e3 * load.host_cpu_s / load.events:.2f} | "
        f"{1e3 * load.workers_cpu_s / load.events:.2f} |"
        for what, load in (
            ("no script: entering the events alone", figures.none),
            (f"10 scripts: {_TEN}", ten),
            ("1 script that reads two attributes and does nothing", figures.reading),
            ("1 script that is not asked by its `handles`", figures.skipping),
        )
    ]
    cores = one.host_cores + one.workers_cores
    return f"""## Scripts

Made by `python -m benchmarks.scripts --write`; see `benchmarks/README.md`. Events of made rows with {headers.described()}, offered
to scripts with real jailed workers, over SQLite with `synchronous=FULL` in a temporary folder. CPU time is that of the processes, which
other work on the machine hardly changes; by the clock the machine was {figures.busy:.1f} times as busy as it has cores when this began.

Machine: {machine.described()}; load average {os.getloadavg()[0]:.1f} at the end.

### Target: from event to plan

{one.events} events, {one.rate:g} a second evenly, each committed by itself, to one script that forwards: aimed at are a median below {MOST_MEDIAN_MS:g} ms
({_reached(one.median_ms < MOST_MEDIAN_MS)}) and at most {MOST_CORES:g} core in all ({_reached(cores <= MOST_CORES)}). Waits are from the commit of
an event to that of a plan with an action; cores are those of host and workers, with what entering the events takes.

| scripts | median, ms | 99 % within, ms | cores, host | cores, workers | cores in all |
|---|---|---|---|---|---|
{_paced("none: entering the events alone", figures.paced_none)}
{_paced("1 that forwards", one)}
{_paced(f"10: {_TEN}", figures.paced_ten)}

### As fast as they go

{ten.events} events offered at once, twenty a transaction, which is in every figure.

| what | events a second by the clock | ms of CPU an event in the host | ms of CPU an event in all workers |
|---|---|---|---|
{chr(10).join(loads)}

- **Memory**: a worker holds {figures.worker_kb / 1024:.1f} MiB of its own and shares the rest (proportional set size); ten scripts and all
  these events added {figures.host_kb / 1024:.1f} MiB to the host's resident set.
"""


def _paced(what: str, paced: Paced) -> str:
    waits = f"{paced.median_ms:.1f} | {paced.p99_ms:.1f}" if paced.waits_ms else " | "
    cores = paced.host_cores + paced.workers_cores
    return f"| {what} | {waits} | {paced.host_cores:.2f} | {paced.workers_cores:.2f} | {cores:.2f} |"


def _reached(is_reached: bool) -> str:
    return "reached" if is_reached else "**missed**"


if __name__ == "__main__":
    main()
