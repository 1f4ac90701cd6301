"""Patients, studies, series and instances: what is listed, described, noted and deleted."""

import hashlib
import io
import json
from xml.etree import ElementTree as ET

import pydicom
import pytest
from web_support import Face, changed, dicom_file, is_orthanc_error

from hostd.sandbox import marking
from hostd.transcoding.pool import CodecPool
from hostd.web import marks

CT = "f689ddd2-662f8fe1-8b18180d-ec2a2cee-937917af"
LEVELS = ("patients", "studies", "series", "instances")


@pytest.fixture(scope="module")
def pool():
    pool = CodecPool(workers=1)
    yield pool
    pool.close()


@pytest.fixture
def stored(client):
    """Store four instances of one patient: two of one series, one of another series, one of another study; and return their answers."""
    ct, uid = dicom_file(), "1.2.3.4"
    contents = [
        ct,
        changed(ct, SOPInstanceUID=uid, InstanceNumber="2"),
        changed(ct, SOPInstanceUID=f"{uid}.1", SeriesInstanceUID=f"{uid}.2", Modality="MR"),
        changed(ct, SOPInstanceUID=f"{uid}.3", SeriesInstanceUID=f"{uid}.4", StudyInstanceUID=f"{uid}.5"),
    ]
    return [client.post("/instances", content=content).json() for content in contents]


@pytest.fixture
def paths(stored):
    first = stored[0]
    return {
        "patients": f"/patients/{first['ParentPatient']}",
        "studies": f"/studies/{first['ParentStudy']}",
        "series": f"/series/{first['ParentSeries']}",
        "instances": first["Path"],
    }


def test_each_level_is_listed_in_the_order_of_ids_and_paged(client, stored):
    expected = {
        "patients": {one["ParentPatient"] for one in stored},
        "studies": {one["ParentStudy"] for one in stored},
        "series": {one["ParentSeries"] for one in stored},
        "instances": {one["ID"] for one in stored},
    }
    assert [len(ids) for ids in expected.values()] == [1, 2, 3, 4]
    for level, ids in expected.items():
        assert client.get(f"/{level}").json() == sorted(ids)
        assert client.get(f"/{level}?since=1&limit=1").json() == sorted(ids)[1:2]
        assert client.get(f"/{level}?expand").json() == [
            client.get(f"/{level}/{identifier}").json() for identifier in sorted(ids)
        ]


def test_a_level_is_described_with_what_is_above_and_below_it(client, stored, paths):
    patient = client.get(paths["patients"]).json()
    assert patient["Studies"] == sorted({one["ParentStudy"] for one in stored})
    assert patient["MainDicomTags"] == {
        "PatientID": "1CT1", "PatientName": "CompressedSamples^CT1", "PatientSex": "O", "PatientBirthDate": "",
    }  # fmt: skip
    study = client.get(paths["studies"]).json()
    assert study["ParentPatient"] == patient["ID"]
    assert study["Series"] == sorted({one["ParentSeries"] for one in stored[:3]})
    assert study["PatientMainDicomTags"] == patient["MainDicomTags"]
    series = client.get(paths["series"]).json()
    assert series["ParentStudy"] == study["ID"]
    assert series["Instances"] == sorted(one["ID"] for one in stored[:2])
    assert (series["Status"], series["ExpectedNumberOfInstances"]) == ("Unknown", None)
    assert [one["Type"] for one in (patient, study, series)] == ["Patient", "Study", "Series"]
    assert all(one["IsStable"] is False and len(one["LastUpdate"]) == 15 for one in (patient, study, series))


def test_patients_whose_ids_have_a_backslash_are_not_one(client):
    ids = ("a", "a\\b", "a\\c", "b")
    parents = {}
    for number, patient_id in enumerate(ids):
        uid = f"1.2.8.{number}"
        uids = {"StudyInstanceUID": uid, "SeriesInstanceUID": f"{uid}.1", "SOPInstanceUID": f"{uid}.2"}
        content = changed(dicom_file(), PatientID=patient_id, **uids)
        parents[patient_id] = client.post("/instances", content=content).json()["ParentPatient"]
    digests = {one: hashlib.sha1(one.encode(), usedforsecurity=False).hexdigest() for one in ids}
    assert {one: parent.replace("-", "") for one, parent in parents.items()} == digests

    def found(patient_id, level="Patient"):
        asked = {"Level": level, "Query": {"PatientID": patient_id}, "Expand": True}
        answer = client.post("/tools/find", json=asked)
        return sorted(one.get("PatientMainDicomTags", one["MainDicomTags"])["PatientID"] for one in answer.json())

    for level in ("Patient", "Study"):
        assert found("a", level) == ["a"]
        assert found("a\\b", level) == ["a", "a\\b", "b"]  # a list, and the text that it is
        assert found("a*", level) == ["a", "a\\b", "a\\c"]
    for patient_id, parent in parents.items():
        assert [one["ID"] for one in client.post("/tools/lookup", content=patient_id).json()] == [parent]
    assert client.delete(f"/patients/{parents['a']}").status_code == 200
    assert client.get(f"/patients/{parents[ids[1]]}").status_code == 200


def test_up_and_down_give_what_is_described_itself(client, paths):
    described = {level: client.get(path).json() for level, path in paths.items()}
    singular = {"patients": "patient", "studies": "study", "series": "series"}
    for number, level in enumerate(LEVELS):
        for above in LEVELS[:number]:
            assert client.get(f"{paths[level]}/{singular[above]}").json() == described[above]
        for below in LEVELS[number + 1 :]:
            found = client.get(f"{paths[level]}/{below}").json()
            ids = client.get(f"{paths[level]}/{below}?expand=false").json()
            assert [one["ID"] for one in found] == ids == sorted(ids)
            assert described[below] in found


@pytest.mark.parametrize(
    ("numbers", "status"),
    [
        ((1, 2), "Complete"),
        ((1,), "Missing"),
        ((1, 3), "Inconsistent"),
        ((2, 2), "Inconsistent"),
        (("",), "Missing"),
        ((1, 2, ""), "Complete"),
        ((1, ""), "Missing"),
        ((0,), "Inconsistent"),
    ],
)
def test_a_series_that_says_how_many_it_has_is_complete_or_not(client, numbers, status):
    for count, number in enumerate(numbers):
        content = changed(
            dicom_file(), SOPInstanceUID=f"1.2.{count}", InstanceNumber=str(number), CardiacNumberOfImages="2"
        )
        series = client.post("/instances", content=content).json()["ParentSeries"]
    found = client.get(f"/series/{series}").json()
    assert (found["ExpectedNumberOfInstances"], found["Status"]) == (2, status)
    assert client.get(f"/series/{series}/metadata/ExpectedNumberOfInstances").text == "2"


def test_tags_that_are_asked_for_come_from_the_index_and_from_the_file(client, paths):
    asked = "requestedTags=PatientName;0010-1010;ModalitiesInStudy;NumberOfStudyRelatedInstances;StudyComments"
    assert client.get(f"{paths['studies']}?{asked}").json()["RequestedTags"] == {
        "PatientName": "CompressedSamples^CT1",
        "PatientAge": "000Y",
        "ModalitiesInStudy": "CT\\MR",
        "NumberOfStudyRelatedInstances": "3",
    }
    (patient,) = client.get("/patients?expand&requestedTags=NumberOfPatientRelatedStudies").json()
    assert patient["RequestedTags"] == {"NumberOfPatientRelatedStudies": "2"}
    assert is_orthanc_error(client.get(f"{paths['studies']}?requestedTags=Nonsense"), 400, 27)


def test_statistics_count_what_is_in_a_level(client, paths):
    size = 39206
    found = {level: client.get(f"{path}/statistics").json() for level, path in paths.items()}
    assert [found["patients"][f"Count{what}"] for what in ("Studies", "Series", "Instances")] == [2, 3, 4]
    assert [len(one) for one in found.values()] == [11, 10, 9, 8]
    assert found["instances"]["DiskSize"] == found["instances"]["DicomUncompressedSize"] == str(size)
    assert int(found["series"]["DiskSize"]) > size


@pytest.mark.parametrize("level", LEVELS)
def test_what_is_not_there_is_404_everywhere(idle_face, level):
    client = idle_face.client()
    described = idle_face.app.openapi()["paths"]
    below = [path for path in described if path.startswith(f"/{level}/{{identifier}}")]
    assert len(below) >= 12
    for path in below:
        for method in described[path]:
            asked = path.format(identifier="nope", name="x", label="x", path="0010-0010", frame="0")
            answer = client.request(method, asked, content=b"x" if method in {"put", "post"} else None)
            assert is_orthanc_error(answer, 404, 17), (method, path, answer.text)


def test_a_deleted_level_takes_all_of_it_and_tells_what_remains(client, stored, paths):
    other_series = f"/series/{stored[2]['ParentSeries']}"
    assert client.delete(paths["series"]).json() == {
        "RemainingAncestor": {"ID": stored[0]["ParentStudy"], "Path": paths["studies"], "Type": "Study"}
    }
    assert client.get(paths["instances"]).status_code == client.get(stored[1]["Path"]).status_code == 404
    assert client.get(other_series).status_code == 200
    ancestor = client.delete(paths["studies"]).json()["RemainingAncestor"]
    assert (ancestor["Type"], ancestor["ID"]) == ("Patient", stored[0]["ParentPatient"])
    assert client.delete(paths["patients"]).json() == {"RemainingAncestor": None}
    assert [client.get(f"/{level}").json() for level in LEVELS] == [[], [], [], []]
    assert is_orthanc_error(client.delete(paths["patients"]), 404, 17)


@pytest.mark.parametrize("level", LEVELS)
def test_metadata_are_set_read_and_removed_and_told(face, client, paths, level):
    path = f"{paths[level]}/metadata"
    before = client.get(path).json()
    tag = client.put(f"{path}/Trial", content="seven \u2117".encode()).headers["etag"]
    answer = client.get(f"{path}/Trial")
    assert (answer.text, answer.headers["etag"]) == ("seven \u2117", tag)
    assert client.get(path).json() == [*before, "Trial"]
    assert client.get(f"{path}?expand").json()["Trial"] == "seven \u2117"
    with face.archive.read() as connection:
        kinds = connection.exec_driver_sql("SELECT kind FROM event ORDER BY number DESC LIMIT 1").scalar()
    assert kinds == {"patients": "updated_patient", "studies": "updated_study", "series": "updated_series"}.get(
        level, "updated_instance"
    )
    assert client.get(f"{path}/Trial", headers={"If-None-Match": tag}).status_code == 304
    assert is_orthanc_error(client.put(f"{path}/Trial", content=b"x", headers={"If-Match": '"0-y"'}), 409, 43)
    assert client.put(f"{path}/Trial", content=b"eight", headers={"If-Match": tag}).status_code == 200
    assert client.delete(f"{path}/Trial").status_code == 200
    assert is_orthanc_error(client.get(f"{path}/Trial"), 404, 7)
    assert is_orthanc_error(client.delete(f"{path}/Trial"), 404, 7)


def test_metadata_that_cannot_be_are_refused(client, paths):
    path = f"{paths['series']}/metadata"
    for name in ("LastUpdate", "ReceptionDate", "IngestTranscodingFailed", "7"):
        assert is_orthanc_error(client.put(f"{path}/{name}", content=b"x"), 403, 45)
    for name in ("a b", "9" * 5000):
        assert is_orthanc_error(client.put(f"{path}/{name}", content=b"x"), 404, 7)
    assert is_orthanc_error(client.put(f"{path}/x", content=b"\xff"), 400, 8)
    assert is_orthanc_error(client.put(f"{path}/x", content=b"x" * 4001), 413, 8)
    assert is_orthanc_error(client.put(f"{path}/x", content=b"x" * 400000), 413, 8)
    assert client.put(f"{path}/1024", content=b"x" * 4000).status_code == 200
    for number in range(99):
        assert client.put(f"{path}/n{number}", content=b"").status_code == 200
    assert is_orthanc_error(client.put(f"{path}/more", content=b""), 400, 8)


def test_what_scripts_may_note_and_what_http_may_is_the_same():
    assert marks.NAME.pattern == marking.NAME.pattern
    assert marks.MAX_VALUE == marking.MAX_VALUE
    assert marks.KEPT >= marking.KEPT_BY_HOSTD


@pytest.mark.parametrize("level", LEVELS)
def test_labels_are_given_and_taken(client, paths, level):
    path = f"{paths[level]}/labels"
    assert client.get(path).json() == []
    assert client.put(f"{path}/TRIAL7").status_code == client.put(f"{path}/a.b").status_code == 200
    assert client.get(path).json() == client.get(paths[level]).json()["Labels"] == ["TRIAL7", "a.b"]
    assert (client.get(f"{path}/TRIAL7").status_code, client.get(f"{path}/other").status_code) == (200, 404)
    assert client.delete(f"{path}/TRIAL7").status_code == client.delete(f"{path}/TRIAL7").status_code == 200
    assert client.get(path).json() == ["a.b"]
    assert is_orthanc_error(client.put(f"{path}/{'x' * 65}"), 400, 8)


def test_the_tags_of_a_series_are_those_that_all_have_alike(client, stored, paths):
    shared = client.get(f"{paths['series']}/shared-tags?simplify").json()
    assert shared["Modality"] == "CT"
    assert "InstanceNumber" not in shared
    every = client.get(f"{paths['series']}/instances-tags?short").json()
    assert every == {one["ID"]: client.get(f"{one['Path']}/tags?short").json() for one in stored[:2]}
    assert client.get(f"{paths['studies']}/module?simplify").json()["StudyDescription"] == "e+1"
    patient = client.get(f"{paths['patients']}/module?short").json()
    assert client.get(f"{paths['studies']}/module-patient?short").json() == patient
    assert set(patient) == {"0010,0010", "0010,0020", "0010,0030", "0010,0040", "0010,1002"}


@pytest.mark.parametrize("length", [300, 5000])
def test_a_long_text_is_shown_whole_to_who_asks_for_it(client, length):
    text = ("x" * 100 + "\\y ") * (length // 100) + "z"
    answer = client.post("/instances", content=changed(dicom_file(), ImageComments=text, PatientComments=text)).json()
    series = f"/series/{answer['ParentSeries']}/instances-tags"
    number, other = "0020,4000", "0010,4000"

    def shown(path):
        found = client.get(path).json()
        return found[answer["ID"]] if path.startswith(series) else found

    for path in (answer["Path"] + "/tags", series):
        full = shown(f"{path}?ignore-length=ImageComments")
        assert full[number] == {"Name": "ImageComments", "Type": "String", "Value": text}
        assert full[other] == {"Name": "PatientComments", "Type": "TooLong", "Value": None}
        short = shown(f"{path}?short&ignore-length=0020-4000,PatientComments,StudyDate,PixelData,Rows")
        assert (short[number], short[other]) == (text, text)
        assert short == shown(f"{path}?short") | {number: text, other: text}
        assert shown(f"{path}?simplify&ignore-length=ImageComments")["ImageComments"] == text
    path = answer["Path"] + "/simplified-tags"
    assert shown(f"{path}?ignore-length=ImageComments")["ImageComments"] == text
    for creators in ("0009-0010", "0009-0010,0011-0010,0013-0010,0019-0010,PatientName"):
        assert shown(f"{path}?ignore-length={creators}") == shown(path)
    assert is_orthanc_error(client.get(f"{path}?ignore-length=Nope"), 400, 27)


def test_the_content_of_a_file_is_found_by_path(client, stored):
    path = f"{stored[0]['Path']}/content"
    tags = client.get(path).json()
    assert tags[:2] == ["0008-0005", "0008-0008"]
    assert tags[-1] == "7fe0-0010"
    assert client.get(f"{path}/PatientName").content == b"CompressedSamples^CT1 "
    assert client.get(f"{path}/00100020").content == b"1CT1"
    assert client.get(f"{path}/OtherPatientIDsSequence").json() == ["0", "1"]
    assert client.get(f"{path}/0010-1002/1").json() == ["0010-0020", "0010-0022"]
    assert client.get(f"{path}/0010-1002/0/PatientID").content == b"ABCD1234"
    assert client.get(f"{path}/7fe0-0010").json() == ["0"]
    pixels = client.get(f"{path}/7fe0-0010/0")
    assert pixels.content == pydicom.dcmread(io.BytesIO(dicom_file())).PixelData
    for nowhere in ("0010-1002/7", "0010-1002/0/0010-0010", "0010-0010/0", "0008-1140", "7fe0-0010/1", "0010-1002/x"):
        assert is_orthanc_error(client.get(f"{path}/{nowhere}"), 404, 17)
    assert is_orthanc_error(client.get(f"{path}/Nonsense"), 400, 27)


@pytest.mark.parametrize("name", ["JPEG2000.dcm", "image_dfl.dcm", "SC_rgb_small_odd_big_endian.dcm", "rtplan.dcm"])
def test_the_content_of_other_transfer_syntaxes_is_found_too(client, name):
    path = client.post("/instances", content=dicom_file(name)).json()["Path"] + "/content"
    dataset = pydicom.dcmread(io.BytesIO(dicom_file(name)))
    assert client.get(f"{path}/SOPInstanceUID").text.strip("\0") == dataset.SOPInstanceUID
    if name == "JPEG2000.dcm":
        table, fragment = (
            client.get(f"{path}/7fe0-0010/{number}").content for number in client.get(f"{path}/7fe0-0010").json()
        )
        assert (table, fragment[:4]) == (b"", b"\xff\x4f\xff\x51")
    if name == "rtplan.dcm":
        beam = client.get(f"{path}/BeamSequence/0/ControlPointSequence/1/ControlPointIndex")
        assert beam.content == b"1 "


def test_a_file_is_given_in_the_models_of_the_standard(client, stored):
    path = stored[0]["Path"] + "/file"
    answer = client.get(path, headers={"Accept": "application/dicom+json"})
    assert answer.headers["content-type"] == "application/dicom+json"
    model = answer.json()
    assert model["00100010"] == {"vr": "PN", "Value": [{"Alphabetic": "CompressedSamples^CT1"}]}
    assert model["00280010"] == {"vr": "US", "Value": [128]}
    assert model["00200032"]["Value"] == [-158.135803, -179.035797, -75.699997]
    assert model["00101002"]["Value"][1]["00100020"] == {"vr": "LO", "Value": ["1234ABCD"]}
    bulk = client.get(model["7FE00010"]["BulkDataURI"] + "/0").content
    assert hashlib.sha256(bulk).digest() == hashlib.sha256(pydicom.dcmread(io.BytesIO(dicom_file())).PixelData).digest()
    read = pydicom.Dataset.from_json(json.dumps(model), lambda *_: b"")
    assert read.PatientName == "CompressedSamples^CT1"

    answer = client.get(path, headers={"Accept": "application/dicom+xml"})
    assert answer.headers["content-type"] == "application/dicom+xml"
    root = ET.fromstring(answer.content)
    space = {"n": "http://dicom.nema.org/PS3.19/models/NativeDICOM"}
    family = root.find("n:DicomAttribute[@keyword='PatientName']/n:PersonName/n:Alphabetic/n:FamilyName", space)
    assert family.text == "CompressedSamples"
    assert root.find("n:DicomAttribute[@tag='7FE00010']/n:BulkData", space).get("uri").endswith("/7fe0-0010")
    assert client.get(path, headers={"Accept": "text/html"}).content == dicom_file()


def test_the_attachment_of_an_instance_is_its_file(face, client, stored):
    path = stored[0]["Path"] + "/attachments"
    assert (client.get(path).json(), client.get(f"{path}?full").json()) == (["dicom"], {"dicom": 1})
    md5 = hashlib.md5(dicom_file()).hexdigest()
    assert client.get(f"{path}/dicom/info").json() == {
        "CompressedMD5": md5, "CompressedSize": 39206, "ContentType": 1, "UncompressedMD5": md5, "UncompressedSize": 39206,
        "Uuid": client.get(stored[0]["Path"]).json()["FileUuid"],
    }  # fmt: skip
    for operation in client.get(f"{path}/dicom").json():
        method = "POST" if operation in {"compress", "uncompress", "verify-md5"} else "GET"
        expected = 403 if "compress" in operation and method == "POST" else 200
        assert client.request(method, f"{path}/dicom/{operation}").status_code == expected
    assert client.get(f"{path}/1/md5").text == md5
    assert (
        client.get(f"{path}/dicom/data").content == client.get(f"{path}/dicom/compressed-data").content == dicom_file()
    )
    assert is_orthanc_error(client.get(f"{path}/pdf/data"), 404, 7)
    assert is_orthanc_error(client.delete(f"{path}/dicom"), 403, 45)
    (one,) = (name for name in face.files() if face.archive.blobs.path(name).read_bytes() == dicom_file())
    with face.archive.blobs.path(one).open("r+b") as file:
        file.seek(-1, 2)
        file.write(b"\xff")
    assert is_orthanc_error(client.post(f"{path}/dicom/verify-md5"), 500, 20)


def test_a_file_is_transcoded_for_who_asks_and_nothing_of_it_stays(make_face, pool):
    face = make_face(transcoder=pool)
    client = face.client()
    path = client.post("/instances", content=dicom_file()).json()["Path"] + "/file"
    files = face.files()
    answer = client.get(f"{path}?transcode=1.2.840.10008.1.2.4.90&filename=a b\u2117.dcm")
    assert answer.status_code == 200, answer.text
    assert answer.headers["content-disposition"] == "filename=\"a b_.dcm\"; filename*=UTF-8''a%20b%E2%84%97.dcm"
    made = pydicom.dcmread(io.BytesIO(answer.content))
    original = pydicom.dcmread(io.BytesIO(dicom_file()))
    assert made.file_meta.TransferSyntaxUID == "1.2.840.10008.1.2.4.90"
    assert made.SOPInstanceUID == original.SOPInstanceUID
    assert (made.pixel_array == original.pixel_array).all()
    assert client.get(f"{path}?transcode=1.2.840.10008.1.2.1").content == dicom_file()

    lossy = [client.get(f"{path}?transcode=1.2.840.10008.1.2.4.91&lossy-quality={quality}") for quality in (90, 20)]
    assert len(lossy[1].content) < len(lossy[0].content) < len(dicom_file())
    assert pydicom.dcmread(io.BytesIO(lossy[0].content)).SOPInstanceUID != original.SOPInstanceUID
    assert face.files() == files

    assert is_orthanc_error(client.get(f"{path}?transcode=1.2.3"), 400, 3)
    assert is_orthanc_error(client.get(f"{path}?transcode=j2k&lossy-quality=0"), 400, 3)
    assert is_orthanc_error(client.get(f"{path}?transcode=1.2.840.10008.1.2.4.50"), 501, 2)  # 16 bits
    assert face.files() == files


def test_nothing_is_transcoded_where_nothing_can(tmp_path):
    face = Face(tmp_path)
    client = face.client()
    path = client.post("/instances", content=dicom_file()).json()["Path"]
    assert is_orthanc_error(client.get(f"{path}/file?transcode=j2k"), 501, 2)
    face.close()
