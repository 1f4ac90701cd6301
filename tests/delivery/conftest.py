import shutil

import pytest
from delivery_kit import FakeDestination, Node

from hostd.archive.archive import INDEX, Archive
from hostd.testing.clock import ManualClock


@pytest.fixture(scope="session")
def empty_index(tmp_path_factory):
    """An index that has its tables already: making them takes longer than most tests."""
    folder = tmp_path_factory.mktemp("template")
    Archive(folder, "node", ManualClock()).close()
    return folder / INDEX


@pytest.fixture
def node(tmp_path, empty_index):
    shutil.copy(empty_index, tmp_path / INDEX)
    made = Node(tmp_path)
    yield made
    made.close()


@pytest.fixture
def fake():
    made = FakeDestination()
    yield made
    made.gate.set()
