"""How fast a destination is sent to."""

from itertools import pairwise

from hypothesis import given
from hypothesis import strategies as st

from hostd.delivery.pace import Pace


def test_instances_are_spaced_out():
    pace = Pace()
    assert pace.take(100, 4) == 0
    assert pace.take(100, 4) == 0.25
    assert pace.take(100.25, 4) == 0
    assert pace.wait_s(100.25) == 0.25


def test_bytes_are_made_up_for_after_they_went():
    pace = Pace()
    assert pace.take(0, None) == 0
    pace.sent(3000, 0, 1000)
    assert pace.wait_s(1) == 2
    assert pace.take(3, None) == 0


def test_without_a_limit_nothing_waits():
    pace = Pace()
    for _ in range(100):
        assert pace.take(5, None) == 0
        pace.sent(10**9, 5, None)


def test_a_clock_that_is_set_back_stops_nothing_for_long():
    pace = Pace()
    pace.take(1_000_000, 1)
    assert pace.take(10, 1) == 0


@given(st.lists(st.floats(0, 3), max_size=50), st.floats(0.5, 20))
def test_never_more_than_the_rate(waits, rate):
    pace, now, taken = Pace(), 0.0, []
    for wait in waits:
        now += wait
        if pace.take(now, rate) == 0:
            taken.append(now)
    assert all(later - earlier >= 1 / rate * (1 - 1e-9) for earlier, later in pairwise(taken))
