"""A node to which nothing happens sleeps: whoever changes something rings, and nobody looks more often than every few seconds."""

import selectors
import subprocess
import sys
import threading
import time

import pytest

from hostd.archive import schedules
from hostd.archive.archive import Archive
from hostd.archive.quieting import TOPIC as STABLE
from hostd.clock import SystemClock
from hostd.config.settings import Settings
from hostd.jobs.deleting import Deleting
from hostd.jobs.quiet import QuietTime
from hostd.jobs.schedules import Schedules
from hostd.jobs.timetable import Timetable
from hostd.node import Node

LEAST_S = 5.0
PATIENCE_S = 60.0
SCRIPT = """
def on_stored_instance(instance, host):
    host.log(instance.id)

@every(hours=6)
def sweep(host):
    host.log("swept")
"""


@pytest.fixture
def asked(monkeypatch):
    """Return for how long each thread that waits now has asked to wait, by its name."""
    found = {}

    def noting(wait):
        def noted(self, timeout=None):
            name = threading.current_thread().name
            found[name] = timeout
            try:
                return wait(self, timeout)
            finally:
                found.pop(name, None)

        return noted

    monkeypatch.setattr(threading.Condition, "wait", noting(threading.Condition.wait))
    monkeypatch.setattr(selectors.DefaultSelector, "select", noting(selectors.DefaultSelector.select))
    return found


def until(condition):
    ends = time.monotonic() + PATIENCE_S
    while not (found := condition()) and time.monotonic() < ends:
        time.sleep(0.01)
    return found


def is_asleep(asked, jobs):
    return jobs <= asked.keys() and not restless(asked)


def restless(asked):
    return {name: seconds for name, seconds in asked.items() if seconds is not None and seconds < LEAST_S}


def test_no_thread_of_an_idle_node_asks_to_wait_for_less_than_five_seconds(tmp_path, asked):
    (tmp_path / "scripts").mkdir(mode=0o755)
    (tmp_path / "scripts" / "a.py").write_text(SCRIPT)
    node = Node(
        Settings(
            node={"name": "n", "data": tmp_path / "data", "scripts": tmp_path / "scripts"},
            dicom={"port": 0},
            http={"port": 0},
            modalities={"archive": {"aet": "A", "host": "127.0.0.1", "port": 9}},
            targets={"web": {"url": "http://127.0.0.1:9/"}},
        )
    )
    node.start()
    try:
        jobs = {"http", "schedules", "deleting", "quiet time", "housekeeping", "index-watcher", "script-folder"}
        with node.archive.read() as connection:
            assert schedules.next_due(connection) is not None, "the script is loaded, and has a schedule"
        assert until(lambda: is_asleep(dict(asked), jobs)), (jobs - asked.keys(), restless(dict(asked)))
    finally:
        node.stop()


@pytest.fixture
def archive(tmp_path):
    (tmp_path / "data").mkdir(mode=0o700)
    opened = Archive(tmp_path / "data", "n", SystemClock())
    yield opened
    opened.close()


@pytest.mark.parametrize(
    ("job", "topic", "name"),
    [
        (lambda archive: Schedules(archive, Timetable()), schedules.TOPIC, "schedules"),
        (lambda archive: QuietTime(archive, shortest_s=lambda: 60.0), STABLE, "quiet time"),
        (Deleting, "event", "deleting"),
    ],
)
def test_a_job_that_sleeps_looks_when_it_is_rung_and_ends_at_once(
    tmp_path, archive, monkeypatch, asked, job, topic, name
):
    looks = []
    reads = archive.read
    monkeypatch.setattr(archive, "read", lambda: (looks.append(threading.current_thread().name), reads())[1])
    sleeper = job(archive)
    sleeper.start()
    assert until(lambda: looks and asked.get(name, 0) >= LEAST_S)
    before = len(looks)
    archive.bulletin.ring(topic)
    assert until(lambda: len(looks) > before)
    began = time.monotonic()
    sleeper.stop()
    assert time.monotonic() - began < 25, "it sleeps for 30 s by itself"


def test_a_command_loads_only_what_it_needs_and_a_node_its_http_face_after_the_rest():
    code = """
import sys
from hostd.cli import build
build("run")
assert not [one for one in sys.modules if one.startswith("hostd.cli.") and one.split(".")[2] not in
    {"run", "allocator", "config", "descriptors", "imports", "interning", "listing", "log", "signals"}], sorted(sys.modules)
import hostd.node
print(sorted({"alembic", "fastapi", "prometheus_client", "uvicorn", "hostd.web.app", "imagecodecs"} & sys.modules.keys()))
"""
    ended = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=120, check=False)
    assert ended.stdout == "[]\n", ended.stderr
