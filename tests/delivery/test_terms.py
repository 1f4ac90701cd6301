"""Couriers on the terms that a destination's owner set, by turned clocks."""

import threading
from datetime import datetime

import pytest
from delivery_kit import EXPLICIT, FakeDestination, small_file

from hostd.archive import deliveries
from hostd.config.sections import Modality, Peer
from hostd.config.windows import parse
from hostd.delivery.destinations import Answer
from hostd.delivery.terms import Terms

NAME = "modality:fake"


def test_terms_are_what_the_configuration_says():
    given = Modality(
        aet="A", host="h", port=104, connections=3, instances_per_s=2, mb_per_s=1.5, window="19:00-06:00", max_age_h=2,
        accept_warnings=True, linger_s=0,
    )  # fmt: skip
    assert Terms.of(given, 100, 1.0) == Terms(
        100, 0.0, 3, 2, 1.5 * 2**20, (parse("19:00-06:00"),), 7200.0, accept_warnings=True
    )
    assert Terms.of(Peer(url="http://h/", batch=5), 100, 1.0) == Terms(batch=5, linger_s=1.0)


def test_as_many_connections_as_allowed_are_used_at_one_time_once_the_peer_has_answered(node, fake):
    node.couriers(fake, terms=Terms(batch=1, connections=3))
    node.until_state(node.ask(NAME), "delivered")
    fake.gate.clear()
    numbers = [node.ask(NAME) for _ in range(6)]
    for _ in range(4):  # the first was the one before
        assert fake.entered.acquire(timeout=60)
    assert not fake.entered.acquire(timeout=0.2)
    assert [node.get(number).state for number in numbers].count("sending") == 3
    fake.gate.set()
    for number in numbers:
        node.until_state(number, "delivered")
    assert sorted(sent for sent, _ in fake.sent[1:]) == sorted(node.get(n).sop_instance_uid for n in numbers)


def test_one_dead_peer_holds_one_courier_and_the_healthy_one_gets_everything(node, fake):
    dead, healthy = fake, FakeDestination("modality:healthy")
    dead.gate.clear()
    stuck = [node.ask(NAME) for _ in range(30)]
    asked = [node.ask(healthy.name) for _ in range(60)]
    node.couriers(dead, healthy, terms=Terms(connections=4))
    assert dead.entered.acquire(timeout=60)
    node.until(lambda: all(node.get(number).state == "delivered" for number in asked))
    assert len(healthy.sent) == 60
    assert len(dead.connections) == 1
    assert not dead.entered.acquire(blocking=False)
    states = [node.get(number).state for number in stuck]
    assert (states.count("sending"), states.count("waiting")) == (20, 10)


def test_a_dead_peer_costs_one_probe_a_wait_however_many_connections_it_may_have(node, fake):
    fake.refuses = "connection refused"
    for _ in range(10):
        node.ask(NAME)
    couriers = node.couriers(fake, terms=Terms(connections=4))
    for failures in range(1, 6):
        node.until(lambda n=failures: couriers.health()[NAME].failures >= n)
        node.advance(1001)
    node.until(lambda: couriers.health()[NAME].failures == 6)
    assert len(fake.connections) == 6


def test_what_comes_meanwhile_goes_over_the_same_connection_up_to_its_batch(node, fake):
    node.couriers(fake, terms=Terms(batch=3, linger_s=20))
    for _ in range(3):
        node.until_state(node.ask(NAME), "delivered")
    assert len(fake.connections) == 1
    node.until_state(node.ask(NAME), "delivered")
    assert len(fake.connections) == 2


def test_a_connection_that_does_not_take_an_instance_is_closed_for_another(node, fake, monkeypatch):
    monkeypatch.setattr("delivery_kit.FakeSession.takes", lambda self, outgoing: False)
    node.couriers(fake, terms=Terms(linger_s=20))
    for _ in range(2):
        node.until_state(node.ask(NAME), "delivered")
    assert len(fake.connections) == 2


def test_a_rate_is_kept_to(node, fake):
    numbers = [node.ask(NAME) for _ in range(4)]
    node.couriers(fake, terms=Terms(instances_per_s=1))
    for count in range(1, 5):
        fake.wait(lambda n=count: len(fake.sent) == n)
        node.advance(0.5)
        assert len(fake.sent) == count
        node.advance(0.5)
    for number in numbers:
        node.until_state(number, "delivered")
    assert len(fake.connections) == 1


def test_a_slow_rate_keeps_no_connection_open(node, fake):
    numbers = [node.ask(NAME) for _ in range(2)]
    node.couriers(fake, terms=Terms(instances_per_s=0.01))
    node.until_state(numbers[0], "delivered")
    node.until(lambda: node.get(numbers[1]).state == "waiting")
    assert node.get(numbers[1]).attempts == 0
    node.advance(101)
    node.until_state(numbers[1], "delivered")
    assert len(fake.connections) == 2


def test_bytes_are_limited_too(node, fake):
    size = len(small_file())
    numbers = [node.ask(NAME) for _ in range(2)]
    node.couriers(fake, terms=Terms(bytes_per_s=size / 100))
    node.until_state(numbers[0], "delivered")
    node.until(lambda: node.get(numbers[1]).state == "waiting")
    node.advance(90)
    assert len(fake.sent) == 1
    node.advance(20)
    node.until_state(numbers[1], "delivered")


def test_outside_its_window_a_destination_is_left_alone(node, fake):
    minute = datetime.fromtimestamp(node.clock.now()).astimezone()
    opens = f"{(minute.hour + 2) % 24:02}:00-{(minute.hour + 4) % 24:02}:00"
    number, other = node.ask(NAME), node.ask("modality:other")
    always = FakeDestination("modality:other")
    couriers = node.couriers(fake, always, terms=Terms(windows=(parse(opens),)))
    couriers.use({NAME: fake, always.name: always}, {NAME: Terms(windows=(parse(opens),))})
    node.until_state(other, "delivered")
    assert node.get(number).state == "waiting"
    assert fake.connections == []
    node.advance(2 * 3600)
    node.until_state(number, "delivered")
    node.advance(3 * 3600)
    late = node.ask(NAME)
    node.until_state(node.ask("modality:other"), "delivered")
    assert node.get(late).state == "waiting"


def test_what_is_too_old_is_given_up_although_the_peer_is_dead_and_a_retry_begins_anew(node, fake):
    fake.refuses = "connection refused"
    number = node.ask(NAME)
    scheduled = node.ask(NAME, not_before=node.clock.now() + 7200)
    couriers = node.couriers(fake, terms=Terms(max_age_s=3600))
    node.until(lambda: couriers.health()[NAME].is_failing)
    node.advance(3500)
    node.until(lambda: couriers.health()[NAME].failures >= 2)
    assert node.get(number).state == "waiting"
    node.advance(161)
    failed = node.until_state(number, "failed")
    assert "given up after 1 hours (max_age_h)" in failed.last_error
    assert "connection refused" in failed.last_error
    assert node.get(scheduled).state == "waiting"
    node.archive.writer.do(lambda c: deliveries.retry(c, [number], node.clock.now()), topics=("delivery",))
    node.advance(3000)
    fake.refuses = None
    couriers.probe(NAME)
    node.until_state(number, "delivered")


@pytest.mark.parametrize(("accepts", "state"), [(False, "warning"), (True, "delivered")])
def test_a_warning_is_a_delivery_only_where_the_owner_says_so(node, fake, accepts, state):
    fake.answers[None] = Answer("warning", "0xB000 (coercion of data elements)", 0xB000, EXPLICIT)
    number = node.ask(NAME)
    node.couriers(fake, terms=Terms(accept_warnings=accepts))
    node.until_state(number, state)
    assert node.outcomes(number) == ["warning"]
    assert node.get(number).last_error.startswith("0xB000")


def test_lanes_end_when_the_terms_allow_fewer(node, fake):
    couriers = node.couriers(fake, terms=Terms(connections=3))
    node.until_state(node.ask(NAME), "delivered")
    couriers.use({NAME: fake}, {NAME: Terms()})
    node.until(lambda: [t.name for t in threading.enumerate()].count(f"courier {NAME} 3") == 0)
    node.until_state(node.ask(NAME), "delivered")
