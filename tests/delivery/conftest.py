import pytest
from delivery_kit import FakeDestination, Node


@pytest.fixture
def node(tmp_path, prepared):
    made = Node(prepared(tmp_path))
    yield made
    made.close()


@pytest.fixture
def fake():
    made = FakeDestination()
    yield made
    made.gate.set()
