"""Orthanc commits to what it stores, by a report on an association that it opens to hostd (PS3.4 Annex J)."""

import json

import pytest
import requests
from peer_kit import needs, sample, until
from pydicom import dcmread

from hostd.archive import associations, deliveries, instances
from hostd.archive.records import Attempt, Blob

pytestmark = [pytest.mark.peers, needs("Orthanc", "storescu")]

SCRIPT = """
def on_stored_instance(instance, host):
    host.forward(instance, to="archive")
    host.delete(instance, after="committed")
"""


@pytest.fixture
def both(start):
    """A node, and an Orthanc that knows it as a modality."""
    orthanc = start.orthanc(started=False)
    node = start.node(
        scripts={"keep.py": SCRIPT},
        more=f'[modalities.archive]\naet = "ORTHANC"\nhost = "127.0.0.1"\nport = {orthanc.dicom_port}\ncommitment = true\n'
        '[scripts."keep.py"]\nmay = ["delete"]\n',
    )
    known = {"AET": "HOSTD", "Host": "127.0.0.1", "Port": node.port, "AllowStorageCommitment": True}
    orthanc.more = {"DicomModalities": {"hostd": known}}
    return node, orthanc.start()


def test_what_orthanc_has_committed_to_is_deleted_and_what_it_has_not_got_is_refused(both):
    node, orthanc = both
    assert node.storescu(sample("CT_small.dcm")).returncode == 0
    (delivery,) = until(node.deliveries, "the script asks for a delivery")
    until(lambda: node.deliveries()[0].commitment == "committed", "Orthanc commits to what it got")
    assert node.deliveries()[0].state == "delivered"
    until(lambda: not node.instances(), "the delete that waited is carried out")
    assert orthanc.holds(delivery.instance)
    with node.archive.read() as connection:
        called = {row.calling_aet for row in associations.listing(connection, failed=False, calling_aet=None, limit=10)}
    assert called == {"DCMTK", "ORTHANC"}

    def claim_to_have_sent(connection):
        now = node.archive.clock.now()  # what ended long ago, of an instance that is not there, is forgotten
        blob = Blob("hostd/00/" + "0" * 32, 1, "s", "1.2.840.10008.1.2.1")
        instances.add_blob(connection, blob, now)
        number, _ = deliveries.ask(
            connection, instance="i", sop_instance_uid="1.2.3", sop_class_uid=delivery.sop_class_uid,
            destination="modality:archive", content="c", blob=blob.name, now=now,
        )  # fmt: skip
        (claimed,) = deliveries.claim(connection, "modality:archive", 99, now, 1)
        deliveries.finish(connection, Attempt(number, 1, now, "delivered", "0x0000"), 99, commits=True)
        return claimed.id

    number = node.archive.writer.do(claim_to_have_sent, topics=("delivery",))
    until(lambda: node.deliveries("1.2.3")[0].commitment == "refused", "Orthanc says that it has it not")
    (refused,) = node.deliveries("1.2.3")
    assert refused.id == number
    assert refused.last_error == "storage commitment was refused, failure reason 0x0112"


def test_a_real_orthanc_is_promised_what_it_stored_and_told_what_is_not_there(start):
    orthanc = start.orthanc(started=False)
    node = start.node(more=f'[modalities.orthanc]\naet = "ORTHANC"\nhost = "127.0.0.1"\nport = {orthanc.dicom_port}\n')
    orthanc.more = {"DicomModalities": {"node": ["HOSTD", "127.0.0.1", node.port]}}
    orthanc.start()
    identifier = orthanc.take(sample("CT_small.dcm").read_bytes())
    assert orthanc.post("/modalities/node/store", identifier).ok
    ct = dcmread(sample("CT_small.dcm"), stop_before_pixels=True)

    def outcome(*references):
        body = json.dumps({"DicomInstances": [list(map(str, reference)) for reference in references]})
        answer = orthanc.post("/modalities/node/storage-commitment", body)
        assert answer.ok, answer.text
        path = answer.json()["Path"]
        return until(lambda: (found := orthanc.get(path).json())["Status"] != "Pending" and found, "Orthanc is told")

    said = outcome((ct.SOPClassUID, ct.SOPInstanceUID))
    assert (said["Status"], said["RemoteAET"]) == ("Success", "HOSTD")
    said = outcome((ct.SOPClassUID, ct.SOPInstanceUID), (ct.SOPClassUID, "1.2.3.4"))
    assert said["Status"] == "Failure"
    assert [one["SOPInstanceUID"] for one in said["Success"]] == [ct.SOPInstanceUID]
    assert [one["SOPInstanceUID"] for one in said["Failures"]] == ["1.2.3.4"]
    answer = requests.delete(f"{node.url}/instances/{identifier}", timeout=60)
    assert answer.status_code == 409


@pytest.fixture
def asked(start):
    """A node that may ask an Orthanc, and hold a CT image that the Orthanc has, too, and an MR image that it has not."""
    orthanc = start.orthanc(started=False)
    node = start.node(more=f'[modalities.archive]\naet = "ORTHANC"\nhost = "127.0.0.1"\nport = {orthanc.dicom_port}\n')
    known = {"AET": "HOSTD", "Host": "127.0.0.1", "Port": node.port, "AllowStorageCommitment": True}
    orthanc.more = {"DicomModalities": {"hostd": known, "itself": ["ORTHANC", "127.0.0.1", orthanc.dicom_port]}}
    orthanc.start()
    for url in (orthanc.url, node.url):
        requests.post(f"{url}/instances", sample("CT_small.dcm").read_bytes(), timeout=60).raise_for_status()
    requests.post(f"{node.url}/instances", sample("MR_small.dcm").read_bytes(), timeout=60).raise_for_status()
    return node, orthanc


def ask(url, name, **body):
    return requests.post(f"{url}/modalities/{name}/storage-commitment", json=body, timeout=60)


def reported(url, answer):
    """Wait for the report; return it."""

    def report():
        found = requests.get(f"{url}{answer.json()['Path']}", timeout=60).json()
        return found if found["Status"] != "Pending" else None

    assert answer.status_code == 200, answer.text
    return until(report, "the report comes")


def test_orthanc_is_asked_by_http_and_what_it_keeps_may_go(asked):
    node, orthanc = asked
    ct = {node.instances()[0].id, node.instances()[1].id} & set(orthanc.get("/instances").json())
    (ct,) = ct
    (mr,) = {one.id for one in node.instances()} - {ct}
    for url, name in ((node.url, "archive"), (orthanc.url, "itself")):
        answer = ask(url, name, Resources=[ct], DicomInstances=[["1.2.3", "1.2.3.999"]])
        found = reported(url, answer)
        assert (found["Status"], found["RemoteAET"]) == ("Failure", "ORTHANC")
        assert [one["SOPInstanceUID"] for one in found["Success"]] == [dcmread(sample("CT_small.dcm")).SOPInstanceUID]
        (failure,) = found["Failures"]
        assert sorted(failure) == ["Description", "FailureReason", "SOPClassUID", "SOPInstanceUID"]
        assert (failure["SOPClassUID"], failure["SOPInstanceUID"], failure["FailureReason"]) == (
            "1.2.3",
            "1.2.3.999",
            0x112,
        )
    refused = requests.post(f"{node.url}{answer.json()['Path']}/remove", timeout=60)
    assert refused.status_code == 404  # that is Orthanc's own
    failed = ask(node.url, "archive", Resources=[ct, mr])
    assert reported(node.url, failed)["Status"] == "Failure"
    refused = requests.post(f"{node.url}{failed.json()['Path']}/remove", timeout=60)
    assert (refused.status_code, refused.json()["OrthancStatus"]) == (409, 6)
    assert len(node.instances()) == 2
    kept = ask(node.url, "archive", Resources=[ct])
    assert reported(node.url, kept)["Status"] == "Success"
    assert requests.post(f"{node.url}{kept.json()['Path']}/remove", timeout=60).status_code == 200
    assert [one.id for one in node.instances()] == [mr]


def test_what_is_asked_wrongly_is_refused_as_by_orthanc(asked):
    node, orthanc = asked
    bodies = [{}, {"Resources": ["0-0"]}, {"Resources": "x"}, {"DicomInstances": [["1.2"]]}, {"DicomInstances": [{}]}]
    for body in bodies:
        ours, theirs = ask(node.url, "archive", **body), ask(orthanc.url, "itself", **body)
        assert (ours.status_code, ours.json()["OrthancStatus"]) == (
            theirs.status_code,
            theirs.json()["OrthancStatus"],
        ), body
    for url in (node.url, orthanc.url):
        assert ask(url, "nobody", DicomInstances=[]).json()["OrthancStatus"] == 7
        for method, path in (("GET", "1.2.3"), ("POST", "1.2.3/remove")):
            unknown = requests.request(method, f"{url}/storage-commitment/{path}", timeout=60)
            assert (unknown.status_code, unknown.json()["OrthancStatus"]) == (404, 7)


def test_who_cannot_be_asked_is_no_transaction(asked):
    node, orthanc = asked
    orthanc.stop()
    answer = ask(node.url, "archive", DicomInstances=[["1.2.3", "1.2.3.4"]])
    assert (answer.status_code, answer.json()["OrthancStatus"]) == (500, 9)
    assert node.query("SELECT count(*) FROM inquiry") == [(0,)]
