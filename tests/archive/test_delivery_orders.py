"""What people decide of deliveries: recorded, only where it may be, and never at the price of what was promised (P3, P4)."""

import pytest
from waiting_kit import delete_that_waits

from hostd.archive import deliveries, delivery_orders, instances, removal
from hostd.archive import tables as t
from hostd.archive.delivery_orders import Matching, Order
from hostd.archive.records import Attempt, Blob
from hostd.delivery import faults

BOTH_DATABASES = True

ARCHIVE, BUFFER = "modality:archive", "peer:buffer"
BLOB = Blob("test/00/a", 1, "s", "1.2")


@pytest.fixture
def waiting(archive):
    """Ask for three deliveries to the archive."""

    def unit(connection):
        instances.add_blob(connection, BLOB, 1.0)
        return [ask(connection, content) for content in "abc"]

    return archive.writer.do(unit)


def ask(connection, content, destination=ARCHIVE, **more):
    number, _ = deliveries.ask(
        connection, instance=f"i{content}", sop_instance_uid=f"1.{content}", sop_class_uid="1.3", destination=destination,
        content=content, blob=BLOB.name, now=1000.0, **more,
    )  # fmt: skip
    return number


def decide(archive, verb, *numbers, why="", to=None, at=2000.0):
    return archive.writer.do(lambda c: delivery_orders.decide(c, Order(verb, "anna", why, at, to), numbers))


def settle(archive, number, outcome, answer="no"):
    def unit(connection):
        claimed = [d.id for d in deliveries.claim(connection, ARCHIVE, 7, 5000.0, 100)]
        deliveries.give_back(connection, [n for n in claimed if n != number], 7, 1000.0, None)
        assert deliveries.finish(connection, Attempt(number, 1, 1500.0, outcome, answer), 7)

    archive.writer.do(unit)


def get(archive, number):
    with archive.read() as connection:
        return deliveries.get(connection, number)


def history(archive, number):
    with archive.read() as connection:
        return [(attempt.outcome, attempt.answer) for attempt in deliveries.attempts(connection, number)]


def claimed(archive, now=5000.0):
    return archive.writer.do(lambda c: [d.id for d in deliveries.claim(c, ARCHIVE, 9, now, 100)])


def test_what_is_held_is_not_claimed_until_it_is_released(archive, waiting):
    assert decide(archive, "hold", waiting[1], why="new scanner").done == [waiting[1]]
    assert claimed(archive) == [waiting[0], waiting[2]]
    assert decide(archive, "release", waiting[1]).done == [waiting[1]]
    assert claimed(archive) == [waiting[1]]
    assert history(archive, waiting[1]) == [("held", "held by anna: new scanner"), ("released", "released by anna")]


def test_a_release_keeps_the_time_before_which_it_may_not_go(archive, waiting):
    number = archive.writer.do(lambda c: ask(c, "later", not_before=9000.0))
    decide(archive, "hold", number)
    decide(archive, "release", number)
    assert number not in claimed(archive, 8999.0)
    assert number in claimed(archive, 9001.0)


def test_what_is_being_sent_or_done_is_left_as_it_is(archive, waiting):
    settle(archive, waiting[0], "delivered")
    (sending, _) = claimed(archive)
    for verb in ("hold", "redirect", "discard", "release"):
        decided = decide(archive, verb, waiting[0], sending, to=BUFFER)
        assert decided.done == []
        assert set(decided.left) == {waiting[0], sending}
    assert (get(archive, waiting[0]).state, get(archive, sending).state) == ("delivered", "sending")
    assert decide(archive, "hold", 999).left == {999: "there is no delivery 999"}


def test_what_is_discarded_is_never_sent_and_pins_nothing(archive, waiting):
    settle(archive, waiting[0], "failed", "0xA900")
    decided = decide(archive, "discard", *waiting, why="wrong patient")
    assert decided.done == waiting
    assert claimed(archive) == []
    delivery = get(archive, waiting[0])
    assert (delivery.state, delivery.last_error, delivery.finished_at) == (
        "discarded", "discarded by anna: wrong patient", 2000.0,
    )  # fmt: skip
    assert history(archive, waiting[0])[-1] == ("discarded", "discarded by anna: wrong patient")
    archive.writer.do(lambda c: c.execute(t.blob.update().values(released=True, unpinned_at=None)))
    for now in (3000.0, 4000.0):
        gone = archive.writer.do(lambda c, now=now: removal.collect(c, now=now, trash_seconds=10))
    assert gone == [BLOB.name]


def test_what_is_held_still_pins_its_file(archive, waiting):
    decide(archive, "hold", *waiting)
    archive.writer.do(lambda c: c.execute(t.blob.update().values(released=True, unpinned_at=None)))
    for now in (3000.0, 4000.0):
        assert archive.writer.do(lambda c, now=now: removal.collect(c, now=now, trash_seconds=10)) == []


def test_a_redirected_one_goes_elsewhere_with_all_that_was_asked_of_it(archive, waiting):
    number = archive.writer.do(lambda c: ask(c, "d", priority=30, script="a.py"))
    decided = decide(archive, "redirect", number, to=BUFFER, why="archive moves")
    made = get(archive, decided.made[number])
    assert (made.destination, made.content, made.priority, made.script, made.state) == (
        BUFFER,
        "d",
        30,
        "a.py",
        "waiting",
    )
    old = get(archive, number)
    assert old.state == "discarded"
    assert old.last_error == f"to {BUFFER} as delivery {made.id}, redirected by anna: archive moves"


def test_a_redirect_to_where_it_goes_anyway_or_of_what_has_no_file_is_left(archive, waiting):
    assert "already" in decide(archive, "redirect", waiting[0], to=ARCHIVE).left[waiting[0]]
    archive.writer.do(lambda c: c.execute(t.delivery.update().values(blob="test/00/gone")))
    assert "no longer in the archive" in decide(archive, "redirect", waiting[0], to=BUFFER).left[waiting[0]]
    assert get(archive, waiting[0]).state == "waiting"


def state_of(archive, action):
    with archive.read() as connection:
        return connection.execute(t.action.select().where(t.action.c.id == action)).one()


def test_a_delete_after_delivery_does_not_follow_a_discard(archive, waiting):
    action = delete_that_waits(archive, waiting[0])
    decide(archive, "discard", waiting[0], why="x")
    row = state_of(archive, action)
    assert row.state == "held"
    assert f"delivery {waiting[0]} is discarded" in row.result["reason"]


def test_a_delete_waits_for_what_a_redirect_made(archive, waiting):
    action = delete_that_waits(archive, waiting[0])
    made = decide(archive, "redirect", waiting[0], to=BUFFER).made[waiting[0]]
    assert state_of(archive, action).state == "open"
    with archive.read() as connection:
        assert connection.execute(t.waiting_delete.select()).all() == [(action, made)]


def test_many_are_found_in_pieces_by_destination_study_and_reason(archive, waiting):
    for number, answer in zip(waiting, ["0xA900 (100%)", "0xA900 (100_)", "other"], strict=True):
        settle(archive, number, "failed", answer)

    def found(wanted, verb="retry", **more):
        with archive.read() as connection:
            return delivery_orders.matching(connection, verb, wanted, **({"above": 0} | more))

    assert found(Matching()) == waiting
    assert found(Matching(reason="0xA900")) == waiting[:2]
    assert found(Matching(reason="100%")) == waiting[:1]  # no pattern
    assert found(Matching(destination=BUFFER)) == []
    assert found(Matching(study="1.2")) == []
    assert found(Matching(), above=waiting[0], limit=1) == [waiting[1]]
    assert found(Matching(), verb="hold") == []
    assert found(Matching(), verb="discard") == waiting


def test_what_waits_is_not_retried_by_the_thousand(archive, waiting):
    with archive.read() as connection:
        assert delivery_orders.matching(connection, "retry", Matching(), above=0) == []
        assert delivery_orders.matching(connection, "retry", Matching(states=("waiting",)), above=0) == waiting


def test_a_decision_is_no_try_that_counts(archive, waiting):
    for _ in range(faults.MAX_TRIES + 1):
        decide(archive, "hold", waiting[0])
        decide(archive, "release", waiting[0])
    with archive.read() as connection:
        assert faults.tries(deliveries.attempts(connection, waiting[0])) == 0
    assert get(archive, waiting[0]).attempts == 0
