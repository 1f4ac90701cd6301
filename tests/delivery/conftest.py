import pytest
from delivery_kit import FakeDestination, Node


@pytest.fixture
def node(place):
    made = Node(place)
    yield made
    made.close()


@pytest.fixture
def fake():
    made = FakeDestination()
    yield made
    made.gate.set()
