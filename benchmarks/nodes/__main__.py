"""`python -m benchmarks.nodes`: measure receiving on PostgreSQL, and write the section "Several nodes" of docs/performance.md.

The server is that of `HOSTD_TEST_POSTGRESQL`, a URL of SQLAlchemy's without a database, or the one of this machine; a database is made there and dropped.
"""

from __future__ import annotations

import os
import subprocess
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

import sqlalchemy as sa

from benchmarks import command
from benchmarks.command import say
from benchmarks.figures import Section, Table
from benchmarks.receive.made import SMALL, made
from benchmarks.receive.rounds import Sample, cpu_ms, rates, times
from benchmarks.receive.servers import ENVIRONMENT, Hostd
from hostd.archive import tables as t
from hostd.archive.archive import attach
from hostd.config.place import Place

SECTION = "nodes"
SERVER = os.environ.get("HOSTD_TEST_POSTGRESQL", "postgresql+psycopg://postgres@127.0.0.1:5432")
_ASSOCIATIONS = 6
_ON_SQLITE, _ON_POSTGRESQL = "1 node on SQLite", "{} node{} on PostgreSQL"


class Member(Hostd):
    """One of several nodes on a database and a folder of files."""

    def __init__(self, folder: Path, name: str, url: str, blobs: Path) -> None:
        self.place = Place(folder / "data", blobs, url)
        self.member = name
        self.node = f'database = "{url}"\nblobs = "{blobs}"\n'
        super().__init__(folder)


def main() -> None:
    """Measure, print, and with `--write` write the section."""
    parser = command.parser("nodes", __doc__, rounds=3)
    parser.add_argument("--instances", type=int, default=1200, help="how many in a turn (default 1200)")
    with command.begun(parser, ["storescu"]) as (asked, folder):
        try:
            sa.create_engine(f"{SERVER}/postgres").connect().close()
        except sa.exc.OperationalError as error:
            parser.exit(command.CANNOT, f"{parser.prog}: not measured, no PostgreSQL is there: {error.orig}\n")
        turns = []
        for number in range(asked.rounds):
            turns.append(taken(folder / f"{number}", 30 if asked.quick else asked.instances))
            said = ", ".join(f"{what} {sample.rate:.0f}/s" for what, sample in turns[-1].items())
            say(f"round {number + 1}: {said}")
        command.finish(asked, [section(turns)])


def taken(folder: Path, instances: int) -> dict[str, Sample]:
    """Measure each number of nodes once, each from nothing, in a folder that is made."""
    found = {}
    size = replace(SMALL, count=instances)
    folder.mkdir()
    for what, count in ((_ON_SQLITE, 0), (_said(1), 1), (_said(3), 3)):
        files = made(folder / f"files{count}", size, _ASSOCIATIONS)
        with _nodes(folder / f"nodes{count}", count) as nodes:
            found[what] = send(files, nodes)
    return found


def section(turns: Sequence[dict[str, Sample]]) -> Section:
    """Return the section, of the rounds."""
    each = {what: [turn[what] for turn in turns] for what in turns[0]}
    beside = {what: times(samples, each[_said(1)]) for what, samples in each.items() if what != _said(1)}
    return Section(
        name=SECTION,
        title="Several nodes",
        command="python -m benchmarks.nodes",
        rounds=len(turns),
        how=f"""{each[_ON_SQLITE][0].instances} CT images of {SMALL.name} by C-STORE over {_ASSOCIATIONS} associations, spread
over the nodes, which all run on this one machine with the database and the senders; medians, and in brackets the smallest and the largest.""",
        tables=[
            Table(
                ("receivers", "instances/s", "times one node's on PostgreSQL", "ms of CPU an instance in all nodes"),
                [(what, rates(samples), beside.get(what), cpu_ms(samples)) for what, samples in each.items()],
            )
        ],
    )


def send(folders: Sequence[Path], nodes: Sequence[Hostd]) -> Sample:
    """Send each folder over an association of its own, the nodes in turn. Raises `RuntimeError` where a sender is not content."""
    count = sum(1 for one in folders for _ in one.iterdir())
    cpu, began = _cpu_s(nodes), time.monotonic()
    senders = []
    for number, one in enumerate(folders):
        port = nodes[number % len(nodes)].port
        command = ["storescu", "-q", "-R", "-aec", "ANY", "127.0.0.1", str(port), "+sd", str(one)]
        senders.append(subprocess.Popen(command, env=ENVIRONMENT, stdout=subprocess.DEVNULL))
    failed = [sender for sender in senders if sender.wait() != 0]
    sample = Sample(time.monotonic() - began, _cpu_s(nodes) - cpu, count)
    place = nodes[0].place if isinstance(nodes[0], Member) else Place.of(nodes[0].data)
    with attach(place) as connection:
        stored = connection.execute(sa.select(sa.func.count()).select_from(t.instance)).scalar_one()
    if failed or stored != count:
        raise RuntimeError(f"{stored} of {count} instances are stored; {len(failed)} senders failed")
    return sample


def _cpu_s(nodes: Sequence[Hostd]) -> float:
    return sum(node.cpu_s() for node in nodes)


def _said(count: int) -> str:
    return _ON_POSTGRESQL.format(count, "s" if count > 1 else "")


@contextmanager
def _nodes(folder: Path, count: int) -> Iterator[list[Hostd]]:
    """Run so many nodes on a database of their own; none: one on SQLite."""
    folder.mkdir(mode=0o700)
    running: list[Hostd] = []
    with _database(count) as url:
        try:
            if url is None:
                running.append(Hostd(folder / "node"))
            else:
                running.extend(Member(folder / name, name, url, folder / "blobs") for name in "abc"[:count])
            yield running
        finally:
            for node in running:
                node.stop()


@contextmanager
def _database(count: int) -> Iterator[str | None]:
    if not count:
        yield None
        return
    name = f"hostd_benchmark_{os.getpid()}"
    engine = sa.create_engine(f"{SERVER}/postgres", isolation_level="AUTOCOMMIT")
    try:
        with engine.connect() as connection:
            connection.exec_driver_sql(f'CREATE DATABASE "{name}" TEMPLATE template0')
        yield f"{SERVER}/{name}"
    finally:
        with engine.connect() as connection:
            connection.exec_driver_sql(f'DROP DATABASE IF EXISTS "{name}" WITH (FORCE)')
        engine.dispose()


if __name__ == "__main__":
    main()
