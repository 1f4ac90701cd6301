"""A job that sends ends with its deliveries, and its deliveries with it: nothing goes on that nobody waits for (P3)."""

import pytest
import sqlalchemy as sa
from jobs_kit import decide, get, run_out
from tasks_kit import Steady

from hostd.archive import deliveries, jobs
from hostd.archive import tables as t
from hostd.archive.records import Attempt
from hostd.archive.sendings import Way
from hostd.jobs.running import Runner
from hostd.jobs.sending import MODALITY, Sending, Sends
from hostd.testing.made import arrive, header

BOTH_DATABASES = True
TO = "modality:x"


class Couriers:
    """Who carries; a test does it by hand."""

    def __init__(self):
        self.down = None
        self.hurried = []

    def hurry(self, destination):
        self.hurried.append(destination)

    def trouble(self, destination):
        return self.down


@pytest.fixture
def couriers():
    return Couriers()


@pytest.fixture
def runner(archive, couriers):
    return Runner(archive, {MODALITY: Sends(archive, couriers)}, Steady(), at_once=1)


def look(runner):
    """Do what is to be done now, also by jobs that rest."""
    run_out(runner)
    runner._resting.clear()
    run_out(runner)


def stored(archive, number=0):
    uid = f"1.2.3.4.{number}"
    arrive(archive, uid, content=uid.encode())
    return header(uid).identity.instance


def ask(archive, count=3, **more):
    ids = [stored(archive, n) for n in range(count)]
    way = Way(TO, "", None, "", 20)
    return archive.writer.do(
        lambda c: jobs.submit(c, MODALITY, Sending(way, **more).to_json(), archive.clock.now(), items=ids),
        topics=jobs.TOPICS,
    )


def rows(archive):
    with archive.read() as connection:
        return deliveries.listing(connection)[::-1]


def answer(archive, outcome, text="said", status=None):
    """Have the next delivery tried, and answered so."""

    def unit(connection):
        now = archive.clock.now()
        (one,) = deliveries.claim(connection, TO, 1, now, 1)
        attempt = Attempt(one.id, 1, now, outcome, text, status, 0.1)
        if outcome in ("delivered", "failed"):
            assert deliveries.finish(connection, attempt, 1)
        else:
            assert deliveries.put_off(connection, attempt, 1, now + 3600)

    archive.writer.do(unit, topics=("delivery", "event"))


def test_all_that_arrive_make_a_success(archive, runner, couriers):
    one = ask(archive)
    look(runner)
    assert (get(archive, one).state, couriers.hurried[0]) == ("running", TO)
    for done in range(3):
        assert get(archive, one).progress == pytest.approx(done / 3)
        answer(archive, "delivered")
        look(runner)
    assert (get(archive, one).state, get(archive, one).content) == ("success", {"FailedInstancesCount": 0})


@pytest.mark.parametrize(("outcome", "status"), [("unreached", None), ("waiting", 0xA700), ("failed", 0xC000), ("lost", None)])  # fmt: skip
def test_the_first_try_that_comes_to_nothing_ends_the_job_and_what_waits(archive, runner, outcome, status):
    one = ask(archive)
    look(runner)
    answer(archive, "delivered")
    answer(archive, outcome, "no route", status)
    look(runner)
    job = get(archive, one)
    assert (job.state, job.error_code, job.error_details) == ("failure", 9, "no route")
    assert job.error_payload == ({"Type": "Dimse", "Content": {"DimseErrorStatus": status}} if status else None)
    assert [row.state for row in rows(archive)] == ["delivered", "failed", "failed"]
    assert f"the job {one} ended: no route" in rows(archive)[2].last_error


def test_one_that_is_being_sent_when_the_job_fails_is_ended_too_once_that_is_known(archive, clock, runner):
    one = ask(archive, count=2)
    look(runner)
    answer(archive, "unreached", "no route")

    def send_again(connection):
        return deliveries.claim(connection, TO, 1, clock.now(), 1, on_wire=1)

    (again,) = archive.writer.do(send_again)  # before the job has looked
    look(runner)
    assert get(archive, one).state == "running"
    attempt = Attempt(again.id, 1, clock.now(), "waiting", "no route", None, 0.1)
    archive.writer.do(lambda c: deliveries.put_off(c, attempt, 1, clock.now() + 5))
    look(runner)  # it is given up
    look(runner)  # and nothing is on its way any more
    assert get(archive, one).state == "failure"
    assert {row.state for row in rows(archive)} == {"failed"}


def test_a_destination_that_is_known_to_be_down_ends_it_too(archive, runner, couriers):
    couriers.down = "it does not answer"
    one = ask(archive)
    look(runner)
    assert (get(archive, one).error_code, get(archive, one).error_details) == (9, "it does not answer")
    assert {row.state for row in rows(archive)} == {"failed"}


def test_a_permissive_one_counts_and_goes_on(archive, runner, couriers):
    one = ask(archive, permissive=True)
    look(runner)
    answer(archive, "waiting", "full", 0xA700)
    look(runner)
    assert get(archive, one).state == "running"
    assert rows(archive)[0].state == "failed"
    answer(archive, "delivered")
    couriers.down = "it has gone"
    look(runner)
    look(runner)
    job = get(archive, one)
    assert (job.state, job.content["FailedInstancesCount"]) == ("success", 2)
    assert [row.state for row in rows(archive)] == ["failed", "delivered", "failed"]


def test_what_somebody_else_asked_for_is_tried_at_once_and_stays(archive, clock, runner):
    arrived = stored(archive)

    def wait(connection):
        row = connection.execute(sa.select(t.instance).where(t.instance.c.id == arrived)).one()
        deliveries.ask(
            connection, instance=row.id, sop_instance_uid=row.sop_instance_uid, sop_class_uid="1.2", destination=TO,
            content=row.received_sha256, blob=row.blob, not_before=clock.now() + 3600, now=clock.now(), script="a.py",
        )  # fmt: skip

    archive.writer.do(wait)
    way = Way(TO, "", None, "", 20)
    one = archive.writer.do(lambda c: jobs.submit(c, MODALITY, Sending(way).to_json(), 0.0, items=[arrived]))
    look(runner)
    (row,) = rows(archive)
    assert row.next_attempt_at == clock.now()
    decide(archive, one, "cancel")
    look(runner)
    assert (get(archive, one).error_code, rows(archive)[0].state) == (37, "waiting")


def test_a_cancelled_job_sends_no_more(archive, runner):
    one = ask(archive)
    look(runner)
    answer(archive, "delivered")
    decide(archive, one, "cancel")
    look(runner)
    assert [row.state for row in rows(archive)] == ["delivered", "failed", "failed"]
    assert "the job was cancelled" in rows(archive)[1].last_error


def test_a_paused_job_holds_what_waits_and_a_resumed_one_lets_it_go(archive, runner):
    one = ask(archive)
    look(runner)
    decide(archive, one, "pause")
    look(runner)
    assert {row.state for row in rows(archive)} == {"held"}
    decide(archive, one, "resume")
    look(runner)
    assert {row.state for row in rows(archive)} == {"waiting"}
    for _ in range(3):
        answer(archive, "delivered")
    look(runner)
    assert get(archive, one).state == "success"


def test_an_instance_that_is_gone_ends_it_unless_it_is_permissive(archive, runner):
    def gone(**more):
        way = Way(TO, "", None, "", 20)
        return archive.writer.do(
            lambda c: jobs.submit(c, MODALITY, Sending(way, **more).to_json(), 0.0, items=["gone"])
        )

    strict, permissive = gone(), gone(permissive=True)
    look(runner)
    assert (get(archive, strict).state, get(archive, strict).error_code) == ("failure", 17)
    assert get(archive, permissive).content == {"FailedInstancesCount": 1}


def test_thousands_are_asked_for_in_pieces(archive, runner):
    way, one = Way(TO, "", None, "", 20), stored(archive)
    items = [one, *(f"gone {n}" for n in range(250))]
    job = archive.writer.do(
        lambda c: jobs.submit(c, MODALITY, Sending(way, permissive=True).to_json(), 0.0, items=items)
    )
    run_out(runner)
    assert get(archive, job).memo["next"] is None
    assert get(archive, job).content == {"FailedInstancesCount": 250}
    answer(archive, "delivered")
    look(runner)
    assert get(archive, job).state == "success"


def test_one_that_is_submitted_again_sends_all_again(archive, runner):
    one = ask(archive, count=1)
    look(runner)
    answer(archive, "unreached")
    look(runner)
    decide(archive, one, "resubmit")
    look(runner)
    answer(archive, "delivered")
    look(runner)
    assert get(archive, one).state == "success"
    assert [row.state for row in rows(archive)] == ["failed", "delivered"]
