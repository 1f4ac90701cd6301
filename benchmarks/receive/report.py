"""The section "Receiving" of docs/performance.md; ratios first."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from benchmarks.figures import Cell, Dots, Ratio, Section, Spread, Table, Target
from benchmarks.receive import made
from benchmarks.receive.rounds import Case, Cells, cpu_ms, rates, ratio
from benchmarks.receive.servers import Hostd, Orthanc

SECTION = "receiving"
TARGETS = {1: 2.5, 4: 2.0}
"""Associations → how many times Orthanc's rate hostd is to receive instances of 0.5 MB."""


@dataclass(frozen=True, slots=True)
class Run:
    """All that was measured in one run."""

    rounds: int
    cases: Sequence[Case]
    servers: Sequence[str]
    cells: Cells


def section(run: Run) -> Section:
    """Return the section."""
    beside = list(_beside_orthanc(run))
    return Section(
        name=SECTION,
        title="Receiving",
        command="python -m benchmarks.receive",
        rounds=run.rounds,
        how=f"""In each round every server received the same instances in turn; medians, and in brackets the smallest and the largest. Senders are
DCMTK's `storescu -pdu 131072`, a process for each association, with `TCP_NODELAY=1` on both sides; they run on the same processors. After every turn it was
looked whether all is stored. The instances are {made.described()}.

hostd syncs file and index (`synchronous=FULL`) before it answers, and writes an event; Orthanc syncs the file (`SyncStorageArea`), and its index now and
then; the other two sync nothing and have no index. Milliseconds of processor time change less than rates do when others use the machine.""",
        targets=list(_targets(run)),
        picture=Dots(
            beside,
            "times Orthanc's instances a second (right of 1: faster); bars from the least to the most",
            _aimed(run),
        )
        if beside
        else None,
        caption="How many times Orthanc's instances a second",
        tables=[_every(run), *_memory(run)],
    )


def _beside_orthanc(run: Run) -> Iterable[tuple[str, str, Spread]]:
    for case in run.cases:
        for name in run.servers:
            beside = ratio(run.cells, case, name, Orthanc.name)
            if beside is not None and name != Orthanc.name:
                yield _described(case), name, beside


def _aimed(run: Run) -> list[tuple[str, float]]:
    """Return what is aimed at, by what is sent."""
    return [(_described(case), TARGETS[case.associations]) for case in run.cases if _is_aimed_at(case)]


def _is_aimed_at(case: Case) -> bool:
    return case.size.name == made.CT.name and case.associations in TARGETS


def _targets(run: Run) -> Iterable[Target]:
    for case in filter(_is_aimed_at, run.cases):
        found = ratio(run.cells, case, Hostd.name, Orthanc.name)
        if found is not None:
            ours, theirs = ([one.cpu for one in run.cells[case, name]] for name in (Hostd.name, Orthanc.name))
            note = f"by processor time {Ratio.between(theirs, ours).said()}"
            what = f"{_described(case)}: times Orthanc's rate"
            yield Target(what, found, least=TARGETS[case.associations], note=note)


def _every(run: Run) -> Table:
    rows: list[Sequence[Cell]] = []
    for case in run.cases:
        for name in run.servers:
            samples = run.cells[case, name]
            beside = None if name == Orthanc.name else ratio(run.cells, case, name, Orthanc.name)
            rows.append((case.size.name, over(case.associations), name, rates(samples), beside, cpu_ms(samples)))
    return Table(
        ("size", "associations", "server", "instances/s", "times Orthanc's", "CPU ms"),
        rows,
        "Every size",
        "Instances a second, how many times Orthanc's rate that is (round by round), and milliseconds of processor time\n"
        "for each instance, of the server with all its processes.",
    )


def _memory(run: Run) -> Iterable[Table]:
    rows: list[Sequence[Cell]] = []
    for case in run.cases:
        for name in run.servers:
            seen = [sample.memory for sample in run.cells[case, name] if sample.memory]
            if not seen:
                continue
            most = max(seen, key=lambda processes: sum(one.most for one in processes))
            each = ", ".join(f"{one.name} {one.most >> 20} ({one.before >> 20})" for one in most)
            in_all = Spread.of(sum(one.most for one in processes) / (1 << 20) for processes in seen)
            rows.append((_described(case), name, in_all, each))
    if rows:
        yield Table(
            ("instances", "server", "all, MiB", "each process, MiB"),
            rows,
            "Memory",
            "What the processes of a server had in memory at most while it received, all together and then each in the round in which that was\n"
            "most, and before (in brackets).",
        )


def _described(case: Case) -> str:
    return f"{case.size.name}, {over(case.associations)}"


def over(associations: int, what: str = "association") -> str:
    """Say over how many."""
    return f"{associations} {what}{'' if associations == 1 else 's'}"
