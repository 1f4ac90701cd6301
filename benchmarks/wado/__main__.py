"""`python -m benchmarks.wado`: measure fetching over HTTP beside Orthanc, and write the section "Fetching" of docs/performance.md."""

from __future__ import annotations

import shutil
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from benchmarks import command
from benchmarks.figures import Cell, Dots, Ratio, Section, Spread, Table, Target
from benchmarks.receive import made
from benchmarks.receive.servers import DICOMWEB, DicomwebOrthanc, Hostd, Server
from benchmarks.wado.asking import QUESTIONS, seconds, store

SECTION = "fetching"
COUNT = 60
CLIENTS = (1, 4)
Cells = dict[tuple[str, int, str], list[float]]
"""Question, clients and server → seconds of one answer, round by round."""


def main() -> None:
    """Measure, print, and with `--write` write the section."""
    parser = command.parser("wado", __doc__, rounds=5, most="a few instances of hostd, once: does it run?")
    with command.begun(parser) as (asked, folder):
        command.finish(asked, [section(taken(folder, rounds=asked.rounds, quick=asked.quick), asked.rounds)])


def taken(folder: Path, *, rounds: int, quick: bool = False) -> Cells:
    """Measure everything in an empty folder."""
    kinds: list[type[Server]] = [Hostd]
    if not quick and shutil.which("Orthanc") and DICOMWEB.exists():
        kinds.append(DicomwebOrthanc)
    (files,) = made.made(folder / "files", replace(made.CT, count=4 if quick else COUNT), 1)
    running: list[Server] = []
    cells: Cells = {}
    try:
        for kind in kinds:
            running.append(kind(folder / kind.name))  # noqa: PERF401 - what was started is ended, also when another cannot be
        stored = {server.name: store(server, sorted(files.iterdir())) for server in running}
        for turn in range(-1, rounds):  # the first is for caches, and counts for nothing
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


def section(cells: Cells, rounds: int) -> Section:
    """Return the section."""
    names = list(dict.fromkeys(server for _, _, server in cells))
    rows: list[Sequence[Cell]] = []
    points = []
    for question in QUESTIONS:
        for clients in CLIENTS:
            found = {name: cells[question.name, clients, name] for name in names}
            ratio = (
                Ratio.between(found[DicomwebOrthanc.name], found[Hostd.name]) if DicomwebOrthanc.name in found else None
            )
            times = [Spread.of(1000 * took for took in one) for one in found.values()]
            rows.append((question.name, clients, ratio, *times))
            if ratio is not None:
                points.append((question.name, f"{clients} client{'s' if clients > 1 else ''}", ratio))
    return Section(
        name=SECTION,
        title="Fetching",
        command="python -m benchmarks.wado",
        rounds=rounds,
        how=f"""In each round every server was asked the same over kept connections, one after the other; {COUNT} instances of a CT of 512x512, as they are stored.
Clients and servers share the machine. Medians, and in brackets the smallest and the largest.""",
        targets=[Target.none_slower("every question", {f"{row}, {by}": ratio for row, by, ratio in points})]
        if points
        else [],
        picture=Dots(points, "times as fast as Orthanc (right of 1: faster); bars from the least to the most")
        if points
        else None,
        caption="How many times as fast as Orthanc",
        tables=[
            Table(
                ("question", "clients", "times as fast as Orthanc", *(f"{name}, ms" for name in names)),
                rows,
                "Every question",
                "Milliseconds an answer; the ratio is taken round by round.",
            )
        ],
    )


if __name__ == "__main__":
    main()
