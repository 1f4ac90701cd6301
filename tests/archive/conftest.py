import pytest
from whole_tables import no_table_is_read_through  # noqa: F401 - it watches all tests here

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
