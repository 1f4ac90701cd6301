"""`python -m benchmarks.ingest`: measure uploads and transcoding on arrival, and write "Uploads" and "Transcoding on arrival" of docs/performance.md."""

from __future__ import annotations

import argparse
import os
import shutil
import signal
import statistics
import sys
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from benchmarks import document, machine
from benchmarks.ingest import files, rounds, uploads
from benchmarks.ingest.rounds import HOSTD, LATER, ORTHANC, PLAIN, UNVERIFIED, Case, Measured
from benchmarks.receive.made import Size
from benchmarks.receive.rounds import Sample
from benchmarks.receive.servers import Hostd, Orthanc, Server
from hostd.dicom.syntaxes import JPEG2000_LOSSLESS, JPEG_LOSSLESS_SV1

SECTIONS = ("uploads", "ingest")
TARGETS = {Case(JPEG2000_LOSSLESS, 1): 1.6, Case(JPEG2000_LOSSLESS, 4): 1.1, Case(JPEG_LOSSLESS_SV1, 1): 1.3}
"""How many times Orthanc's rate hostd is to have, without verification."""
LATER_INSTANCES = 300
LEAST_OF_PLAIN = 0.9
"""Of the rate without transcoding, what a sender sees that need not wait for it."""


@dataclass(frozen=True, slots=True)
class Run:
    """All that was measured in one run."""

    rounds: int
    uploads: uploads.Cells
    ingest: Measured
    image: str


def main() -> None:
    """Measure, print, and with `--write` write the sections."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.ingest", description=__doc__)
    parser.add_argument("--quick", action="store_true", help="a few instances of hostd alone, once: does it run?")
    parser.add_argument("--rounds", type=int, default=3, help="how often each is measured (default 3)")
    parser.add_argument("--instances", type=int, default=60, help="how many are transcoded in a turn (default 60)")
    parser.add_argument(
        "--folder", type=Path, help="where servers have their files (default: the system's temporary folder)"
    )
    parser.add_argument("--write", action="store_true", help="write the sections into the page")
    parser.add_argument("--page", type=Path, default=document.PAGE, help="the page (default docs/performance.md)")
    asked = parser.parse_args()
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(128 + signal.SIGTERM))  # servers are ended on the way out
    if shutil.which("storescu") is None:
        parser.error("DCMTK's storescu is not on the PATH")
    with tempfile.TemporaryDirectory(prefix="hostd-benchmark-", dir=asked.folder) as folder:
        run = taken(Path(folder), rounds_=asked.rounds, instances=asked.instances, quick=asked.quick)
    for name, text in zip(SECTIONS, (of_uploads(run), of_ingest(run)), strict=True):
        print(text, end="\n\n")  # noqa: T201 - what the command is for
        if asked.write:
            document.write_section(asked.page, name, text)


def taken(folder: Path, *, rounds_: int, instances: int, quick: bool = False) -> Run:
    """Measure everything in an empty folder."""
    is_beside = shutil.which("Orthanc") is not None and not quick
    sizes: Sequence[Size] = [replace(size, count=8) for size in uploads.SIZES[:2]] if quick else uploads.SIZES
    servers: list[type[Server]] = [Hostd, *([Orthanc] if is_beside else [])]
    instances, rounds_ = (8, 1) if quick else (instances, rounds_)
    for name in ("uploads", "files", "ingest"):
        (folder / name).mkdir()
    cells = uploads.measured(folder / "uploads", sizes, rounds_, servers, say)
    folders = {count: files.made(folder / "files" / f"{count}", instances, count) for count in (1, 4)}
    (later,) = files.made(folder / "files" / "later", 8 if quick else LATER_INSTANCES, 1)
    warm = files.made(folder / "files" / "warm", 8, 4)
    ingest = rounds.measured(folder / "ingest", folders, later, warm, rounds_, say, with_orthanc=is_beside)
    return Run(rounds_, cells, ingest, files.image(folder).description)


def of_uploads(run: Run) -> str:
    """Return the section on uploads, in Markdown."""
    rows = []
    for (case, name), samples in run.uploads.items():
        beside = run.uploads.get((case, Orthanc.name))
        than = "" if beside is None or name == Orthanc.name else _ratio(rounds.ratio(samples, beside))
        connections = "1 connection" if case.connections == 1 else f"{case.connections} connections"
        rows.append(f"| {case.size.name} | {connections} | {name} | {_rates(samples)} | {than} | {_cpu(samples)} |")
    return f"""## Uploads

Made by `python -m benchmarks.ingest`; see `benchmarks/README.md`. `POST /instances` by Python's `http.client`, a thread for each connection, which is
kept open; the median of {run.rounds} rounds, in brackets the smallest and the largest. After every turn it was looked whether all is stored. {_busy()}

| size | over | server | instances/s | times Orthanc's | CPU ms |
|---|---|---|---|---|---|
{chr(10).join(rows)}

Machine: {machine.described()}."""


def of_ingest(run: Run) -> str:
    """Return the section on transcoding as instances come, in Markdown."""
    cells, budget = run.ingest.cells, run.ingest.budget
    rows = []
    for (case, name), samples in cells.items():
        beside = cells.get((case, ORTHANC))
        than = "" if beside is None or name == ORTHANC else _ratio(rounds.ratio(samples, beside))
        plain = cells[case, UNVERIFIED]
        share = f"{100 * (1 - rounds.ratio(samples, plain)[0]):.0f} %" if name == HOSTD else ""
        rows.append(
            f"| `.{case.syntax.uid.rpartition('.')[2]}` | {_over(case)} | {name} | {_rates(samples)} | {than} | {_cpu(samples)} | {share} |"
        )
    targets = []
    for case, least in TARGETS.items():
        beside = cells.get((case, ORTHANC))
        if beside is not None:
            without, verified = (rounds.ratio(cells[case, name], beside) for name in (UNVERIFIED, HOSTD))
            reached = "yes" if without[0] >= least else "**no**"
            targets.append(
                f"| `.{case.syntax.uid.rpartition('.')[2]}`, {_over(case)} | {least:g} | {_ratio(without)} | {_ratio(verified)} | {reached} |"
            )
    seen = rounds.ratio(budget[LATER], budget[PLAIN])
    return f"""## Transcoding on arrival

Made by `python -m benchmarks.ingest`; see `benchmarks/README.md`. A {run.image}, sent again and again by DCMTK's `storescu`, each time as another
instance; hostd with `transcode_to`, which answers when the result is stored and verified, and Orthanc with `IngestTranscoding` (`.90` by its GDCM
plug-in). "Not verified" is a hostd that leaves out to decode and compare what it made, which no setting does. Every turn has a
server of its own, which was sent a few before; the median of {run.rounds} rounds, in brackets the smallest and the largest. After every turn it was looked whether all is stored, and in
that transfer syntax. {_busy()}

### Target: beside Orthanc

| to | target, not verified | times Orthanc's, not verified | times Orthanc's, verified | reached |
|---|---|---|---|---|
{chr(10).join(targets) or "| not measured | | | | |"}

### All

| to | over | server | instances/s | times Orthanc's | CPU ms | of the rate that verifying takes |
|---|---|---|---|---|---|---|
{chr(10).join(rows)}

### A sender that need not wait

With `ack_budget_s = 0` hostd answers before it transcodes. A sender of {budget[PLAIN][0].instances} instances to a node that brings them to `.90` sees
{_ratio(seen)} of the rate that it sees of a node that keeps them as received ({_rates(budget[PLAIN])} a second; {LEAST_OF_PLAIN:g} is aimed at,
{"reached" if seen[0] >= LEAST_OF_PLAIN else "**missed**"}); all are in `.90` afterwards.

Machine: {machine.described()}."""


def _over(case: Case) -> str:
    return "1 association" if case.associations == 1 else f"{case.associations} associations"


def _ratio(found: tuple[float, float, float]) -> str:
    return f"**{found[0]:.2f}** [{found[1]:.2f} to {found[2]:.2f}]"


def _rates(samples: Sequence[Sample]) -> str:
    rates = [sample.rate for sample in samples]
    digits = 0 if statistics.median(rates) >= 10 else 2
    return f"{statistics.median(rates):.{digits}f} [{min(rates):.{digits}f} to {max(rates):.{digits}f}]"


def _cpu(samples: Sequence[Sample]) -> str:
    return f"{statistics.median(sample.cpu_ms for sample in samples):.1f}"


def _busy() -> str:
    return f"For each processor {os.getloadavg()[0] / (os.cpu_count() or 1):.1f} processes wanted one when this ended."


def say(line: str) -> None:
    """Tell whoever waits."""
    print(line, file=sys.stderr)  # noqa: T201 - a command's own progress


if __name__ == "__main__":
    main()
