import pytest

from hostd.archive.archive import Archive
from hostd.testing.clock import ManualClock


@pytest.fixture
def clock():
    return ManualClock()


@pytest.fixture
def archive(place, clock):
    opened = Archive(place, "node", clock)
    yield opened
    opened.close()
