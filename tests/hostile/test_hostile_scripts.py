"""Hostile scripts on a running node: a good script beside each gets through all events, and its deliveries arrive (P6)."""

import time

import pytest
from hostile_files import good, of
from peer_kit import FORWARD, LiveNode, until

from hostd.scripting.runtime import ScriptWorker

FAIL_AT_EVENTS = {
    "loops forever": "def on_stored_instance(instance, host):\n    while True:\n        pass\n",
    "eats memory": "def on_stored_instance(instance, host):\n    kept = []\n    while True:\n        kept.append('x' * 10_000_000)\n",
    "raises always": "def on_stored_instance(instance, host):\n    raise ValueError('never')\n",
    "recurses": "def on_stored_instance(instance, host):\n    on_stored_instance(instance, host)\n",
    "opens a file": "def on_stored_instance(instance, host):\n    open('/etc/passwd').read()\n",
    "acts without end": "def on_stored_instance(instance, host):\n    while True:\n        host.transcode(instance, 'j2k')\n",
    "deletes what it may not": "def on_stored_instance(instance, host):\n    host.delete(instance)\n",
}
REFUSED_WHEN_LOADED = {
    "forks": "import os\n\ndef on_stored_instance(instance, host):\n    while True:\n        os.fork()\n",
    "opens a socket": "import socket\n\ndef on_stored_instance(instance, host):\n    socket.create_connection(('127.0.0.1', 1))\n",
    "reaches for the frame": "def on_stored_instance(instance, host):\n    host.log(host.__class__.__mro__)\n",
    "loops while it is loaded": "while True:\n    pass\n\ndef on_stored_instance(instance, host):\n    pass\n",
}
EVENTS = 3


@pytest.fixture(scope="module")
def archive(tmp_path_factory):
    made = LiveNode(tmp_path_factory.mktemp("archive") / "archive", aet="ARCHIVE")
    yield made
    made.stop()


@pytest.fixture
def beside(tmp_path, archive):
    """Start a node with a good script and one other; send it instances; return it with their SOP Instance UIDs."""
    nodes = []

    def start(hostile):
        node = LiveNode(
            tmp_path / "node",
            {"good.py": FORWARD, "hostile.py": hostile},
            f"""[modalities.archive]
aet = "ARCHIVE"
host = "127.0.0.1"
port = {archive.port}
[scripting]
attempts = 2
[scripts."hostile.py"]
time_limit_s = 0.5
memory_mb = 128
max_actions = 50
log_kb = 4
""",
        )
        nodes.append(node)
        uids = []
        for _ in range(EVENTS):
            instance = good()
            uids.append(f"1.2.3.{time.monotonic_ns()}")
            instance.SOPInstanceUID = instance.file_meta.MediaStorageSOPInstanceUID = uids[-1]
            assert node.post(of(instance)).status_code == 200
        return node, uids

    yield start
    for node in nodes:
        node.stop()


def assert_good_gets_through(node, archive, uids):
    until(lambda: len(node.deliveries(states=("delivered",))) == EVENTS, "the good script's deliveries arrive", 60)
    assert all(archive.instance(uid) is not None for uid in uids)
    assert {d.script for d in node.deliveries()} == {"good.py"}


@pytest.mark.parametrize("what", FAIL_AT_EVENTS)
def test_the_events_of_a_hostile_script_are_parked_and_the_good_one_goes_on(beside, archive, what):
    node, uids = beside(FAIL_AT_EVENTS[what])
    assert_good_gets_through(node, archive, uids)

    def runs():
        return node.query("SELECT event, outcome, error FROM run WHERE script = 'hostile.py' ORDER BY id")

    until(lambda: [run.outcome for run in runs()].count("parked") == EVENTS, "all events are parked", 60)
    found = runs()
    assert [run.outcome for run in found] == ["failed", "parked"] * EVENTS
    assert len({run.event for run in found}) == EVENTS
    assert all(run.error for run in found)
    assert len(node.instances()) == EVENTS


@pytest.mark.parametrize("what", REFUSED_WHEN_LOADED)
def test_a_script_that_is_refused_says_why_and_the_good_one_goes_on(beside, archive, what, monkeypatch):
    monkeypatch.setitem(ScriptWorker.start.__func__.__kwdefaults__, "load_time_limit_s", 3.0)  # not a setting
    node, uids = beside(REFUSED_WHEN_LOADED[what])
    assert_good_gets_through(node, archive, uids)
    ((state, error),) = until(
        lambda: node.query("SELECT state, error FROM script WHERE name = 'hostile.py' AND error IS NOT NULL"),
        "the refusal is written down",
    )
    assert state == "broken"
    assert "hostile.py" in error


def test_a_script_that_floods_its_log_is_cut_and_the_good_one_goes_on(beside, archive):
    flood = "def on_stored_instance(instance, host):\n    for n in range(20_000):\n        host.log('x' * 100)\n"
    node, uids = beside(flood)
    assert_good_gets_through(node, archive, uids)
    runs = until(
        lambda: (r := node.query("SELECT length(log) AS size FROM run WHERE script = 'hostile.py'")) and len(r) >= EVENTS and r,
        "its runs are written down", 60,
    )  # fmt: skip
    assert all(run.size < 64 << 10 for run in runs)
