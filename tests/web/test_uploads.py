"""POST /instances: what is taken, what is refused, and that nothing of a refused one stays."""

import errno
import gzip
import zlib

import pytest
import structlog
from web_support import LIMIT, FailingReception, OneReception, changed, dicom_file, is_orthanc_error

from hostd.errors import StorageError
from hostd.intake.intake import Intake
from hostd.web import upload

CT = "f689ddd2-662f8fe1-8b18180d-ec2a2cee-937917af"


def test_an_uploaded_file_is_given_back_byte_for_byte_under_orthancs_id(client):
    content = dicom_file()
    answer = client.post("/instances", content=content)
    assert answer.status_code == 200
    assert answer.json() == {
        "ID": CT,
        "ParentPatient": "fa558bce-587a86d3-ad0da9b3-9d043d9d-4f5c5718",
        "ParentSeries": "93034833-163e42c3-bc9a428b-194620cf-2c5799e5",
        "ParentStudy": "8a8cf898-ca27c490-d0c7058c-929d0581-2bbf104d",
        "Path": f"/instances/{CT}",
        "Status": "Success",
    }
    file = client.get(f"/instances/{CT}/file")
    assert file.content == content
    assert file.headers["content-type"] == "application/dicom"
    assert file.headers["content-disposition"].startswith('filename="')
    assert file.headers["content-length"] == str(len(content))


@pytest.mark.parametrize(
    "content_type",
    [
        "application/x-www-form-urlencoded",
        "multipart/form-data; boundary=x",
        "application/json",
        "text/plain",
        "nonsense",
    ],
)
def test_the_content_type_does_not_matter(client, content_type):
    answer = client.post("/instances", content=dicom_file(), headers={"Content-Type": content_type})
    assert answer.json()["ID"] == CT


def test_a_repeat_is_already_stored_and_keeps_no_second_file(face, client):
    for status in ("Success", "AlreadyStored", "AlreadyStored"):
        assert client.post("/instances", content=dicom_file()).json()["Status"] == status
    assert len(face.files()) == 1


def test_a_repeat_is_stored_where_the_file_has_vanished_meanwhile(face, client):
    client.post("/instances", content=dicom_file())
    (name,) = face.files()
    face.archive.blobs.unlink(name)
    assert client.get(f"/instances/{CT}/file").status_code == 500
    for status in ("Success", "AlreadyStored"):
        assert client.post("/instances", content=dicom_file()).json()["Status"] == status
    assert client.get(f"/instances/{CT}/file").content == dicom_file()


@pytest.mark.parametrize("on_conflict", ["newest", "first"])
def test_other_content_under_the_same_identity_is_success(make_face, on_conflict):
    face = make_face(on_conflict=on_conflict)
    client = face.client()
    client.post("/instances", content=dicom_file())
    answer = client.post("/instances", content=changed(dicom_file(), PatientName="Other^Name"))
    assert answer.json()["Status"] == "Success"
    assert len(face.files()) == 2


def test_a_refused_conflict_is_409_and_leaves_no_file(make_face):
    face = make_face(on_conflict="refuse")
    client = face.client()
    client.post("/instances", content=dicom_file())
    answer = client.post("/instances", content=changed(dicom_file(), PatientName="Other^Name"))
    assert is_orthanc_error(answer, 409, 46)
    assert len(face.files()) == 1


@pytest.mark.parametrize(
    ("content", "says"),
    [
        (b"", "empty"),
        (b"hello", "not a DICOM file"),
        (b"PK\x03\x04" + bytes(500), "the ZIP cannot be unpacked"),
        (dicom_file()[:200], "meta information"),
        (dicom_file()[:2000], ""),
        (dicom_file()[:-300], "truncated"),
    ],
    ids=["empty", "text", "zip", "ends in the meta information", "ends in the header", "ends in the pixels"],
)
def test_what_is_no_whole_dicom_file_is_400_and_leaves_nothing(face, client, content, says):
    answer = client.post("/instances", content=content)
    assert is_orthanc_error(answer, 400, 15)
    assert says in answer.json()["Details"]
    assert face.files() == []
    assert client.get("/instances").json() == []


# -- gzip ---------------------------------------------------------------------------------------------------------------


def post_gzip(client, body, encoding="gzip"):
    return client.post("/instances", content=body, headers={"Content-Encoding": encoding})


@pytest.mark.parametrize("encoding", ["gzip", "GZIP", "x-gzip", "identity, gzip"])
def test_a_gzip_body_is_inflated(client, encoding):
    assert post_gzip(client, gzip.compress(dicom_file()), encoding).json()["ID"] == CT
    assert client.get(f"/instances/{CT}/file").content == dicom_file()


def test_of_a_gzip_body_that_is_no_dicom_file_no_more_than_its_beginning_is_inflated(face, client, monkeypatch):
    inflated = []
    decode = upload.Gzip.decode

    def counted(self, piece):
        for found in decode(self, piece):
            inflated.append(len(found))
            yield found

    monkeypatch.setattr(upload.Gzip, "decode", counted)
    assert is_orthanc_error(post_gzip(client, gzip.compress(bytes(64 << 20))), 400, 15)
    assert sum(inflated) <= 1 << 20


def test_a_gzip_body_may_have_several_members(client):
    content = dicom_file()
    assert post_gzip(client, gzip.compress(content[:1000]) + gzip.compress(content[1000:])).json()["ID"] == CT


def test_a_gzip_body_that_inflates_to_whole_pieces_is_complete(face, client):
    # Its last output fills a piece exactly while the end of the stream is still to be read.
    content = dicom_file()
    padded = content + b"\xfc\xff\xfc\xff" + b"OB\0\0" + (2 * (1 << 20) - len(content) - 12).to_bytes(4, "little")
    padded += bytes(2 * (1 << 20) - len(padded))
    assert post_gzip(client, gzip.compress(padded)).status_code == 200
    assert client.get(f"/instances/{CT}/file").content == padded


@pytest.mark.parametrize(
    "body",
    [
        b"hello",
        gzip.compress(dicom_file())[:-10],
        gzip.compress(dicom_file())[:5],
        gzip.compress(dicom_file()) + b"rest",
        zlib.compress(dicom_file()),
        gzip.compress(dicom_file())[:-8] + bytes(8),
    ],
    ids=["no gzip", "cut", "cut in its head", "with a rest", "zlib", "wrong checksum"],
)
def test_a_damaged_gzip_body_is_400_and_leaves_nothing(face, client, body):
    assert is_orthanc_error(post_gzip(client, body), 400, 8)
    assert face.files() == []


@pytest.mark.parametrize("encoding", ["br", "deflate", "gzip, gzip", "nonsense"])
def test_another_encoding_is_400(face, client, encoding):
    assert is_orthanc_error(post_gzip(client, gzip.compress(dicom_file()), encoding), 400, 8)
    assert face.files() == []


# -- limits -------------------------------------------------------------------------------------------------------------


def test_a_gzip_bomb_is_cut_at_the_limit(face, client):
    bomb = gzip.compress(dicom_file() + bytes(LIMIT))
    assert len(bomb) < LIMIT / 50
    assert is_orthanc_error(post_gzip(client, bomb), 413, 8)
    assert face.files() == []


def test_a_body_over_the_limit_is_413_by_its_length_or_by_counting(face, client):
    body = dicom_file() + bytes(LIMIT)
    assert is_orthanc_error(client.post("/instances", content=body), 413, 8)
    pieces = (body[i : i + 65536] for i in range(0, len(body), 65536))
    assert is_orthanc_error(client.post("/instances", content=pieces), 413, 8)
    said = {"Content-Length": "9" * 5000}
    assert is_orthanc_error(client.post("/instances", content=b"x", headers=said), 413, 8)
    assert face.files() == []


def test_a_chunked_body_is_taken(client):
    content = dicom_file()
    assert (
        client.post("/instances", content=(content[i : i + 777] for i in range(0, len(content), 777))).json()["ID"]
        == CT
    )


# -- a store that fails -------------------------------------------------------------------------------------------------


def storage_error(number):
    error = StorageError("writing to /secret/folder failed: no luck")
    error.__cause__ = OSError(number, "no luck")
    return error


@pytest.mark.parametrize(
    ("error", "status", "orthanc_status"),
    [
        (storage_error(errno.ENOSPC), 507, 19),
        (storage_error(errno.EDQUOT), 507, 19),
        (storage_error(errno.EIO), 503, 14),
        (RuntimeError("/secret/folder"), 500, -1),
    ],
)
@pytest.mark.parametrize("at", ["write", "finish"])
def test_a_store_that_fails_says_so_and_tells_nothing_of_the_host(make_face, at, error, status, orthanc_status):
    reception = FailingReception(at, error)
    client = make_face(intake=OneReception(reception)).client()
    with structlog.testing.capture_logs() as logs:
        answer = client.post("/instances", content=dicom_file())
    assert is_orthanc_error(answer, status, orthanc_status)
    assert "secret" not in answer.text
    assert "Traceback" not in answer.text
    assert [entry["exc_info"] for entry in logs if entry["event"] == "request failed"] == [error]
    # A row may speak of a file once `finish` has begun: only the intake may remove it then.
    assert reception.abandoned == (at == "write")


def test_the_origin_names_address_and_user(make_face):
    reception = FailingReception("finish", StorageError("enough seen"))
    intake = OneReception(reception)
    make_face(intake=intake).client().post("/instances", content=dicom_file())
    assert intake.origin.to_json() == {"kind": "http", "ip": "127.0.0.1"}


def test_without_room_an_upload_is_507_and_nothing_is_written(make_face):
    room = []
    face = make_face()
    intake = Intake(face.archive, on_conflict="newest", name_sender=lambda _origin: None, has_room=lambda: bool(room))
    client = make_face(intake=intake).client()
    assert is_orthanc_error(client.post("/instances", content=dicom_file()), 507, 19)
    assert face.files() == []
    room.append(True)
    assert client.post("/instances", content=dicom_file()).status_code == 200
