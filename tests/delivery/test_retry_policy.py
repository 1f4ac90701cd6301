import pytest
from hypothesis import given
from hypothesis import strategies as st

from hostd.delivery.retry import RetryPolicy

policies = st.builds(
    lambda first, ratio, factor: RetryPolicy(first, first * ratio, factor),
    st.floats(0.01, 1e4),
    st.floats(1, 1e6),
    st.floats(1, 10),
)
fractions = st.floats(0, 1)


@given(policies, st.integers(1, 10**9), fractions)
def test_a_wait_is_never_longer_than_the_longest(policy, attempts, random):
    assert 0 <= policy.next_attempt(0, attempts, random) <= policy.max_s


@given(policies, st.integers(1, 10**6))
def test_waits_never_shrink_with_more_attempts(policy, attempts):
    assert policy.longest_wait(attempts) <= policy.longest_wait(attempts + 1)


@given(policies, st.integers(1, 1000), fractions, fractions)
def test_the_jitter_spreads_over_the_whole_wait(policy, attempts, one, other):
    low, high = sorted((one, other))
    assert policy.next_attempt(0, attempts, low) <= policy.next_attempt(0, attempts, high)
    assert policy.next_attempt(5.0, attempts, 0) == 5.0
    assert policy.next_attempt(0, attempts, 1) == policy.longest_wait(attempts)


def test_waits_double_from_the_first_up_to_the_longest():
    policy = RetryPolicy(first_s=5, max_s=60)
    assert [policy.longest_wait(n) for n in range(1, 7)] == [5, 10, 20, 40, 60, 60]


def test_a_factor_of_one_keeps_the_first_wait():
    assert RetryPolicy(5, 60, 1).longest_wait(100) == 5


@pytest.mark.parametrize("values", [(0, 10, 2), (10, 5, 2), (5, 10, 0.5)])
def test_a_policy_that_makes_no_sense_is_refused(values):
    with pytest.raises(ValueError):
        RetryPolicy(*values)
