"""Events and scripts that are parked, running again what was parked or missed, and quotas; exactly once each."""

import pytest
import sqlalchemy as sa
from scripts_kit import FORWARD, Fails, handler

from hostd.archive import instances, orders, repeats
from hostd.archive import tables as t
from hostd.errors import StorageError

FAILS = handler("raise ValueError('no')")
SAYS = handler("print(instance.sop_instance_uid)")


def run_on(bench, numbers=None, **options):
    """Have a.py run again on events, or on those that it was parked on."""

    def unit(connection):
        known = orders.needed(connection, "a.py")
        which = [one.number for one in repeats.parked(connection, "a.py")] if numbers is None else numbers
        return repeats.again(connection, known, which, bench.archive.clock.now(), **options)

    return bench.decide(unit)


def parked(bench):
    with bench.archive.read() as connection:
        return [one.number for one in repeats.parked(connection, "a.py")]


def of_arrivals(bench):
    with bench.archive.read() as connection:
        return repeats.of_the_past(connection, ["stored_instance"])


@pytest.fixture
def failed(bench):
    """A script that was parked on two events and is mended since; another forwards all."""
    bench.attempts = 1
    bench.write("a.py", FAILS)
    bench.write("other.py", FORWARD)
    bench.start()
    bench.until(lambda: bench.known("a.py") and bench.known("a.py").state == "running")
    bench.until(lambda: bench.known("other.py") and bench.known("other.py").state == "running")
    bench.arrive(2)
    bench.until_passed("a.py")
    bench.put("a.py", SAYS)
    return bench


def test_what_was_parked_runs_again_once_and_for_that_script_alone(failed):
    failed.until_passed("other.py")
    was_parked = parked(failed)
    assert was_parked == of_arrivals(failed)
    assert all(one.again_as for one in run_on(failed))
    assert run_on(failed) == []  # what runs again is no longer parked
    failed.until_passed("a.py")
    failed.until_passed("other.py")
    assert failed.logged("a.py") == ["1.2.3.4.1", "1.2.3.4.2"]
    assert len(failed.rows(t.run, script="other.py")) == 2
    assert [one.left for one in run_on(failed, was_parked)] == [
        "a.py has had it with an effect (--again runs it all the same)"
    ] * 2


def test_what_runs_again_enters_its_actions_once_although_a_commit_failed(failed, monkeypatch):
    failed.put("a.py", FORWARD)
    failed.until_passed("other.py")
    fails = Fails(failed.archive, StorageError("nobody knows"), before=False).install(monkeypatch)
    run_on(failed)
    failed.until(fails.failed.is_set)
    failed.until_passed("a.py")
    assert len(failed.rows(t.action, script="a.py")) == 2


def test_what_fails_again_is_parked_under_its_new_number_and_can_be_run_again(failed):
    failed.put("a.py", FAILS)
    first = parked(failed)[0]
    (one,) = run_on(failed, [first])
    failed.until_passed("a.py")
    assert one.again_as in parked(failed)
    assert first not in parked(failed)
    failed.put("a.py", SAYS)
    (again,) = run_on(failed, [one.again_as])
    failed.until_passed("a.py")
    assert failed.logged("a.py") == ["1.2.3.4.1"]
    (event,) = failed.rows(t.event, number=again.again_as)
    assert (event.repeats, event.only_for) == (first, "a.py")


def test_what_waits_already_is_not_run_again(failed):
    failed.decide(lambda c: orders.disable(c, "a.py"))
    failed.until(lambda: failed.known("a.py").state == "disabled")
    first = parked(failed)[0]
    (one,) = run_on(failed, [first])
    assert run_on(failed, [first])[0].left == f"it waits for a.py already, as event {one.again_as}"
    failed.arrive()
    assert "waits for a.py" in run_on(failed, [failed.last_event()])[0].left
    failed.decide(lambda c: orders.enable(c, "a.py", skip=False))
    failed.until_passed("a.py")
    assert failed.logged("a.py") == ["1.2.3.4.1", "1.2.3.4.3"]


def test_what_is_purged_or_not_the_scripts_is_refused_in_words(failed):
    failed.until_passed("other.py")
    first, second = parked(failed)
    with failed.archive.read() as connection:
        (subject,) = connection.execute(sa.select(t.event.c.subject).where(t.event.c.number == first)).scalars()
    failed.archive.writer.do(lambda c: instances.hide(c, subject, 1.0))
    failed.archive.writer.do(lambda c: c.execute(sa.delete(t.blob).where(t.blob.c.name == blob_of(c, first))))
    failed.archive.writer.do(lambda c: c.execute(sa.delete(t.event).where(t.event.c.number == second)))
    left = [one.left for one in run_on(failed, [first, second, 1])]
    assert "its file was removed" in left[0]
    assert "no longer kept" in left[1]
    assert "on_start is about the script itself" in left[2]
    with failed.archive.read() as connection:
        assert [one.event is None for one in repeats.parked(connection, "a.py")] == [False, True]


def blob_of(connection, number):
    return connection.execute(sa.select(t.event.c.blob).where(t.event.c.number == number)).scalar_one()


def test_what_is_to_run_again_keeps_its_file(failed):
    failed.until_passed("other.py")
    failed.decide(lambda c: orders.disable(c, "a.py"))
    failed.until(lambda: failed.known("a.py").state == "disabled")
    first = parked(failed)[0]
    run_on(failed, [first])
    with failed.archive.read() as connection:
        blob = blob_of(connection, first)
    (row,) = failed.rows(t.event, number=first)
    failed.archive.writer.do(lambda c: c.execute(sa.delete(t.delivery)))
    failed.archive.writer.do(lambda c: instances.hide(c, row.subject, 1.0))
    failed.archive.clock.advance(10 * 86_400)
    failed.archive.collect(trash_seconds=0)
    assert failed.archive.blobs.path(blob).exists()


# -- scripts that are parked ------------------------------------------------------------------------------------------


@pytest.fixture
def fragile(bench):
    """A node that parks a script after two events in a row."""
    bench.attempts, bench.park_after = 1, 2
    bench.write("a.py", handler("if instance.tags.PatientID != 'good': raise ValueError('no')", "print('good')"))
    bench.start()
    bench.until(lambda: bench.known("a.py") and bench.known("a.py").state == "running")
    return bench


def until_parked(bench):
    bench.until(lambda: bench.known("a.py").state == "parked")


def test_a_script_that_fails_always_is_parked_and_the_rest_of_its_events_wait(fragile, capsys):
    fragile.arrive(4)
    until_parked(fragile)
    known = fragile.known("a.py")
    assert known.standing == "parked"
    _, second, third, _ = of_arrivals(fragile)
    assert second <= known.cursor.low_water < third  # between them may be events that concern no script
    assert known.trouble.startswith("2 events were parked in a row, the last because of ValueError: no (line 2)")
    fragile.until(lambda: "script parked" in capsys.readouterr().out)
    fragile.stop()
    fragile.start()
    fragile.put("other.py", SAYS)
    assert fragile.known("a.py").state == "parked"  # a restart mends nothing
    fragile.put("a.py", SAYS)
    fragile.until_passed("a.py")
    run_on(fragile)
    fragile.until_passed("a.py")
    assert fragile.logged("a.py") == [f"1.2.3.4.{n}" for n in (3, 4, 1, 2)]


def test_one_event_that_goes_well_begins_the_count_anew(fragile):
    for good in (False, True, False, True):
        fragile.arrive(tags={"PatientID": "good"} if good else {})
    fragile.until_passed("a.py")
    assert fragile.known("a.py").state == "running"
    assert len(parked(fragile)) == 2


def test_a_parked_script_that_is_enabled_goes_on_and_counts_anew(fragile):
    fragile.arrive(3)
    until_parked(fragile)
    fragile.decide(lambda c: orders.enable(c, "a.py", skip=False))
    fragile.until_passed("a.py", of_arrivals(fragile)[2])
    assert fragile.known("a.py").state == "running"
    fragile.arrive()
    until_parked(fragile)


def test_a_parked_script_is_not_brought_back_by_a_bad_edit(fragile):
    fragile.arrive(2)
    until_parked(fragile)
    fragile.write("a.py", "import os\n")
    fragile.until(lambda: fragile.known("a.py").error)
    assert fragile.known("a.py").standing == "parked"


# -- quotas -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("quota", "entered"), [({"actions_per_day": 3}, 3), ({"bytes_per_day": 1_000}, 2)])
def test_beyond_a_quota_the_script_is_parked_and_the_event_waits(bench, quota, entered):
    bench.may("a.py", **quota)
    bench.write("a.py", FORWARD)
    bench.start()
    bench.until(lambda: bench.known("a.py") and bench.known("a.py").state == "running")
    bench.arrive(entered + 2)
    size = bench.rows(t.blob)[0].size
    if "bytes_per_day" in quota:
        assert entered == 1_000 // size, "the made file has another size now"
    until_parked(bench)
    assert next(iter(quota)) in bench.known("a.py").trouble
    assert len(bench.rows(t.action, script="a.py")) == entered
    assert bench.known("a.py").cursor.low_water == of_arrivals(bench)[entered - 1]
    bench.archive.clock.advance(25 * 3600)
    bench.decide(lambda c: orders.enable(c, "a.py", skip=False))
    bench.until_passed("a.py")
    assert len(bench.rows(t.action, script="a.py")) == entered + 2


def test_a_quota_is_of_the_last_day(bench):
    bench.may("a.py", actions_per_day=2)
    bench.write("a.py", FORWARD)
    bench.start()
    bench.until(lambda: bench.known("a.py") and bench.known("a.py").state == "running")
    for _ in range(3):
        bench.arrive(2)
        bench.until_passed("a.py")
        bench.archive.clock.advance(25 * 3600)
    assert bench.known("a.py").state == "running"
