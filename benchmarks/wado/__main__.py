"""`python -m benchmarks.wado`: measure fetching over HTTP beside Orthanc, and write the section "Fetching" of docs/performance.md."""

from __future__ import annotations

import argparse
import os
import shutil
import signal
import statistics
import sys
import tempfile
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from benchmarks import document, machine
from benchmarks.receive import made
from benchmarks.wado.asking import QUESTIONS, Question, seconds, store
from benchmarks.wado.servers import PLUGIN, Hostd, Orthanc

SECTION = "fetching"
COUNT = 60
CLIENTS = (1, 4)
Cells = dict[tuple[str, int, str], list[float]]
"""Question, clients and server → seconds of one answer, round by round."""


def main() -> None:
    """Measure, print, and write."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.wado", description=__doc__)
    parser.add_argument("--quick", action="store_true", help="a few instances of hostd, once: does it run?")
    parser.add_argument("--rounds", type=int, default=5, help="how often each is measured (default 5)")
    parser.add_argument("--write", action="store_true", help="write the section into the page")
    parser.add_argument("--page", type=Path, default=document.PAGE, help="the page (default docs/performance.md)")
    asked = parser.parse_args()
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(128 + signal.SIGTERM))  # servers are ended on the way out
    with tempfile.TemporaryDirectory(prefix="hostd-benchmark-") as folder:
        text = section(taken(Path(folder), rounds=asked.rounds, quick=asked.quick), asked.rounds)
    print(text)  # noqa: T201 - what the command is for
    if asked.write:
        document.write_section(asked.page, SECTION, text)


def taken(folder: Path, *, rounds: int, quick: bool = False) -> Cells:
    """Measure everything in an empty folder."""
    kinds: list[type[Hostd | Orthanc]] = [Hostd]
    if not quick and shutil.which("Orthanc") and PLUGIN.exists():
        kinds.append(Orthanc)
    (files,) = made.made(folder / "files", replace(made.CT, count=4 if quick else COUNT), 1)
    running: list[Hostd | Orthanc] = []
    cells: Cells = {}
    try:
        for kind in kinds:
            running.append(kind(folder / kind.name))  # noqa: PERF401 - what was started is ended, also when another cannot be
        stored = {server.name: store(server.http_port, sorted(files.iterdir())) for server in running}
        for turn in range(-1, 1 if quick else rounds):  # the first is for caches, and counts for nothing
            for question in QUESTIONS:
                for clients in CLIENTS:
                    for server in running[:: -1 if turn % 2 else 1]:
                        took = seconds(server.http_port, question, stored[server.name], clients)
                        if turn >= 0:
                            cells.setdefault((question.name, clients, server.name), []).append(took)
    finally:
        for server in running:
            server.stop()
    return cells


def section(cells: Cells, rounds: int) -> str:
    """Return the section."""
    names = list(dict.fromkeys(server for _, _, server in cells))
    how = (
        f"Measured by `python -m benchmarks.wado` with {rounds} rounds, in each of which every server is asked the same over kept connections, one"
        f" after the other; {COUNT} instances of a CT of 512x512, as they are stored. Clients and servers share the machine:"
        f" {machine.described()}, load {os.getloadavg()[0] / (os.cpu_count() or 1):.1f} a core."
    )
    lines = [
        "## Fetching",
        "",
        how,
        "",
        "Milliseconds an answer, the median of the rounds; the ratio is taken round by round, and below 1 hostd is the quicker.",
        "",
        f"| question | clients | {' | '.join(names)} | ratio |",
        f"|---|--:|{'--:|' * len(names)}--:|",
    ]
    lines += [_row(question, clients, cells, names) for question in QUESTIONS for clients in CLIENTS]
    return "\n".join(lines)


def _row(question: Question, clients: int, cells: Cells, names: Sequence[str]) -> str:
    found = [cells[question.name, clients, name] for name in names]
    times = [f"{1000 * statistics.median(one):.2f}" for one in found]
    ratio = ""
    if len(found) > 1:
        ratio = f"{statistics.median(ours / theirs for ours, theirs in zip(*found, strict=True)):.2f}"
    return f"| {question.name} | {clients} | {' | '.join(times)} | {ratio} |"


if __name__ == "__main__":
    main()
