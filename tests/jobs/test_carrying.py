"""What actions ask to be done later is done once, tried again, and ends in the open, whatever happens in between (P7)."""

import threading

import pytest
import sqlalchemy as sa
from tasks_kit import Steady, ask, later, rows, told

from hostd.archive import finished, leases, removal, tasks
from hostd.archive import tables as t
from hostd.archive.fanout import Many
from hostd.errors import ActionFault, NotFoundError
from hostd.jobs.carrying import MAX_TRIES, Carrier, Carriers, Done
from hostd.testing.made import arrive

BOTH_DATABASES = True


class Greeter:
    """Writes a row of its own for each task; raises what it is told to, one after another."""

    def __init__(self):
        self.prepared = []
        self.raises = []
        self.commit_raises = []
        self.undone = 0

    def prepare(self, task):
        self.prepared.append(task)
        if self.raises:
            raise self.raises.pop(0)
        return Done({"said": "hello"}, commit=lambda c: self.greet(c, task), undo=self.undo)

    def greet(self, connection, task):
        connection.execute(
            sa.insert(t.condition).values(name=f"greeted {task.id}", is_amiss=False, since=0.0, reason="")
        )
        if self.commit_raises:
            raise self.commit_raises.pop(0)
        return {"to": task.sop_instance_uid}

    def undo(self):
        self.undone += 1


@pytest.fixture
def greeter():
    return Greeter()


@pytest.fixture
def carrier(archive, greeter):
    return Carrier(archive, "greetings", greeter, Steady())


def run_out(carrier):
    while carrier.turn() == 0:
        pass


def task(archive):
    return rows(archive, t.task)[-1]


def test_a_task_is_carried_out_once_and_tells_it(archive, carrier, greeter):
    arrive(archive)
    ask(archive, later())
    assert rows(archive, t.action)[0].state == "open"
    run_out(carrier)
    run_out(carrier)
    assert len(greeter.prepared) == 1
    (action,) = rows(archive, t.action)
    assert (action.state, action.result) == ("done", {"said": "hello", "to": "1.2.3.4.5"})
    (event,) = told(archive, "action_done")
    assert event.header is not None  # the instance as it was at the event at which it was asked for
    assert (event.facts["state"], event.facts["result"], event.facts["hops"]) == ("done", action.result, 1)
    assert event.facts["of"] == told(archive)[0].number


def test_what_will_never_work_fails_in_the_open_and_leaves_nothing(archive, carrier, greeter):
    arrive(archive)
    ask(archive, later())
    greeter.commit_raises = [ActionFault("there is nobody to greet")]
    run_out(carrier)
    assert [row.name for row in rows(archive, t.condition)] == []
    assert greeter.undone == 1
    (action,) = rows(archive, t.action)
    assert (action.state, action.result) == ("failed", {"reason": "there is nobody to greet"})
    (event,) = told(archive, "action_done")
    assert (event.facts["state"], event.facts["reason"]) == ("failed", "there is nobody to greet")


def test_a_passing_trouble_is_tried_again_with_growing_waits(archive, clock, carrier, greeter):
    arrive(archive)
    ask(archive, later())
    greeter.raises = [OSError("no room"), ValueError("a bug")]
    run_out(carrier)
    assert (task(archive).state, task(archive).last_error) == ("waiting", "no room")
    assert told(archive, "action_done") == []
    assert carrier.turn() == 10
    clock.advance(10)
    run_out(carrier)
    assert carrier.turn() == 20
    clock.advance(20)
    run_out(carrier)
    assert (task(archive).state, task(archive).attempts) == ("done", 3)


def test_a_trouble_that_does_not_pass_ends_all_the_same(archive, clock, carrier, greeter):
    arrive(archive)
    ask(archive, later())
    greeter.raises = [OSError("no room")] * MAX_TRIES
    for _ in range(MAX_TRIES):
        run_out(carrier)
        clock.advance(1000)
    assert (task(archive).state, task(archive).last_error) == ("failed", f"given up after {MAX_TRIES} tries: no room")


def test_one_that_fails_does_not_hold_up_those_after_it(archive, carrier, greeter):
    for number in (1, 2):
        arrive(archive, f"1.2.3.4.{number}")
        ask(archive, later(), event=told(archive)[-1], uid=f"1.2.3.4.{number}")
    greeter.raises = [OSError("no room")]
    run_out(carrier)
    assert [row.state for row in rows(archive, t.task)] == ["waiting", "done"]


def test_what_a_killed_node_was_doing_is_done_again_and_its_stray_outcome_changes_nothing(archive, greeter):
    arrive(archive)
    ask(archive, later())
    killed = Carrier(archive, "greetings", greeter, Steady())
    killed._own()
    stray = killed._claim()
    after_restart = Carrier(archive, "greetings", greeter, Steady())
    run_out(after_restart)
    assert task(archive).state == "done"
    with pytest.raises(Exception, match="actions:greetings"):
        killed._commit(stray, greeter.prepare(stray))
    assert [row.name for row in rows(archive, t.condition)] == [f"greeted {stray.id}"]
    assert len(told(archive, "action_done")) == 1


@pytest.mark.sqlite_only  # the lease ends by the clock of the test
def test_only_one_node_serves_a_queue(archive, clock, carrier, greeter):
    arrive(archive)
    ask(archive, later())
    archive.writer.do(lambda c: leases.acquire(c, "actions:greetings", "another", clock.now(), 60))
    assert carrier.turn() > 0
    assert greeter.prepared == []
    clock.advance(61)
    run_out(carrier)
    assert task(archive).state == "done"


def test_an_open_task_and_a_failed_one_pin_their_file(archive, carrier, greeter):
    arrive(archive)
    event = told(archive)[0]
    ask(archive, later(), event=event)
    archive.writer.do(lambda c: c.execute(sa.delete(t.instance)))
    archive.writer.do(lambda c: c.execute(sa.delete(t.event)))
    archive.writer.do(lambda c: c.execute(sa.update(t.blob).values(released=True)))

    def collected():
        return archive.writer.do(lambda c: removal.collect(c, now=1e12, trash_seconds=0))

    assert collected() == []
    greeter.raises = [ActionFault("no")]
    run_out(carrier)
    assert collected() == []
    archive.writer.do(lambda c: tasks.retry(c, task(archive).id, 0.0))
    run_out(carrier)
    assert task(archive).state == "done"
    archive.writer.do(lambda c: c.execute(sa.delete(t.event)))
    assert collected() == [event.blob]


def test_an_action_over_a_series_is_a_task_for_each_instance_and_done_when_all_are(archive, carrier, greeter):
    for number in (1, 2, 3):
        arrive(archive, f"1.2.3.4.{number}")
    series = told(archive, "new_series")[0].subject
    ask(archive, later(of=Many("series", series, 10**6)))
    greeter.raises = [ActionFault("no")]
    carrier.turn()
    assert rows(archive, t.action)[0].state == "open"
    run_out(carrier)
    (action,) = rows(archive, t.action)
    assert (action.state, action.result) == ("failed", {"failed": 1, "done": 2})
    assert [one.sop_instance_uid for one in greeter.prepared] == ["1.2.3.4.1", "1.2.3.4.2", "1.2.3.4.3"]
    archive.writer.do(lambda c: tasks.retry(c, 1, 0.0))
    assert rows(archive, t.action)[0].state == "open"
    run_out(carrier)
    assert rows(archive, t.action)[0].state == "done"


def test_what_nothing_is_left_of_is_skipped(archive):
    arrive(archive)
    ask(archive, later(of=Many("series", "no such series", 10**6)))
    assert rows(archive, t.task) == []
    assert rows(archive, t.action)[0].state == "skipped"


def test_what_failed_is_discarded_with_who_and_why_and_lets_go_of_its_file(archive, carrier, greeter):
    greeter.raises = [ActionFault("nobody is there")]
    arrive(archive)
    ask(archive, later())
    run_out(carrier)
    archive.writer.do(lambda c: tasks.discard(c, 1, "anna", "not needed", 9.0))
    assert (task(archive).state, task(archive).last_error) == (
        "discarded", "discarded by anna: not needed; it had failed: nobody is there",
    )  # fmt: skip
    assert rows(archive, t.action)[0].state == "failed"
    assert len(told(archive, "action_done")) == 1, "its end was told when it failed"
    with archive.read() as connection:
        assert connection.execute(sa.select(tasks.pins(sa.literal(task(archive).blob)))).scalar() in (False, 0)
    with pytest.raises(NotFoundError, match="is discarded, only one that failed or waits can be tried again"):
        archive.writer.do(lambda c: tasks.retry(c, 1, 9.0))


def test_what_waits_is_discarded_and_told(archive, carrier, greeter):
    arrive(archive)
    ask(archive, later())
    archive.writer.do(lambda c: tasks.discard(c, 1, "anna", "not needed", 9.0))
    run_out(carrier)
    assert greeter.prepared == []
    (event,) = told(archive, "action_done")
    assert (event.facts["state"], event.facts["reason"]) == ("discarded", "discarded by anna: not needed")


def test_only_what_failed_or_waits_is_tried_again_by_hand(archive, carrier):
    arrive(archive)
    ask(archive, later())
    run_out(carrier)
    for number, says in ((1, "is done"), (99, "there is no action")):
        with pytest.raises(NotFoundError, match=says):
            archive.writer.do(lambda c, n=number: tasks.retry(c, n, 0.0))


def test_a_queue_does_not_wait_for_another(archive, greeter):
    arrive(archive)
    ask(archive, later(0, queue="stuck"), later(1))
    gate, entered = threading.Event(), threading.Event()

    class Stuck:
        def prepare(self, task):
            entered.set()
            assert gate.wait(60)
            return Done()

    carriers = Carriers(archive, {"stuck": Stuck(), "greetings": greeter}, Steady())
    carriers.start()
    try:
        assert entered.wait(60)
        while not told(archive, "action_done"):
            threading.Event().wait(0.01)
        assert [row.state for row in rows(archive, t.task)] == ["running", "done"]
    finally:
        gate.set()
        assert carriers.stop(30) == []
    assert [row.state for row in rows(archive, t.task)] == ["done", "done"]


def test_what_is_done_is_forgotten_after_a_time_with_its_run_and_what_failed_is_not(archive, clock, carrier, greeter):
    for number in (1, 2):
        arrive(archive, f"1.2.3.4.{number}")
        ask(archive, later(), event=told(archive)[-1])
    greeter.raises = [ActionFault("no")]
    run_out(carrier)

    def forgotten(before):
        return [archive.writer.do(lambda c, p=p: p(c, before, 0))[1] for p in (finished.tasks, finished.runs)]

    assert forgotten(clock.now()) == [0, 0]
    clock.advance(10)
    assert forgotten(clock.now()) == [1, 1]
    assert [row.state for row in rows(archive, t.task)] == ["failed"]
    assert [row.state for row in rows(archive, t.action)] == ["failed"]
