"""Couriers of several nodes on one index: one node carries to each destination, and another goes on where one is gone."""

import pytest
from delivery_kit import FakeDestination, Node

from hostd.archive import leases
from hostd.config.place import Place


@pytest.fixture
def nodes(tmp_path, postgresql_url, monkeypatch):
    monkeypatch.setattr(leases, "LOOK_S", 0.3)
    monkeypatch.setattr("hostd.delivery.lane.LOOK_S", 0.3)
    made = []

    def node(name):
        data = tmp_path / name
        data.mkdir()
        made.append(Node(Place(data, tmp_path / "blobs", postgresql_url), name))
        return made[-1]

    yield node
    for one in made:
        one.close()


def test_a_destination_is_carried_to_by_one_node_and_by_another_when_that_has_left(nodes):
    one, other = nodes("a"), nodes("b")
    at_one, at_other = FakeDestination(), FakeDestination()
    one.couriers(at_one)
    first = one.ask("modality:fake")
    one.until_state(first, "delivered")
    other.couriers(at_other)
    second = other.ask("modality:fake")
    other.until_state(second, "delivered")
    assert (len(at_one.sent), len(at_other.sent)) == (2, 0)
    one.close()
    third = other.ask("modality:fake")
    other.until_state(third, "delivered")
    assert len(at_other.sent) == 1
    one.open()


def test_a_destination_that_one_node_no_longer_has_is_carried_to_by_another_at_once(nodes, monkeypatch):
    monkeypatch.setattr("hostd.delivery.lane.LOOK_S", 600)  # it is woken, and does not wait for the lease to end
    one, other = nodes("a"), nodes("b")
    at_one, at_other = FakeDestination(), FakeDestination()
    couriers = one.couriers(at_one)
    one.until_state(one.ask("modality:fake"), "delivered")
    other.couriers(at_other)
    couriers.use({})
    other.until_state(other.ask("modality:fake"), "delivered")
    assert (len(at_one.sent), len(at_other.sent)) == (1, 1)


def test_what_a_node_sent_under_a_lost_lease_is_recorded_as_stray_and_changes_nothing(nodes):
    one, other = nodes("a"), nodes("b")
    at_one, at_other = FakeDestination(), FakeDestination()
    at_one.gate.clear()
    one.couriers(at_one)
    number, waiting = one.ask("modality:fake"), one.ask("modality:fake")
    assert at_one.entered.acquire(timeout=60)  # its node is paused here, past the end of its lease
    one.archive.writer.do(lambda c: leases.end_all(c, "a"))
    other.couriers(at_other)
    other.until_state(number, "delivered")
    other.until_state(waiting, "delivered")
    at_one.gate.set()
    other.until(lambda: "stray" in other.outcomes(number))
    assert other.get(number).state == "delivered"
    assert other.get(number).possible_doubles == 1
    assert other.outcomes(number)[:2] == ["lost", "delivered"]
    assert len(at_one.sent) == 1  # the second one was not sent: the lease is looked at before each
    assert len(at_other.sent) == 2
