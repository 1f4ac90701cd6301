"""A job that sends goes on where it was, wherever kill -9 falls: every instance is delivered, and the job tells it (P3)."""

import io
import json
import random
import time
import zipfile

import pytest
import requests
import sqlalchemy as sa
from node_kit import NodeProcess, Place, make_instances, upload, wait_until
from pydicom import dcmread
from pydicom.uid import generate_uid

from hostd.archive import tables as t
from hostd.archive.verifying import verify
from hostd.config.place import Place as Where

COUNT = 40
KILLS = 3


def rows(place, query):
    with place.index() as connection:
        return connection.execute(query).all()


@pytest.fixture(params=["sqlite", "postgresql"])
def database(request):
    """Return where the index of a node is: None for beside its files, or the URL of a database."""
    return None if request.param == "sqlite" else request.getfixturevalue("postgresql_url")


def over_kills(place, submit, *, kills=KILLS):
    """Have a node begin a job and kill it again and again, each time a part further on; return the job."""
    chance, job = random.Random(), None
    for number in range(1, kills + 1):
        with NodeProcess(place) as node:
            job = job or submit()
            wanted = (number - chance.random()) / kills
            wait_until("the job goes on", lambda: progress_of(place, job) >= wanted, pause_s=0.002)  # noqa: B023
            node.kill()
    return job


def progress_of(place, job):
    [found] = rows(place, sa.select(t.job.c.progress).where(t.job.c.id == job))
    return found.progress


def ended(place, job):
    def look():
        found = requests.get(f"http://127.0.0.1:{place.http_port}/jobs/{job}", timeout=60).json()
        return found if found["State"] in {"Success", "Failure"} else None

    return wait_until("the job ends", look, patience_s=120)


@pytest.mark.crash
@pytest.mark.timeout(600)
def test_a_job_outlasts_kills_and_ends_with_all_delivered(tmp_path, database):
    theirs = Place(tmp_path, "receiver")
    ours = Place(tmp_path, "sender", archive_port=theirs.dicom_port, database=database)
    url = f"http://127.0.0.1:{ours.http_port}"
    with NodeProcess(theirs):
        with NodeProcess(ours):
            ids = [upload(ours, made).json()["ID"] for made in make_instances(COUNT)]

        def submit():
            body = json.dumps({"Resources": ids, "Asynchronous": True})
            return requests.post(f"{url}/modalities/archive/store", data=body, timeout=60).json()["ID"]

        job = over_kills(ours, submit)
        with NodeProcess(ours) as node:
            found = ended(ours, job)
            assert (found["State"], found["Content"]["FailedInstancesCount"]) == ("Success", 0), found
            assert node.stop() == 0
        states = {row.state for row in rows(ours, sa.select(t.delivery.c.state))}
        assert states == {"delivered"}
        assert {row.id for row in rows(theirs, sa.select(t.instance.c.id))} == set(ids)
        told = rows(ours, sa.select(t.event.c.kind).where(t.event.c.subject == job))
        assert sorted(row.kind for row in told) == ["job_submitted", "job_succeeded"]


@pytest.mark.crash
@pytest.mark.timeout(600)
@pytest.mark.parametrize("keeps", [True, False], ids=["keeps its source", "takes its source away"])
def test_a_study_is_changed_whole_and_once_wherever_the_kills_fall(tmp_path, database, keeps):
    place = Place(tmp_path, "changer", database=database)
    url = f"http://127.0.0.1:{place.http_port}"
    with NodeProcess(place):
        answers = [upload(place, made).json() for made in make_instances(COUNT)]
    before, study = {one["ID"] for one in answers}, answers[0]["ParentStudy"]
    asked = {"Replace": {"PatientName": "Other^Name"}, "KeepSource": keeps, "Asynchronous": True}

    def submit():
        return requests.post(f"{url}/studies/{study}/modify", data=json.dumps(asked), timeout=60).json()["ID"]

    job = over_kills(place, submit)
    with NodeProcess(place, "--housekeeping", 0.2) as node:
        found = ended(place, job)
        assert found["State"] == "Success", found
        new = requests.get(f"{url}/studies/{found['Content']['ID']}/instances", timeout=60).json()
        assert len({one["ID"] for one in new} - before) == COUNT
        tags = [requests.get(f"{url}/instances/{one['ID']}/simplified-tags", timeout=60).json() for one in new[:3]]
        assert {one["PatientName"] for one in tags} == {"Other^Name"}
        here = {row.id for row in rows(place, sa.select(t.instance.c.id))}
        assert here == {one["ID"] for one in new} | (before if keeps else set())
        wait_until(
            "no file is left that no row names",
            lambda: place.blob_names() == {row.name for row in rows(place, sa.select(t.blob.c.name))},
        )
        stored = rows(place, sa.select(t.event.c.subject).where(t.event.c.kind == "stored_instance"))
        assert len(stored) == 2 * COUNT, "each is told once"
        assert node.stop() == 0


@pytest.mark.crash
@pytest.mark.timeout(600)
def test_a_study_is_changed_in_place_and_what_it_was_is_kept_wherever_the_kills_fall(tmp_path, database):
    place = Place(tmp_path, "changer", database=database, more='[ingest]\non_conflict = "first"\n')
    url = f"http://127.0.0.1:{place.http_port}"
    with NodeProcess(place):
        answers = [upload(place, made).json() for made in make_instances(COUNT)]
    held = {row.id: row.blob for row in rows(place, sa.select(t.instance.c.id, t.instance.c.blob))}
    kept = ["StudyInstanceUID", "SeriesInstanceUID", "SOPInstanceUID"]
    asked = {"Keep": kept, "Force": True, "Replace": {"StudyDescription": "new"}, "KeepSource": False}

    def submit():
        body = json.dumps(asked | {"Asynchronous": True})
        answer = requests.post(f"{url}/studies/{answers[0]['ParentStudy']}/modify", data=body, timeout=60)
        return answer.json()["ID"]

    job = over_kills(place, submit)
    with NodeProcess(place, "--housekeeping", 0.2) as node:
        found = ended(place, job)
        assert found["State"] == "Success", found
        for one in held:
            tags = requests.get(f"{url}/instances/{one}/simplified-tags", timeout=60).json()
            assert tags["StudyDescription"] == "new"
        versions = rows(place, sa.select(t.version.c.instance, t.version.c.blob))
        assert sorted((row.instance, row.blob) for row in versions) == sorted(held.items())
        assert node.stop() == 0
    assert verify(place.data if database is None else Where(place.data, place.data / "blobs", database)).is_sound


@pytest.mark.crash
@pytest.mark.timeout(600)
def test_an_archive_is_packed_whole_wherever_the_kills_fall(tmp_path, database):
    place = Place(tmp_path, "packer", database=database)
    url = f"http://127.0.0.1:{place.http_port}"
    with NodeProcess(place):
        answers = [upload(place, made).json() for made in make_instances(COUNT, side=512)]

    def submit():
        body = json.dumps({"Asynchronous": True, "Transcode": "1.2.840.10008.1.2.5"})
        return requests.post(f"{url}/studies/{answers[0]['ParentStudy']}/archive", data=body, timeout=60).json()["ID"]

    with NodeProcess(place) as node:
        job = submit()
        node.kill()
    for wait_s in (0.0, 0.3, 1.0):  # it has no progress before it is there
        with NodeProcess(place) as node:
            time.sleep(wait_s)
            node.kill()
    with NodeProcess(place) as node:
        found = ended(place, job)
        assert found["State"] == "Success", found
        packed = requests.get(f"{url}/jobs/{job}/archive", timeout=60)
        assert packed.status_code == 200
        with zipfile.ZipFile(io.BytesIO(packed.content)) as zipped:
            assert zipped.testzip() is None
            syntaxes = [
                dcmread(io.BytesIO(zipped.read(name))).file_meta.TransferSyntaxUID for name in zipped.namelist()
            ]
        assert syntaxes == ["1.2.840.10008.1.2.5"] * COUNT
        assert node.stop() == 0
    packs = [path for path in place.data.rglob("*") if path.is_file() and "zip" in path.name.lower()]
    assert len(packs) <= 1, packs


@pytest.mark.crash
@pytest.mark.timeout(600)
@pytest.mark.parametrize("verb", ["split", "merge"])
def test_series_change_their_study_whole_and_once_wherever_the_kills_fall(tmp_path, database, verb):
    place = Place(tmp_path, "changer", database=database)
    url = f"http://127.0.0.1:{place.http_port}"
    study, other = generate_uid(), generate_uid()
    with NodeProcess(place):
        moved = [upload(place, made).json() for made in make_instances(COUNT, study=study)]
        stays = [upload(place, made).json() for made in make_instances(4, study=study)]
        target = [upload(place, made).json() for made in make_instances(4, study=other)]

    def submit():
        asked, at = {"Asynchronous": True}, moved[0]["ParentStudy"]
        if verb == "split":
            asked["Series"] = [moved[0]["ParentSeries"]]
        else:
            asked["Resources"], at = [moved[0]["ParentSeries"]], target[0]["ParentStudy"]
        return requests.post(f"{url}/studies/{at}/{verb}", data=json.dumps(asked), timeout=60).json()["ID"]

    job = over_kills(place, submit)
    with NodeProcess(place, "--housekeeping", 0.2) as node:
        found = ended(place, job)
        assert found["State"] == "Success", found
        studies = rows(place, sa.select(t.instance.c.study, sa.func.count()).group_by(t.instance.c.study))
        counts = {row.study: row.count for row in studies}
        assert counts.pop(stays[0]["ParentStudy"]) == len(stays)
        assert counts.pop(target[0]["ParentStudy"]) == len(target) + (COUNT if verb == "merge" else 0)
        assert list(counts.values()) == ([COUNT] if verb == "split" else [])
        here = {row.id for row in rows(place, sa.select(t.instance.c.id))}
        assert {one["ID"] for one in (*stays, *target)} <= here
        assert not {one["ID"] for one in moved} & here
        assert node.stop() == 0
    assert verify(place.data if database is None else Where(place.data, place.data / "blobs", database)).is_sound
