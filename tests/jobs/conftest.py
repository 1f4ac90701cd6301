import pytest

from hostd.archive.archive import Archive
from hostd.testing.clock import ManualClock


@pytest.fixture
def clock():
    return ManualClock()


@pytest.fixture
def archive(tmp_path, clock, prepared):
    opened = Archive(prepared(tmp_path), "node", clock)
    yield opened
    opened.close()
