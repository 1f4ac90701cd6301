"""What all tests share. Its folder is on the path, for `ports`, `processes` and `databases`."""

# ruff: noqa: E402 - what follows the imports of Python itself is to hold for all others
import compileall
import os
import re
import shutil
import sys
from pathlib import Path

# The suite starts hundreds of processes. Where the environment says that nobody is to keep what was compiled, each of them would
# compile hostd and its libraries anew, which takes longer than most tests; so it does not say so here.
os.environ.pop("PYTHONDONTWRITEBYTECODE", None)
sys.dont_write_bytecode = False

import hypothesis
import pytest
import structlog

import benchmarks  # noqa: F401 - it leaves pynetdicom's programs off the PATH, which have the names of DCMTK's
from hostd.archive.archive import Archive
from hostd.archive.database import INDEX
from hostd.testing.clock import ManualClock

pytest_plugins = ["databases"]

HOSTD = Path(__file__).parent.parent / "hostd"

# What decides over a change tries the same examples each time, and however long they take on a busy machine; `--hypothesis-profile
# default` tries others. What is marked `fuzz` always does.
hypothesis.settings.register_profile(
    "same", deadline=None, derandomize=True, suppress_health_check=[hypothesis.HealthCheck.too_slow]
)
hypothesis.settings.load_profile("same")


MEMORY = Path("/dev/shm")
NEEDED = 4 << 30
"""Bytes of memory that must be free for the files of the suite, which take about one GiB at its end."""


def pytest_configure(config):
    """Compile hostd once, before anything starts: the jailed workers, which write nothing, find it compiled.

    Files are in memory where that goes, since all that is kept is synced, and most tests would wait for the disk rather than for hostd.
    """
    if hasattr(config, "workerinput"):
        return
    compileall.compile_dir(HOSTD, quiet=2)
    if "not large" in config.option.markexpr and "PYTEST_DEBUG_TEMPROOT" not in os.environ and has_room_in_memory():
        os.environ["PYTEST_DEBUG_TEMPROOT"] = str(MEMORY)


@pytest.hookimpl(trylast=True)
def pytest_sessionfinish(session, exitstatus):
    """Give the memory back that the files took, unless a test failed, of which they may tell more."""
    base = session.config._tmp_path_factory._basetemp
    is_of_all = not hasattr(session.config, "workerinput")
    if is_of_all and exitstatus == pytest.ExitCode.OK and base is not None and base.is_relative_to(MEMORY):
        shutil.rmtree(base, ignore_errors=True)


def has_room_in_memory():
    """Tell whether there is a file system in memory on which programs may be run, with enough room in it and in the machine."""
    try:
        memory = os.statvfs(MEMORY)
        available = re.search(r"MemAvailable:\s+(\d+) kB", Path("/proc/meminfo").read_text())
    except OSError:
        return False
    room = min(memory.f_bavail * memory.f_frsize, int(available[1]) << 10 if available else 0)
    return room >= NEEDED and not memory.f_flag & os.ST_NOEXEC and os.access(MEMORY, os.W_OK)


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_auto_num_workers(config):
    """Have one process more than there are cores: tests wait for processes, timers and peers for a good part of their time."""
    return (os.cpu_count() or 1) + 1


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
