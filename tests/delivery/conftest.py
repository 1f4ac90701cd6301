import sys
from pathlib import Path

import pytest

sys.path.append(str(Path(__file__).parent.parent / "crash"))  # node_kit: whole nodes

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
