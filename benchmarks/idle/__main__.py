"""`python -m benchmarks.idle`: measure starts and idle servers, and write the section "While nothing happens" of docs/performance.md."""

from __future__ import annotations

import shutil
from collections.abc import Sequence
from pathlib import Path

from benchmarks import command
from benchmarks.command import say
from benchmarks.figures import Section, Spread, Table, Target
from benchmarks.idle.standing import ASSOCIATIONS, LOOK_S, HostdWithScripts, PatientHostd, Standing, standing
from benchmarks.receive.servers import Orthanc, Server

SECTION = "idle"
MOST_START_S, MOST_PERCENT, LEAST_SLEEP_S, MOST_MIB = 1.5, 1.0, 5.0, 300
"""What is aimed at for a node with ten scripts."""
_TICK = 0.9
"""A thread that wakes every five seconds is seen to do so once more or less in a minute."""


def main() -> None:
    """Measure, print, and with `--write` write the section."""
    parser = command.parser("idle", __doc__, rounds=5, most="one start of each, ten seconds: does it run?")
    parser.add_argument("--seconds", type=int, default=60, help="how long each is looked at (default 60)")
    with command.begun(parser) as (asked, folder):
        kinds: list[type[Server]] = [HostdWithScripts, PatientHostd, *([Orthanc] if shutil.which("Orthanc") else [])]
        idle_s, settling_s = (LOOK_S, 0.0) if asked.quick else (asked.seconds, 12.0)
        found = taken(kinds, folder, idle_s=idle_s, settling_s=settling_s, starts=asked.rounds)
        command.finish(asked, [section(found)])


def taken(
    kinds: Sequence[type[Server]], folder: Path, *, idle_s: int, settling_s: float, starts: int
) -> list[Standing]:
    """Measure one server after another, each from nothing."""
    found = []
    for kind in kinds:
        of_kind = folder / kind.name
        of_kind.mkdir()
        found.append(standing(kind, of_kind, idle_s=idle_s, settling_s=settling_s, starts=starts))
        say(f"{kind.name} was looked at")
    return found


def section(found: Sequence[Standing]) -> Section:
    """Return the section."""
    return Section(
        name=SECTION,
        title="While nothing happens",
        command="python -m benchmarks.idle",
        rounds=len(found[0].starts),
        how=f"""Start: seconds from the start of the process until its first association
was accepted, into an empty folder and with scripts that are new to it, once a round. Then, idle: with {ASSOCIATIONS} open associations that send nothing (others
than hostd: one), looked at {LOOK_S} seconds at a time, {len(found[0].memory)} times, in the last round. Medians, and in brackets the smallest and the largest. Wake-ups are the
voluntary context switches of all threads. Memory is that of all processes, what they share counted once (PSS).""",
        targets=[target for one in found if one.name == HostdWithScripts.name for target in _targets(one)],
        tables=[
            Table(
                ("server", "start, s", "CPU until then, s"),
                [
                    (one.name, _start(one), Spread.of(start.cpu_s for start in one.starts))
                    for one in found
                ],
                "Until the first association",
            ),
            Table(
                ("server", "idle, % of a core", "wake-ups/s", "most restless thread, every s", "memory, MiB"),
                [
                    (one.name, _percent(one), Spread.of(one.wakes), f"{one.most_restless_s:.1f}", _mib(one))
                    for one in found
                ],
                "Idle",
            ),
        ],
    )  # fmt: skip


def _targets(one: Standing) -> list[Target]:
    sleeps = one.most_restless_s
    return [
        Target("start with ten scripts until the first association", _start(one), most=MOST_START_S, unit="s"),
        Target("idle with ten scripts", _percent(one), most=MOST_PERCENT, unit="% of a core"),
        Target("seconds between two wake-ups of the thread that wakes most often", Spread(sleeps, sleeps, sleeps), least=LEAST_SLEEP_S * _TICK, unit="s", note=f"{LEAST_SLEEP_S:g} s are aimed at; looks are a second apart"),
        Target("memory of all processes with ten scripts", _mib(one), most=MOST_MIB, unit="MiB"),
    ]  # fmt: skip


def _start(one: Standing) -> Spread:
    return Spread.of(start.wall_s for start in one.starts)


def _percent(one: Standing) -> Spread:
    return Spread.of(100 * core for core in one.idle_core)


def _mib(one: Standing) -> Spread:
    return Spread.of(size / (1 << 20) for size in one.memory)


if __name__ == "__main__":
    main()
