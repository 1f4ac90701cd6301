"""A ZIP as the body of POST /instances: all its DICOM files are stored, or the answer says which are not."""

import gzip
import io
import random
import tracemalloc
import zipfile

import pytest
from web_support import FailingReception, OneReception, changed, dicom_file, is_orthanc_error, open_files_below

from hostd.errors import StorageError
from hostd.web import zips

CT, MR = dicom_file("CT_small.dcm"), dicom_file("MR_small.dcm")
DAMAGED = CT[:20_000]


def packed(*members, method=zipfile.ZIP_DEFLATED):
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w", method) as file:
        for name, content in members:
            file.writestr(name, content)
    return out.getvalue()


def ids(client):
    return sorted(client.get("/instances").json())


@pytest.mark.parametrize("method", [zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED])
def test_every_dicom_file_of_a_zip_is_stored_byte_for_byte(client, method):
    body = packed(
        ("a/ct", CT), ("readme.txt", b"hello"), ("b/", b""), ("b/mr.dcm", MR), ("empty", b""), ("DICOMDIR", CT[:300]), method=method
    )  # fmt: skip
    answer = client.post("/instances", content=body)
    assert answer.status_code == 200
    assert [one["Status"] for one in answer.json()] == ["Success", "Success"]
    assert [client.get(one["Path"] + "/file").content for one in answer.json()] == [CT, MR]
    assert answer.json()[0] | {"Status": "AlreadyStored"} == client.post("/instances", content=CT).json()


def test_what_is_stored_already_is_said_file_by_file(client):
    client.post("/instances", content=CT)
    answer = client.post("/instances", content=packed(("ct", CT), ("mr", MR)))
    assert [one["Status"] for one in answer.json()] == ["AlreadyStored", "Success"]


@pytest.mark.parametrize("members", [[("readme.txt", b"hello")], [("empty", b"")], [("folder/", b"")]])
def test_a_zip_without_dicom_files_is_an_empty_list(face, client, members):
    answer = client.post("/instances", content=packed(*members))
    assert (answer.status_code, answer.json()) == (200, [])
    assert face.files() == []


def test_a_zip_may_be_compressed_once_more(client):
    answer = client.post("/instances", content=gzip.compress(packed(("ct", CT))), headers={"Content-Encoding": "gzip"})
    assert len(answer.json()) == 1


def test_a_damaged_file_in_a_zip_is_told_and_the_others_are_stored(client):
    """Orthanc says 200, and nothing of it."""
    answer = client.post("/instances", content=packed(("a/broken.dcm", DAMAGED), ("mr", MR)))
    assert is_orthanc_error(answer, 400, 15)
    assert "1 DICOM files of the ZIP were not stored, the other 1 are: a/broken.dcm: " in answer.json()["Details"]
    assert len(ids(client)) == 1


def test_a_conflict_in_a_zip_is_told_as_a_conflict(make_face):
    client = make_face(on_conflict="refuse").client()
    client.post("/instances", content=CT)
    answer = client.post("/instances", content=packed(("ct", changed(CT, PatientName="Other^Name")), ("mr", MR)))
    assert is_orthanc_error(answer, 409, 46)
    assert len(ids(client)) == 2


def test_a_dicom_file_whose_preamble_looks_like_a_zip_is_a_dicom_file(client):
    answer = client.post("/instances", content=b"PK\x03\x04" + CT[4:])
    assert answer.json()["Status"] == "Success"


@pytest.mark.parametrize("cut", [10, 131, 132, 5000, -1])
def test_a_zip_that_ends_too_early_is_refused_whole(face, client, cut):
    answer = client.post("/instances", content=packed(("ct", CT), ("mr", MR))[:cut])
    assert is_orthanc_error(answer, 400, 15)
    assert face.files() == []


def test_a_wrong_checksum_is_refused(face, client):
    body = packed(("ct", CT), method=zipfile.ZIP_STORED)
    assert is_orthanc_error(client.post("/instances", content=body.replace(b"CompressedSamples", b"compressedSamples", 1)), 400, 15)  # fmt: skip
    assert face.files() == []


def test_another_way_of_packing_is_refused(client):
    answer = client.post("/instances", content=packed(("ct", CT), method=zipfile.ZIP_LZMA))
    assert is_orthanc_error(answer, 400, 15)
    assert "deflate it" in answer.json()["Details"]


def test_a_zip_with_a_password_is_refused(client):
    body = bytearray(packed(("ct", CT)))
    body[6] |= 1  # of the local header, and of the directory
    body[body.rindex(b"PK\x01\x02") + 8] |= 1
    assert is_orthanc_error(client.post("/instances", content=bytes(body)), 400, 15)


# -- bombs ------------------------------------------------------------------------------------------------------------


def test_a_zip_that_unpacks_to_more_than_an_upload_may_have_is_refused(make_face):
    face = make_face(limit=1 << 20)
    bomb = packed(("zeros", CT + bytes(64 << 20)))
    assert len(bomb) < 1 << 18
    tracemalloc.start()
    answer = face.client().post("/instances", content=bomb)
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert is_orthanc_error(answer, 413, 8)
    assert peak < 32 << 20
    assert face.files() == []


def test_many_small_files_count_together(make_face):
    face = make_face(limit=4 * len(CT))
    answer = face.client().post("/instances", content=packed(*((str(number), CT) for number in range(8))))
    assert is_orthanc_error(answer, 413, 8)


def test_a_directory_of_too_many_names_is_not_read(client, monkeypatch):
    monkeypatch.setattr(zips, "_LARGEST_READ", 4096)
    answer = client.post("/instances", content=packed(*((str(number), b"") for number in range(200))))
    assert is_orthanc_error(answer, 400, 15)
    assert "directory is too large" in answer.json()["Details"]


# -- nothing is left --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("at", ["write", "finish"])
def test_a_disk_that_is_full_ends_the_zip_and_is_told(make_face, at):
    full = StorageError("no")
    full.__cause__ = OSError(28, "No space left on device")
    reception = FailingReception(at, full)
    face = make_face(intake=OneReception(reception))
    assert is_orthanc_error(face.client().post("/instances", content=packed(("ct", CT))), 507, 19)


def test_for_members_that_are_no_dicom_files_nothing_is_begun(tmp_path):
    begun = []

    def receive():
        begun.append(FailingReception("never", None))
        return begun[-1]

    reception = zips.ZipReception(tmp_path, receive, 1 << 20)
    reception.write(packed(("readme.txt", b"hello"), *((f"empty{n}", b"") for n in range(100))))
    assert reception.finish() == []
    assert begun == []


def test_members_that_are_no_dicom_files_count_among_what_is_unpacked(make_face):
    face = make_face(limit=1 << 20)
    body = packed(*((f"{n}.bin", bytes(1 << 19)) for n in range(3)))
    assert is_orthanc_error(face.client().post("/instances", content=body), 413, 8)


def test_a_zip_leaves_nothing_open_and_nothing_in_the_folder(face, client, tmp_path):
    before = set(face.archive.data.iterdir())
    for body in (packed(("ct", CT)), packed(("ct", CT))[:-9], packed(("ct", DAMAGED))):
        client.post("/instances", content=body)
    assert set(face.archive.data.iterdir()) == before
    assert [one for one in open_files_below(tmp_path) if "deleted" in one.name] == []


def test_no_damaged_zip_is_a_fault_of_hostd(face, client):
    chance = random.Random(7)
    whole = packed(("ct", CT), ("mr", MR), ("text", b"hello" * 100))
    directory = whole.index(b"PK\x01\x02")
    for _ in range(150):
        body = bytearray(whole)
        for _ in range(chance.randint(1, 4)):
            body[chance.choice([chance.randrange(40), chance.randrange(directory, len(body))])] = chance.randrange(256)
        answer = client.post("/instances", content=bytes(body))
        assert answer.status_code in {200, 400, 413}, answer.text
