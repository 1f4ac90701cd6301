"""Storage limits, of a real Orthanc and of hostd that runs from the same options: the same patients are left after the same requests."""

import subprocess
import threading
import time

import pytest
import requests
from likeness import pair_of, stop
from peer_kit import PATIENCE_S, needs, sample
from pydicom import dcmread

pytestmark = [pytest.mark.peers, needs("Orthanc", "storescu")]

LIMITS = """
[storage]
max_patients = 3
when_full = "recycle"
"""
_APART_S = 1.1
"""Seconds between two instances: of what came within one second it is not told which came last."""


def of_patient(folder, number, uid=""):
    """Return the file of a CT image of that patient."""
    image = dcmread(sample("CT_small.dcm"))
    image.PatientID = f"P{number}"
    image.StudyInstanceUID = f"1.2.3.{number}"
    image.SeriesInstanceUID = f"1.2.3.{number}.1"
    image.SOPInstanceUID = image.file_meta.MediaStorageSOPInstanceUID = f"1.2.3.{number}.1.{uid or 1}"
    path = folder / f"{number}-{uid or 1}.dcm"
    image.save_as(path)
    return path


@pytest.fixture
def both(tmp_path):
    made = pair_of(tmp_path, more=LIMITS, orthanc={"MaximumPatientCount": 3})
    yield made
    stop(made)


def left(both):
    """Return the patients that are left in Orthanc, and in hostd."""
    found = []
    for url in both.urls:
        listed = requests.get(f"{url}/patients?expand", timeout=PATIENCE_S).json()
        found.append(sorted(one["MainDicomTags"]["PatientID"] for one in listed))
    return found


def test_the_same_patients_go_and_stay(both, tmp_path):
    folder = tmp_path
    for number in (1, 2, 3):
        both.store(of_patient(folder, number).read_bytes())
        time.sleep(_APART_S)
    patient = both.store(of_patient(folder, 1, 2).read_bytes())["ParentPatient"]  # P1 is now the newest
    time.sleep(_APART_S)
    both.store(of_patient(folder, 4).read_bytes())
    assert left(both) == [["P1", "P3", "P4"]] * 2

    both.names |= {"patient": patient, "nowhere": "0-0-0-0-0"}
    for answer in both.assert_alike("GET /patients/{patient}/protected", exactly=True):
        assert answer.text == "0"
    both.assert_alike("PUT /patients/{patient}/protected", data="1", exactly=True)
    for answer in both.assert_alike("GET /patients/{patient}/protected", exactly=True):
        assert answer.text == "1"
    both.assert_alike("GET /patients/{nowhere}/protected")
    both.assert_alike("PUT /patients/{nowhere}/protected", data="1")
    both.assert_alike("PUT /patients/{patient}/protected", data="perhaps")
    for number in (5, 6, 7):
        time.sleep(_APART_S)
        both.store(of_patient(folder, number).read_bytes())
    assert left(both) == [["P1", "P6", "P7"]] * 2

    both.assert_alike("PUT /patients/{patient}/protected", data="0", exactly=True)
    for number in (8, 9):
        time.sleep(_APART_S)
        both.store(of_patient(folder, number).read_bytes())
    assert left(both) == [["P1", "P8", "P9"]] * 2


def test_where_all_are_protected_the_same_is_refused(both, tmp_path):
    for number in (1, 2, 3):
        both.names["patient"] = both.store(of_patient(tmp_path, number).read_bytes())["ParentPatient"]
        both.assert_alike("PUT /patients/{patient}/protected", data="1", exactly=True)
    file = of_patient(tmp_path, 4)
    theirs, ours = both.ask("POST /instances", data=file.read_bytes())
    assert (theirs.status_code, ours.status_code) == (500, 507), theirs.text  # newer Orthancs answer 507, too
    assert theirs.json()["OrthancStatus"] == ours.json()["OrthancStatus"] == 19
    assert "storage.max_patients is 3" in ours.json()["Details"]
    assert left(both) == [["P1", "P2", "P3"]] * 2
    for port in (both.orthanc.dicom_port, both.node.port):
        sent = subprocess.run(
            ["storescu", "-d", "127.0.0.1", str(port), str(file)], capture_output=True, text=True, timeout=60, check=False
        )  # fmt: skip
        assert "0xa700" in sent.stdout + sent.stderr
    # What is there already is taken again, though no more is.
    assert both.store(of_patient(tmp_path, 1).read_bytes())["Status"] == "AlreadyStored"


def test_many_associations_store_beyond_the_limit_and_none_loses_what_it_was_told_is_safe(both, tmp_path):
    folders = []
    for sender in range(1, 6):
        folder = tmp_path / f"sender-{sender}"
        folder.mkdir()
        folders.append(folder)
        for number in range(1, 4):
            for uid in range(1, 4):
                of_patient(folder, sender * 10 + number, uid)
    sent = []

    def send(folder):
        sent.append(
            subprocess.run(
                ["storescu", "+sd", "127.0.0.1", str(both.node.port), str(folder)],
                capture_output=True, text=True, timeout=60, check=False,
            )
        )  # fmt: skip

    threads = [threading.Thread(target=send, args=(folder,)) for folder in folders]
    for one in threads:
        one.start()
    while any(one.is_alive() for one in threads):
        assert len(requests.get(f"{both.node.url}/patients", timeout=PATIENCE_S).json()) <= 3
    assert [one.returncode for one in sent] == [0] * 5, sent
    metrics = requests.get(f"{both.node.url}/metrics", timeout=PATIENCE_S).text
    figures = dict(line.split() for line in metrics.splitlines() if line.startswith("hostd_") and "{" not in line)
    assert float(figures["hostd_patients"]) == 3
    assert float(figures["hostd_recycled_patients_total"]) >= 12
    assert float(figures["hostd_refused_instances_total"]) == 0
    assert float(figures["hostd_recycled_instances_total"]) + float(figures["hostd_instances"]) == 45
