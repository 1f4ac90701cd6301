"""/tools/bulk-delete and /tools/bulk-content: many resources in one request."""

import pytest
from web_support import changed, dicom_file, is_orthanc_error, user

CT, MR = dicom_file("CT_small.dcm"), dicom_file("MR_small.dcm")
LEVELS = {"Patient": "ParentPatient", "Study": "ParentStudy", "Series": "ParentSeries", "Instance": "ID"}


@pytest.fixture
def stored(client):
    """Two instances of one series, and one of another patient."""
    contents = (CT, changed(CT, SOPInstanceUID="1.2.3.4"), MR)
    return [client.post("/instances", content=content).json() for content in contents]


def content(client, resources, **asked):
    answer = client.post("/tools/bulk-content", json={"Resources": resources, **asked})
    assert answer.status_code == 200, answer.text
    return answer.json()


@pytest.mark.parametrize("level", LEVELS)
def test_what_is_deleted_goes_with_all_that_is_in_it_whatever_it_is(face, client, stored, level):
    answer = client.post("/tools/bulk-delete", json={"Resources": [stored[0][LEVELS[level]], "0-0-0-0-0"]})
    assert (answer.status_code, answer.text) == (200, "")
    left = client.get("/instances").json()
    assert sorted(left) == sorted(one["ID"] for one in (stored[1:] if level == "Instance" else stored[2:]))
    kinds = [change["ChangeType"] for change in client.get("/changes").json()["Changes"]]
    assert "Deleted" in kinds


def test_what_is_named_twice_or_is_in_another_is_deleted_once(client, stored):
    names = [stored[0]["ID"], stored[0]["ParentStudy"], stored[0]["ParentStudy"], stored[2]["ParentPatient"]]
    assert client.post("/tools/bulk-delete", json={"Resources": names}).status_code == 200
    assert client.get("/instances").json() == []


@pytest.mark.parametrize("body", [b"", b"x", b"[]", b"NaN", b'{"Resources": NaN}', b"[" * 100_000])
@pytest.mark.parametrize("tool", ["bulk-delete", "bulk-content"])
def test_what_is_no_object_is_refused(client, tool, body):
    assert is_orthanc_error(client.post(f"/tools/{tool}", content=body), 400, 8)


@pytest.mark.parametrize("resources", [None, "x", [1], {}])
@pytest.mark.parametrize("tool", ["bulk-delete", "bulk-content"])
def test_what_is_no_list_of_identifiers_is_refused(client, tool, resources):
    assert is_orthanc_error(client.post(f"/tools/{tool}", json={"Resources": resources}), 400, 15)


def test_only_administrators_delete_in_bulk_and_who_may_read_asks_for_content(face, client, stored):
    face.users = {"read": user("p", "read"), "write": user("p", "write")}
    for role in face.users:
        answer = face.client(auth=(role, "p")).post("/tools/bulk-delete", json={"Resources": [stored[0]["ID"]]})
        assert is_orthanc_error(answer, 403, 45)
    assert content(face.client(auth=("read", "p")), [stored[0]["ID"]])[0]["ID"] == stored[0]["ID"]


@pytest.mark.parametrize("level", LEVELS)
def test_content_is_what_each_resource_tells_of_itself_with_its_metadata(client, stored, level):
    identifier = stored[0][LEVELS[level]]
    path = {"Patient": "patients", "Study": "studies", "Series": "series", "Instance": "instances"}[level]
    alone = client.get(f"/{path}/{identifier}").json()
    metadata = client.get(f"/{path}/{identifier}/metadata?expand").json()
    assert content(client, [identifier]) == [alone | {"Metadata": metadata}]
    assert content(client, [identifier], Metadata=False) == [alone]


def test_main_tags_are_spelled_as_they_are_asked_for(client, stored):
    (short,) = content(client, [stored[0]["ParentStudy"]], Short=True)
    assert short["PatientMainDicomTags"]["0010,0020"] == "1CT1"
    assert short["MainDicomTags"]["0020,0010"] == "1CT1"
    (full,) = content(client, [stored[0]["ParentStudy"]], Full=True)
    assert full["PatientMainDicomTags"]["0010,0020"] == {"Name": "PatientID", "Type": "String", "Value": "1CT1"}


@pytest.mark.parametrize("level", LEVELS)
def test_another_level_is_what_is_above_or_below_each_once(client, stored, level):
    """Given the series of two instances, and the patient of the third."""
    given = [stored[0]["ParentSeries"], stored[2]["ParentPatient"], "0-0-0-0-0", stored[0]["ID"]]
    found = [one["ID"] for one in content(client, given, Level=level)]
    assert len(found) == len(set(found))
    assert set(found) == {one[LEVELS[level]] for one in stored}


@pytest.mark.parametrize("level", ["study", "STUDY", "Studies", "image", "IMAGES", "Instances"])
def test_a_level_is_named_in_any_case_and_an_instance_is_an_image(client, stored, level):
    is_instance = level[0] in "iI"
    found = content(client, [stored[0]["ParentStudy"]], Level=level)
    assert {one["Type"] for one in found} == {"Instance" if is_instance else "Study"}
    looked_for = client.post("/tools/find", json={"Level": level, "Query": {}, "Expand": True}).json()
    assert {one["Type"] for one in looked_for} == {"Instance" if is_instance else "Study"}
    body = {"Resources": [stored[0]["ID"]], "Level": level, "Asynchronous": True}
    assert client.post("/tools/bulk-modify", json=body).status_code == 200


@pytest.mark.parametrize(("asked", "number"), [
    ({"Level": "Frame"}, 3), ({"Level": 1}, 15), ({"Level": []}, 15), ({"Short": 1}, 15), ({"Metadata": "yes"}, 15),
])  # fmt: skip
def test_what_is_asked_wrongly_is_refused(client, asked, number):
    assert is_orthanc_error(client.post("/tools/bulk-content", json={"Resources": [], **asked}), 400, number)
