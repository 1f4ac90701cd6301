"""Splitting and merging studies, slices in their order, encapsulated PDFs, echoes and worklists: as a real Orthanc does them."""

import io
import json
import subprocess

import pytest
import requests
from likeness import pair_of, stop
from peer_kit import PATIENCE_S, end, needs, sample, until
from ports import free_port
from pydicom import dcmread
from pydicom.dataset import Dataset, FileDataset, FileMetaDataset
from pydicom.filewriter import dcmwrite

pytestmark = [pytest.mark.peers, needs("Orthanc")]


def slice_of(series, number, at, **elements):
    image = dcmread(sample("CT_small.dcm"))
    image.SeriesInstanceUID = f"1.2.3.{series}"
    image.SOPInstanceUID = image.file_meta.MediaStorageSOPInstanceUID = f"1.2.3.{series}.{number}"
    image.InstanceNumber = number
    image.ImagePositionPatient = [0, 0, at]
    for name, value in elements.items():
        setattr(image, name, value)
    written = io.BytesIO()
    image.save_as(written)
    return written.getvalue()


@pytest.fixture
def both(tmp_path):
    """Both with one study of two series, the slices of the second in disorder, and a study of another patient."""
    made = pair_of(tmp_path, sample("MR_small.dcm").read_bytes())
    made.names |= {"other": made.names["study"], "other-series": made.names["series"]}
    made.names["first"] = made.store(slice_of(1, 1, 0))["ParentSeries"]
    stored = [made.store(slice_of(2, number, at)) for number, at in ((1, 5), (2, 1), (3, 3))]
    made.names |= {"study": stored[0]["ParentStudy"], "second": stored[0]["ParentSeries"], "nowhere": "0-0-0-0-0"}
    yield made
    stop(made)


def ask(both, request, **body):
    """Send a request in which names stand in the body, too."""
    text = json.dumps(body)
    for name, value in both.names.items():
        text = text.replace(f"{{{name}}}", value)
    return both.assert_alike(request, data=text)


def series_of(both, study):
    """Return, of Orthanc and of hostd, how many instances each series of a study has."""
    found = []
    for url in both.urls:
        series = requests.get(f"{url}/studies/{study}/series", timeout=PATIENCE_S).json()
        found.append(sorted(len(one["Instances"]) for one in series))
    return found


def tags_of(url, study):
    one = requests.get(f"{url}/studies/{study}/instances", timeout=PATIENCE_S).json()[0]["ID"]
    return requests.get(f"{url}/instances/{one}/simplified-tags", timeout=PATIENCE_S).json()


def test_series_are_split_off(both):
    answers = ask(both, "POST /studies/{study}/split", Series=["{second}"])
    assert series_of(both, both.names["study"]) == [[1], [1]]
    for url, answer in zip(both.urls, answers, strict=True):
        found = tags_of(url, answer.json()["TargetStudy"])
        assert found["StudyInstanceUID"] == answer.json()["TargetStudyUID"]
        assert found["PatientID"] == "1CT1"
        assert found["SeriesInstanceUID"] != "1.2.3.2"
        assert not found["SOPInstanceUID"].startswith("1.2.3.2.")
        series = requests.get(f"{url}/studies/{answer.json()['TargetStudy']}/series", timeout=PATIENCE_S).json()
        assert [len(one["Instances"]) for one in series] == [3]


def test_a_copy_is_split_off_with_other_attributes(both):
    body = {
        "Series": ["{first}"],
        "KeepSource": True,
        "Replace": {"PatientName": "New^Name"},
        "Remove": ["StudyDescription"],
    }
    answers = ask(both, "POST /studies/{study}/split", **body)
    assert series_of(both, both.names["study"]) == [[1, 3], [1, 3]]
    for url, answer in zip(both.urls, answers, strict=True):
        found = tags_of(url, answer.json()["TargetStudy"])
        assert found["PatientName"] == "New^Name"
        assert "StudyDescription" not in found
    theirs, ours = ask(both, "POST /studies/{study}/split", Series=["{first}"], KeepSource=True, Asynchronous=True)
    jobs = []
    for url, answer in zip(both.urls, (theirs, ours), strict=True):
        path = f"{url}{answer.json()['Path']}"
        job = until(lambda path=path: _ended(path), "the job ends")
        jobs.append((job["Type"], job["State"], sorted(job["Content"])))
    assert jobs[0] == jobs[1]


@pytest.mark.parametrize("body", [{"Remove": ["PatientID"]}, {"Remove": ["0010-0020"], "Replace": {"PatientID": "Q"}}])
def test_the_study_that_is_named_is_there_whatever_becomes_of_the_patient_id(both, body):
    theirs, ours = ask(both, "POST /studies/{study}/split", Series=["{second}"], **body)
    found = [tags_of(url, answer.json()["TargetStudy"]) for url, answer in zip(both.urls, (theirs, ours), strict=True)]
    assert found[0].get("PatientID") == found[1].get("PatientID")


def _ended(path):
    job = requests.get(path, timeout=PATIENCE_S).json()
    return job if job["State"] in {"Success", "Failure"} else None


def test_studies_are_merged(both):
    ask(both, "POST /studies/{study}/merge", Resources=["{other}"])
    assert series_of(both, both.names["study"]) == [[1, 1, 3]] * 2
    for url in both.urls:
        assert requests.get(f"{url}/studies/{both.names['other']}", timeout=PATIENCE_S).status_code == 404
        instances = requests.get(f"{url}/studies/{both.names['study']}/instances", timeout=PATIENCE_S).json()
        found = [
            requests.get(f"{url}/instances/{one['ID']}/simplified-tags", timeout=PATIENCE_S).json() for one in instances
        ]
        assert {one["PatientID"] for one in found} == {"1CT1"}
        assert {one["PatientName"] for one in found} == {"CompressedSamples^CT1"}
        assert {one["StudyDate"] for one in found} == {"20040119"}
        assert {one["Modality"] for one in found} == {"CT", "MR"}


@pytest.mark.parametrize(("request_", "body"), [
    ("POST /studies/{nowhere}/split", {"Series": ["{first}"]}),
    ("POST /studies/{study}/split", {}),
    ("POST /studies/{study}/split", {"Series": ["{other-series}"]}),
    ("POST /studies/{study}/split", {"Series": "x"}),
    ("POST /studies/{study}/split", {"Series": ["{first}"], "Replace": {"SeriesDescription": "x"}}),
    ("POST /studies/{study}/split", {"Series": ["{first}"], "Replace": {"PatientWeight": "5"}}),
    ("POST /studies/{study}/split", {"Series": ["{first}"], "Remove": ["InstitutionName"]}),
    ("POST /studies/{study}/merge", {"Resources": ["{first}"]}),
    ("POST /studies/{study}/merge", {"Resources": ["{other}", "{study}"]}),
    ("POST /studies/{nowhere}/merge", {"Resources": ["{other}"]}),
    ("POST /studies/{study}/merge", {}),
    ("POST /studies/{study}/merge", {"Resources": ["{nowhere}"]}),
])  # fmt: skip
def test_what_cannot_be_split_or_merged_is_refused_alike(both, request_, body):
    theirs, ours = ask(both, request_, **body)
    assert theirs.status_code == ours.status_code >= 400
    assert theirs.json()["OrthancStatus"] == ours.json()["OrthancStatus"]
    assert series_of(both, both.names["study"]) == [[1, 3]] * 2


@pytest.mark.parametrize("said", [
    {"Synchronous": True, "Asynchronous": True}, {"Synchronous": False, "Asynchronous": False}, {"Synchronous": False}, {},
])  # fmt: skip
def test_synchronous_counts_before_asynchronous(both, said):
    theirs, ours = both.ask("POST /studies/{study}/modify", data=json.dumps(said))
    assert ("Path" in ours.json(), "Description" in ours.json()) == (
        "Path" in theirs.json(),
        "Description" in theirs.json(),
    )
    for url, answer in zip(both.urls, (theirs, ours), strict=True):
        if "Description" not in answer.json():
            path = url + answer.json()["Path"]
            until(lambda path=path: _ended(path), "the job ends")


def test_slices_come_in_the_same_order(both):
    for series in ("first", "second", "other-series", "nowhere"):
        theirs, ours = both.assert_alike(f"GET /series/{{{series}}}/ordered-slices")
        if theirs.ok:
            assert theirs.json() == ours.json()


def test_an_encapsulated_pdf_is_had_as_it_is(both):
    meta = FileMetaDataset()
    meta.TransferSyntaxUID = "1.2.840.10008.1.2.1"
    document = FileDataset(None, {}, file_meta=meta, preamble=b"\0" * 128)
    document.SOPClassUID = meta.MediaStorageSOPClassUID = "1.2.840.10008.5.1.4.1.1.104.1"
    document.SOPInstanceUID = meta.MediaStorageSOPInstanceUID = "1.2.3.9.9"
    document.StudyInstanceUID, document.SeriesInstanceUID, document.PatientID = "1.2.3.8", "1.2.3.9", "PDF"
    document.MIMETypeOfEncapsulatedDocument = "application/pdf"
    document.EncapsulatedDocument = b"%PDF-1.4\n" + bytes(range(256)) * 300
    written = io.BytesIO()
    dcmwrite(written, document, enforce_file_format=True)
    both.names["pdf"] = both.store(written.getvalue())["ID"]
    theirs, ours = both.ask("GET /instances/{pdf}/pdf")
    assert (theirs.status_code, ours.status_code) == (200, 200)
    assert theirs.headers["content-type"] == ours.headers["content-type"] == "application/pdf"
    assert ours.content == theirs.content.ljust(len(ours.content), b"\0")
    both.assert_alike("GET /instances/{instance}/pdf")
    both.assert_alike("GET /instances/{nowhere}/pdf")


def test_whoever_is_described_is_asked_whether_it_answers(both):
    answering, silent = both.orthanc.dicom_port, free_port()
    for body in (
        {"AET": "X", "Host": "127.0.0.1", "Port": answering},
        ["X", "127.0.0.1", answering],
        {"AET": "X", "Host": "127.0.0.1", "Port": silent},
        {"AET": "X"},
        ["X"],
    ):
        theirs, ours = both.assert_alike("POST /tools/dicom-echo", json=body)
        if not theirs.ok:
            assert theirs.json()["OrthancStatus"] == ours.json()["OrthancStatus"], body


@needs("wlmscpfs")
def test_a_worklist_is_had_as_orthanc_has_it(both, tmp_path):
    folder = tmp_path / "worklists" / "WORK"
    folder.mkdir(parents=True)
    (folder / "lockfile").write_text("")
    entry = Dataset()
    entry.SpecificCharacterSet = "ISO_IR 100"
    entry.PatientName, entry.PatientID, entry.AccessionNumber = "Müller^Jörg", "W1", "A1"
    entry.StudyInstanceUID, entry.RequestedProcedureID = "1.2.3.77", "R1"
    entry.PatientBirthDate, entry.PatientSex, entry.ReferringPhysicianName = "", "", ""
    entry.RequestedProcedureDescription = "CT"
    step = Dataset()
    step.ScheduledStationAETitle, step.Modality = "CT1", "CT"
    step.ScheduledProcedureStepStartDate, step.ScheduledProcedureStepStartTime = "20261128", "120000"
    step.ScheduledPerformingPhysicianName, step.ScheduledProcedureStepDescription = "", "CT"
    step.ScheduledProcedureStepID = "S1"
    entry.ScheduledProcedureStepSequence = [step]
    entry.file_meta = FileMetaDataset()
    entry.file_meta.TransferSyntaxUID = "1.2.840.10008.1.2.1"
    entry.file_meta.MediaStorageSOPClassUID, entry.file_meta.MediaStorageSOPInstanceUID = (
        "1.2.276.0.7230010.3.1.0.1",
        "1.2.3.78",
    )
    dcmwrite(folder / "one.wl", entry, enforce_file_format=True)
    port = free_port()
    server = subprocess.Popen(["wlmscpfs", "-dfr", "-dfp", str(folder.parent), str(port)], stderr=subprocess.DEVNULL)
    try:
        for url in both.urls:
            requests.put(
                f"{url}/modalities/work", json=["WORK", "127.0.0.1", port], timeout=PATIENCE_S
            ).raise_for_status()
            until(lambda url=url: requests.post(f"{url}/modalities/work/echo", timeout=PATIENCE_S).ok, "it answers")
        query = {
            "PatientID": "W1",
            "PatientName": "",
            "ScheduledProcedureStepSequence": [{"Modality": "CT", "ScheduledProcedureStepID": ""}],
        }
        for body in (
            query,
            {"Query": query},
            *({"Query": query, form: True} for form in ("Full", "Short", "Simplify")),
        ):
            theirs, ours = both.assert_alike("POST /modalities/work/find-worklist", json=body)
            assert ours.json() == theirs.json()
            assert len(ours.json()) == 1
        theirs, ours = both.assert_alike("POST /modalities/work/find-worklist", json={"Query": {"PatientID": "nobody"}})
        assert theirs.json() == ours.json() == []
    finally:
        end(server)


@pytest.mark.parametrize("keeps", [True, False])
def test_labels_go_along_where_that_is_wanted(both, keeps):
    url, study, series = both.node.url, both.names["study"], both.names["second"]
    for path in (f"studies/{study}", f"series/{series}"):
        requests.put(f"{url}/{path}/labels/{path.partition('/')[0]}", timeout=PATIENCE_S).raise_for_status()
    for route, body in (("split", {"Series": [series], "KeepSource": True}), ("modify", {"Replace": {}})):
        answer = requests.post(f"{url}/studies/{study}/{route}", json=body | {"KeepLabels": keeps}, timeout=PATIENCE_S)
        assert answer.ok, answer.text
        made = answer.json().get("TargetStudy") or answer.json()["ID"]
        labels = requests.get(f"{url}/studies/{made}/labels", timeout=PATIENCE_S).json()
        assert labels == (["studies"] if keeps else [])
        of_series = [one["Labels"] for one in requests.get(f"{url}/studies/{made}/series", timeout=PATIENCE_S).json()]
        assert (["series"] in of_series) is keeps
