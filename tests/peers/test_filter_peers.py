"""Filters between DCMTK's storescu and a whole node: what the sender is told, and what is left of it."""

import os
import signal
import threading

import pytest
from peer_kit import LiveNode, needs, sample, until
from pydicom import dcmread

from hostd.archive import associations, history
from hostd.archive import tables as t
from hostd.scripting.filter_workers import FilterWorkers

pytestmark = [pytest.mark.peers, needs("storescu")]

SCRIPT = """
def filter_received_instance(instance, host):
    wish = instance.patient_id
    if wish == "discard":
        return host.discard("not ours")
    if wish == "refuse":
        return host.refuse(0xA700, "come back later")
    if wish == "never":
        return host.refuse(0xC123, "never")
    if wish == "error":
        raise ValueError("no")
    while wish in ("slow", "killed"):
        pass
    return host.accept(set={"PatientID": wish + "-1", "InstitutionName": "A"})
"""
SECOND = """
def filter_received_instance(instance, host):
    return host.accept(set={"PatientID": instance.patient_id + "-2"}, remove=["StationName"])
"""
MAY = '[scripts."a.py"]\nmay = ["filters"]\n[scripts."b.py"]\nmay = ["filters"]\n'
LIMITS = "[scripting]\nfilter_workers = 1\nfilter_time_limit_s = 3\n"


@pytest.fixture(autouse=True)
def _patience_with_filters(monkeypatch):
    """A worker that is lost is not replaced in 5 s on a busy machine."""
    monkeypatch.setattr(FilterWorkers.take, "__defaults__", (60.0,))


@pytest.fixture(scope="module")
def node(tmp_path_factory):
    made = LiveNode(tmp_path_factory.mktemp("filters"), {"a.py": SCRIPT, "b.py": SECOND}, LIMITS + MAY)
    yield made
    made.stop()


@pytest.fixture
def send(node, tmp_path):
    def send(patient_id, uid):
        image = dcmread(sample("CT_small.dcm"))
        image.PatientID, image.SOPInstanceUID = patient_id, uid
        image.file_meta.MediaStorageSOPInstanceUID = uid
        image.save_as(tmp_path / "sent.dcm")
        return node.storescu(tmp_path / "sent.dcm")

    return send


def told(node, uid):
    with node.archive.read() as connection:
        found = history.named(connection, uid)
        ids = {one for ids in found.values() for one in ids}
        return [event for one in ids for event in history.of(connection, one).events]


def last_association(node):
    def ended():
        with node.archive.read() as connection:
            (row,) = associations.listing(connection, limit=1)
        return row if row.ended else None

    return until(ended, "the association has its end")


def workers(node):
    return node.node._filters._scripts["a.py"].workers._idle


def test_changes_of_two_filters_are_in_what_is_stored(node, send):
    assert send("P", "1.2.100.1").returncode == 0
    read = dcmread(node.path("1.2.100.1"))
    assert (read.PatientID, read.InstitutionName) == ("P-2", "A")
    assert "StationName" not in read
    before = read.OriginalAttributesSequence[0].ModifiedAttributesSequence[0]
    original = dcmread(sample("CT_small.dcm"))
    assert (before.PatientID, before.StationName) == ("P", original.StationName)
    assert read.PixelData == original.PixelData
    assert [event.event.kind for event in told(node, "1.2.100.1")] == ["filtered_instance", "stored_instance"]


def test_a_discard_is_success_to_the_sender_and_a_row_here(node, send):
    sent = send("discard", "1.2.100.2")
    assert sent.returncode == 0
    assert "Success" in sent.stdout + sent.stderr
    assert node.instance("1.2.100.2") is None
    (event,) = told(node, "1.2.100.2")
    assert event.event.kind == "discarded_instance"
    assert event.event.origin.calling_aet == "DCMTK"
    (action,) = [action for run in event.runs for action in run.actions if run.script == "a.py"]
    assert action.inputs == {"reason": "not ours"}


@pytest.mark.parametrize(
    ("wish", "uid", "answer"),
    [("refuse", "1.2.100.3", "Refused: OutOfResources"), ("never", "1.2.100.4", "Error: CannotUnderstand")],
)
def test_a_refusal_is_told_with_its_status_and_counted(node, send, wish, uid, answer):
    sent = send(wish, uid)
    assert answer in sent.stdout + sent.stderr
    assert node.instance(uid) is None
    assert told(node, uid) == []
    assert (last_association(node).stored, last_association(node).failed) == (0, 1)


@pytest.mark.parametrize(("wish", "uid"), [("error", "1.2.100.5"), ("slow", "1.2.100.6"), ("killed", "1.2.100.7")])
def test_what_a_filter_cannot_decide_stays_with_the_sender(node, send, wish, uid):
    (worker,) = until(lambda: workers(node), "a worker is free")

    def kill():
        until(lambda: not workers(node), "the worker is asked")
        os.kill(worker.pid, signal.SIGKILL)

    killer = threading.Thread(target=kill)
    if wish == "killed":
        killer.start()
    sent = send(wish, uid)
    if wish == "killed":
        killer.join()
    assert "Refused: OutOfResources" in sent.stdout + sent.stderr
    assert node.instance(uid) is None
    (event,) = told(node, uid)
    assert (event.event.kind, event.runs[0].outcome) == ("refused_instance", "failed")
    assert {"error": "ValueError: no", "slow": "killed after 3 s", "killed": "killed from outside"}[wish] in event.runs[
        0
    ].error
    assert last_association(node).failed == 1
    assert send("after", f"{uid}.1").returncode == 0
    assert node.instance(f"{uid}.1") is not None


def test_http_is_told_the_same(node):
    image = dcmread(sample("CT_small.dcm"))

    def post(patient_id):
        image.PatientID, image.SOPInstanceUID = patient_id, f"1.2.200.{len(patient_id)}"
        image.file_meta.MediaStorageSOPInstanceUID = image.SOPInstanceUID
        path = node.folder / "posted.dcm"
        image.save_as(path)
        return node.post(path.read_bytes())

    discarded = post("discard")
    assert (discarded.status_code, discarded.json()["Status"]) == (200, "FilteredOut")
    refused = post("refuse")
    assert (refused.status_code, refused.json()["Details"]) == (503, "filter a.py: come back later")
    assert post("never").status_code == 422
    failed = post("error")
    assert failed.status_code == 503
    assert "ValueError" not in failed.text


def test_without_scripts_what_was_filtered_is_refused(tmp_path):
    first = LiveNode(tmp_path / "node", {"a.py": SCRIPT}, LIMITS + MAY)
    until(lambda: runs(first), "the script runs")
    first.stop()
    second = LiveNode(tmp_path / "node", {}, LIMITS + MAY, run_scripts=False)
    try:
        assert "Refused: OutOfResources" in second.storescu(sample("CT_small.dcm")).stderr
        assert second.instances() == []
    finally:
        second.stop()


def runs(node):
    with node.archive.read() as connection:
        return connection.execute(t.script.select().where(t.script.c.version.is_not(None))).first()
