"""Functions that run by the clock, from the file to the run: real workers, a turned clock."""

import pytest
from scripts_kit import handler

from hostd.archive import repeats, schedules
from hostd.archive import tables as t
from hostd.jobs.schedules import tell_due
from hostd.jobs.timetable import Timetable
from hostd.sandbox import frames
from hostd.scripting.schedules import are_possible

TICK = '@every(minutes=10)\ndef tick(host):\n    host.log(f"tick {host.now():%M}")\n'


def turn(bench, seconds):
    """Let time pass, and have told what is due."""
    bench.archive.clock.advance(seconds)
    return tell_due(bench.archive, Timetable())


def by_function(bench):
    with bench.archive.read() as connection:
        return {one.function: one for one in schedules.known(connection)}


def test_it_runs_in_its_script_once_a_time(bench):
    bench.start()
    bench.write("b.py", handler("pass"))
    bench.put("a.py", TICK)
    assert turn(bench, 600) == 1
    bench.until_passed("a.py")
    assert turn(bench, 600) == 1
    bench.until_passed("a.py")
    assert bench.logged("a.py") == ["tick 23", "tick 33"]
    bench.until_passed("b.py")
    assert bench.logged("b.py") == []
    assert [row.only_for for row in bench.rows(t.event, kind="schedule")] == ["a.py", "a.py"]


def test_whoever_waits_for_what_is_due_is_told_of_other_schedules(bench):
    bench.start()
    seen = bench.archive.bulletin.seen(schedules.TOPIC)
    bench.put("a.py", TICK)
    assert bench.archive.bulletin.wait(schedules.TOPIC, seen, 60) > seen


def test_one_that_was_missed_runs_once_after_a_restart(bench):
    bench.start()
    bench.put("a.py", TICK)
    bench.stop()
    assert turn(bench, 6 * 600) in (0, 1)  # the script was said to run when the node went down
    bench.start()
    bench.until_runs("a.py", TICK)
    turn(bench, 0)
    bench.until(lambda: bench.logged("a.py"))
    bench.until_passed("a.py")
    assert turn(bench, 0) == 0
    assert len(bench.logged("a.py")) == 1


def test_it_takes_its_turn_among_the_other_events(bench):
    both = handler("host.log('stored')") + TICK
    bench.start()
    bench.put("a.py", both)
    bench.arrive()
    turn(bench, 600)
    bench.arrive()
    bench.until_passed("a.py")
    assert bench.logged("a.py") == ["stored", "tick 23", "stored"]


def test_one_that_fails_is_parked_and_can_be_run_again(bench):
    failing = "@every(minutes=10)\ndef tick(host):\n    raise ValueError('bad')\n"
    seen = "def on_script_parked(parked, host):\n    host.log(parked.handler)\n"
    bench.start()
    bench.put("watch.py", seen)
    bench.put("a.py", failing)
    turn(bench, 600)
    bench.until_passed("a.py")
    (run,) = bench.rows(t.run, script="a.py", outcome="parked")
    assert "ValueError: bad" in run.error
    bench.until_passed("watch.py")
    assert bench.logged("watch.py") == ["tick"]
    bench.put("a.py", TICK)
    known = bench.known("a.py")
    (again,) = bench.decide(lambda c: repeats.again(c, known, [run.event], 1.0))
    assert again.again_as is not None, again.left
    bench.until_passed("a.py")
    assert len(bench.logged("a.py")) == 1


def test_the_event_of_a_function_that_an_edit_took_away_is_passed(bench):
    bench.start()
    bench.put("a.py", TICK)
    bench.stop()
    turn(bench, 600)
    other = "@every(minutes=10)\ndef other(host):\n    host.log('other')\n"
    bench.write("a.py", other)
    bench.start()
    bench.until_runs("a.py", other)
    bench.until_passed("a.py")
    assert bench.rows(t.run, script="a.py") == []
    assert list(by_function(bench)) == ["other"]


def test_a_bad_time_is_a_bad_edit_and_names_its_line(bench):
    bench.start()
    bench.put("a.py", TICK)
    bench.write("a.py", TICK + '@cron("0 25 * * *")\ndef nightly(host):\n    pass\n')
    bench.until(lambda: bench.known("a.py").error)
    assert "line 4: '0 25 * * *' is no cron expression: Bad hour" in bench.known("a.py").error
    assert turn(bench, 600) == 1
    bench.until(lambda: bench.logged("a.py"))


@pytest.mark.parametrize(
    "claimed",
    [
        frames.Schedule("on_stored_instance", 60.0, None),
        frames.Schedule("not a name", 60.0, None),
        frames.Schedule("f", 0.0, None),
        frames.Schedule("f", float("nan"), None),
        frames.Schedule("f", None, None),
        frames.Schedule("f", 60.0, "0 2 * * *"),
        frames.Schedule("f", None, "* " * 100),
    ],
)
def test_a_worker_cannot_claim_what_no_decorator_makes(claimed):
    assert not are_possible([claimed])
    assert are_possible([frames.Schedule("f", 60.0, None)])
    assert not are_possible([frames.Schedule("f", 60.0, None)] * 101)
