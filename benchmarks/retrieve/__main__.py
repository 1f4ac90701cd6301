"""`python -m benchmarks.retrieve`: measure C-MOVE and C-GET beside Orthanc, and write the section "Retrieval" of docs/performance.md."""

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
from benchmarks.retrieve import turns
from benchmarks.retrieve.archives import Hostd, Orthanc
from benchmarks.retrieve.turns import FIRST, WAYS, Case, Turns

SECTION = "retrieval"
CASES: tuple[Case, ...] = (
    Case("30 kB", made.SMALL),
    Case("0.5 MB", made.CT),
    Case("0.5 MB, from RLE", replace(made.CT, count=160), compressed=True),
)


def main() -> None:
    """Measure, print, and write."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.retrieve", description=__doc__)
    parser.add_argument("--rounds", type=int, default=5, help="how often each is asked (default 5)")
    parser.add_argument("--quick", action="store_true", help="a few instances, once: does it run?")
    parser.add_argument("--folder", type=Path, help="where files are (default: the system's temporary folder)")
    parser.add_argument("--write", action="store_true", help="write the section into the page")
    parser.add_argument("--page", type=Path, default=document.PAGE, help="the page (default docs/performance.md)")
    asked = parser.parse_args()
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(128 + signal.SIGTERM))  # servers are ended on the way out
    for program in ("Orthanc", "movescu", "getscu", "storescp", "storescu"):
        if shutil.which(program) is None:
            parser.error(f"{program} is not on the PATH")
    cases = CASES
    if asked.quick:
        cases = tuple(replace(case, size=replace(case.size, count=4)) for case in CASES)
    with tempfile.TemporaryDirectory(prefix="hostd-benchmark-", dir=asked.folder) as folder:
        found = turns.taken(Path(folder), cases, 1 if asked.quick else asked.rounds)
    text = section(found, cases)
    print(text)  # noqa: T201 - what the command is for
    if asked.write:
        document.write_section(asked.page, SECTION, text)


def section(found: Turns, cases: Sequence[Case]) -> str:
    """Return the section."""
    lines = []
    for case in cases:
        for way in (*((FIRST,) if case.compressed else ()), *WAYS):
            of_hostd, of_orthanc = (found[case.name, way, kind.name] for kind in (Hostd, Orthanc))
            ratio = statistics.median(
                theirs.wall / ours.wall for ours, theirs in zip(of_hostd, of_orthanc, strict=True)
            )
            count = case.size.count
            figures = [
                f"{count / statistics.median(turn.wall for turn in of):.0f} | {1e3 * statistics.median(turn.cpu for turn in of) / count:.2f}"
                for of in (of_hostd, of_orthanc)
            ]
            lines.append(f"| {way} | {case.name} | {count} | **{ratio:.1f}** | {figures[0]} | {figures[1]} |")
    rounds = len(found[cases[0].name, WAYS[0], Hostd.name])
    return f"""## Retrieval

Made by `python -m benchmarks.retrieve`; see `benchmarks/README.md`. A series of CT images is asked for by DCMTK's movescu, which has it sent to
a storescp, or by getscu; each server has its turn in each of {rounds} rounds, the figures are medians. "From RLE": the images are stored
compressed, and who gets them takes uncompressed ones only; what hostd makes of them the first time, compared sample by sample, serves whoever
asks for them in the next minute, where Orthanc makes it each time.

Machine: {machine.described()}; load average {os.getloadavg()[0]:.1f} at the end.

| asked by | image | images | times as fast as Orthanc | hostd, images/s | ms of CPU an image | Orthanc, images/s | ms of CPU an image |
|---|---|---|---|---|---|---|---|
{chr(10).join(lines)}

The time is that of movescu or getscu from its start to its end. CPU time is that of the server. hostd's figures include the record of every
sub-operation, on stable storage before the final response.
"""


if __name__ == "__main__":
    main()
