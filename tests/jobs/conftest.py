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
def archive(place, clock):
    opened = Archive(place, "node", clock)
    yield opened
    opened.close()
