"""`python -m benchmarks.retrieve`: measure C-MOVE and C-GET beside Orthanc, and write the section "Retrieval" of docs/performance.md."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from benchmarks import command
from benchmarks.figures import Cell, Dots, Ratio, Section, Spread, Table, Target
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
    """Measure, print, and with `--write` write the section."""
    parser = command.parser("retrieve", __doc__, rounds=9, most="a few instances, once: does it run?")
    with command.begun(parser, ["Orthanc", "movescu", "getscu", "storescp", "storescu"]) as (asked, folder):
        cases = CASES
        if asked.quick:
            cases = tuple(replace(case, size=replace(case.size, count=4)) for case in CASES)
        command.finish(asked, [section(turns.taken(folder, cases, asked.rounds), cases)])


def section(found: Turns, cases: Sequence[Case]) -> Section:
    """Return the section."""
    rows: list[Sequence[Cell]] = []
    points = []
    for case in cases:
        for way in (*((FIRST,) if case.compressed else ()), *WAYS):
            of_hostd, of_orthanc = (found[case.name, way, kind.name] for kind in (Hostd, Orthanc))
            ratio = Ratio.between((turn.wall for turn in of_orthanc), (turn.wall for turn in of_hostd))
            count = case.size.count
            rates = [Spread.of(count / turn.wall for turn in of) for of in (of_hostd, of_orthanc)]
            cpus = [Spread.of(1e3 * turn.cpu / count for turn in of) for of in (of_hostd, of_orthanc)]
            rows.append((way, case.name, count, ratio, rates[0], cpus[0], rates[1], cpus[1]))
            points.append(
                (f"{way.removeprefix('C-MOVE, ').capitalize() if way == FIRST else way}, {case.name}", "hostd", ratio)
            )
    return Section(
        name=SECTION,
        title="Retrieval",
        command="python -m benchmarks.retrieve",
        rounds=len(found[cases[0].name, WAYS[0], Hostd.name]),
        how="""A series of CT images is asked for by DCMTK's movescu, which has it sent to
a storescp, or by getscu; each server has its turn in each round; medians, and in brackets the smallest and the largest. "From RLE": the images are stored
compressed, and who gets them takes uncompressed ones only; what hostd makes of them the first time, compared sample by sample, serves whoever
asks for them in the next minutes, where Orthanc makes it each time; once there are 192 MB of it, from the second round on, the oldest files are written over. The first time is of another series in each round.""",
        targets=[Target.none_slower("every retrieval", {row: ratio for row, _, ratio in points})],
        picture=Dots(points, "times as fast as Orthanc (right of 1: faster); bars from the least to the most"),
        caption="How many times as fast as Orthanc",
        tables=[
            Table(
                (
                    "asked by", "image", "images", "times as fast as Orthanc", "hostd, images/s", "ms of CPU an image", "Orthanc, images/s",
                    "ms of CPU an image",
                ),
                rows,
                after="""The time is that of movescu or getscu from its start to its end. CPU time is that of the server. hostd's figures include the record of every
sub-operation, on stable storage before the final response.""",
            )
        ],
    )  # fmt: skip


if __name__ == "__main__":
    main()
