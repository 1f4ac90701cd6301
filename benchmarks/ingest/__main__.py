"""`python -m benchmarks.ingest`: measure uploads and transcoding on arrival, and write "Uploads" and "Transcoding on arrival" of docs/performance.md."""

from __future__ import annotations

import shutil
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from benchmarks import command
from benchmarks.command import say
from benchmarks.figures import Cell, Dots, Section, Spread, Table, Target
from benchmarks.ingest import files, rounds, uploads
from benchmarks.ingest.rounds import HOSTD, LATER, ORTHANC, PLAIN, UNVERIFIED, Case, Measured
from benchmarks.receive.made import Size
from benchmarks.receive.report import over
from benchmarks.receive.rounds import cpu_ms, rates, times
from benchmarks.receive.servers import Hostd, Orthanc, Server
from hostd.dicom.syntaxes import JPEG2000_LOSSLESS, JPEG_LOSSLESS_SV1

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
    parser = command.parser("ingest", __doc__, rounds=3, most="a few instances of hostd alone, once: does it run?")
    parser.add_argument("--instances", type=int, default=60, help="how many are transcoded in a turn (default 60)")
    with command.begun(parser, ["storescu"]) as (asked, folder):
        run = taken(folder, rounds_=asked.rounds, instances=asked.instances, quick=asked.quick)
        command.finish(asked, [of_uploads(run), of_ingest(run)])


def taken(folder: Path, *, rounds_: int, instances: int, quick: bool = False) -> Run:
    """Measure everything in an empty folder."""
    is_beside = shutil.which("Orthanc") is not None and not quick
    sizes: Sequence[Size] = [replace(size, count=8) for size in uploads.SIZES[:2]] if quick else uploads.SIZES
    servers: list[type[Server]] = [Hostd, *([Orthanc] if is_beside else [])]
    instances = 8 if quick else instances
    for name in ("uploads", "files", "ingest"):
        (folder / name).mkdir()
    cells = uploads.measured(folder / "uploads", sizes, rounds_, servers, say)
    folders = {count: files.made(folder / "files" / f"{count}", instances, count) for count in (1, 4)}
    (later,) = files.made(folder / "files" / "later", 8 if quick else LATER_INSTANCES, 1)
    warm = files.made(folder / "files" / "warm", 8, 4)
    ingest = rounds.measured(folder / "ingest", folders, later, warm, rounds_, say, with_orthanc=is_beside)
    return Run(rounds_, cells, ingest, files.image(folder).description)


def of_uploads(run: Run) -> Section:
    """Return the section on uploads."""
    rows: list[Sequence[Cell]] = []
    points = []
    for (case, name), samples in run.uploads.items():
        beside = None if name == Orthanc.name else run.uploads.get((case, Orthanc.name))
        than = None if beside is None else times(samples, beside)
        connections = over(case.connections, "connection")
        rows.append((case.size.name, connections, name, rates(samples), than, cpu_ms(samples)))
        if than is not None:
            points.append((f"{case.size.name}, {connections}", name, than))
    return Section(
        name="uploads",
        title="Uploads",
        command="python -m benchmarks.ingest",
        rounds=run.rounds,
        how="""`POST /instances` by Python's `http.client`, a thread for each connection, which is
kept open; medians, and in brackets the smallest and the largest. After every turn it was looked whether all is stored.""",
        picture=Dots(points, "times Orthanc's instances a second (right of 1: faster); bars from the least to the most")
        if points
        else None,
        caption="How many times Orthanc's instances a second",
        tables=[Table(("size", "over", "server", "instances/s", "times Orthanc's", "CPU ms"), rows)],
    )


def of_ingest(run: Run) -> Section:
    """Return the section on transcoding as instances come."""
    cells, budget = run.ingest.cells, run.ingest.budget
    rows: list[Sequence[Cell]] = []
    points: list[tuple[str, str, Spread]] = []
    for (case, name), samples in cells.items():
        beside = None if name == ORTHANC else cells.get((case, ORTHANC))
        than = None if beside is None else times(samples, beside)
        share = f"{100 * (1 - times(samples, cells[case, UNVERIFIED]).median):.0f} %" if name == HOSTD else ""
        row = (_to(case), over(case.associations), name, rates(samples), than, cpu_ms(samples), share)
        rows.append(row)
        if than is not None:
            points.append((_described(case), name, than))
    later = times(budget[LATER], budget[PLAIN])
    waits_not = "a sender that need not wait, of the rate without transcoding"
    return Section(
        name="ingest",
        title="Transcoding on arrival",
        command="python -m benchmarks.ingest",
        rounds=run.rounds,
        how=f"""A {run.image}, sent again and again by DCMTK's `storescu`, each time as another
instance; hostd with `transcode_to`, which answers when the result is stored and verified, and Orthanc with `IngestTranscoding` (`.90` by its GDCM
plug-in). "Not verified" is a hostd that leaves out to decode and compare what it made, which no setting does. Every turn has a
server of its own, which was sent a few before; medians, and in brackets the smallest and the largest. After every turn it was looked whether all is stored,
and in that transfer syntax.""",
        targets=[
            *(
                Target(
                    f"{_described(case)}, not verified: times Orthanc's rate", times(cells[case, UNVERIFIED], cells[case, ORTHANC]), least=least,
                    note=f"verified {times(cells[case, HOSTD], cells[case, ORTHANC]).said()}",
                )
                for case, least in TARGETS.items() if (case, ORTHANC) in cells
            ),
            Target(waits_not, later, least=LEAST_OF_PLAIN),
        ],
        picture=Dots(points, "times Orthanc's instances a second (right of 1: faster); bars from the least to the most", [(_described(case), least) for case, least in TARGETS.items()])
        if points else None,
        caption="How many times Orthanc's instances a second, verified and not",
        tables=[
            Table(
                ("to", "over", "server", "instances/s", "times Orthanc's", "CPU ms", "of the rate that verifying takes"), rows, "All",
            ),
            Table(
                ("node", "instances/s"), [(name, rates(samples)) for name, samples in budget.items()], "A sender that need not wait",
                f"""With `ack_budget_s = 0` hostd answers before it transcodes. A sender of {budget[PLAIN][0].instances} instances to a node that brings them to `.90`, beside
one to a node that keeps them as received; all are in `.90` afterwards.""",
            ),
        ],
    )  # fmt: skip


def _to(case: Case) -> str:
    return f"`.{case.syntax.uid.rpartition('.')[2]}`"


def _described(case: Case) -> str:
    return f"{_to(case)}, {over(case.associations)}"


if __name__ == "__main__":
    main()
