"""What receiving costs does not grow with the index: each of its statements finds its rows by an index."""

import re
import time
from contextlib import contextmanager

import pytest
import sqlalchemy as sa

from benchmarks.receive import grown, made
from hostd.archive import instances, levels, removal
from hostd.archive import tables as t
from hostd.scp.log import AssociationClosed, AssociationOpened
from hostd.scp.rows import AssociationRows
from hostd.testing.made import arrive

_EXPLAINED = re.compile(r"\s*(SELECT|INSERT|UPDATE|DELETE|WITH)\b", re.IGNORECASE)
_WHOLE_TABLE = re.compile(r"SCAN (?!.*CONSTANT)(?!\(|\d)")


@contextmanager
def explained(*engines):
    """Note each statement with the steps of its plan."""
    plans = {}

    def explain(_connection, cursor, statement, parameters, _context, many):
        if _EXPLAINED.match(statement):
            given = parameters[0] if many else parameters
            rows = cursor.connection.execute(f"EXPLAIN QUERY PLAN {statement}", given).fetchall()
            plans[statement] = [row[3] for row in rows]

    for engine in engines:
        sa.event.listen(engine, "before_cursor_execute", explain)
    try:
        yield plans
    finally:
        for engine in engines:
            sa.event.remove(engine, "before_cursor_execute", explain)


def read_through(plans):
    """Return the statements that read a whole table or a whole index."""
    return {statement: steps for statement, steps in plans.items() if any(map(_WHOLE_TABLE.match, steps))}


def test_a_statement_that_reads_a_whole_table_is_noticed(archive):
    with explained(archive._writing) as plans:
        archive.writer.do(
            lambda c: c.execute(sa.select(t.instance.c.id).where(t.instance.c.sop_class_uid == "x")).all()
        )
        archive.writer.do(lambda c: c.execute(sa.select(t.instance.c.id).where(t.instance.c.id == "x")).all())
    assert len(plans) == 2
    (found,) = read_through(plans)
    assert "sop_class_uid =" in found


def test_every_statement_of_what_can_become_of_an_instance_uses_an_index(archive):
    with explained(archive._writing, archive._reading) as plans:
        assert arrive(archive) == "stored"
        assert arrive(archive, "1.2.3.4.6") == "stored"
        assert arrive(archive) == "already stored"
        assert arrive(archive, content=b"other") == "replaced"
        assert arrive(archive, content=b"data") == "replaced"
        assert arrive(archive, content=b"third", on_conflict="first") == "kept as version"
        assert arrive(archive, content=b"fourth", on_conflict="refuse") == "refused"
        with archive.read() as connection:
            (stored,) = instances.by_sop_instance_uid(connection, "1.2.3.4.5")
            instances.foresee(connection, stored.id, "0" * 64, "first")
        archive.writer.do(lambda c: removal.mark_missing(c, [stored.blob.name]))
        assert arrive(archive, stored.sop_instance_uid, content=b"data") == "stored"
    assert len(plans) > 20
    assert read_through(plans) == {}


def test_every_statement_of_an_association_and_of_quiet_time_uses_an_index(archive, clock):
    arrive(archive)
    with explained(archive._writing, archive._reading) as plans:
        opened = AssociationOpened(at=1.0, ip="127.0.0.1", port=104)
        rows = AssociationRows(archive)
        number = rows.opened(opened)
        ended = AssociationClosed(ended_at=2.0, ended="released", reason="", received=1, stored=1, failed=0, bytes=4)
        rows.closed(number, ended)
        clock.advance(3600)
        with archive.read() as connection:
            due = levels.due(connection, clock.now(), limit=20)
            levels.next_due(connection)
        assert len(due) == 3
        for one in due:
            archive.writer.do(lambda c, one=one: levels.tell_stable(c, one, clock.now()))
    assert len(plans) > 8
    assert read_through(plans) == {}


@pytest.mark.load
@pytest.mark.timeout(1800)
def test_receiving_into_an_index_of_a_million_costs_little_more_than_into_one_of_ten_thousand(tmp_path):
    (files,) = made.made(tmp_path / "files", made.Size("small", 60, 60, 1, 400), 1)
    few, many = grown.measured(tmp_path, sorted(files.iterdir()), [10_000, 1_000_000], lambda _line: time.sleep(0))
    assert many.cpu_ms < 1.2 * few.cpu_ms
