"""/instances and below: listing, describing, deleting."""

import pytest
from web_support import changed, dicom_file, is_orthanc_error, open_files_below

CT = "f689ddd2-662f8fe1-8b18180d-ec2a2cee-937917af"


@pytest.fixture
def three(client):
    """Store three instances: two of one series, one of another study of the same patient."""
    ct = dicom_file()
    uid = "1.2.3.4"
    contents = [
        ct,
        changed(ct, SOPInstanceUID=uid, InstanceNumber=None),
        changed(ct, SOPInstanceUID=f"{uid}.1", SeriesInstanceUID=f"{uid}.2", StudyInstanceUID=f"{uid}.3"),
    ]
    return [client.post("/instances", content=content).json() for content in contents]


def test_instances_are_listed_in_the_order_of_their_ids_and_paged(client, three):
    ids = sorted(answer["ID"] for answer in three)
    assert client.get("/instances").json() == ids
    assert client.get("/instances?since=1&limit=1").json() == ids[1:2]
    assert client.get("/instances?limit=0").json() == []
    assert client.get("/instances?since=9").json() == []
    assert [i["ID"] for i in client.get("/instances?expand&since=1").json()] == ids[1:]
    assert client.get("/instances?expand=false").json() == ids


@pytest.mark.parametrize("query", ["since=x", "limit=x", "since=-1", "limit=-1", "since=1e3"])
def test_a_wrong_parameter_is_400(idle_face, query):
    assert is_orthanc_error(idle_face.client().get(f"/instances?{query}"), 400, 5)


def test_an_instance_is_described_as_orthanc_does(client):
    client.post("/instances", content=dicom_file())
    found = client.get(f"/instances/{CT}").json()
    assert len(found.pop("FileUuid")) == 36
    assert found == {
        "FileSize": 39206,
        "ID": CT,
        "IndexInSeries": 1,
        "Labels": [],
        "MainDicomTags": {
            "AcquisitionNumber": "2",
            "ImageComments": "Uncompressed",
            "ImageOrientationPatient": "1.000000\\0.000000\\0.000000\\0.000000\\1.000000\\0.000000",
            "ImagePositionPatient": "-158.135803\\-179.035797\\-75.699997",
            "InstanceCreationDate": "20040119",
            "InstanceCreationTime": "072731",
            "InstanceNumber": "1",
            "SOPInstanceUID": "1.3.6.1.4.1.5962.1.1.1.1.1.20040119072730.12322",
        },
        "ParentSeries": "93034833-163e42c3-bc9a428b-194620cf-2c5799e5",
        "Type": "Instance",
    }


def test_an_instance_without_a_number_has_no_index(client, three):
    assert client.get(f"/instances/{three[1]['ID']}").json()["IndexInSeries"] is None
    assert "IndexInSeries" not in client.get(f"/instances/{three[1]['ID']}/metadata").json()


def test_metadata_is_listed_expanded_and_read_one_by_one(client):
    client.post("/instances", content=dicom_file())
    names = client.get(f"/instances/{CT}/metadata").json()
    known = client.get(f"/instances/{CT}/metadata?expand").json()
    assert list(known) == names
    assert len(known.pop("ReceptionDate")) == len("20261122T173627")
    assert known == {
        "HttpUsername": "",
        "IndexInSeries": "1",
        "Origin": "RestApi",
        "RemoteAET": "",
        "RemoteIP": "127.0.0.1",
        "SopClassUid": "1.2.840.10008.5.1.4.1.1.2",
        "TransferSyntax": "1.2.840.10008.1.2.1",
    }
    one = client.get(f"/instances/{CT}/metadata/TransferSyntax")
    assert one.text == "1.2.840.10008.1.2.1"
    assert one.headers["content-type"].startswith("text/plain")
    assert is_orthanc_error(client.get(f"/instances/{CT}/metadata/Nope"), 404, 7)


def test_the_remaining_ancestor_climbs_as_instances_go(client, three):
    first, second, other_study = three

    def delete(answer):
        return client.delete(answer["Path"]).json()["RemainingAncestor"]

    series, patient = first["ParentSeries"], first["ParentPatient"]
    assert delete(first) == {"ID": series, "Path": f"/series/{series}", "Type": "Series"}
    assert delete(second) == {"ID": patient, "Path": f"/patients/{patient}", "Type": "Patient"}
    assert delete(other_study) is None
    assert client.get("/instances").json() == []


def test_a_study_remains_when_another_series_of_it_does(client):
    first = client.post("/instances", content=dicom_file()).json()
    client.post("/instances", content=changed(dicom_file(), SOPInstanceUID="1.2.3", SeriesInstanceUID="1.2.4"))
    study = first["ParentStudy"]
    remaining = client.delete(first["Path"]).json()["RemainingAncestor"]
    assert remaining == {"ID": study, "Path": f"/studies/{study}", "Type": "Study"}


def test_a_deleted_instance_is_gone_at_once_but_its_bytes_wait(face, client):
    path = client.post("/instances", content=dicom_file()).json()["Path"]
    assert client.delete(path).status_code == 200
    assert len(face.files()) == 1
    for below in ("", "/file", "/tags", "/simplified-tags", "/metadata", "/metadata/Origin"):
        assert is_orthanc_error(client.get(path + below), 404, 17)
    assert is_orthanc_error(client.delete(path), 404, 17)
    assert client.post("/instances", content=dicom_file()).json()["Status"] == "Success"


def test_statistics_count_levels_and_bytes(client, three):
    size = sum(i["FileSize"] for i in client.get("/instances?expand").json())
    assert client.get("/statistics").json() == {
        "CountInstances": 3,
        "CountPatients": 1,
        "CountSeries": 2,
        "CountStudies": 2,
        "TotalDiskSize": str(size),
        "TotalDiskSizeMB": size >> 20,
        "TotalUncompressedSize": str(size),
        "TotalUncompressedSizeMB": size >> 20,
    }


def test_a_missing_file_is_a_fault_of_the_host_that_tells_no_path(face, client):
    path = client.post("/instances", content=dicom_file()).json()["Path"]
    face.archive.blobs.unlink(face.files()[0])
    answer = client.get(path + "/file")
    assert is_orthanc_error(answer, 500, 13)
    assert str(face.archive.data) not in answer.text


def test_a_file_is_never_given_untranscoded_to_who_asked_for_another_syntax(client):
    path = client.post("/instances", content=dicom_file()).json()["Path"]
    assert is_orthanc_error(client.get(path + "/file?transcode=1.2.840.10008.1.2"), 501, 2)


def test_no_file_stays_open_after_it_was_read(face, client):
    path = client.post("/instances", content=dicom_file()).json()["Path"]
    for below in ("/file", "/tags", "/simplified-tags"):
        assert client.get(path + below).status_code == 200
    assert open_files_below(face.archive.data / "blobs") == []


# -- tags ---------------------------------------------------------------------------------------------------------------


def test_tags_come_full_short_and_by_name(client):
    path = client.post("/instances", content=dicom_file()).json()["Path"]
    full = client.get(path + "/tags").json()
    assert full["0010,0010"] == {"Name": "PatientName", "Type": "String", "Value": "CompressedSamples^CT1"}
    assert full["0010,0030"]["Value"] == ""
    assert full["0010,1002"]["Type"] == "Sequence"
    assert full["0010,1002"]["Value"][0]["0010,0020"]["Value"] == "ABCD1234"
    assert full["7fe0,0010"] == {"Name": "PixelData", "Type": "Null", "Value": None}
    assert full["0009,1001"]["PrivateCreator"] == "GEMS_IDEN_01"
    short = client.get(path + "/tags?short").json()
    assert short["0010,0010"] == "CompressedSamples^CT1"
    simple = client.get(path + "/tags?simplify").json()
    assert simple["PatientName"] == "CompressedSamples^CT1"
    assert simple["OtherPatientIDsSequence"][1] == {"PatientID": "1234ABCD", "TypeOfPatientID": "TEXT"}
    assert client.get(path + "/simplified-tags").json() == simple
    assert len(full) == len(short) == len(simple)  # no name hides another


def test_a_long_text_is_too_long_and_has_no_value(client):
    content = changed(dicom_file(), ImageComments="x" * 257, PatientComments="y" * 256)
    tags = client.get(client.post("/instances", content=content).json()["Path"] + "/tags").json()
    assert tags["0020,4000"] == {"Name": "ImageComments", "Type": "TooLong", "Value": None}
    assert tags["0010,4000"]["Value"] == "y" * 256


def test_text_of_another_character_set_is_shown_in_unicode(client):
    content = changed(dicom_file(), SpecificCharacterSet="ISO_IR 192", PatientName="Müller^Jürgen=山田^太郎")
    answer = client.get(client.post("/instances", content=content).json()["Path"] + "/simplified-tags")
    assert answer.json()["PatientName"] == "Müller^Jürgen=山田^太郎"


def test_pixel_representation_is_shown_beside_a_sequence(client):
    path = client.post("/instances", content=dicom_file()).json()["Path"]
    assert client.get(path + "/simplified-tags").json()["PixelRepresentation"] == "1"


@pytest.mark.parametrize("path", ["/instances/", "/instances/0-0/", "/system/", "/docs/"])
def test_a_slash_at_the_end_says_nothing(client, path):
    assert client.get(path).content == client.get(path[:-1]).content
    assert client.get("//", follow_redirects=False).headers["location"] == "docs"


def test_a_slash_behind_another_says_nothing(client):
    def ask(method, path, **more):
        return client.request(method, f"http://localhost:8042{path}", **more)

    answer = ask("POST", "//instances", content=dicom_file()).json()
    assert ask("GET", "//instances").json() == [answer["ID"]]
    series = client.get(f"/studies/{answer['ParentStudy']}/series").json()
    assert ask("GET", f"/studies//{answer['ParentStudy']}///series//").json() == series
    assert ask("GET", f"{answer['Path']}//content//0010-0010").content == b"CompressedSamples^CT1 "
    assert ask("GET", "///", follow_redirects=False).headers["location"] == "docs"


@pytest.mark.parametrize(
    "path",
    [f"/deliveries/{2**63}", f"/actions/{-(2**70)}", f"/instances?since={2**63}", f"/instances?limit={10**30}", f"/changes?since={2**64}"],
)  # fmt: skip
def test_a_number_that_the_index_has_no_place_for_is_refused(client, path):
    assert is_orthanc_error(client.get(path), 400, 5)


def test_a_search_for_more_than_can_be_counted_is_refused(client):
    client.post("/instances", content=dicom_file())
    for query in (f"limit={2**62}", f"offset={2**62}"):
        assert client.get(f"/dicom-web/studies?{query}").status_code == 400
    most = 2**62 - 1
    assert client.get(f"/dicom-web/studies?limit={most}&offset={most}").status_code in {200, 204}
    for field in ("Limit", "Since"):
        answer = client.post("/tools/find", json={"Level": "Study", "Query": {}, field: 2**62})
        assert is_orthanc_error(answer, 400, 3)
