"""Wiring: what a node knows of itself, and that a start either succeeds or leaves nothing."""

import socket
import subprocess
import sys
import threading
from pathlib import Path

import pytest
import requests
from structlog.testing import capture_logs

from hostd.archive.archive import Archive
from hostd.archive.records import Origin
from hostd.clock import SystemClock
from hostd.config.settings import Settings
from hostd.errors import HostdError, NodeError
from hostd.facts import Facts
from hostd.node import Node
from hostd.scripting import runtime


def settings(folder, **tables):
    (folder / "scripts").mkdir(exist_ok=True, mode=0o755)
    base = {
        "node": {"name": "n", "data": folder / "data", "scripts": folder / "scripts"},
        "dicom": {"port": 0},
        "http": {"port": 0},
    }
    return Settings(**(base | tables))


def test_a_node_starts_and_stops_and_leaves_no_thread(tmp_path):
    before = set(threading.enumerate())
    node = Node(settings(tmp_path))
    node.start()
    for where in (node.facts().dicom, node.facts().http):
        with socket.create_connection(where, 60):
            pass
    node.stop()
    left = [
        t for t in set(threading.enumerate()) - before if t.is_alive() and not t.name.startswith(("AnyIO", "asyncio"))
    ]
    assert left == []
    Archive(tmp_path / "data", "n", SystemClock()).close()  # the folder is free again


def test_a_port_that_is_taken_leaves_nothing_running(tmp_path):
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        with pytest.raises(NodeError, match=str(port)):
            Node(settings(tmp_path, http={"port": port})).start()
    Archive(tmp_path / "data", "n", SystemClock()).close()


def test_http_beyond_loopback_without_users_is_refused_before_anything_is_made(tmp_path):
    with pytest.raises(NodeError, match="user"):
        Node(settings(tmp_path, http={"port": 0, "host": "0.0.0.0"})).start()
    assert not (tmp_path / "data").exists()


def test_a_face_can_be_off(tmp_path):
    node = Node(settings(tmp_path, dicom={"enabled": False}, http={"enabled": False}))
    node.start()
    try:
        assert node.facts().dicom is None
        assert node.facts().http is None
    finally:
        node.stop()


def test_senders_are_named_by_ae_title_and_where_that_is_shared_by_address(tmp_path):
    node = Node(
        settings(
            tmp_path,
            modalities={
                "ct": {"aet": "CT", "host": "192.0.2.1", "port": 104},
                "left": {"aet": "MR", "host": "192.0.2.2", "port": 104},
                "right": {"aet": "MR", "host": "192.0.2.3", "port": 104},
            },
        )
    )
    named = [
        node._name_sender(Origin("dicom", calling_aet=aet, ip=ip))
        for aet, ip in (("CT", "192.0.2.9"), ("MR", "192.0.2.3"), ("MR", "192.0.2.9"), ("US", "192.0.2.1"))
    ]
    assert named == ["ct", "right", None, None]
    assert node._name_sender(Origin("http", ip="192.0.2.1")) is None


def test_the_start_line_says_how_to_open_each_face(tmp_path):
    facts = Facts("n", ("127.0.0.1", 104), ("0.0.0.0", 8042), tmp_path, None, 3, {})
    said = facts.sentences()
    assert said[0] == f"node n: data in {tmp_path} (3 instances)"
    assert "[dicom] host" in said[1]
    assert "[http]" not in said[2]
    assert "--no-scripts" in said[3]


def test_scripts_that_cannot_be_isolated_as_required_stop_the_start(tmp_path, monkeypatch):
    real = runtime.ScriptWorker._greet

    def without_seccomp(worker, deadline, limit_s, isolation):
        hello = worker._receive
        monkeypatch.setattr(worker, "_receive", lambda *a: _without(hello(*a)), raising=True)
        return real(worker, deadline, limit_s, isolation)

    def _without(message):
        layers = getattr(message, "layers", None)
        return type(message)(layers | {"seccomp": 0}) if layers else message

    monkeypatch.setattr(runtime.ScriptWorker, "_greet", without_seccomp)
    with pytest.raises(HostdError, match="seccomp"):
        Node(settings(tmp_path)).start()
    with pytest.raises(
        HostdError, match=r'Landlock among its security modules.*\[scripting\] isolation = "best-effort"'
    ):
        Node(settings(tmp_path)).start()
    node = Node(settings(tmp_path, scripting={"isolation": "best-effort"}))
    node.start()
    shown = requests.get(f"http://127.0.0.1:{node.http.port}/system", timeout=60).json()["HostdIsolation"]
    node.stop()
    assert (shown["seccomp"], shown["rlimits"]) == (0, 1)


def test_importing_hostd_imports_nothing_else():
    listed = subprocess.run(
        [sys.executable, "-c", "import hostd, sys; print([m for m in sys.modules if m.startswith('hostd')])"],
        capture_output=True, text=True, check=True, cwd=Path(__file__).parent.parent,
    )  # fmt: skip
    assert listed.stdout.strip() == "['hostd']"


def test_users_destinations_and_scripts_change_while_it_runs_and_the_log_names_what_does_not(tmp_path):
    node = Node(settings(tmp_path))
    node.start()
    try:
        modality = {"aet": "A", "host": "127.0.0.1", "port": 1}
        http = {"port": 0, "max_requests": 7}
        wanted = settings(tmp_path, modalities={"archive": modality}, dicom={"port": 0, "aets": ["OTHER"]}, http=http)
        with capture_logs() as logs:
            node.reconfigure(wanted)
        assert node.settings.destination_names() == ("archive",)
        assert node.settings.dicom.aets == ("HOSTD",)
        assert list(node._couriers.health()) == ["modality:archive"]
        shown = requests.get(f"http://127.0.0.1:{node.http.port}/destinations", timeout=60).json()
        assert [(one["Destination"], one["Configured"]) for one in shown] == [("modality:archive", True)]
        assert [line["settings"] for line in logs if "next start" in line["event"]] == [
            ["dicom.aets", "http.max_requests"]
        ]
        node.reconfigure(settings(tmp_path))
        assert node._couriers.health() == {}
    finally:
        node.stop()
