import sys
from pathlib import Path

import pytest

sys.path.append(str(Path(__file__).parent.parent / "intake"))  # ingest_kit: made images

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
