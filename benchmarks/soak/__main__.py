"""`python -m benchmarks.soak`: look at a node's memory while instances come and go, and write the section "Memory over time" of docs/performance.md."""

from __future__ import annotations

from collections.abc import Sequence

from benchmarks import command
from benchmarks.command import say
from benchmarks.figures import Lines, Section, Table, Target
from benchmarks.soak import measured
from benchmarks.soak.measured import ASSOCIATIONS, DELETERS, Deleter, Soak

SECTION = "soak"
MOST_SLOPE = 64 << 10
"""Bytes for each thousand instances that count as flat: 6 MiB in a hundred thousand, which is what allocators take and give."""


def main() -> None:
    """Measure, print, and with `--write` write the section."""
    parser = command.parser("soak", __doc__, most="two hundred instances: does it run?")
    parser.add_argument(
        "--count",
        type=int,
        default=100_000,
        help="how many instances are sent each time (default 100000: some ten minutes)",
    )
    parser.add_argument("--by", choices=DELETERS, help="only with what this deletes (default: one after the other)")
    parser.add_argument("--looks", type=int, default=20, help="how often memory is looked at (default 20)")
    with command.begun(parser) as (asked, folder):
        count, looks = (200, 4) if asked.quick else (max(asked.count, asked.looks), max(4, asked.looks))
        found = []
        for number, deleter in enumerate(DELETERS if asked.by is None else [asked.by]):
            say(f"{deleter} deletes")
            found.append(measured.measured(folder / f"{number}", deleter, count, looks, say))
        command.finish(asked, [section(found)])


def section(soaks: Sequence[Soak]) -> Section:
    """Return the section."""
    return Section(
        name=SECTION,
        title="Memory over time",
        command="python -m benchmarks.soak",
        rounds=1,
        how=f"""{soaks[0].instances} instances of 30 kB over {ASSOCIATIONS} associations at a time, a new one for each
series of 200, into a node that deletes what comes. Every instance was taken. The main process is to be flat: {MOST_SLOPE >> 10} KiB for each thousand
instances, over the second half, count as such; in brackets is the slope of the two quarters.""",
        targets=[
            Target(
                f"{_DELETED[soak.deleter]}: growth of the main process for each thousand instances",
                soak.slope.times(1 / 1024), most=MOST_SLOPE / 1024, unit="KiB",
            )
            for soak in soaks
        ],
        picture=Lines(
            {
                f"{soak.deleter} deletes, {what}": points
                for soak in soaks
                for what, points in (
                    ("main process", [(look.instances, look.resident / (1 << 20)) for look in soak.looks]),
                    ("all processes", [(look.instances, look.shared / (1 << 20)) for look in soak.looks]),
                )
            },
            "instances received",
            "MiB",
        ),
        caption="Memory over the instances that came and went",
        tables=list(map(_table, soaks)),
    )  # fmt: skip


_DELETED: dict[Deleter, str] = {
    "a script": "where a script deletes each of them",
    "[storage]": "where `[storage]` recycles the patients of whom nothing came for longest",
}


def _table(soak: Soak) -> Table:
    what = _DELETED[soak.deleter]
    return Table(
        ("instances", "main process, MiB", "all processes, MiB"),
        [(one.instances, one.resident / (1 << 20), one.shared / (1 << 20)) for one in soak.looks],
        f"{what[0].upper()}{what[1:]}",
        f"Within {soak.seconds:.0f} s; {soak.kept} instances were kept at the end, and of all there were {soak.files} files, which housekeeping looks after.",
    )


if __name__ == "__main__":
    main()
