"""Modify and anonymize as a real Orthanc does them: what is answered, which identifiers are new, and that nothing goes half way."""

import io
import json
import re

import pytest
import requests
from peer_kit import FORWARD, LiveNode, Orthanc, needs, sample, until
from pydicom import dcmread
from pydicom.dataset import Dataset

pytestmark = [pytest.mark.peers, needs("Orthanc")]

FILES = ("CT_small.dcm", "MR_small.dcm", "MR_small_RLE.dcm")
J2K, JPEG, RLE = "1.2.840.10008.1.2.4.90", "1.2.840.10008.1.2.4.50", "1.2.840.10008.1.2.5"
NEW = ("PatientID", "StudyInstanceUID", "SeriesInstanceUID", "SOPInstanceUID")


@pytest.fixture(scope="module")
def model(tmp_path_factory):
    orthanc = Orthanc(tmp_path_factory.mktemp("model"), more={"OverwriteInstances": True}).start()
    yield orthanc
    orthanc.stop()


@pytest.fixture(scope="module")
def ours(tmp_path_factory):
    live = LiveNode(tmp_path_factory.mktemp("ours"))
    yield live
    live.stop()


@pytest.fixture
def stored(ours, model):
    """What both hold: the identifiers of the CT by level."""
    model.revive()
    for one in (ours, model):
        for patient in requests.get(f"{one.url}/patients", timeout=60).json():
            requests.delete(f"{one.url}/patients/{patient}", timeout=60)
    content = sample("CT_small.dcm").read_bytes()
    (mine, theirs) = (requests.post(f"{one.url}/instances", data=content, timeout=60).json() for one in (ours, model))
    assert mine == theirs
    return {"instances": mine["ID"], "series": mine["ParentSeries"], "studies": mine["ParentStudy"], "patients": mine["ParentPatient"]}  # fmt: skip


def post(one, path, body):
    return requests.post(one.url + path, data=body if isinstance(body, str) else json.dumps(body), timeout=120)


def which_are_new(content, of="CT_small.dcm"):
    before, after = dcmread(sample(of), stop_before_pixels=True), dcmread(io.BytesIO(content), stop_before_pixels=True)
    return {name for name in NEW if after[name].value != before[name].value}, after


OF_ONE = {
    "nothing": {}, "a name": {"Replace": {"PatientName": "X^Y"}}, "by number": {"Replace": {"0010-0010": "X^Y"}},
    "removed": {"Remove": ["PatientName"]}, "no private": {"RemovePrivateTags": True},
    "kept": {"Keep": ["SOPInstanceUID"], "Force": True}, "its own": {"Replace": {"SOPInstanceUID": "1.2.3"}, "Force": True},
    "transcoded": {"Transcode": RLE}, "kept and transcoded": {"Transcode": RLE, "Keep": ["SOPInstanceUID"], "Force": True},
    "kept with loss": {"Transcode": JPEG, "LossyQuality": 90, "Keep": ["SOPInstanceUID"], "Force": True},
}  # fmt: skip


@pytest.mark.parametrize("body", OF_ONE.values(), ids=OF_ONE)
def test_one_instance_is_given_modified_and_nothing_is_stored(ours, model, stored, body):
    if body.get("Transcode") == RLE:
        body = body | {"Transcode": J2K}  # Orthanc 1.10 writes no RLE
        said, meant = post(ours, f"/instances/{stored['instances']}/modify", body), None
    elif body.get("Transcode") == JPEG:  # the CT has 16 bits, which this syntax has not
        said, meant = (post(one, f"/instances/{stored['instances']}/modify", body) for one in (ours, model))
        assert (said.status_code, said.json()["OrthancStatus"]) == (500, 2), said.text
        assert meant.status_code == 500
        return
    else:
        said, meant = (post(one, f"/instances/{stored['instances']}/modify", body) for one in (ours, model))
    assert said.status_code == 200, said.text
    assert said.headers["content-type"] == "application/dicom"
    new, file = which_are_new(said.content)
    if meant is not None:
        expected, other = which_are_new(meant.content)
        assert new == expected
        assert file.get("PatientName") == other.get("PatientName")
        assert any(one.tag.is_private for one in file) == any(one.tag.is_private for one in other)
    else:
        assert file.file_meta.TransferSyntaxUID == J2K
        assert new == (set() if "Keep" in body else {"SOPInstanceUID"})
    assert len(ours.instances()) == 1


REFUSED = {
    "an identifier unforced": ({"Replace": {"PatientID": "A"}}, 400, 8), "kept unforced": ({"Keep": ["StudyInstanceUID"]}, 400, 8),
    "no syntax": ({"Transcode": "1.2.3"}, 400, 3), "no JSON": ("x", 400, None), "a list": ("[]", 400, None),
    "no such attribute": ({"Replace": {"Nope": "x"}}, 400, 27), "no such attribute to remove": ({"Remove": ["Nope"]}, 400, 27),
    "what describes pixels": ({"Replace": {"Rows": "7"}}, 400, 8), "its class": ({"Replace": {"SOPClassUID": "1.2"}}, 400, 8),
    "a number for a text": ({"Replace": {"PatientName": 5}}, 400, 5), "a text for items": ({"Replace": {"ProcedureCodeSequence": "x"}}, 400, 5),
    "a flag": ({"Replace": {"PatientName": True}}, 400, 5), "no date": ({"Replace": {"StudyDate": "garbage"}}, 400, 5),
    "no code": ({"Replace": {"PatientSex": "male"}}, 400, 5), "too long": ({"Replace": {"AccessionNumber": "x" * 17}}, 400, 5),
    "too long a name": ({"Replace": {"PatientName": "x" * 80}}, 400, 5), "no number": ({"Replace": {"PatientWeight": "abc"}}, 400, 5),
    "no number in an item": ({"Replace": {"RequestAttributesSequence[0].PatientWeight": "abc"}}, 400, 5),
    "no UID": ({"Replace": {"SOPInstanceUID": "not a uid"}, "Force": True}, 400, 5),
    "half a character": ({"Replace": {"PatientName": "\ud800"}}, 400, 5),
    "an item that is not next": ({"Replace": {"RequestAttributesSequence[5].RequestedProcedureID": "x"}}, 400, 8),
    "what only is read": ({"Transcode": "1.2.840.10008.1.2.2"}, 400, 3),
}  # fmt: skip


@pytest.mark.parametrize(("body", "status", "number"), REFUSED.values(), ids=REFUSED)
def test_what_cannot_be_done_is_refused(ours, stored, body, status, number):
    answer = post(ours, f"/instances/{stored['instances']}/modify", body)
    assert answer.status_code == status, answer.text
    assert number in (None, answer.json()["OrthancStatus"])


@pytest.mark.parametrize(("path", "body"), [
    ("/studies/{studies}/modify", {"Replace": {"StudyDate": "garbage"}}),
    ("/studies/{studies}/anonymize", {"Replace": {"StudyDate": "garbage"}}),
    ("/tools/bulk-modify", {"Resources": ["{series}"], "Replace": {"PatientName": 5}}),
    ("/studies/{studies}/split", {"Series": ["{series}"], "Replace": {"PatientName": 5}}),
    ("/studies/{studies}/split", {"Series": ["{series}"], "Replace": {"StudyDate": "garbage"}}),
])  # fmt: skip
def test_a_value_that_no_instance_can_have_begins_no_job(ours, stored, path, body):
    known = requests.get(f"{ours.url}/jobs", timeout=60).json()
    answer = post(ours, path.format(**stored), json.dumps(body).replace("{series}", stored["series"]))
    assert answer.status_code == 400, answer.text
    assert answer.json()["OrthancStatus"] == 5
    assert requests.get(f"{ours.url}/jobs", timeout=60).json() == known


@pytest.mark.parametrize("value", ["-5", "65000", 40000])
def test_a_number_that_has_a_sign_in_some_instances_is_left_to_the_instance(ours, stored, value):
    answer = post(ours, f"/instances/{stored['instances']}/modify", {"Replace": {"SmallestImagePixelValue": value}})
    file = dcmread(sample("CT_small.dcm"))
    is_possible = (int(value) < 0x8000) if file.PixelRepresentation else (int(value) >= 0)
    assert answer.status_code == (200 if is_possible else 400), answer.text
    assert is_possible or answer.json()["OrthancStatus"] == 8


LEVELS = {
    "series": ("series", {"Replace": {"SeriesDescription": "new"}}), "study": ("studies", {"Replace": {"StudyDescription": "new"}}),
    "patient": ("patients", {"Replace": {"PatientID": "N"}, "Force": True}),
    "study by its uid": ("studies", {"Replace": {"StudyInstanceUID": "1.2.9"}, "Force": True}),
    "de-identified": ("studies", None),
}  # fmt: skip


@pytest.mark.parametrize(("table", "body"), LEVELS.values(), ids=LEVELS)
def test_a_level_is_modified_as_by_orthanc(ours, model, stored, table, body):
    verb = "anonymize" if body is None else "modify"
    said, meant = (post(one, f"/{table}/{stored[table]}/{verb}", body or {}) for one in (ours, model))
    assert said.status_code == 200, said.text
    assert said.json().keys() == meant.json().keys()
    same = ("Description", "FailedInstancesCount", "InstancesCount", "IsAnonymization", "Type")
    assert {name: said.json()[name] for name in same} == {name: meant.json()[name] for name in same}

    def made(one, answer):
        (new,) = set(requests.get(f"{one.url}/instances", timeout=60).json()) - {stored["instances"]}
        kind = "AnonymizedFrom" if body is None else "ModifiedFrom"
        source = requests.get(f"{one.url}/instances/{new}/metadata/{kind}", timeout=60).text
        assert source == stored["instances"]
        assert requests.get(one.url + answer.json()["Path"], timeout=60).ok
        return which_are_new(requests.get(f"{one.url}/instances/{new}/file", timeout=60).content)

    (mine, file), (theirs, _) = made(ours, said), made(model, meant)
    assert mine == theirs
    assert body is not None or file.PatientIdentityRemoved == "YES"


def test_the_source_goes_only_when_it_is_not_to_be_kept(ours, stored):
    post(ours, f"/studies/{stored['studies']}/modify", {}).raise_for_status()
    assert len(ours.instances()) == 2
    post(ours, f"/studies/{stored['studies']}/modify", {"KeepSource": False}).raise_for_status()
    assert stored["instances"] not in {one.id for one in ours.instances()}
    assert len(ours.instances()) == 2


def test_instances_of_one_study_stay_together(ours, stored):
    again = dcmread(sample("CT_small.dcm"))
    for number in (2, 3):
        again.SOPInstanceUID = again.file_meta.MediaStorageSOPInstanceUID = f"1.2.3.{number}"
        again.SeriesInstanceUID = f"1.2.4.{number}"
        again.save_as(file := io.BytesIO())
        requests.post(f"{ours.url}/instances", data=file.getvalue(), timeout=60).raise_for_status()
    answer = post(ours, f"/studies/{stored['studies']}/modify", {"Replace": {"StudyDescription": "new"}}).json()
    study = requests.get(ours.url + answer["Path"], timeout=60).json()
    assert (len(study["Series"]), answer["InstancesCount"]) == (3, 3)


def test_all_of_it_is_changed_or_nothing(ours, stored):
    """One of the study cannot be edited: it has text burned in, which nobody looked at."""
    other = dcmread(sample("CT_small.dcm"))
    other.SOPInstanceUID = other.file_meta.MediaStorageSOPInstanceUID = "1.2.3.9"
    other.BurnedInAnnotation = "YES"
    other.save_as(file := io.BytesIO())
    requests.post(f"{ours.url}/instances", data=file.getvalue(), timeout=60).raise_for_status()
    said = post(ours, f"/studies/{stored['studies']}/anonymize", {})
    assert said.status_code == 500, said.text
    assert "de-identified" in said.json()["Details"]
    assert len(ours.instances()) == 2
    post(ours, f"/studies/{stored['studies']}/anonymize", {"AllowBurnedIn": True}).raise_for_status()
    assert len(ours.instances()) == 4


def test_many_are_changed_at_a_time(ours, model, stored):
    for verb, body in (("modify", {"Replace": {"SeriesDescription": "B"}}), ("anonymize", {})):
        said, meant = (
            post(one, f"/tools/bulk-{verb}", {"Resources": [stored["series"]], **body}) for one in (ours, model)
        )
        assert said.status_code == meant.status_code == 200, said.text
        assert said.json().keys() == meant.json().keys()
        types = [one["Type"] for one in said.json()["Resources"]]
        assert types == [one["Type"] for one in meant.json()["Resources"]]
        for one in said.json()["Resources"]:
            assert requests.get(ours.url + one["Path"], timeout=60).ok
    assert post(ours, "/tools/bulk-modify", {}).json()["OrthancStatus"] == 15


def of_one_patient():
    """Four instances of a patient, as files: two of one series, one of another, one of another study."""
    for study, series, number in ((1, 1, 1), (1, 1, 2), (1, 2, 1), (2, 1, 1)):
        file = dcmread(sample("CT_small.dcm"))
        file.PatientID = "BULK"
        file.StudyInstanceUID, file.SeriesInstanceUID = f"1.2.7.{study}", f"1.2.7.{study}.{series}"
        file.SOPInstanceUID = file.file_meta.MediaStorageSOPInstanceUID = f"1.2.7.{study}.{series}.{number}"
        file.BurnedInAnnotation = "NO"
        file.save_as(written := io.BytesIO())
        yield written.getvalue()


def levels_of(one):
    """Return the SOP instances that are there, with what of each is not new."""
    found = {}
    for each in requests.get(f"{one.url}/instances", timeout=60).json():
        tags = requests.get(f"{one.url}/instances/{each}/simplified-tags", timeout=60).json()
        uid = tags["SOPInstanceUID"]
        known = {name for name in NEW[1:] if tags[name].startswith("1.2.7.")} | ({"PatientID"} & {tags["PatientID"]})
        found[uid if uid.startswith("1.2.7.") else "new"] = known
    return found


@pytest.mark.parametrize("verb", ["modify", "anonymize"])
@pytest.mark.parametrize("level", ["Instance", "Series", "Study", "Patient"])
def test_a_level_of_many_says_what_becomes_new_and_takes_nothing_along(ours, model, stored, level, verb):
    for one in (ours, model):
        requests.delete(f"{one.url}/patients/{stored['patients']}", timeout=60).raise_for_status()
    for content in of_one_patient():
        for one in (ours, model):
            answer = requests.post(f"{one.url}/instances", data=content, timeout=60).json()
    named = [each for each in requests.get(f"{ours.url}/instances", timeout=60).json() if each != answer["ID"]][:1]
    body = {"Resources": named, "Level": level, "KeepSource": False, "Force": True}
    if verb == "modify":
        body["Replace"] = {"StudyDescription": "q"} | ({"PatientID": "N"} if level == "Patient" else {})
    said, meant = (post(one, f"/tools/bulk-{verb}", body) for one in (ours, model))
    assert said.status_code == meant.status_code == 200, said.text
    assert said.json()["InstancesCount"] == meant.json()["InstancesCount"] == 1
    assert levels_of(ours) == levels_of(model)
    assert len(ours.instances()) == 4


@pytest.fixture
def first(tmp_path, request):
    """A node that keeps the first of what conflicts, or as the test says, and owes its files to an archive that is not there."""
    policy = getattr(request, "param", "first")
    more = f"""[ingest]
on_conflict = "{policy}"
[modalities.archive]
aet = "ARCHIVE"
host = "127.0.0.1"
port = 1
[scripts."forward.py"]
destinations = ["archive"]
"""
    live = LiveNode(tmp_path, {"forward.py": FORWARD}, more)
    yield live
    live.stop()


@pytest.mark.parametrize(("first", "way", "keeps"), [
    ("first", "series", True), ("first", "studies", False), ("first", "patients", True), ("first", "bulk", False),
    ("newest", "studies", True), ("refuse", "studies", True),
], indirect=["first"])  # fmt: skip
def test_what_keeps_all_its_identifiers_is_changed_in_place_and_what_it_was_is_kept(first, way, keeps):
    content = sample("CT_small.dcm").read_bytes()
    answer = first.post(content).json()
    until(first.deliveries, "it is owed to the archive")
    [owed] = first.deliveries()
    ids = {"series": answer["ParentSeries"], "studies": answer["ParentStudy"], "patients": answer["ParentPatient"]}
    body = {"Keep": list(NEW[1:]), "Replace": {"StudyDescription": "CHANGED"}, "Force": True, "KeepSource": keeps}
    if way == "patients":
        body["Replace"]["PatientID"] = "1CT1"
    path = "/tools/bulk-modify" if way == "bulk" else f"/{way}/{ids[way]}/modify"
    said = post(first, path, body | ({"Resources": [answer["ID"]]} if way == "bulk" else {}))
    assert said.status_code == 200, said.text
    [one] = first.instances()
    assert one.id == answer["ID"]
    assert one.attributes["study"]["StudyDescription"] == "CHANGED"
    file = requests.get(f"{first.url}/instances/{one.id}/file", timeout=60).content
    assert dcmread(io.BytesIO(file)).StudyDescription == "CHANGED"
    [(blob,)] = first.query("SELECT blob FROM version")
    assert first.archive.blobs.path(blob).read_bytes() == content
    [still] = [each for each in first.deliveries() if each.id == owed.id]
    assert still.blob == blob
    assert still.state in {"waiting", "sending"}


def test_what_would_not_be_the_current_content_fails_and_takes_nothing_away(first):
    there = dcmread(sample("CT_small.dcm"))
    there.SOPInstanceUID = there.file_meta.MediaStorageSOPInstanceUID = "1.2.3.77"
    there.StudyDescription = "first"
    there.save_as(written := io.BytesIO())
    first.post(written.getvalue())
    answer = first.post(sample("CT_small.dcm").read_bytes()).json()
    body = {"Resources": [answer["ID"]], "Force": True, "KeepSource": False, "Keep": list(NEW[1:3])}
    said = post(first, "/tools/bulk-modify", body | {"Replace": {"SOPInstanceUID": "1.2.3.77"}})
    assert said.status_code == 500, said.text
    assert said.json()["OrthancStatus"] == 2018
    assert "Error while storing a modified instance" in said.json()["Details"]
    assert len(first.instances()) == 2
    assert first.instance("1.2.3.77").attributes["study"]["StudyDescription"] == "first"


def test_an_identifier_that_is_set_or_kept_needs_force_at_every_level(ours, model, stored):
    for table, body in (
        ("patients", {}), ("patients", {"Replace": {"PatientID": "N"}}), ("studies", {"Replace": {"PatientID": "Z"}}),
        ("series", {"Replace": {"StudyInstanceUID": "1.2"}}), ("studies", {"Keep": ["SOPInstanceUID"]}),
    ):  # fmt: skip
        said, meant = (post(one, f"/{table}/{stored[table]}/modify", body) for one in (ours, model))
        assert said.status_code == meant.status_code == 400
        assert said.json()["OrthancStatus"] == meant.json()["OrthancStatus"]


def test_what_is_to_go_from_inside_a_sequence_is_gone_from_what_is_de_identified(ours, model, stored):
    coded = dcmread(sample("CT_small.dcm"))
    coded.SOPInstanceUID = coded.file_meta.MediaStorageSOPInstanceUID = "1.2.3.11"
    code = Dataset()
    code.CodeValue, code.CodingSchemeDesignator, code.CodeMeaning = "T-D3000", "SRT", "Chest"
    coded.AnatomicRegionSequence = [code]
    coded.save_as(file := io.BytesIO())
    (identifier,) = {
        requests.post(f"{one.url}/instances", data=file.getvalue(), timeout=60).json()["ID"] for one in (ours, model)
    }
    for more in ({}, {"Keep": ["AnatomicRegionSequence"]}):
        body = {"Remove": ["AnatomicRegionSequence[0].CodeMeaning"], **more}
        for one in (ours, model):
            said = post(one, f"/instances/{identifier}/anonymize", body)
            assert said.status_code == 200, said.text
            (item,) = dcmread(io.BytesIO(said.content)).AnatomicRegionSequence
            assert "CodeMeaning" not in item
    for body in ({"Remove": ["PixelData"]}, {"Remove": ["Rows"]}, {"Remove": ["SOPClassUID"]}, {"Keep": ["AnatomicRegionSequence[0].CodeMeaning"]}):  # fmt: skip
        said = post(ours, f"/instances/{identifier}/anonymize", body)
        assert (said.status_code, said.json()["OrthancStatus"]) == (400, 8), said.text


PRIVATE = {
    "by creator": {"Replace": {"0071,1020": "text"}, "PrivateCreator": "NEW"},
    "with its creator": {"Replace": {"0071,0010": "NEW", "0071,1020": "text"}},
    "of nobody who is known": {"Replace": {"0071,0010": "CR", "0071,1001": "text"}},
    "of a block that was there": {"RemovePrivateTags": True, "Replace": {"0009,1010": "text"}},
    "by its bytes": {"Replace": {"0071,1020": "data:application/octet-stream;base64,dGV4dA=="}, "PrivateCreator": "NEW"},
}  # fmt: skip


@pytest.mark.parametrize("verb", ["modify", "anonymize"])
@pytest.mark.parametrize("body", PRIVATE.values(), ids=PRIVATE)
def test_what_is_private_is_set_as_by_orthanc(ours, model, verb, body):
    source = dcmread(sample("CT_small.dcm"))
    source.SOPInstanceUID = source.file_meta.MediaStorageSOPInstanceUID = "1.2.3.12"
    source.add_new(0x00090010, "LO", "ACME 1.1")
    source.add_new(0x00091010, "LO", "secret")
    source.save_as(file := io.BytesIO())
    (identifier,) = {
        requests.post(f"{one.url}/instances", data=file.getvalue(), timeout=60).json()["ID"] for one in (ours, model)
    }
    values = []
    for one in (ours, model):
        said = post(one, f"/instances/{identifier}/{verb}", body)
        assert said.status_code == 200, said.text
        (tag,) = (tag for name in body["Replace"] if (tag := int(name.replace(",", ""), 16)) & 0xFF00)
        made = dcmread(io.BytesIO(said.content))
        value = made[tag].value
        values.append(value.rstrip(b"\0 ") if isinstance(value, bytes) else value.encode())
        if one is ours:
            creator = body["Replace"].get("0071,0010") or body.get("PrivateCreator") or "ACME 1.1"
            assert made[tag].private_creator == creator
            assert (0x00091010 in made) == (tag == 0x00091010 or verb == "modify")
    assert values == [b"text", b"text"]


@pytest.mark.parametrize("verb", ["modify", "anonymize"])
def test_what_is_to_be_kept_and_to_be_set_is_kept(ours, model, stored, verb):
    body = {"Replace": {"PatientName": "NEW", "0008,1030": "new"}, "Keep": ["0010,0010", "StudyDescription"]}
    texts = {
        one: dcmread(io.BytesIO(post(one, f"/instances/{stored['instances']}/{verb}", body).content))
        for one in (ours, model)
    }
    before = dcmread(sample("CT_small.dcm"))
    assert {(ds.PatientName, ds.StudyDescription) for ds in texts.values()} == {
        (before.PatientName, before.StudyDescription)
    }


# -- references --

ROOT = "1.2.826.0.1.78"


def referring(uid, *refers):
    """Return an instance `study.series.number` of one patient, which refers to others, to its study, and to another study's series."""
    study, series, _ = uid.split(".")
    ds = dcmread(sample("CT_small.dcm"))
    ds.StudyInstanceUID, ds.SeriesInstanceUID = f"{ROOT}.{study}", f"{ROOT}.{study}.{series}"
    ds.SOPInstanceUID = ds.file_meta.MediaStorageSOPInstanceUID = f"{ROOT}.{uid}"
    ds.FrameOfReferenceUID = f"{ROOT}.{study}.99"
    ds.ReferencedImageSequence = [Dataset() for _ in refers]
    for item, other in zip(ds.ReferencedImageSequence, refers, strict=True):
        item.ReferencedSOPClassUID, item.ReferencedSOPInstanceUID = ds.SOPClassUID, f"{ROOT}.{other}"
    ds.ReferencedStudySequence = [Dataset()]
    ds.ReferencedStudySequence[0].ReferencedSOPInstanceUID = ds.StudyInstanceUID
    ds.ReferencedSeriesSequence = [Dataset()]
    ds.ReferencedSeriesSequence[0].SeriesInstanceUID = f"{ROOT}.2.1"
    ds.save_as(file := io.BytesIO())
    return file.getvalue()


REFERRING = {
    "1.1.1": (), "2.1.1": (), "2.1.2": ("2.1.1", "1.1.1", "5.5.5"), "2.2.1": ("2.1.1", "2.2.2"), "2.2.2": ("2.3.1", "2.2.2"),
    "2.3.1": ("2.2.1", "1.1.1"),
}  # fmt: skip
CHANGING = {
    "a study": ("/studies/{study}/modify", {"Replace": {"StudyDescription": "n"}}),
    "a series": ("/series/{series}/modify", {"Replace": {"SeriesDescription": "n"}}),
    "a patient": ("/patients/{patient}/modify", {"Replace": {"PatientID": "ZZ"}, "Force": True}),
    "a study that is named": ("/studies/{study}/modify", {"Replace": {"StudyInstanceUID": "1.2.3.99"}, "Force": True}),
    "series that are split off": ("/studies/{study}/split", {"Series": ["{series}", "{other_series}"], "KeepSource": True}),
    "an instance that is split off": ("/studies/{study}/split", {"Instances": ["{instance}"], "KeepSource": True}),
    "series that are merged": ("/studies/{prior}/merge", {"Resources": ["{series}", "{other_series}"], "KeepSource": True}),
}  # fmt: skip


@pytest.mark.parametrize(("path", "body"), CHANGING.values(), ids=CHANGING)
def test_references_among_what_is_changed_hold_and_all_others_stay(ours, path, body):
    for patient in requests.get(f"{ours.url}/patients", timeout=60).json():
        requests.delete(f"{ours.url}/patients/{patient}", timeout=60)
    stored = {
        uid: requests.post(f"{ours.url}/instances", data=referring(uid, *others), timeout=60).json()
        for uid, others in REFERRING.items()
    }
    one = stored["2.2.1"]
    names = {
        "study": one["ParentStudy"], "series": one["ParentSeries"], "patient": one["ParentPatient"], "instance": one["ID"],
        "other_series": stored["2.3.1"]["ParentSeries"], "prior": stored["1.1.1"]["ParentStudy"],
    }  # fmt: skip
    filled = json.loads(re.sub(r"\{(\w+)\}", lambda found: names[found[1]], json.dumps(body)))
    post(ours, path.format(**names), filled).raise_for_status()
    made = {}
    for identifier in requests.get(f"{ours.url}/instances", timeout=60).json():
        source = requests.get(f"{ours.url}/instances/{identifier}/metadata/ModifiedFrom", timeout=60)
        if source.ok:
            (uid,) = (uid for uid, one in stored.items() if one["ID"] == source.text)
            made[uid] = dcmread(io.BytesIO(requests.get(f"{ours.url}/instances/{identifier}/file", timeout=60).content))
    assert set(made) >= {"2.2.1"}
    new_series = {ds.SeriesInstanceUID: uid.rpartition(".")[0] for uid, ds in made.items()}
    for uid, ds in made.items():
        referred = [item.ReferencedSOPInstanceUID for item in ds.ReferencedImageSequence]
        assert referred == [
            made[other].SOPInstanceUID if other in made else f"{ROOT}.{other}" for other in REFERRING[uid]
        ]
        assert ds.SOPInstanceUID != f"{ROOT}.{uid}"
        assert ds.ReferencedStudySequence[0].ReferencedSOPInstanceUID == ds.StudyInstanceUID
        assert (ds.StudyInstanceUID == f"{ROOT}.{uid[0]}") == ("/series/" in path)
        expected = next((new for new, series in new_series.items() if series == "2.1"), f"{ROOT}.2.1")
        assert ds.ReferencedSeriesSequence[0].SeriesInstanceUID == expected
        assert (ds.FrameOfReferenceUID != f"{ROOT}.{uid[0]}.99") == ("/patients/" in path)


def test_what_loses_information_when_it_is_modified_is_referred_to_as_what_it_becomes(ours, stored):
    for uid in ("1.1.1", "1.1.2"):
        refers = {"1.1.2": ("1.1.1",)}.get(uid, ())
        one = requests.post(f"{ours.url}/instances", data=referring(uid, *refers), timeout=60).json()
    body = {"Transcode": "1.2.840.10008.1.2.4.91", "LossyQuality": 80}
    made = post(ours, f"/studies/{one['ParentStudy']}/modify", body).json()
    files = {}
    for each in requests.get(f"{ours.url}{made['Path']}/instances", timeout=60).json():
        ds = dcmread(io.BytesIO(requests.get(f"{ours.url}/instances/{each['ID']}/file", timeout=60).content))
        (source,) = ds.SourceImageSequence
        files[source.ReferencedSOPInstanceUID] = ds
    first, second = files[f"{ROOT}.1.1.1"], files[f"{ROOT}.1.1.2"]
    assert second.ReferencedImageSequence[0].ReferencedSOPInstanceUID == first.SOPInstanceUID
