"""`python -m benchmarks.deliveries`: measure sending beside Orthanc, and write the section "Deliveries" of docs/performance.md."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from benchmarks import command
from benchmarks.command import say
from benchmarks.deliveries import turns
from benchmarks.deliveries.turns import HOSTD_ROUTES, LUA_ROUTES, Turn
from benchmarks.figures import Dots, Ratio, Section, Spread, Table, Target
from benchmarks.receive import made

SECTION = "deliveries"
LEAST_OF_LUA = 1.5


def main() -> None:
    """Measure, print, and with `--write` write the section."""
    parser = command.parser("deliveries", __doc__, rounds=3)
    parser.add_argument("--instances", type=int, default=200, help="how many in a turn (default 200)")
    with command.begun(parser, ["storescp", "Orthanc"]) as (asked, folder):
        files = made.read(replace(made.CT, count=8 if asked.quick else asked.instances), folder / "files")
        rounds = []
        for number in range(asked.rounds):
            rounds.append(turns.taken(files, folder / f"{number}", is_reversed=number % 2 == 1))
            say(f"round {number + 1} is done")
        command.finish(asked, [section(rounds, len(files), sum(map(len, files)))])


def section(rounds: Sequence[dict[str, Turn]], count: int, size: int) -> Section:
    """Return the section, of rounds with so many instances of so many bytes in all."""
    each = {way: [one[way] for one in rounds] for way in rounds[0]}
    rates = {way: Spread.of(count / turn.wall for turn in of) for way, of in each.items()}
    routed = Ratio.between((turn.wall for turn in each[LUA_ROUTES]), (turn.wall for turn in each[HOSTD_ROUTES]))
    return Section(
        name=SECTION,
        title="Deliveries",
        command="python -m benchmarks.deliveries",
        rounds=len(rounds),
        how=f"""In each round, {count} CT images of {size / count / (1 << 20):.2f} MiB; medians, and in brackets the smallest and the
largest. The clock is stopped when the last of all that was sent has arrived.""",
        targets=[
            Target("received, through a script, delivered: times as fast as Orthanc's Lua", routed, least=LEAST_OF_LUA)
        ],
        picture=Dots(
            [(way.partition(": ")[2], way.partition(": ")[0], rate) for way, rate in rates.items()],
            "instances a second; bars from the least to the most",
            ratio=False,
        ),
        caption="Instances a second that are sent in each way",
        tables=[
            Table(
                ("way", "instances/s", "MiB/s", "ms of CPU an instance"),
                [
                    (way, rates[way], rates[way].times(size / count / (1 << 20)), Spread.of(1e3 * turn.cpu / count for turn in of))
                    for way, of in each.items()
                ],
                after="CPU time is that of the sender alone. hostd's figures include the record of every answer, on stable storage.",
            )
        ],
    )  # fmt: skip


if __name__ == "__main__":
    main()
