"""`python -m benchmarks.scripts`: measure what scripts cost, and write the section "Scripts" of docs/performance.md."""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence

import structlog

from benchmarks import command
from benchmarks.command import say
from benchmarks.figures import Cell, Lines, Section, Spread, Table, Target
from benchmarks.scripts import headers, measured
from benchmarks.scripts.measured import Figures, Load, Paced

SECTION = "scripts"
MOST_MEDIAN_MS, MOST_CORES = 10.0, 0.6
"""What is aimed at for one script."""
_TEN = "2 forward, 5 read two attributes and do nothing, 3 are not asked by their `handles`"


def main() -> None:
    """Measure, print, and with `--write` write the section."""
    parser = command.parser("scripts", __doc__, rounds=3, most="few events, to see that it runs")
    parser.add_argument("--events", type=int, default=1000, help="how many events (default 1000)")
    structlog.configure(wrapper_class=structlog.make_filtering_bound_logger(logging.ERROR))
    with command.begun(parser) as (asked, folder):
        found = []
        for number in range(asked.rounds):
            found.append(measured.taken(folder / f"{number}", 20 if asked.quick else max(20, asked.events)))
            say(f"round {number + 1}: {found[-1].paced_one.median_ms:.1f} ms from an event to its plan")
        command.finish(asked, [section(found)])


def section(rounds: Sequence[Figures]) -> Section:
    """Return the section, of all rounds."""
    first = rounds[0]
    median_ms = Spread.of(one.paced_one.median_ms for one in rounds)
    cores = Spread.of(one.paced_one.host_cores + one.paced_one.workers_cores for one in rounds)
    loads: dict[str, Callable[[Figures], Load]] = {
        "no script: entering the events alone": lambda one: one.none,
        f"10 scripts: {_TEN}": lambda one: one.ten,
        "1 script that reads two attributes and does nothing": lambda one: one.reading,
        "1 script that is not asked by its `handles`": lambda one: one.skipping,
    }
    paced: dict[str, Callable[[Figures], Paced]] = {
        "none: entering the events alone": lambda one: one.paced_none,
        "1 that forwards": lambda one: one.paced_one,
        f"10: {_TEN}": lambda one: one.paced_ten,
    }
    return Section(
        name=SECTION,
        title="Scripts",
        command="python -m benchmarks.scripts",
        rounds=len(rounds),
        how=f"""Events of made rows with {headers.described()}, offered
to scripts with real jailed workers, over SQLite with `synchronous=FULL` in a temporary folder; medians of the rounds, and in brackets the smallest and the
largest. Processor time is that of the processes; it changes less than the clock does when others use the machine.""",
        targets=[
            Target("from an event to the plan of a script that forwards, median", median_ms, most=MOST_MEDIAN_MS, unit="ms"),
            Target(f"{first.paced_one.rate:g} events a second to a script that forwards: host and worker", cores, most=MOST_CORES, unit="cores"),
        ],
        picture=Lines(
            {
                f"{how} script{'s' if how == '10' else ''}": _shares([ms for one in rounds for ms in of(one).waits_ms])
                for how, of in (("1", paced["1 that forwards"]), ("10", paced[f"10: {_TEN}"]))
            },
            "ms from the commit of an event to that of a plan with an action",
            "% of the plans by then",
        ),
        caption="How soon after an event its plan is committed",
        tables=[
            Table(
                ("scripts", "median, ms", "99 % within, ms", "cores, host", "cores, workers", "cores in all"),
                [(what, *_paced([of(one) for one in rounds])) for what, of in paced.items()],
                "From event to plan",
                f"""{first.paced_one.events} events, {first.paced_one.rate:g} a second evenly, each committed by itself. Waits are from the commit of
an event to that of a plan with an action; cores are those of host and workers, with what entering the events takes.""",
            ),
            Table(
                ("what", "events a second by the clock", "ms of CPU an event in the host", "ms of CPU an event in all workers"),
                [(what, *_load([of(one) for one in rounds])) for what, of in loads.items()],
                "As fast as they go",
                f"{first.ten.events} events offered at once, twenty a transaction, which is in every figure.",
            ),
            Table(
                ("memory", "MiB"),
                [
                    ("a worker of its own (proportional set size)", Spread.of(one.worker_kb / 1024 for one in rounds)),
                    ("ten scripts and all these events, of the host's resident set, in the first round", first.host_kb / 1024),
                ],
                "Memory",
            ),
        ],
    )  # fmt: skip


def _paced(rounds: Sequence[Paced]) -> tuple[Cell, ...]:
    waits: tuple[Cell, ...] = (None, None)
    if rounds[0].waits_ms:
        waits = Spread.of(one.median_ms for one in rounds), Spread.of(one.p99_ms for one in rounds)
    host, workers = [one.host_cores for one in rounds], [one.workers_cores for one in rounds]
    both = [one + other for one, other in zip(host, workers, strict=True)]
    return *waits, Spread.of(host), Spread.of(workers), Spread.of(both)


def _load(rounds: Sequence[Load]) -> tuple[Cell, ...]:
    host = Spread.of(1e3 * one.host_cpu_s / one.events for one in rounds)
    workers = Spread.of(1e3 * one.workers_cpu_s / one.events for one in rounds)
    return Spread.of(one.events / one.wall_s for one in rounds), host, workers


def _shares(waits_ms: Sequence[float]) -> list[tuple[float, float]]:
    """Return by when which share of all had passed, in hundred steps; the last, of 1 %, is left out: one long wait would hide the others."""
    ordered = sorted(waits_ms)
    return [(ordered[len(ordered) * percent // 100], percent) for percent in range(100)]


if __name__ == "__main__":
    main()
