from contextlib import ExitStack

import pytest
from ingest_kit import Bench, GatedPool

from hostd.archive.archive import Archive
from hostd.testing.clock import ManualClock
from hostd.transcoding.pool import CodecPool


@pytest.fixture(scope="session")
def codecs():
    pool = CodecPool(workers=3)
    yield pool
    pool.close()


@pytest.fixture
def archive(tmp_path):
    opened = Archive(tmp_path, "node", ManualClock())
    yield opened
    opened.close()


@pytest.fixture
def make(archive, codecs):
    """Make an intake that transcodes; it ends with the test."""
    with ExitStack() as stack:

        def bench(**options):
            made = Bench(archive, GatedPool(codecs), **options)
            stack.callback(lambda: made.stop())
            return made

        yield bench
