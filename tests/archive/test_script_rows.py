import pytest

from hostd.archive import scripts
from hostd.archive.scripts import StaleTokenError, Version
from hostd.testing.made import arrive

BOTH_DATABASES = True

ONE, TWO = Version("h1", "pass", ("on_start",)), Version("h2", "pass ", ())


def meet(archive, *, from_beginning=False):
    return archive.writer.do(lambda c: scripts.meet(c, "a.py", 1.0, from_beginning=from_beginning))


def accept(archive, version):
    return archive.writer.do(lambda c: scripts.accept(c, "a.py", version, 1.0))


def test_only_a_name_never_seen_starts_at_now(archive):
    arrive(archive)
    assert meet(archive)
    cursor, _ = accept(archive, ONE)
    assert cursor.low_water == 4  # the arrival, and the patient, study and series that began
    arrive(archive, "1.2.3.4.6")
    assert not meet(archive)
    archive.writer.do(lambda c: scripts.vanish(c, "a.py", 2.0))
    assert not meet(archive)
    cursor, is_new = accept(archive, ONE)
    assert (cursor.low_water, is_new) == (4, True)


def test_a_new_script_starts_at_the_beginning_when_asked_to(archive):
    arrive(archive)
    meet(archive, from_beginning=True)
    with archive.read() as connection:
        assert scripts.get_cursor(connection, "a.py").low_water == 0


def test_an_accepted_version_moves_the_token_so_that_earlier_runs_are_discarded(archive):
    meet(archive)
    first, _ = accept(archive, ONE)
    second, is_new = accept(archive, TWO)
    assert second.token > first.token
    assert is_new
    with pytest.raises(StaleTokenError):
        archive.writer.do(lambda c: scripts.advance(c, "a.py", first.token, after=0, to=5))
    archive.writer.do(lambda c: scripts.advance(c, "a.py", second.token, after=second.low_water, to=5))


def test_a_plan_cannot_pass_one_that_was_not_committed(archive):
    meet(archive)
    cursor, _ = accept(archive, ONE)
    with pytest.raises(StaleTokenError, match="event 4 is not done"):
        archive.writer.do(lambda c: scripts.advance(c, "a.py", cursor.token, after=4, to=5))


def test_an_event_that_is_done_is_not_done_again(archive):
    meet(archive)
    cursor, _ = accept(archive, ONE)
    archive.writer.do(lambda c: scripts.advance(c, "a.py", cursor.token, after=0, to=5, first=4))
    for number in (4, 5):
        with pytest.raises(StaleTokenError, match="is done already"):
            archive.writer.do(lambda c, number=number: scripts.advance(c, "a.py", cursor.token, after=0, to=number))


def test_events_done_out_of_order_are_remembered_until_passed(archive):
    meet(archive)
    cursor, _ = accept(archive, TWO)
    archive.writer.do(lambda c: scripts.finish_out_of_order(c, "a.py", cursor.token, 7))
    with archive.read() as connection:
        assert scripts.get_cursor(connection, "a.py").finished == ((7, 7),)
    archive.writer.do(lambda c: scripts.advance(c, "a.py", cursor.token, after=0, to=8))
    with archive.read() as connection:
        assert scripts.get_cursor(connection, "a.py").finished == ()


def test_the_source_of_every_version_that_ran_is_kept(archive):
    meet(archive)
    accept(archive, ONE)
    accept(archive, TWO)
    with archive.read() as connection:
        assert scripts.get_version(connection, "a.py", "h1") == ONE
        assert scripts.get_version(connection, "a.py", "h2") == TWO


def test_an_absent_script_is_forgotten_in_time_and_then_starts_at_now(archive):
    meet(archive)
    accept(archive, ONE)
    archive.writer.do(lambda c: scripts.vanish(c, "a.py", 10.0))
    assert archive.writer.do(lambda c: scripts.forget_absent(c, absent_before=10.0)) == []
    assert archive.writer.do(lambda c: scripts.forget_absent(c, absent_before=11.0)) == ["a.py"]
    arrive(archive)
    assert meet(archive)
    with archive.read() as connection:
        assert (
            scripts.get_cursor(connection, "a.py").low_water == 5
        )  # `start`, the arrival, and the patient, study and series that began


def test_a_refused_edit_leaves_the_running_version(archive):
    meet(archive)
    accept(archive, ONE)
    archive.writer.do(lambda c: scripts.refuse(c, "a.py", "line 1: no"))
    with archive.read() as connection:
        script = scripts.find(connection, "a.py")
    assert (script.state, script.version, script.error) == ("running", "h1", "line 1: no")


def test_why_an_edit_was_refused_stays_noted_until_it_is_taken_back(archive):
    meet(archive)
    accept(archive, ONE)
    archive.writer.do(lambda c: scripts.refuse(c, "a.py", "line 1: no"))
    _, is_new = accept(archive, ONE)  # the last good version goes on, after a restart
    assert not is_new
    with archive.read() as connection:
        assert scripts.find(connection, "a.py").error == "line 1: no"
    archive.writer.do(lambda c: scripts.refuse(c, "a.py", None))
    with archive.read() as connection:
        script = scripts.find(connection, "a.py")
    assert (script.state, script.error) == ("running", None)


@pytest.mark.parametrize("goes_on", [True, False])
def test_a_script_that_returns_broken_is_broken_and_not_absent(archive, goes_on):
    meet(archive)
    accept(archive, ONE)
    archive.writer.do(lambda c: scripts.vanish(c, "a.py", 2.0))
    archive.writer.do(lambda c: scripts.refuse(c, "a.py", "line 1: no", goes_on=goes_on))
    with archive.read() as connection:
        script = scripts.find(connection, "a.py")
    assert (script.state, script.absent_since) == ("broken", None)
    _, is_new = accept(archive, ONE)
    assert is_new
