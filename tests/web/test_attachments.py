"""Files that clients attach to the four levels: kept as long as what they are attached to, and removed as all files are."""

import gzip
import hashlib
from uuid import UUID

import pytest
import sqlalchemy as sa
from web_support import changed, dicom_file, is_orthanc_error

from hostd.archive import tables as t
from hostd.archive.backup import backup
from hostd.archive.blobs import ATTACHED, stored_at
from hostd.archive.holding import held
from hostd.archive.verifying import verify
from hostd.config.storage import Storage

LEVELS = {"patients": "ParentPatient", "studies": "ParentStudy", "series": "ParentSeries", "instances": "ID"}
CONTENT = b"hello world" * 1000


@pytest.fixture
def stored(client):
    return client.post("/instances", content=dicom_file()).json()


def path_of(stored, level="studies", name="report"):
    return f"/{level}/{stored[LEVELS[level]]}/attachments/{name}"


def blobs(face):
    """Return the names of the files of all attachments."""
    with face.archive.read() as connection:
        return connection.execute(sa.select(t.attachment.c.blob)).scalars().all()


@pytest.mark.parametrize("level", LEVELS)
def test_what_is_attached_is_given_as_it_came(client, stored, level):
    path = path_of(stored, level)
    before = client.get("/changes?last").json()["Last"]
    answer = client.put(path, content=CONTENT)
    md5 = hashlib.md5(CONTENT).hexdigest()
    assert (answer.status_code, answer.json(), answer.headers["etag"]) == (200, {}, f'"0-{md5}"')
    own = ["dicom"] if level == "instances" else []
    assert client.get(path.rpartition("/")[0]).json() == [*own, "report"]
    for part, expected in (
        ("data", CONTENT), ("compressed-data", CONTENT), ("size", b"11000"), ("compressed-size", b"11000"), ("md5", md5.encode()),
        ("compressed-md5", md5.encode()), ("is-compressed", b"0"),
    ):  # fmt: skip
        assert client.get(f"{path}/{part}").content == expected
    info = client.get(f"{path}/info").json()
    assert (info["UncompressedMD5"], info["CompressedSize"], info["ContentType"]) == (md5, 11000, 0)
    assert str(UUID(info["Uuid"])) == info["Uuid"]
    for operation in client.get(path).json():
        method = "POST" if operation in {"compress", "uncompress", "verify-md5"} else "GET"
        assert client.request(method, f"{path}/{operation}").status_code == 200
    told = client.get(f"/changes?since={before}").json()["Changes"]
    assert [(one["ChangeType"], one["ID"]) for one in told] == [("UpdatedAttachment", stored[LEVELS[level]])]


def test_its_file_is_told_from_those_of_instances_by_its_name(face, client, stored):
    path = path_of(stored)
    client.put(path, content=dicom_file())
    for operation in ("verify-md5", "compress", "uncompress"):
        assert client.post(f"{path}/{operation}").status_code == 200
        assert [name.endswith(ATTACHED) for name in blobs(face)] == [True]


def test_it_is_compressed_and_as_it_was_again(face, client, stored):
    path = path_of(stored)
    client.put(path, content=CONTENT)
    for _ in range(2):  # what is done already is no error
        assert client.post(f"{path}/compress").json() == {}
    assert client.get(f"{path}/is-compressed").text == "1"
    info = client.get(f"{path}/info").json()
    assert (
        info["UncompressedSize"] == 11000 > info["CompressedSize"] == len(client.get(f"{path}/compressed-data").content)
    )
    assert hashlib.md5(client.get(f"{path}/compressed-data").content).hexdigest() == info["CompressedMD5"]
    assert client.get(f"{path}/data").content == CONTENT
    assert client.post(f"{path}/verify-md5").status_code == 200
    assert client.post(f"{path}/uncompress").json() == {}
    assert client.get(f"{path}/compressed-data").content == CONTENT
    assert client.get(f"{path}/is-compressed").text == "0"
    face.archive.collect(trash_seconds=0)
    assert len(face.files()) == 2


def test_another_takes_its_place_only_where_it_is_still_what_the_client_knows(client, stored):
    path = path_of(stored)
    known = client.put(path, content=b"one").headers["etag"]
    assert is_orthanc_error(client.put(path, content=b"two", headers={"If-Match": '"0-x"'}), 409, 43)
    assert client.get(f"{path}/data").content == b"one"
    assert client.put(path, content=b"two", headers={"If-Match": known}).status_code == 200
    assert is_orthanc_error(client.delete(path, headers={"If-Match": known}), 409, 43)
    assert client.get(f"{path}/data").content == b"two"
    assert client.put(path, content=gzip.compress(b""), headers={"Content-Encoding": "gzip"}).status_code == 200
    assert client.get(f"{path}/data").content == b""
    assert (client.delete(path).status_code, client.get(f"{path}/size").status_code) == (200, 404)
    assert is_orthanc_error(client.delete(path), 404, 7)
    assert is_orthanc_error(client.get(f"{path}/data"), 404, 7)


@pytest.mark.parametrize("level", LEVELS)
def test_it_goes_with_what_it_is_attached_to_and_its_bytes_with_the_trash(face, client, stored, level):
    client.put(path_of(stored, level), content=CONTENT)
    (blob,) = blobs(face)
    client.post(f"{path_of(stored, level)}/compress")
    (compressed,) = blobs(face)
    client.delete(f"/instances/{stored['ID']}")
    assert blobs(face) == []
    assert face.archive.blobs.path(compressed).exists()
    face.archive.collect(trash_seconds=3600)
    assert face.archive.blobs.path(blob).exists()
    face.archive.collect(trash_seconds=0)
    assert face.files() == []
    with face.archive.read() as connection:
        assert held(connection).size == 0
    assert client.post("/instances", content=dicom_file()).json()["ID"] == stored["ID"]
    assert client.get(path_of(stored, level).rpartition("/")[0]).json() == (["dicom"] if level == "instances" else [])


def test_what_is_attached_to_a_study_stays_while_any_of_it_does(face, client, stored):
    client.post("/instances", content=changed(dicom_file(), SOPInstanceUID="1.2.3.4"))
    client.put(path_of(stored), content=CONTENT)
    client.delete(f"/instances/{stored['ID']}")
    face.archive.collect(trash_seconds=0)
    assert client.get(f"{path_of(stored)}/data").content == CONTENT


def test_backups_have_it_and_verify_looks_at_it(face, client, stored, tmp_path):
    client.put(path_of(stored), content=CONTENT)
    (blob,) = blobs(face)
    backup(face.archive.place, tmp_path / "backup")
    assert stored_at(tmp_path / "backup", blob).read_bytes() == CONTENT
    findings = verify(face.archive.place)
    assert (findings.is_sound, findings.files) == (True, 2)
    face.archive.blobs.path(blob).write_bytes(CONTENT[:-1] + b"x")
    assert list(verify(face.archive.place).changed) == [blob]


def test_what_the_disk_has_changed_is_told(face, client, stored):
    path = path_of(stored)
    client.put(path, content=CONTENT)
    (blob,) = blobs(face)
    for changed_to in (CONTENT[:-1] + b"x", CONTENT[:-1], b""):
        face.archive.blobs.path(blob).write_bytes(changed_to)
        assert is_orthanc_error(client.post(f"{path}/verify-md5"), 500, 20)
    face.archive.blobs.path(blob).unlink()
    assert is_orthanc_error(client.get(f"{path}/data"), 500, 13)


@pytest.mark.parametrize(
    ("name", "status", "number"),
    [
        ("dicom", 403, 45),
        ("dicom-as-json", 403, 45),
        ("7", 403, 45),
        ("70000", 403, 45),
        ("a%20b", 404, 7),
        ("9" * 5000, 404, 7),
    ],
)
@pytest.mark.parametrize("level", ["studies", "instances"])
def test_names_that_are_taken_or_none_are_refused(client, stored, level, name, status, number):
    path = path_of(stored, level, name)
    for answer in (client.put(path, content=b"x"), client.delete(path)):
        assert is_orthanc_error(answer, status, number)
    is_file = (level, name) == ("instances", "dicom")
    assert is_orthanc_error(
        client.post(f"{path}/compress"), *((403, 45) if is_file else (404, 17 if name in {"7", "70000"} else 7))
    )


def test_what_is_not_stored_or_is_too_large_leaves_nothing(make_face):
    face = make_face(limit=1000, limits=lambda: Storage(max_size_mb=1))
    client = face.client()
    stored = dict.fromkeys(LEVELS.values(), "0-0-0-0-0")
    for level in LEVELS:
        assert is_orthanc_error(client.put(path_of(stored, level), content=b"x"), 404, 17)
    face = make_face(limit=3 << 20, limits=lambda: Storage(max_size_mb=1))
    client = face.client()
    stored = client.post("/instances", content=dicom_file()).json()
    files = face.files()
    assert client.put(path_of(stored), content=bytes(4 << 20)).status_code == 413
    assert (
        client.put(
            path_of(stored), content=gzip.compress(bytes(4 << 20)), headers={"Content-Encoding": "gzip"}
        ).status_code
        == 413
    )
    assert client.put(path_of(stored), content=b"\x1f\x8bx", headers={"Content-Encoding": "gzip"}).status_code == 400
    assert client.put(path_of(stored), content=bytes(2 << 20)).status_code == 507
    assert face.files() == files
    assert client.get(path_of(stored).rpartition("/")[0]).json() == []
