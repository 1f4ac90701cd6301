"""Main DICOM tags of a real Orthanc and of hostd: which there are, and what stands in them, of what is absent, empty, blank or a number."""

import io

import pytest
from likeness import pair_of, stop
from peer_kit import needs, sample
from pydicom import dcmread
from pydicom.uid import generate_uid

pytestmark = [pytest.mark.peers, needs("Orthanc")]

LEVELS = {"patients": "ParentPatient", "studies": "ParentStudy", "series": "ParentSeries", "instances": "ID"}


@pytest.fixture(scope="module")
def pair(tmp_path_factory):
    made = pair_of(tmp_path_factory.mktemp("main"))
    yield made
    stop(made)


def made(patient, **values):
    """Return a file of a patient, or of nobody (None), with a study of its own; a value of None stands for none at all."""
    file = dcmread(sample("MR_small.dcm"))
    if patient is None:
        del file.PatientID
    else:
        file.PatientID = patient
    file.StudyInstanceUID, file.SeriesInstanceUID, file.SOPInstanceUID = (generate_uid() for _ in range(3))
    file.file_meta.MediaStorageSOPInstanceUID = file.SOPInstanceUID
    for keyword, value in values.items():
        if value is not None:
            setattr(file, keyword, value)
        elif keyword in file:
            delattr(file, keyword)
    written = io.BytesIO()
    file.save_as(written, enforce_file_format=True)
    return written.getvalue()


def main_tags(pair, stored):
    """Return the main tags of the four levels, and those of the patient that stand in the study: of Orthanc, and of hostd."""
    found = []
    for level, name in LEVELS.items():
        theirs, ours = (answer.json() for answer in pair.ask(f"GET /{level}/{stored[name]}"))
        found.append((theirs["MainDicomTags"], ours["MainDicomTags"]))
        if level == "studies":
            found.append((theirs["PatientMainDicomTags"], ours["PatientMainDicomTags"]))
    return [theirs for theirs, _ in found], [ours for _, ours in found]


VALUES = {
    "as it is": {},
    "empty": {"AccessionNumber": "", "PatientBirthDate": "", "SeriesDescription": "", "ImageComments": ""},
    "blank": {"AccessionNumber": "   ", "StudyDescription": "  ", "PatientName": "  ", "SeriesDate": "        "},
    "absent": {
        "AccessionNumber": None, "PatientBirthDate": None, "PatientName": None, "SeriesDate": None, "Modality": None,
        "StudyDate": None, "InstanceNumber": None,
    },
    "numbers": {"NumberOfSlices": 7, "NumberOfTimeSlices": 2, "ImageIndex": 3, "CardiacNumberOfImages": "14"},
    "no numbers": {"NumberOfSlices": None, "ImageIndex": [], "CardiacNumberOfImages": ""},
    "several": {"ImageIndex": [1, 2], "SeriesType": ["STATIC", "IMAGE"], "StationName": ["A", "", "B"], "ImageComments": "a\\b"},
    "names": {"PatientName": "Buc^Jérôme", "SpecificCharacterSet": "ISO_IR 100", "OperatorsName": ["A^B", "C^D"]},
    "too large": {"ImageComments": "x" * 2000},
}  # fmt: skip


@pytest.mark.parametrize("name", VALUES)
def test_main_tags_are_those_of_orthanc(pair, name):
    theirs, ours = main_tags(pair, pair.store(made(name, **VALUES[name])))
    assert ours == theirs
    assert ours[0]["PatientID"] == name


def test_an_instance_without_a_patient_id_has_none(pair):
    theirs, ours = main_tags(pair, pair.store(made(None)))
    assert ours == theirs
    assert "PatientID" not in ours[0]


@pytest.mark.parametrize(
    "change",
    [
        {"Replace": {"AccessionNumber": "", "StudyDescription": " ", "PatientID": "M", "PatientBirthDate": ""}},
        {"Replace": {"PatientID": "N"}, "Remove": ["AccessionNumber"]},
        {"Replace": {"PatientID": "O", "AccessionNumber": "7"}},
    ],
    ids=["emptied", "removed", "filled"],
)
def test_what_was_modified_has_those_of_orthanc(pair, change):
    stored = pair.store(made(generate_uid(), AccessionNumber="", StudyDescription="Head"))
    answers = pair.ask(f"POST /patients/{stored['ParentPatient']}/modify", json=change | {"Force": True})
    assert [one.status_code for one in answers] == [200, 200], [one.text for one in answers]
    found = []
    for url, answer in zip(pair.urls, answers, strict=True):
        which = pair.urls.index(url)
        (study,) = pair.ask(f"GET /patients/{answer.json()['ID']}/studies")[which].json()
        tags = study["MainDicomTags"] | study["PatientMainDicomTags"]
        found.append({keyword: text for keyword, text in tags.items() if keyword != "StudyInstanceUID"})
    assert found[1] == found[0]
    assert ("AccessionNumber" in found[1]) == ("Remove" not in change)


def test_what_is_empty_is_found_as_by_orthanc(pair):
    uid = generate_uid()
    of = {"empty": "", "absent": None, "full": "ACC1"}
    stored = {name: pair.store(made(uid[:40] + name, AccessionNumber=value)) for name, value in of.items()}
    names = {one["ParentStudy"]: name for name, one in stored.items()}
    for text, expected in (("", set(of)), ("ACC1", {"full"}), ("A*", {"full"}), ("?", set()), ("?*", {"full"})):
        body = {"Level": "Study", "Query": {"PatientID": uid[:40] + "*", "AccessionNumber": text}}
        for answer in pair.ask("POST /tools/find", json=body):
            assert {names[one] for one in answer.json()} == expected, text


@pytest.mark.parametrize("level", LEVELS)
def test_a_level_is_reconstructed(pair, level):
    stored = pair.store(made("reconstructed"))
    before = main_tags(pair, stored)
    pair.assert_alike(f"POST /{level}/{stored[LEVELS[level]]}/reconstruct", exactly=True)
    pair.assert_alike(f"POST /{level}/{stored[LEVELS[level]]}/reconstruct", exactly=True, data=b"no JSON")
    pair.assert_alike(f"POST /{level}/{{nowhere}}/reconstruct")
    assert main_tags(pair, stored) == before


def test_everything_is_reconstructed(pair):
    pair.assert_alike("POST /tools/reconstruct", exactly=True)
