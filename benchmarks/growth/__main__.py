"""`python -m benchmarks.growth`: measure what things cost when the index holds much, and write the section "Cost that does not grow"."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from benchmarks import command
from benchmarks.command import say
from benchmarks.figures import Dots, Section, Spread, Table, Target
from benchmarks.growth import measured
from benchmarks.growth.measured import TASKS, Cost
from benchmarks.receive import made

SECTION = "growth"
MOST = 1.2
"""How many times as much each may cost."""
FEW = 10_000


def main() -> None:
    """Measure, print, and with `--write` write the section."""
    parser = command.parser("growth", __doc__, most="ten thousand rows: does it run?")
    parser.add_argument("--rows", type=int, default=1_000_000, help="instances in the larger index (default a million)")
    parser.add_argument("--instances", type=int, default=400, help="how many are received (default 400)")
    with command.begun(parser) as (asked, folder):
        few, many, instances = (
            (5_000, 10_000, 60) if asked.quick else (min(FEW, asked.rows), asked.rows, asked.instances)
        )
        found = taken(folder, few=few, many=many, instances=instances)
        command.finish(asked, [section(found, few=few, many=many)])


def taken(folder: Path, *, few: int, many: int, instances: int) -> list[Cost]:
    """Measure with so few and so many instances in the index."""
    (files,) = made.made(folder / "files", replace(made.SMALL, count=instances), 1)
    return measured.measured(folder, sorted(files.iterdir()), (few, many), say)


def section(found: Sequence[Cost], *, few: int, many: int) -> Section:
    """Return the section."""
    return Section(
        name=SECTION,
        title="Cost that does not grow",
        command="python -m benchmarks.growth",
        rounds=len(found[0].few_ms),
        how=f"""An index of {few} made instances and one of {many}, each with their events
and deliveries that have ended; the same tasks on both by turns, one after another in one process, SQLite with `synchronous=FULL`. A round does each task
{measured.TURN} times. Milliseconds of processor time for one: medians, and in brackets the middle 80 %.""",
        targets=[
            Target(f"{TASKS[one.task]}: as much with {many} as with {few}", one.ratio, most=MOST) for one in found
        ],
        picture=Dots(
            [(TASKS[one.task], "processor time", one.ratio) for one in found],
            f"times as much with {many} instances in the index as with {few}; bars have the middle 80 %",
            [(TASKS[one.task], MOST) for one in found],
        ),
        caption="How many times as much each task costs in the larger index",
        tables=[
            Table(
                ("task", f"{few} instances, ms", f"{many} instances, ms", "times"),
                [
                    (TASKS[one.task], Spread.middle(one.few_ms).said(3), Spread.middle(one.many_ms).said(3), one.ratio)
                    for one in found
                ],
                "Every task",
                "Listed are a page of instances by identifier, the newest, one by its SOP Instance UID, those of a series, and a study by its UID. The queries\nare by patient, name, date, accession number and UID; each has as many answers in both.",
            )
        ],
    )


if __name__ == "__main__":
    main()
