"""What the couriers promise, with a destination that lies, hangs, refuses and forgets."""

import threading
from collections import Counter

import pytest
from delivery_kit import ANSWERED, EXPLICIT, POLICY, FakeDestination, small_file

from hostd.archive import deletes, deliveries, leases
from hostd.delivery import lane, ledger
from hostd.delivery.couriers import unserved
from hostd.delivery.destinations import Answer
from hostd.delivery.faults import IN_A_ROW, MAX_TRIES, SCARCE_S
from hostd.delivery.retry import RetryPolicy
from hostd.errors import DestinationFault, InstanceFault, StorageError

BOTH_DATABASES = True

NAME = "modality:fake"
REFUSED = Answer("instance", "0xC000 (cannot understand)", 0xC000, EXPLICIT)
BUSY = Answer("later", "0x0110 (processing failure)", 0x0110, EXPLICIT)
FULL = Answer("later", "0xA700 (out of resources)", 0xA700, EXPLICIT)
BROKEN = Answer("later", "the connection broke", None, EXPLICIT)
LOST = Answer("later", "no answer", None, EXPLICIT, lost=True)
OVERLOADED = Answer("destination", "503 Service Unavailable", 503, EXPLICIT)


def test_what_waits_is_sent_over_one_connection_and_recorded(node, fake):
    numbers = [node.ask(NAME) for _ in range(5)]
    node.couriers(fake)
    for number in numbers:
        node.until_state(number, "delivered")
    assert fake.connections == [numbers]
    (attempt,) = node.attempts(numbers[0])
    assert (attempt.outcome, attempt.status, attempt.sent_syntax) == ("delivered", 0, EXPLICIT)
    assert attempt.seconds is not None


def test_answers_of_a_fast_peer_are_recorded_together(node, fake, monkeypatch):
    monkeypatch.setattr(lane, "_FAST_S", 60.0)
    monkeypatch.setattr(ledger, "_TOGETHER_S", 60.0)
    numbers = [node.ask(NAME) for _ in range(40)]
    records = []
    finish_all = deliveries.finish_all
    monkeypatch.setattr(deliveries, "finish_all", lambda *given: records.append(given[1]) or finish_all(*given))
    node.couriers(fake)
    for number in numbers:
        node.until_state(number, "delivered")
    assert [ending.attempt.delivery for record in records for ending in record] == numbers
    assert len(records) <= 8  # at the end of what is claimed at a time, and where as many are under way as may be
    assert {tuple(node.outcomes(number)) for number in numbers} == {("delivered",)}


def test_answers_are_recorded_together_and_each_has_its_own(node, fake, monkeypatch):
    monkeypatch.setattr(lane, "_FAST_S", 60.0)
    monkeypatch.setattr(ledger, "_TOGETHER_S", 60.0)
    instances_ = [node.receive(small_file()) for _ in range(6)]
    fake.answers = {instances_[1].sop_instance_uid: REFUSED, instances_[3].sop_instance_uid: BUSY}
    numbers = [node.ask(NAME, instance) for instance in instances_]
    node.couriers(fake)
    node.until(lambda: [node.get(n).state for n in numbers].count("delivered") == 4)
    node.until_state(numbers[1], "failed")
    node.until_state(numbers[3], "waiting")
    assert [node.outcomes(n) for n in numbers] == [
        [outcome] for outcome in ("delivered", "failed", "delivered", "waiting", "delivered", "delivered")
    ]


def test_what_is_asked_for_later_wakes_the_courier(node, fake):
    node.couriers(fake)
    node.until_state(node.ask(NAME), "delivered")
    node.until_state(node.ask(NAME), "delivered")
    assert len(fake.sent) == 2


def test_the_urgent_go_first(node, fake):
    low, normal, stat = (node.ask(NAME, priority=deliveries.PRIORITIES[p]) for p in ("low", "normal", "stat"))
    node.couriers(fake)
    node.until_state(low, "delivered")
    assert fake.connections == [[stat, normal, low]]


def test_a_delivery_for_later_waits_for_its_time(node, fake):
    later = node.ask(NAME, not_before=node.clock.now() + 100)
    node.couriers(fake)
    node.until_state(node.ask(NAME), "delivered")
    assert node.get(later).state == "waiting"
    node.advance(101)
    node.until_state(later, "delivered")


def test_a_refused_instance_fails_with_its_reason_and_blocks_nobody(node, fake):
    bad = node.receive(small_file())
    first, refused, last = node.ask(NAME), node.ask(NAME, bad), node.ask(NAME)
    fake.answers[bad.sop_instance_uid] = REFUSED
    node.couriers(fake)
    node.until_state(last, "delivered")
    assert node.get(first).state == "delivered"
    assert node.get(refused).state == "failed"
    assert "0xC000" in node.get(refused).last_error
    assert len(fake.connections) == 1


def test_a_warning_is_delivered_with_warning(node, fake):
    fake.answers[None] = Answer("warning", "0xB000 (coercion of data elements)", 0xB000, EXPLICIT)
    number = node.ask(NAME)
    node.couriers(fake)
    assert node.until_state(number, "warning").last_error.startswith("0xB000")


def test_a_dead_peer_does_not_delay_another(node, fake):
    dead, healthy = fake, FakeDestination("modality:healthy")
    dead.gate.clear()
    stuck = [node.ask(NAME) for _ in range(3)]
    asked = [node.ask("modality:healthy") for _ in range(30)]
    node.couriers(dead, healthy)
    assert dead.entered.acquire(timeout=60)
    for number in asked:
        node.until_state(number, "delivered")
    assert dead.sent == []
    assert len(healthy.sent) == 30
    assert {node.get(number).state for number in stuck} == {"sending"}
    dead.gate.set()


def test_an_unreachable_destination_holds_its_queue_and_counts_against_no_instance(node, fake):
    fake.refuses = "connection refused"
    numbers = [node.ask(NAME) for _ in range(4)]
    couriers = node.couriers(fake)
    for failures in range(1, 3 * MAX_TRIES):
        node.until(lambda n=failures: couriers.health()[NAME].failures >= n)
        node.advance(1001)
    node.until(lambda: {node.get(n).state for n in numbers} == {"waiting"})
    assert all(node.get(number).last_error == "connection refused" for number in numbers)
    assert {outcome for n in numbers for outcome in node.outcomes(n)} == {"unreached"}
    assert couriers.health()[NAME].is_failing
    fake.refuses = None
    node.advance(1001)
    for number in numbers:
        node.until_state(number, "delivered")
    node.until(lambda: not couriers.health()[NAME].is_failing)


def test_a_failing_destination_is_probed_with_one_instance_and_each_time_another(node, fake):
    fake.refuses = "connection refused"
    numbers = [node.ask(NAME) for _ in range(3)]
    couriers = node.couriers(fake)
    for failures in range(1, 4):
        node.until(lambda n=failures: couriers.health()[NAME].failures >= n)
        node.advance(1001)
    fake.wait(lambda: len(fake.connections) >= 4)
    assert fake.connections[0] == numbers
    assert all(len(probe) == 1 for probe in fake.connections[1:])
    assert len({probe[0] for probe in fake.connections[1:4]}) > 1


def test_while_the_queue_is_held_nothing_is_tried(node, fake):
    fake.refuses = "connection refused"
    number = node.ask(NAME)
    couriers = node.couriers(fake)
    node.until(lambda: couriers.health()[NAME].failures == 1)
    assert node.get(number).next_attempt_at == couriers.health()[NAME].next_probe == node.clock.now() + 10
    for _ in range(5):
        node.ask(NAME)
        node.advance(1.9)
    node.advance(0.6)
    node.until(lambda: couriers.health()[NAME].failures == 2)
    assert len(fake.connections) == 2
    assert couriers.health()[NAME].next_probe == node.clock.now() + 20


def test_a_probe_on_demand_does_not_wait_for_the_back_off(node, fake):
    fake.refuses = "connection refused"
    number = node.ask(NAME)
    couriers = node.couriers(fake)
    node.until(lambda: couriers.health()[NAME].failures >= 1)
    fake.refuses = None
    couriers.probe(NAME)
    node.until_state(number, "delivered")


def test_a_destination_that_answers_503_in_the_middle_holds_what_was_not_sent(node, fake):
    bad = node.receive(small_file())
    fake.answers[bad.sop_instance_uid] = OVERLOADED
    first, second, third = node.ask(NAME), node.ask(NAME, bad), node.ask(NAME)
    couriers = node.couriers(fake)
    node.until(lambda: couriers.health()[NAME].is_failing)
    assert node.get(first).state == "delivered"
    assert node.outcomes(second) == ["unreached"]
    assert node.outcomes(third) == []
    assert node.get(third).attempts == 0


def test_one_instance_that_always_gives_500_does_not_block_the_queue_for_ever(node, fake):
    bad = node.receive(small_file())
    fake.answers[bad.sop_instance_uid] = OVERLOADED
    poison = node.ask(NAME, bad)
    others = [node.ask(NAME) for _ in range(3)]
    node.couriers(fake)

    def advanced_until(condition):
        def look():
            node.clock.advance(200)
            node.archive.bulletin.ring("delivery")
            return condition()

        node.until(look)

    advanced_until(lambda: all(node.get(number).state == "delivered" for number in others))
    for _ in range(2 * MAX_TRIES):
        if node.get(poison).state == "failed":
            break
        other = node.ask(NAME)
        advanced_until(lambda n=other: node.get(n).state == "delivered")
        tried = len(node.outcomes(poison))
        advanced_until(lambda n=tried: len(node.outcomes(poison)) > n or node.get(poison).state == "failed")
    assert node.get(poison).state == "failed"
    assert node.outcomes(poison).count("waiting") == MAX_TRIES - 1


def test_what_the_peer_cannot_take_now_is_tried_again_and_given_up_in_the_end(node, fake):
    fake.answers[None] = BUSY
    number = node.ask(NAME)
    node.couriers(fake)
    for tries in range(1, MAX_TRIES):
        node.until(lambda n=tries: len(node.attempts(number)) >= n)
        assert node.get(number).next_attempt_at == node.clock.now() + POLICY.longest_wait(tries)
        node.advance(1001)
    given_up = node.until_state(number, "failed")
    assert node.outcomes(number) == ["waiting"] * (MAX_TRIES - 1) + ["failed"]
    assert f"given up after {MAX_TRIES} tries" in given_up.last_error
    assert "0x0110" in given_up.last_error


def test_an_instance_that_a_full_peer_has_no_room_for_is_not_given_up_overnight(node, fake):
    fake.answers[None] = FULL
    number = node.ask(NAME)
    node.couriers(fake)
    for tries in range(1, 2 * MAX_TRIES):
        node.until(lambda n=tries: len(node.attempts(number)) >= n)
        assert node.get(number).state == "waiting"
        node.advance(1001)
    node.advance(SCARCE_S)
    assert "0xA700" in node.until_state(number, "failed").last_error


def test_a_peer_whose_disk_is_full_holds_its_queue_and_fails_nothing(node, fake):
    fake.answers[None] = FULL
    numbers = [node.ask(NAME) for _ in range(30)]
    couriers = node.couriers(fake)
    for failures in range(1, 3 * MAX_TRIES):
        node.until(lambda n=failures: couriers.health()[NAME].failures >= n)
        node.advance(1001)
    node.until(lambda: couriers.health()[NAME].failures >= 3 * MAX_TRIES)
    node.until(lambda: all(node.get(number).state == "waiting" for number in numbers))
    assert max(node.outcomes(number).count("waiting") for number in numbers) == 1
    fake.answers.clear()

    def waiting():
        return [one for one in map(node.get, numbers) if one.state != "delivered"]

    def at_rest():  # a lease ends with every step of the clock, and what is being sent then is tried again later
        return all(one.state == "waiting" and one.next_attempt_at > node.clock.now() for one in waiting())

    while waiting():
        node.advance(1001)
        node.until(at_rest)
    node.until(lambda: not couriers.health()[NAME].is_failing)


def test_more_than_twenty_failures_in_a_row_hold_the_destination(node, fake):
    fake.answers[None] = REFUSED
    numbers = [node.ask(NAME) for _ in range(40)]
    couriers = node.couriers(fake)
    node.until(lambda: couriers.health()[NAME].is_failing)
    node.until(lambda: "sending" not in {node.get(number).state for number in numbers})
    assert [node.get(number).state for number in numbers].count("failed") == IN_A_ROW + 1
    node.advance(11)
    node.until(lambda: [node.get(number).state for number in numbers].count("failed") == IN_A_ROW + 2)
    node.until(lambda: couriers.health()[NAME].failures == 2)
    fake.answers.clear()
    node.advance(1001)
    node.until(lambda: [node.get(number).state for number in numbers].count("delivered") == 40 - IN_A_ROW - 2)
    node.until(lambda: not couriers.health()[NAME].is_failing)


def test_a_destination_that_is_taken_out_of_the_configuration_is_let_go_of_after_what_is_being_sent(node, fake):
    def left_s():
        with node.archive.read() as connection:
            (lease,) = [one for one in leases.listing(connection, node.clock.now()) if NAME in one.what]
        return lease.left_s

    fake.gate.clear()
    number = node.ask(NAME)
    couriers = node.couriers(fake)
    assert fake.entered.acquire(timeout=60)
    couriers.use({})
    assert left_s() > 0
    fake.gate.set()
    node.until_state(number, "delivered")
    node.until(lambda: left_s() < 0)
    couriers.use({NAME: fake})
    node.until_state(node.ask(NAME), "delivered")
    assert left_s() > 0


def test_what_may_not_have_been_sent_is_no_possible_double_after_a_crash(node, fake):
    numbers = [node.ask(NAME) for _ in range(20)]
    fake.gate.clear()
    node.couriers(fake)
    assert fake.entered.acquire(timeout=60)
    successor = FakeDestination()
    node.couriers(successor)  # as after a restart: the same node takes the lease anew
    for number in numbers:
        node.until_state(number, "delivered")
    assert [node.get(number).possible_doubles for number in numbers] == [1, 1] + [0] * 18
    assert [node.get(number).attempts for number in numbers] == [2, 2] + [1] * 18
    fake.gate.set()


def test_what_another_took_over_before_it_was_noted_as_on_its_way_is_not_sent(node, fake, monkeypatch):
    """A node that is halted for longer than its lease while it notes what is next, and then goes on."""
    numbers = [node.ask(NAME) for _ in range(20)]
    note, recovered = deliveries.note, []

    def taken_over_first(connection, claimed, token):
        if not recovered:
            recovered.append(token)
            deliveries.recover(connection, NAME, token + 1000, node.clock.now())
        return note(connection, claimed, token)

    monkeypatch.setattr(deliveries, "note", taken_over_first)
    monkeypatch.setattr(lane, "LOOK_S", 0.05)  # it has the lease again soon, for nobody really took it
    node.couriers(fake)
    for number in numbers:
        node.until_state(number, "delivered")
    assert recovered
    sent = Counter(uid for uid, _ in fake.sent)
    for number in numbers:
        times = sent[node.get(number).sop_instance_uid]
        doubtful = node.outcomes(number).count("lost")
        assert 1 <= times <= 1 + doubtful, (number, times, node.outcomes(number))


def test_a_retried_delivery_has_all_its_tries_again(node, fake):
    bad = node.receive(small_file())
    fake.answers[bad.sop_instance_uid] = REFUSED
    number = node.ask(NAME, bad)
    node.couriers(fake)
    node.until_state(number, "failed")
    fake.answers[bad.sop_instance_uid] = BUSY
    node.archive.writer.do(lambda c: deliveries.retry(c, [number], node.clock.now()), topics=("delivery",))
    node.until(lambda: node.outcomes(number) == ["failed", "waiting"])
    fake.answers.clear()
    node.advance(1001)
    node.until_state(number, "delivered")


def test_a_lost_answer_is_recorded_as_a_possible_double_and_sent_again(node, fake):
    number = node.ask(NAME)
    answers = iter([LOST, ANSWERED])
    fake.answers[None] = lambda: next(answers)
    node.couriers(fake)
    node.until(lambda: node.outcomes(number) == ["lost"])
    assert node.get(number).possible_doubles == 1
    node.advance(1001)
    node.until_state(number, "delivered")
    assert node.outcomes(number) == ["lost", "delivered"]
    assert len(fake.sent) == 2


def test_after_a_break_the_others_go_over_a_new_connection(node, fake):
    bad = node.receive(small_file())
    breaks = node.ask(NAME, bad)
    others = [node.ask(NAME) for _ in range(3)]
    fake.answers[bad.sop_instance_uid] = BROKEN
    node.couriers(fake)
    for number in others:
        node.until_state(number, "delivered")
    assert node.get(breaks).state == "waiting"
    assert fake.connections[:2] == [[breaks, *others], others]
    assert all(node.get(number).attempts == 1 for number in others)


def test_a_peer_that_breaks_every_connection_does_not_use_up_the_tries_of_all(node, fake):
    fake.answers[None] = BROKEN
    numbers = [node.ask(NAME) for _ in range(30)]
    couriers = node.couriers(fake)
    node.until(lambda: couriers.health()[NAME].is_failing)
    assert len(fake.sent) == 2
    assert sum(node.outcomes(number) == [] for number in numbers) == 28


def test_a_defect_of_a_destination_is_recorded_and_the_courier_goes_on(node, fake):
    bad = node.receive(small_file())
    fake.answers[bad.sop_instance_uid] = ZeroDivisionError("a defect")
    number, other = node.ask(NAME, bad), node.ask(NAME)
    node.couriers(fake)
    node.until_state(other, "delivered")
    assert node.get(number).state == "waiting"
    assert "ZeroDivisionError" in node.get(number).last_error
    for tries in range(1, MAX_TRIES):
        node.until(lambda n=tries: len(node.attempts(number)) >= n)
        node.advance(1001)
    node.until_state(number, "failed")


def test_a_defect_while_connecting_holds_the_queue_and_the_courier_goes_on(node, fake):
    fake.refuses = ZeroDivisionError("a defect")
    number = node.ask(NAME)
    couriers = node.couriers(fake)
    node.until(lambda: couriers.health()[NAME].is_failing)
    assert "ZeroDivisionError" in node.get(number).last_error
    fake.refuses = None
    node.advance(1001)
    node.until_state(number, "delivered")


@pytest.mark.parametrize("fault", [InstanceFault("no common syntax"), DestinationFault("went away")])
def test_a_fault_raised_while_sending_is_taken_as_it_says(node, fake, fault):
    number = node.ask(NAME)
    fake.answers[None] = fault
    node.couriers(fake)
    if isinstance(fault, InstanceFault):
        assert node.until_state(number, "failed").last_error == "no common syntax"
    else:
        node.until(lambda: node.outcomes(number) == ["unreached"])
        assert node.get(number).state == "waiting"


def test_an_instance_without_its_file_fails_and_is_not_brought_to_the_peer(node, fake):
    instance = node.receive(small_file())
    number, other = node.ask(NAME, instance), node.ask(NAME)
    node.archive.blobs.unlink(instance.blob.name)
    node.couriers(fake)
    assert "missing" in node.until_state(number, "failed").last_error
    node.until_state(other, "delivered")
    assert fake.connections == [[other]]


def test_a_transform_that_nobody_knows_fails_its_delivery_only(node, fake):
    number, other = node.ask(NAME, transform='{"verb":"paint","with":"red"}'), node.ask(NAME)
    node.couriers(fake)
    error = node.until_state(number, "failed").last_error
    assert "paint" in error
    assert "red" not in error  # what a step holds may say who somebody is
    node.until_state(other, "delivered")


def test_a_crash_between_sending_and_recording_is_a_possible_double_and_sent_again(node, fake):
    number = node.ask(NAME)
    fake.gate.clear()
    former = node.couriers(fake)
    assert fake.entered.acquire(timeout=60)
    successor = FakeDestination()
    node.couriers(successor)  # as after a restart: the same node takes the lease anew
    node.until_state(number, "delivered")
    assert node.outcomes(number) == ["lost", "delivered"]
    assert node.get(number).possible_doubles == 1
    fake.gate.set()  # the former one has its answer now, and may only note it
    node.until(lambda: "stray" in node.outcomes(number))
    assert node.get(number).state == "delivered"
    assert former.stop(10) == []


def test_a_record_that_could_not_be_written_is_a_possible_double_and_sent_again(node, fake, monkeypatch):
    number = node.ask(NAME)
    finish = deliveries.finish_all
    failures = iter([StorageError("the disk is full")])

    def fails_once(connection, endings, token):
        for failure in failures:
            raise failure
        return finish(connection, endings, token)

    monkeypatch.setattr(deliveries, "finish_all", fails_once)
    node.policy = RetryPolicy(first_s=0.01, max_s=1)
    node.couriers(fake)
    node.until_state(number, "delivered")
    assert node.outcomes(number) == ["lost", "delivered"]
    assert len(fake.sent) == 2


def test_what_was_claimed_and_could_not_be_given_back_is_sent_all_the_same(node, fake, monkeypatch):
    broke, untried = (node.ask(NAME) for _ in range(2))
    give_back = deliveries.give_back
    failures = iter([StorageError("the disk is full")])

    def fails_once(connection, claimed, *rest):
        for failure in failures:
            raise failure
        return give_back(connection, claimed, *rest)

    breaks = iter([BROKEN])
    fake.answers[None] = lambda: next(breaks, ANSWERED)
    monkeypatch.setattr(deliveries, "give_back", fails_once)
    node.policy = RetryPolicy(first_s=0.01, max_s=1)
    node.couriers(fake)
    node.until_state(untried, "delivered")
    assert next(failures, None) is None
    assert node.get(broke).state == "waiting"


def test_asked_again_after_it_was_delivered_it_is_sent_again(node, fake):
    instance = node.receive(small_file())
    node.couriers(fake)
    first = node.ask(NAME, instance)
    node.until_state(first, "delivered")
    second = node.ask(NAME, instance)
    assert second != first
    node.until_state(second, "delivered")
    assert len(fake.sent) == 2


def test_an_open_delivery_absorbs_the_same_request(node, fake):
    instance = node.receive(small_file())
    fake.gate.clear()
    number = node.ask(NAME, instance)
    node.couriers(fake)
    assert fake.entered.acquire(timeout=60)
    assert node.ask(NAME, instance) == number
    fake.gate.set()
    node.until_state(number, "delivered")
    assert len(fake.sent) == 1


def test_stopping_gives_back_what_was_not_tried(node, fake):
    numbers = [node.ask(NAME) for _ in range(4)]
    fake.gate.clear()
    couriers = node.couriers(fake)
    assert fake.entered.acquire(timeout=60)
    stopped = threading.Thread(target=couriers.stop, args=(10,))
    stopped.start()
    node.until(lambda: not couriers.health())
    fake.gate.set()
    stopped.join()
    assert [node.get(number).state for number in numbers] == ["delivered", "waiting", "waiting", "waiting"]
    assert [node.get(number).attempts for number in numbers] == [1, 0, 0, 0]


@pytest.mark.sqlite_only  # a tenth of a second of real time
def test_a_courier_that_hangs_is_named_when_its_grace_is_over(node, fake):
    node.ask(NAME)
    fake.gate.clear()
    couriers = node.couriers(fake)
    assert fake.entered.acquire(timeout=60)
    late = FakeDestination("modality:idle")
    couriers.use({NAME: fake, late.name: late})
    assert couriers.stop(0.1) == [NAME]
    fake.gate.set()
    node.until(lambda: all(not th.name.startswith("courier") for th in threading.enumerate()))


def test_destinations_come_and_go_while_it_runs(node, fake):
    couriers = node.couriers()
    number = node.ask(NAME)
    assert list(couriers.health()) == []
    couriers.use({NAME: fake})
    node.until_state(number, "delivered")
    couriers.use({})
    left = node.ask(NAME)
    changed = FakeDestination()
    couriers.use({NAME: changed})
    node.until_state(left, "delivered")
    assert len(fake.sent) + len(changed.sent) == 2


def test_deliveries_to_what_is_not_configured_stay_and_are_reported(node, fake):
    number = node.ask("peer:gone")
    node.couriers(fake)
    node.until_state(node.ask(NAME), "delivered")
    assert node.get(number).state == "waiting"
    with node.archive.read() as connection:
        assert unserved(connection, {NAME}) == {"peer:gone": 1}


# -- deletes that wait ------------------------------------------------------------------------------------------------


def test_a_delete_after_delivery_acts_when_all_is_delivered(node, fake):
    other = FakeDestination("modality:other")
    instance = node.receive(small_file())
    one, two = node.ask(NAME, instance), node.ask(other.name, instance)
    action = node.delete_after(instance, one, two)
    other.gate.clear()
    node.couriers(fake, other)
    node.until_state(one, "delivered")
    assert node.holds(instance)
    other.gate.set()
    node.until_state(two, "delivered")
    assert not node.holds(instance)
    assert node.action(action).state == "done"


def test_a_delete_whose_deliveries_end_together_acts_once(node, fake, monkeypatch):
    monkeypatch.setattr(ledger, "_TOGETHER_S", 60.0)
    settled = []
    settle = deletes.settle
    instance = node.receive(small_file())
    numbers = [node.ask(NAME, instance), node.ask(NAME)]
    action = node.delete_after(instance, *numbers)
    monkeypatch.setattr(deletes, "settle", lambda *given: settled.append(given[1]) or settle(*given))
    node.couriers(fake)
    node.until(lambda: node.action(action).state == "done")
    assert not node.holds(instance)
    assert settled == [action]


def test_a_delete_is_held_when_the_delivery_failed_and_acts_when_a_retry_succeeded(node, fake):
    instance = node.receive(small_file())
    number = node.ask(NAME, instance)
    action = node.delete_after(instance, number)
    fake.answers[None] = REFUSED
    node.couriers(fake)
    node.until_state(number, "failed")
    assert node.action(action).state == "held"
    assert node.holds(instance)
    fake.answers.clear()
    node.archive.writer.do(lambda c: deliveries.retry(c, [number], node.clock.now()), topics=("delivery",))
    node.until_state(number, "delivered")
    assert node.action(action).state == "done"
    assert not node.holds(instance)


def test_a_lost_answer_deletes_nothing(node, fake):
    instance = node.receive(small_file())
    number = node.ask(NAME, instance)
    node.delete_after(instance, number)
    fake.answers[None] = LOST
    node.couriers(fake)
    node.until(lambda: node.outcomes(number) == ["lost"])
    assert node.holds(instance)


def test_what_was_held_with_its_destination_goes_in_the_order_of_reception_after_the_probe(node, fake):
    fake.refuses = "connection refused"
    numbers = [node.ask(NAME)]
    couriers = node.couriers(fake)
    node.until(lambda: couriers.health()[NAME].failures == 1)
    numbers += [node.ask(NAME) for _ in range(3)]
    fake.refuses = None
    node.advance(11)
    node.until(lambda: all(node.get(number).state == "delivered" for number in numbers))
    (probe,), *connections = fake.connections[1:]
    assert [number for connection in connections for number in connection] == sorted({*numbers} - {probe})
