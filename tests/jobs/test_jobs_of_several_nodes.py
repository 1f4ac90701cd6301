"""Of several nodes on one PostgreSQL that notice the same thing at the same moment, one does it; the clock is turned."""

import threading

import pytest
import sqlalchemy as sa

from hostd.archive import events, instances, leases, plans, schedules, scripts
from hostd.archive import tables as t
from hostd.archive.archive import Archive
from hostd.archive.fanout import Many
from hostd.archive.plans import Plan, PlannedDelete, PlannedForward
from hostd.archive.schedules import Timing
from hostd.archive.scripts import StaleTokenError, Version
from hostd.config.place import Place
from hostd.jobs import deleting, quiet
from hostd.jobs.schedules import tell_due
from hostd.jobs.timetable import Timetable
from hostd.testing.clock import ManualClock
from hostd.testing.made import arrive, header

pytestmark = pytest.mark.postgresql

SCRIPT = "a.py"
ROUNDS = 5
UTC = Timetable()


@pytest.fixture
def clock():
    return ManualClock()


@pytest.fixture
def nodes(tmp_path, postgresql_url, clock):
    opened = []
    for name in ("a", "b"):
        (tmp_path / name).mkdir()
        opened.append(Archive(Place(tmp_path / name, tmp_path / "blobs", postgresql_url), name, clock))
    yield opened
    for one in opened:
        one.close()


def race(nodes, do):
    """Have each node do something at the same moment; return what came of it, errors too."""
    start, results = threading.Barrier(len(nodes)), [None] * len(nodes)

    def run(place, node):
        start.wait(60)
        try:
            results[place] = do(node)
        except Exception as error:  # noqa: BLE001 - it is what came of it
            results[place] = error

    threads = [threading.Thread(target=run, args=given) for given in enumerate(nodes)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    return results


def told(node, *kinds):
    with node.read() as connection:
        return events.after(connection, 0, kinds, 1000)


def take_up(node, *wanted):
    """Have a version of the script run; return its cursor."""
    now = node.clock.now()

    def unit(connection):
        scripts.meet(connection, SCRIPT, now, from_beginning=True)
        cursor, _ = scripts.accept(connection, SCRIPT, Version("v", "pass", ()), now)
        schedules.renew(connection, SCRIPT, wanted, now, UTC.next_after)
        return cursor

    return node.writer.do(unit)


def plan_of(node, event, *actions):
    return Plan(
        SCRIPT, "v", event, "1.2.3.4.5", "1.2", "done", actions, (), (), None, node.clock.now(), 0.0
    )  # fmt: skip


def test_an_occurrence_of_a_cron_schedule_is_told_by_one(nodes, clock):
    take_up(nodes[0], ("f", Timing(None, "0 2 * * *")))
    for nights in range(1, ROUNDS + 1):
        clock.advance(86_400)
        assert sorted(race(nodes, lambda node: tell_due(node, UTC))) == [0, 1]
        occurrences = [event for event in events_for_script(nodes[0]) if event.kind == "schedule"]
        assert len(occurrences) == nights
        pass_all(nodes[0])  # or the next one would wait for this one's end


def events_for_script(node):
    with node.read() as connection:
        return events.after(connection, 0, ["schedule"], 1000, script=SCRIPT)


def pass_all(node):
    def unit(connection):
        cursor = scripts.get_cursor(connection, SCRIPT)
        last = events.last_number(connection)
        scripts.advance(connection, SCRIPT, cursor.token, after=cursor.low_water, to=last)

    node.writer.do(unit)


def test_a_quiet_time_that_ends_is_told_by_one(nodes, clock):
    for number in range(1, ROUNDS + 1):
        arrive(nodes[number % 2], f"1.2.3.4.{number}")
        clock.advance(61)
        assert sum(race(nodes, quiet.tell_due)) == 3
        stable = told(nodes[0], "stable_series", "stable_study", "stable_patient")
        assert len(stable) == 3 * number


def test_a_file_that_nothing_needs_is_removed_by_one(nodes, clock):
    for number in range(1, ROUNDS + 1):
        uid = f"1.2.3.4.{number}"
        arrive(nodes[0], uid, content=uid.encode())
        nodes[0].writer.do(lambda c, uid=uid: instances.hide(c, header(uid).identity.instance, clock.now()))
        assert sorted(race(nodes, lambda node: node.collect(trash_seconds=0))) == [0, 1]
    assert list(nodes[0].blobs.names()) == []


def test_each_instance_of_a_study_is_deleted_by_one(nodes):
    cursor = take_up(nodes[0])
    for number in range(25):
        arrive(nodes[0], f"1.2.3.4.{number}", content=str(number).encode())
    nodes[0].clock.advance(61)
    quiet.tell_due(nodes[0])
    (event,) = told(nodes[0], "stable_study")
    with nodes[0].read() as connection:
        cursor = scripts.get_cursor(connection, SCRIPT)
    delete = PlannedDelete(0, {}, None, of=Many("study", event.subject, event.number))
    planned = plan_of(nodes[0], event, delete)
    nodes[0].writer.do(lambda c: plans.enter(c, planned, cursor.token, after=cursor.low_water))
    units = race(nodes, deleting.go_on)
    assert all(isinstance(count, int) for count in units), units
    assert len(told(nodes[0], "deleted_instance")) == 25
    with nodes[0].read() as connection:
        assert instances.count(connection) == 0
        action = connection.execute(sa.select(t.action)).one()
    assert (action.state, action.result["count"]) == ("done", 25)


def test_a_plan_enters_once_however_often_and_wherever_it_is_committed(nodes):
    cursor = take_up(nodes[0])
    for number in range(ROUNDS):
        arrive(nodes[0], f"1.2.3.4.{number}", content=str(number).encode())
    before = cursor.low_water
    for event in told(nodes[0], "stored_instance"):
        planned = plan_of(nodes[0], event, PlannedForward(0, {}, "modality:archive"), PlannedForward(1, {}, "peer:b"))
        results = race(
            nodes,
            lambda node, p=planned, b=before: node.writer.do(lambda c: plans.enter(c, p, cursor.token, after=b)),
        )
        assert {type(result) for result in results} == {bool, StaleTokenError}
        before = event.number
    with nodes[0].read() as connection:
        actions = connection.execute(sa.select(t.action.c.event, t.action.c.position)).all()
        asked = connection.execute(sa.select(sa.func.count()).select_from(t.delivery)).scalar_one()
    assert len(actions) == len(set(actions)) == asked == 2 * ROUNDS


def test_a_lease_is_taken_by_one(nodes):
    for number in range(ROUNDS):
        what = f"destination:{number}"
        tokens = race(
            nodes, lambda node, w=what: node.writer.do(lambda c: leases.acquire(c, w, node.node, 0.0, leases.SECONDS))
        )
        assert sorted(tokens, key=str) == [1, None]
