"""A running node goes on with other destinations, tools, projects, channels, targets and retries (P5)."""

import time

import pytest
import requests
from channels_kit import HookServer
from delivery_kit import small_file
from structlog.testing import capture_logs

from hostd.archive import notices
from hostd.archive import tables as t
from hostd.config.settings import Settings
from hostd.delivery.retry import NewestPolicy, RetryPolicy
from hostd.errors import ConfigurationError
from hostd.node import Node

SCRIPT = """\
def on_stored_instance(instance, host):
    host.notify("ops", "it has arrived")
    host.post("registry", "reports", {"patient": "arrived"})
    host.forward(host.anonymize(host.run_tool("crop", instance), project="TRIAL"), to="archive")
"""


@pytest.fixture
def outside():
    with HookServer() as made:
        yield made


def settings(folder, **tables):
    (folder / "scripts").mkdir(exist_ok=True, mode=0o755)
    base = {
        "node": {"name": "n", "data": folder / "data", "scripts": folder / "scripts"},
        "dicom": {"port": 0}, "http": {"port": 0},
    }  # fmt: skip
    return Settings(**(base | tables))


def until(condition):
    ends = time.monotonic() + 60
    while not condition():
        assert time.monotonic() < ends
        time.sleep(0.02)


def test_what_scripts_name_changes_while_the_node_runs_and_the_log_names_what_does_not(tmp_path, outside):
    (tmp_path / "scripts").mkdir(mode=0o755)
    (tmp_path / "scripts" / "a.py").write_text(SCRIPT)
    url = f"http://127.0.0.1:{outside.port}/"
    node = Node(settings(tmp_path))
    node.start()
    try:
        wanted = settings(
            tmp_path, dicom={"port": 0, "aets": ["OTHER"]}, scripting={"attempts": 7, "max_hops": 3, "isolation": "best-effort"},
            delivery={"first_retry_s": 0.5, "max_retry_s": 2},
            modalities={"archive": {"aet": "A", "host": "127.0.0.1", "port": 1}},
            tools={"crop": {"command": ["/usr/bin/true", "{input}", "{output}"]}}, projects={"TRIAL": {}},
            notify={"ops": {"url": url}}, targets={"registry": {"url": url}},
            scripts={"a.py": {"may": ["anonymize", "http", "tools"], "channels": ["ops"]}},
        )  # fmt: skip
        with capture_logs() as logs:
            node.reconfigure(wanted)
        (left,) = [line["settings"] for line in logs if "next start" in line["event"]]
        assert left == ["dicom.aets", "scripting.isolation"]
        until(lambda: _warning(node) is None)
        where = f"http://127.0.0.1:{node.http.port}/instances"
        assert requests.post(where, data=small_file(), timeout=60).status_code == 200
        until(lambda: len(outside.bodies) == 2)
        assert {body.get("text", body.get("patient")) for body in outside.bodies} == {"it has arrived", "arrived"}
        with node.archive.read() as connection:
            (asked,) = connection.execute(t.delivery.select()).all()
            assert notices.configured(connection) == ["ops"]
        assert asked.destination == "modality:archive"
        assert node._retry.first_s == 0.5
        node.reconfigure(settings(tmp_path))
        assert (node._tools.all, node._editor._projects, node._targets) == ({}, {}, {})
        until(lambda: "no channel is called 'ops'" in (_warning(node) or ""))
    finally:
        node.stop()


def _warning(node):
    with node.archive.read() as connection:
        return connection.execute(t.script.select()).one().warning


FAILING = """\
def on_stored_instance(instance, host):
    raise ValueError("always")
"""


def test_how_long_and_how_much_changes_while_the_node_runs(tmp_path):
    (tmp_path / "scripts").mkdir(mode=0o755)
    (tmp_path / "scripts" / "a.py").write_text(FAILING)
    node = Node(settings(tmp_path, scripting={"attempts": 1000}, stable={"quiet_s": 3600}))
    node.start()
    try:
        where = f"http://127.0.0.1:{node.http.port}/instances"
        assert requests.post(where, data=small_file(), timeout=60).status_code == 200
        until(lambda: count(node, t.run) > 1)
        assert not parked(node)
        base = {"data": tmp_path / "data", "scripts": tmp_path / "scripts", "name": "n"}
        http = node.settings.http.model_dump(exclude_unset=True)
        with capture_logs() as logs:
            node.reconfigure(
                settings(
                    tmp_path, node={**base, "trash_days": 3, "refuse_below_mb": 7}, stable={"quiet_s": 0.01},
                    scripting={"attempts": 1, "filter_time_limit_s": 7}, jobs={"keep_days": 1},
                    http={**http, "metadata_numbers": {"Reviewer": 1024}, "check_revisions": True},
                )
            )  # fmt: skip
        assert not [line for line in logs if "next start" in line["event"]]
        until(lambda: parked(node))
        assert (node.settings.node.trash_days, node._filters.time_limit_s) == (3, 7)
        assert node._room.refuse_below_mb == 7
        assert requests.get(where.replace("instances", "system"), timeout=60).json()["CheckRevisions"] is True
        assert requests.get(where.replace("instances", "system"), timeout=60).json()["UserMetadata"] == {
            "Reviewer": 1024
        }
        assert requests.post(where, data=small_file(), timeout=60).status_code == 200
        until(lambda: "stable_study" in kinds(node))
    finally:
        node.stop()


def count(node, table):
    with node.archive.read() as connection:
        return len(connection.execute(table.select()).all())


def kinds(node):
    with node.archive.read() as connection:
        return {row.kind for row in connection.execute(t.event.select())}


def parked(node):
    with node.archive.read() as connection:
        return [row for row in connection.execute(t.run.select()) if row.outcome == "parked"]


def test_a_project_that_cannot_be_changes_nothing(tmp_path):
    node = Node(settings(tmp_path), run_scripts=False)
    node.start()
    try:
        archive = {"archive": {"aet": "A", "host": "127.0.0.1", "port": 1}}
        with pytest.raises(ConfigurationError, match="is in a sequence"):
            node.reconfigure(
                settings(
                    tmp_path, modalities=archive, projects={"T": {"keep": ["RequestAttributesSequence[0].StudyDate"]}}
                )
            )
        assert node.settings.destination_names() == ()
    finally:
        node.stop()


def test_waits_are_reckoned_by_the_newest_policy():
    policy = NewestPolicy(RetryPolicy(5, 50))
    assert (policy.first_s, policy.longest_wait(2), policy.next_attempt(100, 1, 1)) == (5, 10, 105)
    policy.use(RetryPolicy(1, 2))
    assert (policy.first_s, policy.longest_wait(9), policy.next_attempt(100, 1, 1)) == (1, 2, 101)
