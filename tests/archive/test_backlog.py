"""How destinations do: worked out from the index in a few quick queries, whatever waits."""

import tracemalloc

import pytest
import sqlalchemy as sa

from hostd.archive import backlog, conditions, deliveries, instances
from hostd.archive import tables as t
from hostd.archive.conditions import Condition
from hostd.archive.records import Attempt, Blob

ARCHIVE, BUFFER = "modality:archive", "peer:buffer"
BLOB = Blob("test/00/a", 3000, "s", "1.2")


def ask(connection, content, destination=ARCHIVE, now=1000.0, priority=10):
    number, _ = deliveries.ask(
        connection, instance="i", sop_instance_uid="1.2", sop_class_uid="1.3", destination=destination,
        content=content, blob=BLOB.name, now=now, priority=priority,
    )  # fmt: skip
    return number


def standings(archive, now=2000.0):
    with archive.read() as connection:
        return {one.name: one for one in backlog.standings(connection, (ARCHIVE, BUFFER), now)}


def test_what_waits_since_when_and_what_went_lately(archive):
    def unit(connection):
        instances.add_blob(connection, BLOB, 1.0)
        numbers = [ask(connection, str(at), now=1000.0 + at, priority=30 - 10 * at) for at in range(3)]
        for at, outcome in ((1950.0, "delivered"), (1600.0, "delivered")):
            (one,) = deliveries.claim(connection, ARCHIVE, 7, at, 1)
            deliveries.finish(connection, Attempt(one.id, 1, at, outcome, "0x0000", 0, 0.1), 7)
        (one,) = deliveries.claim(connection, ARCHIVE, 7, 1960.0, 1)
        deliveries.put_off(connection, Attempt(one.id, 1, 1960.0, "waiting", "0xA700", 0xA700, 0.1), 7, 2500.0)
        ask(connection, "x", "folder:old")
        conditions.note(connection, Condition(f"destination:{BUFFER}", True, 1900.0, "refused"))
        return numbers

    archive.writer.do(unit)
    found = standings(archive)
    one = found[ARCHIVE]
    assert (one.backlog, one.oldest_at, one.states) == (1, 1002.0, {"waiting": 1, "delivered": 2})
    assert (one.instances_per_s, one.bytes_per_s) == (1 / backlog.RATE_S, 3000 / backlog.RATE_S)
    assert (one.last_error, one.failing_since) == ("0xA700", None)
    assert (found[BUFFER].backlog, found[BUFFER].failing_since, found[BUFFER].failing_why) == (0, 1900.0, "refused")
    assert found["folder:old"].backlog == 1


@pytest.fixture
def many(archive):
    """Have 200,000 deliveries wait."""

    def unit(connection):
        instances.add_blob(connection, BLOB, 1.0)
        connection.exec_driver_sql(
            "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 200000) "
            "INSERT INTO delivery (instance, sop_instance_uid, sop_class_uid, destination, content, blob, transform, priority, "
            "state, attempts, not_before, next_attempt_at, possible_doubles, created_at) "
            f"SELECT 'i' || i, '1.' || i, '1.3', '{ARCHIVE}', i, '{BLOB.name}', '', 10 * (i % 3), 'waiting', 0, 0, 1000, 0, 1000 + i FROM n"
        )

    archive.writer.do(unit)
    return archive


def test_of_a_large_backlog_only_what_is_asked_for_is_held_in_memory_and_no_table_is_read_through(many):
    archive = many
    archive.writer.do(lambda c: deliveries.give_back(c, [], 1, 0.0, None))  # warm
    tracemalloc.start()
    try:
        claimed = archive.writer.do(lambda c: len(deliveries.claim(c, ARCHIVE, 7, 5000.0, 20)))
        with archive.read() as connection:
            assert deliveries.next_due(connection, ARCHIVE) == 1000.0
            listed = len(deliveries.listing(connection, states=("waiting",), limit=100))
            found = {one.name: one for one in backlog.standings(connection, (ARCHIVE,), 2000.0)}
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert (claimed, listed) == (20, 100)
    assert found[ARCHIVE].backlog == 200_000
    assert found[ARCHIVE].oldest_at == 1001.0
    assert peak < 4 << 20


def test_the_plans_of_the_queries_that_run_all_the_time_use_indexes(archive):
    plans = []

    @sa.event.listens_for(archive._reading, "before_cursor_execute")
    def explain(connection, cursor, statement, parameters, context, many):
        if statement.startswith("SELECT") and "delivery" in statement:
            rows = cursor.execute("EXPLAIN QUERY PLAN " + statement, parameters).fetchall()
            plans.append((statement, [row[3] for row in rows]))

    with archive.read() as connection:
        deliveries.next_due(connection, ARCHIVE)
        backlog.standings(connection, (ARCHIVE,), 2000.0)
        deliveries.listing(connection, states=("failed",), limit=10)
        connection.execute(
            sa.select(t.delivery.c.id)
            .where(t.delivery.c.destination == ARCHIVE, t.delivery.c.state == "waiting")
            .order_by(t.delivery.c.priority.desc(), t.delivery.c.id)
            .limit(5)
        )
    assert len(plans) >= 5
    for statement, steps in plans:
        for step in steps:
            assert not (step.startswith("SCAN delivery") and "INDEX" not in step), (statement, steps)
