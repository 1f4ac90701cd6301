"""What is old goes by the clock, however often the node is started; the clock is turned."""

import threading

import pytest
import sqlalchemy as sa
from jobs_kit import Counting, ask, decide, get, run_out, runner_of

from hostd.archive import deliveries, turns
from hostd.archive import tables as t
from hostd.archive.archive import Archive
from hostd.archive.records import Attempt
from hostd.config.settings import Settings
from hostd.jobs import housekeeping
from hostd.jobs.housekeeping import Housekeeping
from hostd.testing.made import arrive

HOUR_S, DAY_S = 3600.0, 86_400.0


@pytest.fixture
def settings(tmp_path):
    return Settings(
        node={"data": tmp_path, "finished_days": 1}, retention={"all": {"keep_days": 2, "source": "ct1"}}
    )  # fmt: skip


def start(archive, settings, look_around=lambda: None):
    """Return the housekeeping of a node that has just been started."""
    return Housekeeping(archive, lambda: settings, look_around, runner_of(archive, Counting()))


def deliver(archive, content):
    def unit(connection):
        now = archive.clock.now()
        number, _ = deliveries.ask(
            connection, instance="i", sop_instance_uid="1.1", sop_class_uid="1.3", destination="peer:x",
            content=content, blob="gone", now=now,
        )  # fmt: skip
        deliveries.claim(connection, "peer:x", 1, now, 1)
        assert deliveries.finish(connection, Attempt(number, 1, now, "delivered", "x", 0, 0.1), 1)

    archive.writer.do(unit)


def count(archive):
    with archive.read() as connection:
        return connection.execute(sa.select(sa.func.count()).select_from(t.delivery)).scalar_one()


def test_what_is_finished_goes_with_the_first_round_after_a_start(archive, clock, settings):
    deliver(archive, "a")
    clock.advance(2 * DAY_S)
    start(archive, settings).round()
    assert count(archive) == 0


def test_a_node_that_is_started_more_often_than_hourly_purges_all_the_same(archive, clock, settings):
    start(archive, settings).round()
    deliver(archive, "a")
    clock.advance(1.5 * DAY_S)
    start(archive, settings).round()
    assert count(archive) == 0
    deliver(archive, "b")
    clock.advance(DAY_S)
    for _ in range(5):
        clock.advance(60)
        start(archive, settings).round()
    assert count(archive) == 0


def test_between_two_looks_an_hour_passes_over_restarts_too(place, clock, settings):
    looks = []

    def look():
        archive = Archive(place, "node", clock)
        looks.append(archive.writer.do(lambda c: turns.take(c, "purge", HOUR_S, clock.now())))
        archive.close()

    for _ in range(8):
        look()
        clock.advance(20 * 60)
    assert looks == [True, False, False, True, False, False, True, False]
    clock.advance(-DAY_S)  # set back: what was done in the future is due
    look()
    assert looks[-1]


def test_two_things_take_turns_of_their_own(archive):
    take = [archive.writer.do(lambda c, w=what: turns.take(c, w, HOUR_S, 1.0)) for what in ("a", "b", "a")]
    assert take == [True, True, False]


def test_instances_go_by_age_without_an_hour_of_running(archive, clock, settings):
    arrive(archive, "1.2.3.4.1")
    archive.writer.do(lambda c: c.execute(sa.update(t.instance).values(origin={"kind": "dicom", "modality": "ct1"})))
    clock.advance(2.5 * DAY_S)
    start(archive, settings).round()
    with archive.read() as connection:
        assert connection.execute(sa.select(t.instance.c.id)).all() == []


def test_the_thread_keeps_house_soon_after_its_start_and_again(archive, settings, monkeypatch):
    monkeypatch.setattr(housekeeping, "_FIRST_S", 0.0)
    monkeypatch.setattr(housekeeping, "_EVERY_S", 0.01)
    rounds = []

    def look_around():
        rounds.append(len(rounds))
        if len(rounds) == 1:
            raise OSError("no such disk")
        if len(rounds) == 3:
            done.set()

    done = threading.Event()
    running = start(archive, settings, look_around)
    running.start()
    assert done.wait(60)
    running.stop()


def test_jobs_go_some_days_after_their_end(archive, clock, settings):
    one, two = ask(archive, upto=1), ask(archive, upto=1)
    decide(archive, two, "pause")
    run_out(runner_of(archive, Counting()))
    clock.advance(6.9 * DAY_S)
    start(archive, settings).round()
    assert get(archive, one).state == "success"
    clock.advance(0.2 * DAY_S)
    start(archive, settings).round()
    assert get(archive, one) is None
    assert get(archive, two).state == "paused"  # it has not ended
