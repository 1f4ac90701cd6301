"""What all tests share. Its folder is on the path, for `ports`."""

import shutil

import pytest
import structlog

from hostd.archive.archive import INDEX, Archive
from hostd.testing.clock import ManualClock


@pytest.fixture(autouse=True)
def _short_tracebacks():
    """Without it structlog draws every traceback with all its variables, which takes longer than the tests."""
    structlog.configure(
        processors=[
            structlog.contextvars.merge_contextvars,
            structlog.processors.add_log_level,
            structlog.processors.StackInfoRenderer(),
            structlog.dev.set_exc_info,
            structlog.processors.TimeStamper(fmt="%Y-%m-%d %H:%M:%S", utc=False),
            structlog.dev.ConsoleRenderer(exception_formatter=structlog.dev.plain_traceback),
        ]
    )
    yield
    structlog.reset_defaults()


@pytest.fixture(scope="session")
def _index_with_tables(tmp_path_factory):
    folder = tmp_path_factory.mktemp("template")
    Archive(folder, "node", ManualClock()).close()
    return folder / INDEX


@pytest.fixture
def prepared(_index_with_tables):
    """Put an index that has its tables already into a folder, and return the folder: making them takes longer than most tests."""

    def prepare(folder):
        shutil.copy(_index_with_tables, folder / INDEX)
        return folder

    return prepare
