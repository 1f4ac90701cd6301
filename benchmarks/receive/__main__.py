"""`python -m benchmarks.receive`: measure receiving beside others, and write the section "Receiving" of docs/performance.md."""

from __future__ import annotations

import shutil
from dataclasses import replace
from pathlib import Path

from benchmarks import command, real
from benchmarks.command import say
from benchmarks.receive import made, report, rounds
from benchmarks.receive.report import Run
from benchmarks.receive.rounds import Case
from benchmarks.receive.servers import SERVERS, Hostd, Orthanc, Pynetdicom

_PROGRAMS = {"Orthanc": "Orthanc", "DCMTK storescp": "storescp"}


def main() -> None:
    """Measure, print, and with `--write` write the section."""
    parser = command.parser(
        "receive", __doc__, rounds=3, most="a few instances of hostd and pynetdicom, once: does it run?"
    )
    parser.add_argument(
        "--short", action="store_true", help="30 kB and 0.5 MB over 1 and 4 associations, beside Orthanc alone"
    )
    parser.add_argument("--huge", action="store_true", help="instances of 1 GB too")
    with command.begun(parser, ["storescu"]) as (asked, folder):
        run = taken(folder, rounds_=asked.rounds, quick=asked.quick, short=asked.short, huge=asked.huge)
        command.finish(asked, [report.section(run)])


def taken(folder: Path, *, rounds_: int, quick: bool = False, short: bool = False, huge: bool = False) -> Run:
    """Measure everything in an empty folder."""
    servers = [one for one in SERVERS if shutil.which(_PROGRAMS.get(one.name, "storescu"))]
    cases = [Case(size, count) for size in (made.SMALL, made.CT, made.LARGE) for count in (1, 4, 16)]
    if all(file.exists() for file in real.UNCOMPRESSED):
        cases += [Case(made.REAL, count) for count in (1, 4)]
    if short:
        servers = [one for one in servers if one in (Hostd, Orthanc)]
        cases = [Case(size, count) for size in (made.SMALL, made.CT) for count in (1, 4)]
    if huge:
        cases.append(Case(made.HUGE, 1))
    if quick:
        servers = [one for one in servers if one in (Hostd, Pynetdicom)]
        cases = [Case(replace(made.SMALL, count=6), count) for count in (1, 2)]
    return Run(rounds_, cases, [one.name for one in servers], rounds.measured(folder, cases, servers, rounds_, say))


if __name__ == "__main__":
    main()
