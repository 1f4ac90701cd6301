import pytest
from products_kit import store

from hostd.archive.archive import Archive
from hostd.testing.clock import ManualClock


@pytest.fixture
def archive(tmp_path, prepared):
    opened = Archive(prepared(tmp_path), "node", ManualClock())
    yield opened
    opened.close()


@pytest.fixture
def blob(archive):
    """The name of a file that is stored, in Explicit VR Little Endian."""
    return store(archive)
