"""The section "Receiving" of docs/performance.md; ratios first."""

from __future__ import annotations

import statistics
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

from benchmarks.receive import made
from benchmarks.receive.grown import Grown
from benchmarks.receive.plot import Point
from benchmarks.receive.rounds import Case, Cells, Sample, ratio
from benchmarks.receive.servers import Hostd, Orthanc

TARGETS = {1: 2.5, 4: 2.0}
"""Associations → how many times Orthanc's rate hostd is to receive instances of 0.5 MB."""
_MOST_GROWTH = 1.2


@dataclass(frozen=True, slots=True)
class Run:
    """All that was measured in one run."""

    machine: str
    load: float
    """Average of those that wanted a processor, for each there is, when it ended."""
    rounds: int
    cases: Sequence[Case]
    servers: Sequence[str]
    cells: Cells
    grown: Sequence[Grown]


def section(run: Run, plot: str = "") -> str:
    """Return the section in Markdown; `plot` is the name of its picture, or empty."""
    picture = f"![How many times Orthanc's instances a second]({plot})" if plot else ""
    parts = [
        "## Receiving", _introduction(run), "### Target: beside Orthanc", _targets(run), picture, "### Every size", _EVERY, _every(run),
        "### Memory", _memory(run), "### With much in the index", _grown(run),
    ]  # fmt: skip
    return "\n\n".join(part for part in parts if part)


def plot_path(page: Path) -> Path:
    """Return where the picture is that a page shows."""
    return page.with_name("performance-receiving.svg")


def points(run: Run) -> list[Point]:
    """Return what the picture shows."""
    found = []
    for case in run.cases:
        for name in run.servers:
            beside = ratio(run.cells, case, name, Orthanc.name)
            if beside is not None and name != Orthanc.name:
                found.append((_described(case), name, beside.median, beside.low, beside.high))
    return found


def targets(run: Run) -> list[tuple[str, float]]:
    """Return what is aimed at, by what is sent."""
    aimed = (case for case in run.cases if case.size.name == made.CT.name and case.associations in TARGETS)
    return [(_described(case), TARGETS[case.associations]) for case in aimed]


def _described(case: Case) -> str:
    return f"{case.size.name}, {_associations(case)}"


def _introduction(run: Run) -> str:
    return f"""Made by `python -m benchmarks.receive`; see `benchmarks/README.md`. {run.rounds} rounds, in each of which every server received the
same instances in turn; medians, and in brackets the smallest and the largest. Senders are DCMTK's `storescu -pdu 131072`, a
process for each association, with `TCP_NODELAY=1` on both sides; they run on the same processors. After every turn it was looked whether all is stored.
The instances are CT images with {made.described()}, explicit little endian, without compression.

hostd syncs file and index (`synchronous=FULL`) before it answers, and writes an event; Orthanc syncs the file (`SyncStorageArea`), and its index now and
then; the other two sync nothing and have no index. Milliseconds of processor time hold on a busy machine, where rates do
not: for each processor {run.load:.1f} processes wanted one when this ended.

Machine: {run.machine}."""


_EVERY = """Instances a second, how many times Orthanc's rate that is (round by round, then the median), and milliseconds of processor time
for each instance, of the server with all its processes."""


def _targets(run: Run) -> str:
    rows = []
    for case in run.cases:
        found = ratio(run.cells, case, Hostd.name, Orthanc.name)
        if case.size.name != made.CT.name or case.associations not in TARGETS or found is None:
            continue
        target = TARGETS[case.associations]
        ours, theirs = (_cpu(run.cells[case, name]) for name in (Hostd.name, Orthanc.name))
        reached = "yes" if found.median >= target else "**no**"
        rows.append(
            f"| {_described(case)} | {target:g} | **{found.median:.2f}** [{found.low:.2f} to {found.high:.2f}] "
            f"| {theirs / ours:.2f} | {reached} |"
        )
    return _table("| instances | target | times Orthanc's rate | times Orthanc's, by processor time | reached |", rows)


def _every(run: Run) -> str:
    rows = []
    for case in run.cases:
        for name in run.servers:
            samples = run.cells[case, name]
            found = ratio(run.cells, case, name, Orthanc.name)
            beside = (
                ""
                if found is None or name == Orthanc.name
                else f"{found.median:.2f} [{found.low:.2f} to {found.high:.2f}]"
            )
            rates = [sample.rate for sample in samples]
            rows.append(
                f"| {case.size.name} | {_associations(case)} | {name} | {_number(statistics.median(rates))} "
                f"[{_number(min(rates))} to {_number(max(rates))}] | {beside} | {_cpu(samples):.2f} |"
            )
    return _table("| size | associations | server | instances/s | times Orthanc's | CPU ms |", rows)


def _memory(run: Run) -> str:
    rows = []
    for case in run.cases:
        for name in run.servers:
            seen = [sample.memory for sample in run.cells[case, name] if sample.memory]
            if not seen:
                continue
            most = max(seen, key=lambda processes: sum(one.most for one in processes))
            each = ", ".join(f"{one.name} {one.most >> 20} ({one.before >> 20})" for one in most)
            rows.append(f"| {_described(case)} | {name} | {each} |")
    if not rows:
        return "Not looked at in this run (`--huge`)."
    return (
        "What each process of a server had in memory at most while it received, in the round in which that was most, and before (in brackets), in MiB.\n\n"
        + _table("| instances | server | each process |", rows)
    )


def _grown(run: Run) -> str:
    if not run.grown:
        return "Not measured in this run (`--rows`)."
    first = run.grown[0]
    rows = [
        f"| {one.rows} | {one.cpu_ms:.2f} | {one.cpu_ms / first.cpu_ms:.2f} | {one.wall_ms:.2f} | {one.wall_ms / first.wall_ms:.2f} |"
        for one in run.grown
    ]
    return (
        f"{made.SMALL.name} instances handed to hostd's intake in one process, by turns into an index of few made instances and into one of many. "
        f"At most {_MOST_GROWTH:g} times as much is the target.\n\n"
        + _table("| instances in the index | CPU ms an instance | times | ms on the wall | times |", rows)
    )


def _cpu(samples: Sequence[Sample]) -> float:
    return statistics.median(sample.cpu_ms for sample in samples)


def _associations(case: Case) -> str:
    return "1 association" if case.associations == 1 else f"{case.associations} associations"


def _number(value: float) -> str:
    return f"{value:.0f}" if value >= 10 else f"{value:.2f}"


def _table(head: str, rows: Iterable[str]) -> str:
    return "\n".join([head, "|" + "---|" * (head.count("|") - 1), *rows])
