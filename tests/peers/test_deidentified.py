"""De-identified on the way to real peers: a study stays one, also over restarts and nodes; and what fails reaches nobody, not one byte of it."""

import io
import shutil
from datetime import UTC, datetime

import pytest
import requests
from peer_kit import LiveNode, needs, sample, until
from pydicom import dcmread
from recorder import Recorder

PROJECT = """
[projects.TRIAL7]
patient_prefix = "T7-"
[scripts."trial.py"]
may = ["anonymize", "modify"]
"""
SCRIPT = {
    "trial.py": "def on_stored_instance(instance, host):\n"
    "    host.forward(host.anonymize(instance, 'TRIAL7'), to='archive')\n"
}
NAME = "Ishmael^Unmistakable"


def modality(port, name="archive"):
    return f'[modalities.{name}]\naet = "ARCHIVE"\nhost = "127.0.0.1"\nport = {port}\n'


def member(number, **keywords):
    """Return one image of a study of two series; a follow-up has another study of the same patient."""
    ds = dcmread(sample("CT_small.dcm"))
    ds.PatientName, ds.PatientID, ds.StudyDate = NAME, "PAT-4711", "20240229"
    ds.StudyInstanceUID, ds.SeriesInstanceUID = "1.2.826.0.1.77", f"1.2.826.0.1.77.{number % 2}"
    ds.SOPInstanceUID = ds.file_meta.MediaStorageSOPInstanceUID = f"1.2.826.0.1.77.5.{number}"
    for keyword, value in keywords.items():
        setattr(ds, keyword, value)
    written = io.BytesIO()
    ds.save_as(written)
    return ds, written.getvalue()


def delivered(node, number, **keywords):
    ds, content = member(number, **keywords)
    assert node.post(content).status_code == 200
    ended = node.ended(ds.SOPInstanceUID)
    assert ended.state == "delivered", ended.last_error
    return node.attempts(ended)[-1].sent_sop_instance_uid


@pytest.fixture
def recorder(request):
    def record(port):
        made = Recorder(port)
        request.addfinalizer(made.stop)
        return made

    return record


@pytest.mark.peers
@needs("storescp")
def test_a_study_arrives_as_one_study_of_nobody_and_goes_on_so_after_a_restart(request, start, tmp_path):
    scp = start.storescp("+xa")
    facts = {"scripts": SCRIPT, "more": modality(scp.port) + PROJECT}
    node = LiveNode(tmp_path / "node", **facts)
    uids = [delivered(node, number) for number in (1, 2)]
    node.stop()
    node = LiveNode(tmp_path / "node", **facts)
    request.addfinalizer(node.stop)
    uids += [delivered(node, 3), delivered(node, 4, StudyInstanceUID="1.2.826.0.1.78", StudyDate="20240307")]
    arrived = [dcmread(scp.path(uid)) for uid in uids]
    first, second, third, follow_up = arrived
    assert first.StudyInstanceUID == second.StudyInstanceUID == third.StudyInstanceUID != follow_up.StudyInstanceUID
    assert first.SeriesInstanceUID == third.SeriesInstanceUID != second.SeriesInstanceUID
    assert len({ds.PatientID for ds in arrived}) == 1
    assert first.PatientID.startswith("T7-")
    assert {ds.PatientIdentityRemoved for ds in arrived} == {"YES"}
    assert first.StudyDate == second.StudyDate != "20240229"
    was, later = (datetime.strptime(ds.StudyDate, "%Y%m%d").replace(tzinfo=UTC) for ds in (first, follow_up))
    assert (later - was).days == 7
    everything = b"".join(path.read_bytes() for path in scp.folder.iterdir())
    for word in (b"Ishmael", b"PAT-4711", b"1.2.826.0.1.77"):
        assert word not in everything


@pytest.mark.peers
@needs("storescp")
def test_another_node_on_a_copy_of_the_index_makes_the_same_of_it(request, start, tmp_path):
    scp = start.storescp("+xa")
    facts = {"scripts": SCRIPT, "more": modality(scp.port) + PROJECT}
    node = LiveNode(tmp_path / "node", **facts)
    here = delivered(node, 1)
    node.stop()
    first = dcmread(scp.path(here))
    scp.empty()
    shutil.copytree(tmp_path / "node" / "data", tmp_path / "other" / "data")
    node = LiveNode(tmp_path / "other", **facts)
    request.addfinalizer(node.stop)
    node.forget(member(1)[0].SOPInstanceUID)
    assert delivered(node, 1) == here
    again = dcmread(scp.path(here))
    for keyword in ("StudyInstanceUID", "SeriesInstanceUID", "FrameOfReferenceUID", "PatientID", "StudyDate"):
        assert again[keyword].value == first[keyword].value


@pytest.mark.peers
@needs("storescp", "Orthanc")
def test_of_a_study_that_cannot_be_deidentified_not_one_byte_reaches_any_destination(start, recorder):
    scp, orthanc = start.storescp("+xa"), start.orthanc()
    to_scp, to_orthanc = recorder(scp.port), recorder(orthanc.http_port)
    both = {
        "trial.py": SCRIPT["trial.py"]
        + "    host.forward(host.anonymize(instance, 'TRIAL7'), to='lab', syntax='j2k')\n"
    }
    lab = f'[peers.lab]\nurl = "http://127.0.0.1:{to_orthanc.port}/"\n'
    node = start.node(scripts=both, more=modality(to_scp.port) + lab + PROJECT)
    bad = [member(number, BurnedInAnnotation="YES") for number in (1, 2)]
    for _, content in bad:
        assert node.post(content).status_code == 200
    until(lambda: len(node.deliveries(states=("failed",))) == 4, "all four deliveries fail")
    failed = node.deliveries(states=("failed",))
    for delivery in failed:
        assert (
            "could not be de-identified, so nothing of it is sent: text is burned into the pixels"
            in delivery.last_error
        )
    assert list(scp.folder.iterdir()) == []
    assert orthanc.get("/instances").json() == []
    seen = to_scp.seen + to_orthanc.seen
    pixels = bad[0][0].PixelData
    assert pixels[1000:1016] not in seen
    for word in (b"Ishmael", b"PAT-4711", b"1.2.826.0.1.77"):
        assert word not in seen
    # The recorder does see what is sent: the same study without that statement arrives, pixels and all.
    assert node.post(member(3)[1]).status_code == 200
    until(lambda: len(list(scp.folder.iterdir())) == 1, "the good one arrives")
    until(lambda: pixels[1000:1016] in to_scp.seen, "its pixels are seen")
    assert b"Ishmael" not in to_scp.seen


@pytest.mark.peers
@needs("storescp")
def test_a_redacted_image_is_deidentified_and_values_that_were_set_are_shown_nowhere(start, recorder):
    scp = start.storescp("+xa")
    script = {
        "trial.py": "def on_stored_instance(instance, host):\n"
        "    blank = host.redact(instance, [(0, 0, 128, 10)])\n"
        "    named = host.modify(blank, set={'PatientID': 'SET-BY-SCRIPT'})\n"
        "    host.forward(host.anonymize(named, 'TRIAL7'), to='archive')\n"
    }
    node = start.node(scripts=script, more=modality(scp.port) + PROJECT)
    uid = delivered(node, 1, BurnedInAnnotation="YES")
    arrived = dcmread(scp.path(uid))
    assert arrived.BurnedInAnnotation == "NO"
    before = member(1)[0].pixel_array
    assert (arrived.pixel_array[10:] == before[10:]).all()
    assert len(set(arrived.pixel_array[:10].ravel().tolist())) == 1
    for path in ("/deliveries", "/explain/1.2.826.0.1.77.5.1"):
        shown = requests.get(node.url + path, timeout=60).text
        assert "modify" in shown
        assert "SET-BY-SCRIPT" not in shown
