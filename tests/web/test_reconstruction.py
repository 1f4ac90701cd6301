"""`reconstruct`: what the index says of instances that an older hostd stored, written anew from their files."""

import pytest
import sqlalchemy as sa
from web_support import changed, dicom_file, is_orthanc_error

from hostd.archive import tables as t

LEVELS = {"patients": "ParentPatient", "studies": "ParentStudy", "series": "ParentSeries", "instances": "ID"}
EMPTY = {
    "patients": "PatientBirthDate",
    "studies": "AccessionNumber",
    "series": "SeriesDate",
    "instances": "ImageComments",
}


def as_before(connection):
    """Leave out of main tags what an older hostd left out."""
    for table in (t.instance, t.patient, t.study, t.series):
        for row in connection.execute(sa.select(table.c.id, table.c.attributes)).all():
            attributes = {
                name: {one: text for one, text in value.items() if text} if isinstance(value, dict) else value
                for name, value in row.attributes.items()
                if value
            }
            connection.execute(sa.update(table).where(table.c.id == row.id).values(attributes=attributes))


@pytest.fixture
def stored(face, client):
    content = changed(dicom_file("MR_small.dcm"), ImageComments="", NumberOfSlices=3)
    stored = client.post("/instances", content=content).json()
    face.archive.writer.do(as_before)
    return stored


def lacks(client, stored):
    """Return the levels that lack a main tag which is empty, and where it is not found."""
    return {
        level for level, keyword in EMPTY.items()
        if keyword not in client.get(f"/{level}/{stored[LEVELS[level]]}").json()["MainDicomTags"]
    }  # fmt: skip


@pytest.mark.parametrize("path", [*(f"/{level}" for level in LEVELS), "/tools"])
def test_what_was_left_out_is_there_again_and_nothing_is_told(face, client, stored, path):
    assert lacks(client, stored) == set(LEVELS)
    before = client.get("/changes?last").json()
    where = f"{path}/{stored[LEVELS[path[1:]]]}" if path != "/tools" else path
    answer = client.post(f"{where}/reconstruct")
    assert (answer.status_code, answer.text) == (200, "")
    assert lacks(client, stored) == set()
    assert client.get("/changes?last").json() == before
    found = client.post("/tools/find", json={"Level": "Series", "Query": {"NumberOfSlices": "3"}})
    assert found.json() == [stored["ParentSeries"]]  # of the rows that levels have of their own, which are searched
    with face.archive.read() as connection:
        (row,) = connection.execute(sa.select(t.study))
    assert row.attributes["AccessionNumber"] == ""


def test_a_level_has_what_its_last_instance_has(face, client):
    content = changed(dicom_file(), AccessionNumber="first")
    later = changed(content, AccessionNumber="later", SOPInstanceUID="1.2.3.9")
    first, last = (client.post("/instances", content=one).json() for one in (content, later))
    face.archive.writer.do(as_before)
    for one in (last, first):
        assert client.post(f"/instances/{one['ID']}/reconstruct").status_code == 200
        found = client.post("/tools/find", json={"Level": "Study", "Query": {"AccessionNumber": "later"}}).json()
        assert found == [first["ParentStudy"]]


def test_a_file_that_cannot_be_read_is_named_and_the_others_are_done(face, client, stored):
    other = client.post("/instances", content=dicom_file()).json()
    with face.archive.read() as connection:
        blob = connection.execute(sa.select(t.instance.c.blob).where(t.instance.c.id == other["ID"])).scalar()
    face.archive.blobs.path(blob).write_bytes(b"no DICOM")
    answer = client.post("/tools/reconstruct")
    assert is_orthanc_error(answer, 500, 20)
    assert other["ID"] in answer.json()["Details"]
    assert lacks(client, stored) == set()
    face.archive.blobs.path(blob).write_bytes(dicom_file("MR_small.dcm"))
    answer = client.post(f"/series/{other['ParentSeries']}/reconstruct")
    assert "holds another instance" in answer.json()["Details"]


def test_files_are_not_made_anew_and_what_is_not_there_is_not_found(client, stored):
    path = f"/studies/{stored['ParentStudy']}/reconstruct"
    assert is_orthanc_error(client.post(path, json={"ReconstructFiles": True}), 501, 2)
    assert client.post(path, json={"ReconstructFiles": False}).status_code == 200
    assert client.post(path, content=b"[").status_code == 200
    for level in LEVELS:
        assert is_orthanc_error(client.post(f"/{level}/0-0-0-0-0/reconstruct"), 404, 17)


def test_main_tags_that_are_numbers_are_told_as_such(client, stored):
    client.post("/tools/reconstruct")
    (found,) = client.get("/dicom-web/series?includefield=NumberOfSlices").json()
    assert found["00540081"] == {"vr": "US", "Value": [3]}
    (found,) = client.get("/dicom-web/studies").json()
    assert found["00080050"] == {"vr": "SH"}
