import sys
from contextlib import ExitStack
from pathlib import Path

import pytest
from ingest_kit import Bench, GatedPool

from hostd.archive.archive import Archive
from hostd.testing.clock import ManualClock
from hostd.transcoding.pool import CodecPool

sys.path.append(str(Path(__file__).parent.parent / "crash"))  # node_kit: nodes that are killed


@pytest.fixture(scope="session")
def codecs():
    pool = CodecPool(workers=3)
    yield pool
    pool.close()


@pytest.fixture
def archive(tmp_path, prepared):
    opened = Archive(prepared(tmp_path), "node", ManualClock())
    yield opened
    opened.close()


@pytest.fixture
def make(archive, codecs):
    """Make an intake that transcodes; it ends with the test."""
    with ExitStack() as stack:

        def bench(**options):
            made = Bench(archive, GatedPool(codecs), **options)
            stack.callback(made.stop)
            return made

        yield bench
