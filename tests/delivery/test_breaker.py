"""The breaker by itself: who may try, what opens it, what closes it."""

import pytest

from hostd.delivery.breaker import Breaker
from hostd.delivery.faults import IN_A_ROW, SCARCE_IN_A_ROW
from hostd.delivery.retry import RetryPolicy


@pytest.fixture
def breaker():
    made = Breaker(RetryPolicy(first_s=10, max_s=1000), draw=lambda: 1.0)
    made.answered()
    return made


def failed(breaker, now):
    breaker.failed("refused", now, breaker.next_probe(now))


def test_an_unknown_destination_is_tried_by_one_only_and_a_known_one_by_all():
    breaker = Breaker(RetryPolicy())
    first = breaker.admit(0)
    assert (first.is_alone, first.is_probe) == (True, False)
    assert breaker.admit(0) is None
    breaker.took()
    breaker.leave(first)
    assert [breaker.admit(0).is_alone, breaker.admit(0).is_alone] == [False, False]


def test_a_dead_destination_costs_one_probe_now_and_then(breaker):
    failed(breaker, 0)
    assert breaker.admit(9.9) is None
    assert breaker.wait_s(4) == 6
    probe = breaker.admit(10)
    assert probe.is_probe
    assert breaker.admit(10) is None
    assert breaker.wait_s(10) is None
    failed(breaker, 10)
    breaker.leave(probe)
    assert breaker.admit(29) is None
    assert breaker.admit(30).is_probe


def test_an_answer_ends_a_fault_of_the_destination(breaker):
    failed(breaker, 0)
    assert breaker.refused(1, "0xC000", 10, scarce=False) is None
    assert not breaker.health.is_failing


def test_a_probe_on_demand_is_made_at_once(breaker):
    failed(breaker, 0)
    breaker.probe_now()
    assert breaker.admit(0).is_probe


def test_too_many_refusals_in_a_row_open_it_and_only_a_delivery_closes_it(breaker):
    for number in range(IN_A_ROW):
        assert breaker.refused(number, "0xC000", 0, scarce=False) is None
    assert breaker.refused(99, "0xC000", 0, scarce=False) == 10
    assert breaker.refused(100, "0xC000", 10, scarce=False) == 30
    breaker.answered()
    assert breaker.health.is_failing
    breaker.took()
    assert not breaker.health.is_failing


def test_a_delivery_in_between_ends_the_row(breaker):
    for _ in range(3):
        for number in range(IN_A_ROW):
            assert breaker.refused(number, "0xC000", 0, scarce=False) is None
        breaker.took()


def test_different_instances_without_room_open_it_and_one_alone_does_not(breaker):
    for _ in range(IN_A_ROW):
        assert breaker.refused(1, "0xA700", 0, scarce=True) is None
    breaker.took()
    for number in range(1, SCARCE_IN_A_ROW):
        assert breaker.refused(number, "0xA700", 0, scarce=True) is None
    assert breaker.refused(SCARCE_IN_A_ROW, "0xA700", 0, scarce=True) is not None


def test_connections_that_break_one_after_another_open_it(breaker):
    assert breaker.broke("reset", 0) is None
    breaker.answered()
    assert breaker.broke("reset", 0) is None
    assert breaker.broke("reset", 0) == 10
