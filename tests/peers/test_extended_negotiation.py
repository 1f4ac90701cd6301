"""What may be negotiated of queries beyond the usual (PS3.4 §C.5.1.1), by pynetdicom as SCU of a whole node, and by HTTP."""

import io

import pytest
import requests
from peer_kit import PATIENCE_S, sample
from pydicom import dcmread
from pydicom.dataset import Dataset
from pydicom.uid import generate_uid
from pynetdicom import AE
from pynetdicom.pdu_primitives import SOPClassExtendedNegotiation

from hostd.dicom.query import PATIENT_ROOT, STUDY_ROOT
from hostd.dicom.retrieve import STUDY_ROOT_GET, STUDY_ROOT_MOVE

pytestmark = pytest.mark.peers
VERIFICATION = "1.2.840.10008.1.1"
TIMES = {"early": ("20060705", "0900"), "night": ("20060706", "0200"), "noon": ("20060706", "1200")}
KEYS = {"StudyDate": "20060705-20060707", "StudyTime": "1000-1800"}


@pytest.fixture
def node(start):
    made = start.node(dicom="always_allow_find = true")
    for name, (date, time) in TIMES.items():
        file = dcmread(sample("MR_small.dcm"))
        file.PatientID, file.StudyDate, file.StudyTime = name, date, time
        file.StudyInstanceUID, file.SeriesInstanceUID, file.SOPInstanceUID = (generate_uid() for _ in range(3))
        file.file_meta.MediaStorageSOPInstanceUID = file.SOPInstanceUID
        written = io.BytesIO()
        file.save_as(written, enforce_file_format=True)
        assert made.post(written.getvalue()).status_code == 200
    return made


def associate(node, proposed):
    """Return an association for which this was proposed of SOP classes, and what the node answered of each."""
    ae = AE("ASKER")
    ae.acse_timeout = ae.dimse_timeout = ae.network_timeout = ae.connection_timeout = PATIENCE_S
    items = []
    for sop_class, wanted in proposed.items():
        ae.add_requested_context(sop_class)
        if wanted:
            item = SOPClassExtendedNegotiation()
            item.sop_class_uid, item.service_class_application_information = sop_class, wanted
            items.append(item)
    association = ae.associate("127.0.0.1", node.port, ext_neg=items)
    assert association.is_established
    told = association.acceptor.sop_class_extended
    return association, {str(sop_class): agreed for sop_class, agreed in told.items()}


def found(association):
    asked = Dataset()
    asked.QueryRetrieveLevel, asked.PatientID = "STUDY", ""
    asked.StudyDate, asked.StudyTime = KEYS["StudyDate"], KEYS["StudyTime"]
    answers = [(status.Status, match) for status, match in association.send_c_find(asked, STUDY_ROOT)]
    association.release()
    assert answers[-1][0] == 0
    return {str(match.PatientID) for status, match in answers if status == 0xFF00}


@pytest.mark.parametrize(("wanted", "agreed", "expected"), [
    (b"", None, {"noon"}),
    (b"\0", b"\0", {"noon"}),
    (b"\1", b"\1", {"noon"}),
    (b"\1\0\1", b"\1\0\0", {"noon"}),
    (b"\1\1\1", b"\1\1\0", {"night", "noon"}),
    (b"\0\1\1\1\1", b"\0\1\0\0\0", {"night", "noon"}),
    (b"\1\1\1\1\1\1\1", b"\1\1\0\0\0", {"night", "noon"}),
    (b"\2\2", b"\0\0", {"noon"}),
])  # fmt: skip
def test_what_hostd_can_is_agreed_on_and_done_and_the_rest_is_not(node, wanted, agreed, expected):
    association, told = associate(node, {STUDY_ROOT: wanted})
    assert told.get(STUDY_ROOT) == agreed
    assert found(association) == expected


def test_each_sop_class_is_answered_for_itself(node):
    proposed = {
        STUDY_ROOT: b"\1\1\0",
        PATIENT_ROOT: b"\1",
        STUDY_ROOT_MOVE: b"\1\1",
        STUDY_ROOT_GET: b"\1",
        VERIFICATION: b"\1",
    }
    association, told = associate(node, proposed)
    association.release()
    assert told == {
        STUDY_ROOT: b"\1\1\0", PATIENT_ROOT: b"\1", STUDY_ROOT_MOVE: b"\1\0", STUDY_ROOT_GET: b"\1",
    }  # fmt: skip


def test_by_http_a_range_of_dates_and_one_of_times_are_always_one(node):
    answer = requests.get(f"{node.url}/dicom-web/studies", params=KEYS, timeout=PATIENCE_S)
    assert {one["00100020"]["Value"][0] for one in answer.json()} == {"night", "noon"}
    for name in ("TimezoneOffsetFromUTC", "00080201"):
        zoned = requests.get(f"{node.url}/dicom-web/studies", params=KEYS | {name: "+0100"}, timeout=PATIENCE_S)
        assert len(zoned.json()) == len(answer.json())
        assert "TimezoneOffsetFromUTC" in zoned.headers["warning"]
    assert "warning" not in answer.headers
    body = {"Level": "Study", "Query": KEYS, "Expand": True}
    told = requests.post(f"{node.url}/tools/find", json=body, timeout=PATIENCE_S).json()
    assert {one["PatientMainDicomTags"]["PatientID"] for one in told} == {"noon"}  # as by Orthanc
