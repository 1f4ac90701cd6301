"""What people decide about scripts while they run: rollback, release, disable, enable, deploy by hand; by rows, over restarts."""

import pytest
from scripts_kit import handler, hash_of

from hostd.archive import events, orders
from hostd.archive import tables as t
from hostd.archive.orders import OrderError
from hostd.archive.records import Cursor
from hostd.archive.scripts import KnownScript
from hostd.scripting.choosing import Choice, choose

ONE = handler("print('one')")
TWO = handler("print('two')")
THREE = handler("print('three')")
BROKEN = "import os\n"
OWN = "def on_start(host): print('start')\ndef on_stop(host): print('stop')\n"


def roll_back(bench, to=ONE, over=TWO):
    bench.decide(lambda c: orders.pin(c, "a.py", hash_of(to), over=hash_of(over)))
    bench.until_runs("a.py", to)


@pytest.fixture
def edited(bench):
    """A running script that was edited once."""
    bench.write("a.py", ONE)
    bench.start()
    bench.until_runs("a.py", ONE)
    bench.put("a.py", TWO)
    return bench


def test_after_a_rollback_the_earlier_version_runs_although_the_file_holds_the_newer(edited):
    roll_back(edited)
    edited.put("other.py", ONE)  # a look at the folder changes nothing of it
    edited.arrive()
    edited.until_passed("a.py")
    assert edited.logged("a.py") == ["one"]
    assert (edited.known("a.py").pinned, edited.known("a.py").waiting) == (hash_of(ONE), hash_of(TWO))


def test_a_rollback_survives_a_restart_and_may_be_made_while_no_node_runs(edited):
    edited.stop()
    edited.decide(lambda c: orders.pin(c, "a.py", hash_of(ONE), over=hash_of(TWO)))
    for _ in range(2):
        edited.start()
        edited.until_runs("a.py", ONE)
        edited.stop()


def test_a_pinned_script_takes_its_file_again_once_that_changes_to_something_good(edited):
    roll_back(edited)
    edited.write("a.py", BROKEN)
    edited.until(lambda: edited.known("a.py").error)
    assert edited.known("a.py").version == hash_of(ONE)
    assert edited.known("a.py").pinned == hash_of(ONE)
    edited.put("a.py", THREE)
    edited.until(lambda: edited.known("a.py").pinned is None)
    assert (edited.known("a.py").error, edited.known("a.py").waiting) == (None, None)


def test_a_release_lets_the_file_run_again(edited):
    roll_back(edited)
    edited.decide(lambda c: orders.release(c, "a.py"))
    edited.until_runs("a.py", TWO)
    edited.until(lambda: edited.known("a.py").waiting is None)


def test_the_version_before_is_what_ran_before_also_after_a_rollback(edited):
    with edited.archive.read() as connection:
        assert orders.earlier(connection, "a.py") == hash_of(ONE)
    roll_back(edited)
    with edited.archive.read() as connection:
        assert orders.earlier(connection, "a.py") == hash_of(TWO)
        told = [(one.version, one.until is None) for one in orders.periods(connection, "a.py")]
    assert told == [(hash_of(ONE), False), (hash_of(TWO), False), (hash_of(ONE), True)]


def test_a_rollback_to_what_runs_or_never_ran_is_refused(edited):
    with edited.archive.read() as connection:
        with pytest.raises(OrderError, match="is the version that runs"):
            orders.pin(connection, "a.py", hash_of(TWO), over=hash_of(TWO))
        with pytest.raises(OrderError, match="no version that ran begins with"):
            orders.version_named(connection, "a.py", "zz")
        with pytest.raises(OrderError, match=r"there are: a\.py"):
            orders.needed(connection, "b.py")


# -- disabled ---------------------------------------------------------------------------------------------------------


def is_disabled(bench):
    return bench.known("a.py").state == "disabled"


def test_a_disabled_scripts_events_wait_over_a_restart_and_each_is_seen_once_it_is_enabled(bench):
    bench.write("a.py", OWN + handler("print(instance.sop_instance_uid)"))
    bench.start()
    bench.arrive()
    bench.until_passed("a.py")
    bench.decide(lambda c: orders.disable(c, "a.py"))
    bench.until(lambda: is_disabled(bench))
    bench.arrive(2)
    bench.stop()
    bench.start()
    bench.put("other.py", ONE)
    assert bench.known("a.py").standing == "disabled"
    with bench.archive.read() as connection:
        assert orders.behind_of(connection, bench.known("a.py")) >= 2
    bench.decide(lambda c: orders.enable(c, "a.py", skip=False))
    bench.until(lambda: bench.known("a.py").state == "running")
    bench.until_passed("a.py")
    assert bench.logged("a.py") == ["start", "1.2.3.4.1", "stop", "start", "1.2.3.4.2", "1.2.3.4.3"]


def test_what_was_skipped_is_not_seen(bench):
    bench.write("a.py", handler("print(instance.sop_instance_uid)"))
    bench.start()
    bench.until(lambda: bench.known("a.py").state == "running")
    bench.decide(lambda c: orders.disable(c, "a.py"))
    bench.until(lambda: is_disabled(bench))
    bench.arrive(2)
    assert bench.decide(lambda c: orders.enable(c, "a.py", skip=True)) >= 2
    bench.until(lambda: bench.known("a.py").state == "running")
    bench.arrive()
    bench.until_passed("a.py")
    assert bench.logged("a.py") == ["1.2.3.4.3"]


def test_one_that_was_disabled_while_no_node_ran_does_not_start(bench):
    bench.write("a.py", ONE)
    bench.start()
    bench.until_runs("a.py", ONE)
    bench.stop()
    bench.decide(lambda c: orders.disable(c, "a.py"))
    assert bench.known("a.py").standing == "disabled"
    bench.start()
    bench.until(lambda: is_disabled(bench))
    bench.arrive()
    bench.put("other.py", ONE)
    assert bench.logged("a.py") == []


def test_enabling_what_is_neither_disabled_nor_parked_is_refused(bench):
    bench.write("a.py", ONE)
    bench.start()
    bench.until_runs("a.py", ONE)
    with pytest.raises(OrderError, match="neither"), bench.archive.read() as connection:
        orders.enable(connection, "a.py", skip=False)


# -- by hand ----------------------------------------------------------------------------------------------------------


@pytest.fixture
def by_hand(bench):
    bench.manual = True
    bench.write("a.py", ONE)
    bench.start()
    bench.until(lambda: bench.known("a.py") and bench.known("a.py").waiting == hash_of(ONE))
    return bench


def deploy(bench, text):
    bench.decide(lambda c: orders.approve(c, "a.py", hash_of(text)))
    bench.until_runs("a.py", text)


def test_by_hand_nothing_runs_before_it_is_deployed_and_its_events_wait(by_hand):
    assert by_hand.known("a.py").state == "expected"
    by_hand.arrive()
    deploy(by_hand, ONE)
    by_hand.until_passed("a.py")
    assert by_hand.logged("a.py") == ["one"]
    assert by_hand.known("a.py").waiting is None


def test_by_hand_an_edit_waits_over_a_restart_and_says_what_is_wrong_with_it(by_hand):
    deploy(by_hand, ONE)
    by_hand.write("a.py", BROKEN)
    by_hand.until(lambda: by_hand.known("a.py").error)
    by_hand.write("a.py", TWO)
    by_hand.until(lambda: by_hand.known("a.py").waiting == hash_of(TWO))
    assert by_hand.known("a.py").error is None
    by_hand.stop()
    by_hand.start()
    by_hand.arrive()
    by_hand.until_passed("a.py")
    deploy(by_hand, TWO)
    by_hand.arrive()
    by_hand.until_passed("a.py")
    assert by_hand.logged("a.py") == ["one", "two"]


def test_by_hand_only_the_text_that_was_deployed_is_taken(by_hand):
    deploy(by_hand, ONE)
    by_hand.write("a.py", THREE)
    by_hand.until(lambda: by_hand.known("a.py").waiting == hash_of(THREE))
    by_hand.decide(lambda c: orders.approve(c, "a.py", hash_of(TWO)))  # the file was saved again in between
    by_hand.write("other.py", ONE)
    by_hand.until(lambda: by_hand.known("other.py") and by_hand.known("other.py").waiting)
    assert by_hand.known("a.py").version == hash_of(ONE)


# -- as values --------------------------------------------------------------------------------------------------------


def known(**decided):
    return KnownScript("a.py", "old", "running", None, None, Cursor("a.py", 0, frozenset(), 1), (), **decided)


@pytest.mark.parametrize(
    ("decided", "manual", "choice"),
    [
        ({}, False, Choice(file=True)),
        ({"disabled": True, "pinned": "older"}, False, Choice()),
        ({"pinned": "older", "pinned_over": "text"}, False, Choice(stored="older", waiting="text")),
        ({"pinned": "older", "pinned_over": "other"}, False, Choice(file=True, releases=True)),
        ({"pinned": "older", "pinned_over": "other"}, True, Choice(stored="older", waiting="text")),
        ({"pinned": "text", "pinned_over": "other"}, False, Choice(file=True, releases=True)),
        ({}, True, Choice(stored="old", waiting="text")),
        ({"approved": "text"}, True, Choice(file=True)),
        ({"parked": "text"}, False, Choice()),
        ({"parked": "old"}, False, Choice(file=True)),
        ({"parked": "old"}, True, Choice(waiting="text")),
        ({"parked": "old", "pinned": "older", "pinned_over": "text"}, False, Choice(stored="older", waiting="text")),
    ],
)
def test_what_runs_is_decided_by_people_then_by_the_file(decided, manual, choice):
    assert choose(known(**decided), "text", manual=manual) == choice


def test_a_version_that_was_chosen_never_runs_twice_on_one_event(edited):
    edited.arrive()
    edited.until_passed("a.py")
    roll_back(edited)
    edited.arrive()
    edited.until_passed("a.py")
    numbers = [run.event for run in edited.rows(t.run, script="a.py")]
    assert len(numbers) == len(set(numbers)) == 2
    with edited.archive.read() as connection:
        assert all(events.get(connection, number).kind == "stored_instance" for number in numbers)
