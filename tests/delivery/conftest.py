import pytest

from delivery_kit import FakeDestination, Node


@pytest.fixture
def node(tmp_path):
    made = Node(tmp_path)
    yield made
    made.close()


@pytest.fixture
def fake():
    made = FakeDestination()
    yield made
    made.gate.set()
