"""A due time gives one event, whoever notices it and however late; the clock is turned."""

from zoneinfo import ZoneInfo

import pytest

from hostd.archive import events, schedules, scripts
from hostd.archive.archive import Archive
from hostd.archive.schedules import Timing
from hostd.archive.scripts import Version
from hostd.jobs.schedules import Schedules, tell_due
from hostd.jobs.timetable import Timetable

BOTH_DATABASES = True

TEN = Timing(600.0, None)
NIGHTLY = Timing(None, "0 2 * * *")
UTC = Timetable()


def take_up(archive, *wanted, name="a.py", timetable=UTC):
    """Have a version run that has these schedules, as a node does."""
    now = archive.clock.now()

    def unit(connection):
        scripts.meet(connection, name, now, from_beginning=False)
        scripts.accept(connection, name, Version("v", "", ()), now)
        schedules.renew(connection, name, wanted, now, timetable.next_after)

    archive.writer.do(unit)


def pass_all(archive, name="a.py"):
    """Let the script's cursor pass all there is."""

    def unit(connection):
        cursor = scripts.get_cursor(connection, name)
        newest = events.last_number(connection)
        scripts.advance(connection, name, cursor.token, after=cursor.low_water, to=newest)

    archive.writer.do(unit)


def told(archive):
    with archive.read() as connection:
        return [
            (event.facts["function"], event.at)
            for event in events.after(connection, 0, ["schedule"], 100, script="a.py")
        ]


def due_at(archive, function="f"):
    with archive.read() as connection:
        (found,) = [one.due_at for one in schedules.known(connection) if one.function == function]
    return found


def state(archive, change):
    archive.writer.do(lambda c: change(c, "a.py", archive.clock.now()))


def test_each_time_gives_one_event_for_that_script_alone(archive, clock):
    begun = clock.now()
    take_up(archive, ("f", TEN))
    assert tell_due(archive, UTC) == 0
    clock.advance(599)
    assert tell_due(archive, UTC) == 0
    clock.advance(1)
    assert [tell_due(archive, UTC), tell_due(archive, UTC)] == [1, 0]
    pass_all(archive)
    clock.advance(600)
    assert tell_due(archive, UTC) == 1
    assert told(archive) == [("f", begun + 600), ("f", begun + 1200)]
    with archive.read() as connection:
        assert events.after(connection, 0, ["schedule"], 10, script="other.py") == []


def test_what_was_missed_while_no_node_ran_comes_once_and_keeps_its_distance(tmp_path, prepared, clock):
    begun = clock.now()
    data = prepared(tmp_path)
    first = Archive(data, "node", clock)
    take_up(first, ("f", TEN))
    first.close()
    clock.advance(6 * 600 + 60)
    opened = Archive(data, "node", clock)
    try:
        take_up(opened, ("f", TEN))
        assert tell_due(opened, UTC) == 1
        pass_all(opened)
        assert tell_due(opened, UTC) == 0
        assert due_at(opened) == begun + 7 * 600
    finally:
        opened.close()


def test_of_two_nodes_that_notice_it_one_tells_it(archive, clock):
    take_up(archive, ("f", TEN))
    clock.advance(600)
    with archive.read() as connection:
        (seen,) = schedules.due(connection, clock.now())
    next_at = clock.now() + 600
    first = archive.writer.do(lambda c: schedules.tell(c, seen, next_at, clock.now()))
    second = archive.writer.do(lambda c: schedules.tell(c, seen, next_at, clock.now()))
    assert first is not None
    assert second is None
    assert len(told(archive)) == 1


def test_a_function_that_is_still_busy_is_not_told_again_and_times_do_not_pile_up(archive, clock):
    take_up(archive, ("f", TEN), ("g", TEN))
    clock.advance(600)
    assert tell_due(archive, UTC) == 2
    for _ in range(5):
        clock.advance(600)
        assert tell_due(archive, UTC) == 0
    pass_all(archive)
    assert tell_due(archive, UTC) == 2


@pytest.mark.parametrize("change", [scripts.vanish, scripts.rest])
def test_a_script_that_rests_is_told_nothing_and_is_told_once_when_it_goes_on(archive, clock, change):
    take_up(archive, ("f", TEN))
    state(archive, change)
    clock.advance(6000)
    assert tell_due(archive, UTC) == 0
    take_up(archive, ("f", TEN))
    assert tell_due(archive, UTC) == 1


def test_a_script_that_came_to_rest_since_it_was_seen_is_not_told(archive, clock):
    take_up(archive, ("f", TEN))
    clock.advance(600)
    with archive.read() as connection:
        (seen,) = schedules.due(connection, clock.now())
    state(archive, scripts.rest)
    assert archive.writer.do(lambda c: schedules.tell(c, seen, None, clock.now())) is None
    assert told(archive) == []


def test_an_edit_keeps_the_place_of_what_it_leaves_as_it_was(archive, clock):
    begun = clock.now()
    take_up(archive, ("f", TEN), ("g", TEN), ("h", TEN))
    clock.advance(500)
    take_up(archive, ("f", TEN), ("g", Timing(60.0, None)))
    with archive.read() as connection:
        found = {one.function: one.due_at for one in schedules.known(connection)}
    assert found == {"f": begun + 600, "g": begun + 560}


def test_another_time_zone_holds_from_the_next_start_on(archive, clock):
    take_up(archive, ("f", NIGHTLY))
    in_utc = due_at(archive)
    take_up(archive, ("f", NIGHTLY), timetable=Timetable(ZoneInfo("Asia/Tokyo")))
    assert (in_utc - due_at(archive)) % 86_400 == 9 * 3600
    assert due_at(archive) > clock.now()


def test_a_clock_that_is_set_back_leaves_nothing_waiting_for_its_former_time(archive, clock):
    take_up(archive, ("f", TEN), ("n", NIGHTLY))
    watch = Schedules(archive, UTC)
    clock.advance(-400 * 86_400)
    assert watch.look() == 0
    assert due_at(archive) == clock.now() + 600
    assert 0 < due_at(archive, "n") - clock.now() <= 86_400
    clock.advance(600)
    assert watch.look() == 1


def test_the_thread_tells_what_is_due_and_ends(archive, clock):
    take_up(archive, ("f", TEN))
    clock.advance(600)
    seen = archive.bulletin.seen("event")
    watch = Schedules(archive, UTC)
    watch.start()
    archive.bulletin.wait("event", seen, 60)
    watch.stop()
    assert len(told(archive)) == 1


def test_what_never_comes_again_is_never_due(archive, clock):
    take_up(archive, ("f", TEN))
    clock.advance(600)
    with archive.read() as connection:
        (seen,) = schedules.due(connection, clock.now())
    archive.writer.do(lambda c: schedules.tell(c, seen, None, clock.now()))
    pass_all(archive)
    clock.advance(100 * 365 * 86_400)
    assert tell_due(archive, UTC) == 0
    assert due_at(archive) is None


def test_a_script_that_is_forgotten_has_no_schedules(archive, clock):
    take_up(archive, ("f", TEN))
    state(archive, scripts.vanish)
    archive.writer.do(lambda c: scripts.forget_absent(c, absent_before=clock.now() + 1))
    with archive.read() as connection:
        assert schedules.known(connection) == []
