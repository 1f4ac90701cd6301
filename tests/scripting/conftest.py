import pytest
from scripts_kit import Bench

from hostd.archive.archive import Archive
from hostd.scripting import folder, lane
from hostd.scripting.filter_workers import FilterWorkers
from hostd.testing.clock import ManualClock


@pytest.fixture(autouse=True)
def _patience_with_filters(monkeypatch):
    """A worker that is lost is not replaced in 5 s on a busy machine."""
    monkeypatch.setattr(FilterWorkers.take, "__defaults__", (60.0,))


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
