"""A job ends in the open, and each of its steps enters the index once, whatever happens in between (P2, P3)."""

import threading

import pytest
import sqlalchemy as sa
from jobs_kit import Counting, ask, decide, get, in_thread, run_out, runner_of, written
from tasks_kit import told

from hostd.archive import events, jobs, leases
from hostd.archive import tables as t
from hostd.archive.archive import Archive
from hostd.archive.jobs import Hands
from hostd.errors import CannotTranscodeError, NoRoomError, NotFoundError, StorageError
from hostd.jobs import faults
from hostd.jobs.faults import JobFault
from hostd.jobs.running import MAX_TRIES, NotEndedError

BOTH_DATABASES = True


@pytest.fixture
def kind():
    return Counting()


@pytest.fixture
def runner(archive, kind):
    return runner_of(archive, kind)


def test_a_job_is_done_step_by_step_and_tells_it(archive, runner, kind):
    one = ask(archive, content={"Description": "REST API"}, user_data={"x": 1}, priority=5)
    assert (get(archive, one).state, get(archive, one).progress) == ("pending", 0.0)
    run_out(runner)
    job = get(archive, one)
    assert (job.state, job.progress, job.error_code) == ("success", 1.0, 0)
    assert job.content == {"Description": "REST API", "Done": 3, "Last": 2}
    assert written(archive) == [f"{one} 0", f"{one} 1", f"{one} 2"]
    (submitted,), (succeeded,) = told(archive, "job_submitted"), told(archive, "job_succeeded")
    assert (submitted.subject, submitted.facts["state"]) == (one, "pending")
    assert (succeeded.facts["content"], succeeded.facts["user_data"]) == (job.content, {"x": 1})
    assert told(archive, "job_failed") == []
    with archive.read() as connection:
        assert connection.execute(sa.select(t.lease).where(t.lease.c.what.startswith("job:"))).all() == []


def test_the_most_urgent_is_done_first_then_in_order(archive, runner, kind):
    first, second = ask(archive, upto=1), ask(archive, upto=1)
    urgent = ask(archive, upto=1, priority=1)
    run_out(runner)
    ended = [event.subject for event in told(archive, "job_succeeded")]
    assert ended == [urgent, first, second]


@pytest.mark.parametrize(
    ("fault", "code"),
    [
        (JobFault(faults.NETWORK_PROTOCOL, "no route", faults.of_dimse(0xA700)), 9),
        (CannotTranscodeError("no such codec"), 2),
        (NotFoundError("it is gone"), 17),
        (NoRoomError("the disk is full"), 19),
    ],
    ids=lambda given: type(given).__name__,
)
def test_what_will_never_work_fails_at_once_with_orthancs_number(archive, runner, kind, fault, code):
    one = ask(archive)
    kind.commit_raises = [fault]
    run_out(runner)
    job = get(archive, one)
    assert (job.state, job.error_code, job.error_details) == ("failure", code, str(fault))
    assert job.error_payload == getattr(fault, "payload", None)
    assert (kind.undone, kind.halts) == (1, [("failed", str(fault), 0)])
    assert written(archive) == []
    (failed,) = told(archive, "job_failed")
    assert (failed.facts["error_code"], failed.facts["reason"]) == (code, str(fault))


def test_a_passing_trouble_is_tried_again_with_growing_waits(archive, clock, runner, kind):
    one = ask(archive)
    kind.raises = [StorageError("busy"), OSError("a bug")]
    run_out(runner)
    assert (get(archive, one).state, get(archive, one).error_details) == ("retry", "busy")
    assert runner.turn() == 10
    clock.advance(10)
    run_out(runner)
    assert get(archive, one).error_details == "OSError: a bug"
    clock.advance(20)
    run_out(runner)
    assert (get(archive, one).state, get(archive, one).error_details) == ("success", "")
    assert get(archive, one).runtime_s == 0.0  # waits between tries are not counted


def test_a_trouble_that_does_not_pass_ends_all_the_same(archive, clock, runner, kind):
    one = ask(archive)
    kind.raises = [ValueError("a bug")] * MAX_TRIES
    for _ in range(MAX_TRIES):
        run_out(runner)
        clock.advance(1000)
    job = get(archive, one)
    assert (job.state, job.error_code) == ("failure", -1)
    assert job.error_details == f"given up after {MAX_TRIES} tries: ValueError: a bug"


def test_a_node_that_was_killed_in_the_middle_goes_on_where_it_was(archive, clock, runner, kind, place):
    one = ask(archive, upto=4)
    kind.gate = threading.Event()
    kind.gate.set()
    kind.raises = []
    stopped = StoppedAfter(kind, 2)
    with pytest.raises(_KilledError):
        runner_of(archive, stopped).turn()
    assert get(archive, one).state == "running"
    archive.close()
    again = Archive(place, "node", clock)
    try:
        run_out(runner_of(again, kind))
        assert get(again, one).state == "success"
        assert written(again) == [f"{one} {n}" for n in range(4)]
        assert kind.began == [0, 1, 2, 3]
    finally:
        again.close()


class _KilledError(BaseException):
    """Stands for kill -9: nothing after it is done."""


class StoppedAfter:
    """A kind whose process is killed after so many steps, in the middle of the next one."""

    def __init__(self, kind, steps):
        self.kind, self.steps = kind, steps

    def step(self, job):
        if self.steps == 0:
            raise _KilledError
        self.steps -= 1
        return self.kind.step(job)

    def halted(self, *_):
        raise AssertionError("nothing halts it")

    forgotten = halted


def test_what_a_stray_runner_does_changes_nothing(archive, runner, kind):
    """The other one has a job under a newer token: of what the first one still does nothing enters."""
    one = ask(archive, upto=2)
    kind.gate = threading.Event()
    thread = in_thread(runner.turn)
    begun(kind)
    other = Counting()
    run_out(runner_of(archive, other))  # of the same node, as after a restart
    kind.gate.set()
    thread.join(60)
    assert get(archive, one).state == "success"
    assert (other.began, kind.began) == ([0, 1], [0])
    assert written(archive) == [f"{one} 0", f"{one} 1"]


def begun(kind):
    event = threading.Event()
    for _ in range(6000):
        if kind.began:
            return
        event.wait(0.01)
    raise AssertionError("the step did not begin")


def test_a_job_is_cancelled_between_two_steps(archive, runner, kind):
    one = ask(archive, upto=3)
    kind.gate = threading.Event()
    thread = in_thread(runner.turn)
    begun(kind)
    assert decide(archive, one, "cancel").wanted == "cancel"
    kind.gate.set()
    thread.join(60)
    job = get(archive, one)
    assert (job.state, job.error_code, kind.halts) == ("failure", 37, [("canceled", "the job was cancelled", 1)])
    assert written(archive) == [f"{one} 0"]
    assert decide(archive, one, "cancel").state == "failure"  # changes nothing


def test_a_paused_job_rests_until_it_is_resumed(archive, runner, kind):
    one = ask(archive, upto=2)
    decide(archive, one, "pause")
    run_out(runner)
    assert (get(archive, one).state, kind.halts) == ("paused", [("paused", "the job is paused", 0)])
    assert runner.turn() is None
    with pytest.raises(NotFoundError, match="only one that is failed can be resubmitted"):
        decide(archive, one, "resubmit")
    decide(archive, one, "resume")
    run_out(runner)
    assert get(archive, one).state == "success"
    with pytest.raises(NotFoundError, match="only one that is paused can be resumed"):
        decide(archive, one, "resume")


def test_a_paused_job_can_be_cancelled(archive, runner, kind):
    one = ask(archive)
    decide(archive, one, "pause")
    run_out(runner)
    decide(archive, one, "cancel")
    run_out(runner)
    assert (get(archive, one).state, get(archive, one).error_code) == ("failure", 37)


def test_all_that_has_not_ended_can_be_paused_before_a_node_works_on_it(archive, clock, runner, kind):
    ended, waiting = ask(archive, upto=1), ask(archive, upto=2)
    kind.rests = threading.Event()
    kind.rests.set()
    runner.turn()
    archive.writer.do(lambda c: jobs.claim(c, "node", clock.now(), Hands(["Count"])))  # as a node does that is killed
    assert archive.writer.do(lambda c: jobs.pause_all(c, clock.now())) == 1
    assert (get(archive, ended).state, get(archive, waiting).state) == ("success", "paused")
    assert runner.turn() is None
    decide(archive, waiting, "resume")
    run_out(runner)
    assert get(archive, waiting).state == "success"


def test_one_that_failed_begins_anew_when_it_is_submitted_again(archive, runner, kind):
    one = ask(archive, upto=2)
    kind.raises = [JobFault(9, "no route")]
    run_out(runner)
    decide(archive, one, "resubmit")
    assert (get(archive, one).state, get(archive, one).error_code) == ("pending", 0)
    run_out(runner)
    assert (get(archive, one).state, kind.began) == ("success", [0, 0, 1])


def test_a_job_that_waits_for_events_is_woken_by_one_and_holds_no_thread(archive, kind):
    kind.rests = threading.Event()
    waiting, other = ask(archive, upto=1), ask(archive, upto=1, kind="Other")
    runner = runner_of(archive, kind, Other=Counting())
    runner.start()
    try:
        assert runner.await_end(other, seconds=60).state == "success"
        assert get(archive, waiting).state == "running"
        kind.rests.set()
        archive.writer.do(lambda c: events.append(c, "disk_recovered", "disk", 0.0, facts={}), topics=("event",))
        assert runner.await_end(waiting, seconds=50).state == "success"  # it rests for 60 s
    finally:
        assert runner.stop(60)


def test_while_no_job_waits_for_events_no_thread_does(archive, kind, monkeypatch):
    waited, wait = [], archive.bulletin.wait
    monkeypatch.setattr(archive.bulletin, "wait", lambda topic, *args: waited.append(topic) or wait(topic, *args))
    runner = runner_of(archive, kind)
    runner.start()
    try:
        assert runner.await_end(ask(archive, upto=2), seconds=60).state == "success"
        assert waited
        assert "event" not in waited
    finally:
        assert runner.stop(60)


def test_whoever_waits_gets_the_end_and_what_takes_too_long_is_cancelled(archive, kind):
    runner = runner_of(archive, kind)
    runner.start()
    try:
        job = runner.run(lambda c: jobs.submit(c, "Count", {"upto": 2}, 0.0), seconds=60)
        assert (job.state, job.content["Done"]) == ("success", 2)
        kind.rests = threading.Event()
        with pytest.raises(NotEndedError, match="Asynchronous") as late:
            runner.run(lambda c: jobs.submit(c, "Count", {"upto": 2}, 0.0), seconds=0.05)
        identifier = str(late.value).split()[1]
        assert runner.await_end(identifier, seconds=60).error_code == 37
    finally:
        assert runner.stop(60)


def test_jobs_are_forgotten_some_time_after_their_end_with_what_they_left(archive, clock, runner, kind):
    old = ask(archive, upto=1, items=["a", "b"])
    run_out(runner)
    clock.advance(100)
    new, open_one = ask(archive, upto=1), None
    run_out(runner)
    open_one = ask(archive)
    assert runner.forget(ended_before=clock.now() - 50) == 1
    with archive.read() as connection:
        assert jobs.identifiers(connection) == [new, open_one]
        assert connection.execute(sa.select(t.job_item)).all() == []
    assert kind.gone == [old]
    with pytest.raises(NotFoundError, match="cancel it first"):
        runner.delete(open_one)
    runner.delete(new)
    assert kind.gone == [old, new]


def test_what_a_job_is_about_is_read_in_order_and_in_pieces(archive):
    one = ask(archive, items=[f"i{n}" for n in range(1200)])
    with archive.read() as connection:
        job = jobs.get(connection, one)
        assert jobs.count_items(connection, job) == 1200
        assert [item.instance for item in jobs.items(connection, job, start=1198, limit=5)] == ["i1198", "i1199"]


def test_every_query_of_the_runner_has_an_index(archive, runner):
    """However many jobs have ended, to look for what is due reads those that have not."""
    if archive.is_shared:
        pytest.skip("the plan is read as SQLite shows it")
    with archive.read() as connection:
        for query in (
            sa.select(sa.func.min(t.job.c.due_at)).where(t.JOB_MOVES, t.job.c.type.in_(["Count"])),
            sa.select(t.job.c.number).where(t.JOB_MOVES, t.job.c.due_at <= 1.0).order_by(t.job.c.priority.desc(), t.job.c.number),
            sa.select(t.job).where(t.job.c.finished_at < 1.0),
        ):  # fmt: skip
            text = str(query.compile(connection, compile_kwargs={"literal_binds": True}))
            plan = " ".join(row[3] for row in connection.exec_driver_sql(f"EXPLAIN QUERY PLAN {text}"))
            assert "ix_job_" in plan, plan


def test_the_lease_of_a_job_keeps_another_node_away_until_it_ends(archive, clock):
    one = ask(archive)
    now = clock.now()
    claimed = archive.writer.do(lambda c: jobs.claim(c, "one", now, Hands(["Count"])))
    assert claimed.id == one
    assert archive.writer.do(lambda c: jobs.claim(c, "two", now, Hands(["Count"]))) is None
    archive.writer.do(lambda c: leases.end_all(c, "one"))
    taken = archive.writer.do(lambda c: jobs.claim(c, "two", now, Hands(["Count"])))
    assert (taken.id, taken.token) == (one, claimed.token + 1)
    assert not archive.writer.do(lambda c: jobs.is_mine(c, claimed, now))
    assert archive.writer.do(lambda c: jobs.is_mine(c, taken, now))
