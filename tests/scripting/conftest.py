import pytest
from scripts_kit import Bench

from hostd.archive.archive import Archive
from hostd.testing.clock import ManualClock


@pytest.fixture
def archive(tmp_path):
    data = tmp_path / "data"
    data.mkdir()
    opened = Archive(data, "node", ManualClock())
    yield opened
    opened.close()


@pytest.fixture
def bench(archive, tmp_path):
    made = Bench(archive, tmp_path / "scripts")
    yield made
    made.stop()
