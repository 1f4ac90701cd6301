"""A whole node from a configuration of Orthanc's, and the options of `hostd run` that Orthanc has."""

import io
import json
import time
from pathlib import Path

import pytest
import requests
from pydicom import dcmread
from pydicom.data import get_testdata_file

from hostd.archive import deliveries
from hostd.archive.archive import Archive
from hostd.clock import SystemClock
from hostd.config.settings import Settings, load
from hostd.node import Node

PLACES = """
// A node on free ports.
{
  "Name": "Room 7", "DicomAet": "ROOM7", "DicomPort": 0, "HttpPort": 0,
  "StorageDirectory": "OrthancStorage",
  "AuthenticationEnabled": true, "RegisteredUsers": { "anna": "geheim" },
  "DicomModalities": { "pacs": [ "PACS", "192.0.2.1", 104 ] },
  "OrthancPeers": { "buffer": [ "http://192.0.2.2:8042/", "hostd", "geheim" ] },
  "IngestTranscoding": "1.2.840.10008.1.2.4.90"
}
"""


@pytest.fixture
def node(tmp_path):
    (tmp_path / "OrthancStorage").mkdir()
    file = tmp_path / "orthanc.json"
    file.write_text(PLACES)
    made = Node(load(file, environ={"HOSTD_DICOM__HOST": "127.0.0.1"}), run_scripts=False)
    made.start()
    yield made
    made.stop()


def test_a_node_runs_from_orthancs_configuration(node, tmp_path):
    said = node.facts().sentences()
    assert said[0] == f"node Room-7: data in {tmp_path / 'hostd-data'} (0 instances)"
    assert any(line.startswith(f"DICOM on 127.0.0.1:{node.dicom.port}") for line in said)
    assert "what arrives is brought to JPEG 2000 Lossless (1.2.840.10008.1.2.4.90)" in said

    root = f"http://127.0.0.1:{node.http.port}"
    anna = ("anna", "geheim")
    assert requests.get(f"{root}/system", timeout=60).status_code == 401
    system = requests.get(f"{root}/system", auth=anna, timeout=60).json()
    assert (system["Name"], system["DicomAet"], system["DicomPort"]) == ("Room-7", "ROOM7", node.dicom.port)
    names = {one["Destination"] for one in requests.get(f"{root}/destinations", auth=anna, timeout=60).json()}
    assert names == {"modality:pacs", "peer:buffer"}

    image = Path(str(get_testdata_file("CT_small.dcm", download=False))).read_bytes()
    assert requests.post(f"{root}/instances", image, timeout=60).status_code == 401
    wrong = requests.post(f"{root}/instances", image, auth=("anna", "falsch"), timeout=60)
    assert wrong.status_code == 401
    stored = requests.post(f"{root}/instances", image, auth=anna, timeout=60)
    assert (stored.status_code, stored.json()["Status"]) == (200, "Success")
    assert [*(tmp_path / "OrthancStorage").iterdir()] == []


def test_no_jobs_holds_what_waits_and_nothing_that_is_asked_for_later(tmp_path):
    settings = Settings(
        node={"name": "n", "data": tmp_path, "scripts": tmp_path / "scripts"},
        dicom={"enabled": False},
        http={"enabled": False},
        peers={"buffer": {"url": "http://127.0.0.1:1/"}},
    )

    def ask(connection, content):
        number, _ = deliveries.ask(
            connection, instance=content, sop_instance_uid="1.2", sop_class_uid="1.3", destination="peer:buffer", content=content,
            blob="test/00/gone", now=time.time(),
        )  # fmt: skip
        return number

    archive = Archive(tmp_path, "n", SystemClock())
    earlier = archive.writer.do(lambda connection: ask(connection, "1"))
    archive.close()
    node = Node(settings, run_scripts=False, hold_waiting=True)
    node.start()
    try:
        later = node.archive.writer.do(lambda connection: ask(connection, "2"))
        with node.archive.read() as connection:
            states = [deliveries.get(connection, number).state for number in (earlier, later)]
        assert states[0] == "held"
        assert states[1] != "held"
    finally:
        node.stop()


def _patient(number):
    image = dcmread(get_testdata_file("CT_small.dcm", download=False))
    image.PatientID = f"P{number}"
    image.StudyInstanceUID, image.SeriesInstanceUID = f"1.2.3.{number}", f"1.2.3.{number}.1"
    image.SOPInstanceUID = image.file_meta.MediaStorageSOPInstanceUID = f"1.2.3.{number}.1.1"
    written = io.BytesIO()
    image.save_as(written)
    return written.getvalue()


def _limited(tmp_path, **options):
    file = tmp_path / "orthanc.json"
    file.write_text(json.dumps({"DicomServerEnabled": False, "HttpPort": 0, "StorageDirectory": "s"} | options))
    made = Node(load(file, environ={}), run_scripts=False)
    made.start()
    return made, f"http://127.0.0.1:{made.http.port}"


@pytest.mark.parametrize(("mode", "answers", "left"), [
    ({}, [200, 200, 200], {"P2", "P3"}),
    ({"MaximumStorageMode": "Reject"}, [200, 200, 507], {"P1", "P2"}),
])  # fmt: skip
def test_what_may_be_stored_is_limited_as_orthancs_options_say_over_a_restart_too(tmp_path, mode, answers, left):
    found = []
    for number in (1, 2, 3):
        node, root = _limited(tmp_path, MaximumPatientCount=2, **mode)
        try:
            found.append(requests.post(f"{root}/instances", _patient(number), timeout=60))
            patients = requests.get(f"{root}/patients?expand", timeout=60).json()
            system = requests.get(f"{root}/system", timeout=60).json()
        finally:
            node.stop()
    assert [one.status_code for one in found] == answers
    assert {one["MainDicomTags"]["PatientID"] for one in patients} == left
    assert (system["MaximumPatientCount"], system["MaximumStorageMode"]) == (2, "Reject" if mode else "Recycle")
    if mode:
        said = found[-1].json()
        assert (said["OrthancStatus"], said["Message"]) == (19, "The file storage is full")
        assert "storage.max_patients is 2" in said["Details"]


def test_what_is_stored_is_limited_in_bytes_and_what_was_refused_is_taken_when_there_is_room(tmp_path):
    node, root = _limited(tmp_path, MaximumStorageSize=1, MaximumStorageMode="Reject")
    try:
        status, number = 200, 0
        while status == 200:
            number += 1
            status = requests.post(f"{root}/instances", _patient(number), timeout=60).status_code
        assert status == 507
        stored = int(requests.get(f"{root}/statistics", timeout=60).json()["TotalDiskSize"])
        assert (1 << 20) - len(_patient(1)) < stored <= 1 << 20
        assert len([*node.archive.blobs.names()]) == number - 1
        first = requests.get(f"{root}/patients", timeout=60).json()[0]
        requests.delete(f"{root}/patients/{first}", timeout=60).raise_for_status()
        assert requests.post(f"{root}/instances", _patient(number), timeout=60).status_code == 200
    finally:
        node.stop()
