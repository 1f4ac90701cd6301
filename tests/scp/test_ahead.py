"""What a retrieval will send is made before its turn, several small ones at one time, and given in its order."""

import threading

import pytest

from hostd.archive.records import Delivery
from hostd.delivery.destinations import Outgoing
from hostd.errors import InstanceFault
from hostd.scp import ahead as module
from hostd.scp.ahead import Ahead, Upcoming
from hostd.transcoding.messages import MOST_AT_ONCE
from hostd.transcoding.transform import Transform

EXPLICIT, J2K = "1.2.840.10008.1.2.1", "1.2.840.10008.1.2.4.90"
TO_EXPLICIT = Transform.into(EXPLICIT, or_original=False)


class Makes:
    """Remembers what was asked for, waits where it is told, and fails as told."""

    def __init__(self):
        self.groups, self.asked, self.fails, self.fails_together = [], [], {}, None
        self.waits_at, self.may_go_on, self.is_waiting = None, threading.Event(), threading.Event()

    def obtain_ahead(self, asked):
        if self.fails_together:
            raise self.fails_together
        self.groups.append([delivery.instance for delivery, _ in asked])

    def obtain(self, delivery, transform=None):
        assert transform == TO_EXPLICIT
        self.asked.append(delivery.instance)
        if delivery.instance == self.waits_at:
            self.is_waiting.set()
            assert self.may_go_on.wait(60)
        if delivery.instance in self.fails:
            raise self.fails[delivery.instance]


@pytest.fixture
def makes():
    return Makes()


def upcoming(makes, count, *, size=1000, syntax=J2K):
    for number in range(count):
        delivery = Delivery(
            id=0, instance=f"{number}", sop_instance_uid="1.2", sop_class_uid="1.3", destination="modality:x",
            content="c", blob="b", transform="", priority=0, state="sending", attempts=0, not_before=0,
            next_attempt_at=0, last_error=None, possible_doubles=0, created_at=0, finished_at=None, script=None,
        )  # fmt: skip
        yield Upcoming(f"{number}", Outgoing(delivery, syntax, Transform(()), makes), size)


def foresee(outgoing):
    return TO_EXPLICIT if outgoing.own_syntax == J2K else None


def taken(makes, given, makers=2):
    with Ahead(given, foresee, makes, makers) as ahead:
        return [one.instance for one in ahead]


def test_each_is_given_in_its_order_when_it_has_been_made(makes):
    with Ahead(upcoming(makes, 100), foresee, makes, 2) as ahead:
        for number, one in enumerate(ahead):
            assert one.instance == f"{number}"
            assert one.instance in makes.asked
    assert len(makes.asked) == 100


def test_the_first_is_made_alone_and_those_that_follow_in_groups_that_grow(makes):
    taken(makes, upcoming(makes, 100), makers=1)
    sizes = [len(group) for group in makes.groups]
    assert makes.asked[:2] == ["0", "1"]
    assert sizes[0] == 2
    assert sizes[:-1] == sorted(sizes[:-1])
    assert max(sizes) == MOST_AT_ONCE


def test_no_group_is_stored_in_more_than_it_may_be_but_one_that_is_so_alone(makes):
    taken(makes, upcoming(makes, 40, size=module._GROUP_BYTES // 3), makers=1)
    assert {len(group) for group in makes.groups} == {2, 3}
    makes.groups.clear()
    assert len(taken(makes, upcoming(makes, 20, size=module._GROUP_BYTES + 1))) == 20
    assert not makes.groups


@pytest.mark.parametrize(("size", "most"), [(1000, module._AHEAD + MOST_AT_ONCE), (5 << 20, module._LEAST_AHEAD)])
def test_no_more_is_looked_at_ahead_than_may_be(makes, size, most):
    looked_at = []

    def looking():
        for one in upcoming(makes, 100, size=size):
            looked_at.append(one.instance)
            yield one

    with Ahead(looking(), foresee, makes, 2) as ahead:
        for given, _ in enumerate(ahead, 1):
            assert len(looked_at) - given <= most


def test_what_can_go_as_it_is_needs_nobody(makes):
    assert len(taken(makes, upcoming(makes, 30, syntax=EXPLICIT))) == 30
    assert not makes.asked


def test_what_is_gone_keeps_its_place(makes):
    given = list(upcoming(makes, 3))
    given.insert(1, Upcoming("gone", None, 0))
    assert taken(makes, iter(given)) == ["0", "gone", "1", "2"]
    assert sorted(makes.asked) == ["0", "1", "2"]


@pytest.mark.parametrize(
    "failure", [InstanceFault("broken"), OSError(28, "No space left on device"), ValueError("odd")]
)
def test_what_cannot_be_made_is_given_all_the_same_as_the_others_are(makes, failure):
    makes.fails["3"] = failure
    assert taken(makes, upcoming(makes, 20)) == [f"{number}" for number in range(20)]
    assert len(makes.asked) == 20


def test_the_first_of_a_group_does_not_wait_for_the_last(makes):
    makes.waits_at = "9"
    with Ahead(upcoming(makes, 12), foresee, makes, 2) as ahead:
        for one in ahead:
            if one.instance == "8":
                makes.may_go_on.set()
    assert len(makes.asked) == 12


def test_what_fails_as_several_is_made_one_by_one(makes):
    makes.fails_together = MemoryError()
    assert len(taken(makes, upcoming(makes, 20))) == 20
    assert len(makes.asked) == 20


def test_who_leaves_waits_for_nothing_that_is_being_made_and_nothing_more_is_begun(makes):
    makes.waits_at = "1"
    with Ahead(upcoming(makes, 100), foresee, makes, 1) as ahead:
        assert next(iter(ahead)).instance == "0"
        assert makes.is_waiting.wait(60)
    assert not makes.may_go_on.is_set(), "it was left while something was being made"
    makes.may_go_on.set()
    ahead._executor.shutdown(wait=True)
    assert makes.asked == ["0", "1"]
