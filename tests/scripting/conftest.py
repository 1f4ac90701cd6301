import pytest
from scripts_kit import Bench

from hostd.archive.archive import Archive
from hostd.scripting import folder, lane
from hostd.testing.clock import ManualClock


@pytest.fixture
def archive(tmp_path, prepared):
    data = tmp_path / "data"
    data.mkdir()
    opened = Archive(prepared(data), "node", ManualClock())
    yield opened
    opened.close()


@pytest.fixture
def bench(archive, tmp_path, monkeypatch):
    monkeypatch.setattr(folder, "DEBOUNCE_S", 0.05)
    monkeypatch.setattr(lane, "FIRST_PAUSE_S", 0.05)
    made = Bench(archive, tmp_path / "scripts")
    yield made
    made.stop()
