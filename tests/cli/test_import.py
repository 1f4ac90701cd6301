"""`hostd import`: what it takes and what not, once each however often it is stopped, and what scripts and people are told."""

import json
import os
import shutil
import sqlite3
import zlib
from pathlib import Path

import pytest
import sqlalchemy as sa
import structlog
from pydicom.data import get_testdata_file
from typer.testing import CliRunner

from hostd.archive import events, holding, instances, levels
from hostd.archive import tables as t
from hostd.archive.archive import attach
from hostd.archive.blobs import FolderBlobs, import_prefix
from hostd.archive.room import Room
from hostd.cli import build
from hostd.errors import HostdError
from hostd.intake import importing
from hostd.intake.importing import Importer, Terms
from hostd.testing.clock import ManualClock
from hostd.testing.instances import changed, made, write

CT = Path(get_testdata_file("CT_small.dcm", download=False)).read_bytes()
EVENTS = ("stored_instance", "received_again", "conflicting_instance", "new_study")
UUID = "9f3c2b1a-0d4e-4f5a-8b6c-7d8e9fa0b1c2"
OTHER_UUID, THIRD_UUID = UUID.replace("9f3c", "a1b2"), UUID.replace("9f3c", "c0de")


@pytest.fixture
def config(config, prepared):
    prepared(config.parent / "data")
    return config


@pytest.fixture
def folder(tmp_path):
    found = tmp_path / "old"
    found.mkdir()
    return found


def some(folder, count, **elements):
    """Write so many instances of one series into a folder, and return their files."""
    folder.mkdir(parents=True, exist_ok=True)
    return [
        write(changed(made(number, pixels=True, elements={}), elements), folder / f"{number:04}.dcm", None)
        for number in range(1, count + 1)
    ]


def run(config, *arguments):
    try:
        return CliRunner().invoke(build(), ["import", *map(str, arguments), "--config", str(config)])
    finally:
        structlog.reset_defaults()  # the command's log goes to a standard error that is closed now


def told(config, *arguments, exit_code=0):
    """Return how many files became what (but nought), and what was not taken, by the file's name."""
    ran = run(config, *arguments, "--json")
    assert ran.exit_code == exit_code, ran.output
    found = json.loads(ran.stdout)
    counts = {
        name: count
        for name, count in found["summary"].items()
        if isinstance(count, int) and count and count is not True
    }
    return counts, {Path(one["file"]).name: one["reason"] for one in found["not_taken"]}


def stored(config):
    with attach(config.parent / "data") as connection:
        return [one.sop_instance_uid for one in instances.page(connection)]


def raised(config):
    with attach(config.parent / "data") as connection:
        return [event.kind for event in events.after(connection, 0, EVENTS, 1000)]


def files(config):
    return [path for path in (config.parent / "data" / "blobs").rglob("*") if path.is_file()]


def limited(config, lines):
    config.write_text(config.read_text() + f"[storage]\n{lines}\n")


def patients(config):
    with attach(config.parent / "data") as connection:
        return {one.patient_id for one in instances.page(connection)}


def importer(config, **terms):
    data = config.parent / "data"
    return Importer(importing.Place.of(data), "hostd", ManualClock(), Terms(**terms))


def test_every_instance_is_taken_and_what_is_none_is_counted_with_its_reason(config, folder):
    some(folder / "a" / "b", 3)
    (folder / "notes.txt").write_text("not an image")
    (folder / "empty").touch()
    os.mkfifo(folder / "pipe")
    counts, left = told(config, folder)
    assert counts == {"stored": 3, "other": 3}
    assert "neither the prefix DICM" in left["notes.txt"]
    assert left["empty"] == "the file is empty"
    assert left["pipe"] == "no file, but something else"
    assert len(stored(config)) == 3
    assert "3 already stored; 3 no DICOM instances" in run(config, folder).stdout


def test_a_file_is_kept_byte_for_byte(config, folder):
    (folder / "ct").write_bytes(CT)
    told(config, folder / "ct")
    (kept,) = files(config)
    assert kept.read_bytes() == CT
    assert kept.stat().st_ino != (folder / "ct").stat().st_ino


def test_no_event_is_raised_unless_it_is_asked_for(config, folder, tmp_path):
    some(folder, 2)
    told(config, folder)
    assert raised(config) == []
    with attach(config.parent / "data") as connection:
        assert levels.next_due(connection) is None
    write(made(9, pixels=True, elements={}), tmp_path / "loud", None)
    told(config, tmp_path / "loud", "--events")
    assert raised(config) == ["stored_instance"]
    with attach(config.parent / "data") as connection:
        assert levels.next_due(connection) is not None


def test_nothing_is_taken_twice_nor_read_again(config, folder, monkeypatch):
    some(folder, 3)
    told(config, folder)
    read = []
    monkeypatch.setattr(importing, "opened", lambda path: read.append(path) or pytest.fail("it was read again"))
    assert told(config, folder) == ({"already_stored": 3}, {})
    assert read == []
    assert len(files(config)) == 3


def test_what_is_stored_from_elsewhere_is_not_copied(config, folder, monkeypatch):
    some(folder, 3)
    told(config, folder)
    shutil.rmtree(config.parent / "data" / importing.FOLDER)  # nobody knows any more that it was imported
    monkeypatch.setattr(importing, "copy", lambda *_, **__: pytest.fail("it was copied again"))
    assert told(config, folder) == ({"already_stored": 3}, {})


def test_copies_of_one_instance_in_the_folder_are_taken_once(config, folder):
    (folder / "one").write_bytes(CT)
    (folder / "two").write_bytes(CT)
    assert told(config, folder) == ({"stored": 1, "already_stored": 1}, {})
    assert len(files(config)) == 1


def test_a_file_that_changed_is_read_again(config, folder):
    (file, _) = some(folder, 2)
    told(config, folder)
    write(changed(made(7, pixels=True, elements={}), {}), file, None)
    assert told(config, folder) == ({"stored": 1, "already_stored": 1}, {})


def test_what_was_deleted_since_is_taken_again(config, folder):
    some(folder, 2)
    told(config, folder)
    with attach(config.parent / "data", writes=True) as connection:
        instances.hide(connection, instances.ids(connection)[0], 1.0)
    assert told(config, folder) == ({"stored": 1, "already_stored": 1}, {})


def test_a_damaged_list_of_what_was_taken_is_begun_anew(config, folder):
    some(folder, 2)
    told(config, folder)
    (config.parent / "data" / importing.FOLDER / "taken.db").write_bytes(b"no database" * 1000)
    assert importer_counts(config, folder) == ["already stored"] * 2
    rows = sqlite3.connect(config.parent / "data" / importing.FOLDER / "taken.db")
    assert rows.execute("SELECT count(*) FROM taken").fetchone() == (2,)
    rows.close()


def importer_counts(config, folder):
    at_work = importer(config)
    try:
        return [one.became for one in at_work.take(sorted(folder.iterdir()))]
    finally:
        at_work.close()


def test_one_that_is_stopped_goes_on_where_it_was(config, folder, monkeypatch):
    monkeypatch.setattr(importing, "_AT_ONCE", 2)
    files_there = some(folder, 7)
    at_work = importer(config)
    taken = []
    for one in at_work.take(files_there):
        taken.append(one)
        at_work.stop()
    at_work.close()
    assert at_work.was_stopped()
    assert 2 <= len(taken) < 7
    assert len(stored(config)) == len(taken)
    assert told(config, folder)[0] == {"stored": 7 - len(taken), "already_stored": len(taken)}


def test_what_a_killed_import_left_is_swept_by_the_next(config, folder):
    some(folder, 1)
    left = FolderBlobs(config.parent / "data" / "blobs", import_prefix("hostd")).create()
    left.close()
    told(config, folder)
    assert not left.path.exists()
    assert len(files(config)) == 1


def test_it_works_beside_a_running_node(config, folder, archive):
    some(folder, 2)
    assert told(config, folder)[0] == {"stored": 2}
    with archive.read() as connection:
        first = instances.page(connection)[0]
        assert archive.blobs.path(first.blob.name).exists()
    archive.writer.do(lambda c: instances.hide(c, first.id, 1.0))
    archive.collect(trash_seconds=0)
    assert not archive.blobs.path(first.blob.name).exists()


def test_a_start_of_the_node_leaves_imported_files_and_finds_one_that_is_missing(config, folder):
    some(folder, 2)
    told(config, folder)
    files(config)[0].unlink()
    opened = importing.Archive(config.parent / "data", "hostd", ManualClock())
    with opened.read() as connection:
        assert sorted(connection.execute(sa.select(t.blob.c.state)).scalars()) == ["missing", "present"]
    opened.close()
    assert len(files(config)) == 1


def test_into_a_folder_where_nothing_ran_yet(tmp_path, folder):
    config = tmp_path / "fresh.toml"
    config.write_text('[node]\ndata = "./fresh"\n')
    some(folder, 1)
    assert told(config, folder, "--dry-run")[0] == {"stored": 1}
    assert not (tmp_path / "fresh").exists()
    assert told(config, folder)[0] == {"stored": 1}
    assert (tmp_path / "fresh").stat().st_mode & 0o077 == 0


def in_orthanc(folder, uuid, content):
    file = folder / uuid[:2] / uuid[2:4] / uuid
    file.parent.mkdir(parents=True)
    file.write_bytes(content)
    return file


def compressed(content):
    return len(content).to_bytes(8, "little") + zlib.compress(content)


@pytest.mark.parametrize("kept_as", [bytes, compressed], ids=["plain", "compressed"])
def test_an_orthanc_storage_is_read_and_never_touched(config, folder, kept_as):
    at = CT.index(b"\xe0\x7f\x10\x00O")  # where the pixel data begins
    in_orthanc(folder, UUID, kept_as(CT))
    in_orthanc(folder, OTHER_UUID, kept_as(CT[:at]))
    in_orthanc(folder, THIRD_UUID, kept_as(b'{"0010,0010": "a summary"}'))
    before = {path: (path.stat().st_mtime_ns, path.read_bytes()) for path in folder.rglob("*") if path.is_file()}
    for path in (*folder.rglob("*"), folder):
        path.chmod(0o500 if path.is_dir() else 0o400)
    counts, left = told(config, folder)
    assert counts == {"stored": 1, "other": 2}
    assert "without its pixel data" in left[OTHER_UUID]
    (kept,) = files(config)
    assert kept.read_bytes() == CT
    after = {path: (path.stat().st_mtime_ns, path.read_bytes()) for path in folder.rglob("*") if path.is_file()}
    assert after == before
    assert told(config, folder)[0] == {"already_stored": 1, "other": 2}


def test_what_orthanc_compressed_and_is_damaged_is_a_failure(config, folder):
    in_orthanc(folder, UUID, compressed(CT)[:-200])
    counts, left = told(config, folder, exit_code=1)
    assert (counts, left) == ({"failed": 1}, {UUID: "Orthanc compressed the file, and it is damaged"})


def test_of_a_medium_the_files_are_taken_and_not_the_dicomdir(config, folder):
    shutil.copy(get_testdata_file("DICOMDIR", download=False), folder / "DICOMDIR")
    some(folder / "IMAGES", 2)
    counts, left = told(config, folder)
    assert counts == {"stored": 2, "other": 1}
    assert "DICOMDIR" in left["DICOMDIR"]


def test_a_damaged_file_is_a_failure_that_holds_up_no_other(config, folder):
    some(folder, 1)
    (folder / "cut").write_bytes(CT[:-5000])
    counts, left = told(config, folder, exit_code=1)
    assert counts == {"stored": 1, "failed": 1}
    assert "truncated" in left["cut"]
    assert "failed: " in run(config, folder).stderr


def test_a_folder_that_cannot_be_read_is_a_failure(config, folder, monkeypatch):
    some(folder / "open", 1)
    some(folder / "shut", 1)
    scandir = os.scandir

    def refused(path):
        if Path(os.fsdecode(path)).name == "shut":
            raise PermissionError(13, "Permission denied", path)
        return scandir(path)

    monkeypatch.setattr(os, "scandir", refused)
    assert told(config, folder, exit_code=1) == ({"stored": 1, "failed": 1}, {"shut": "Permission denied"})


@pytest.mark.parametrize(
    ("on_conflict", "became", "exit_code"),
    [("newest", "replaced", 0), ("first", "kept_as_version", 0), ("refuse", "refused", 1)],
)
def test_conflicts_go_as_the_configuration_says(config, folder, tmp_path, on_conflict, became, exit_code):
    config.write_text(config.read_text() + f'[ingest]\non_conflict = "{on_conflict}"\n')
    some(folder, 1)
    told(config, folder)
    some(tmp_path / "other", 1, PatientName="Other^Content")
    assert told(config, tmp_path / "other", "--dry-run", exit_code=exit_code)[0] == {became: 1}
    assert told(config, tmp_path / "other", exit_code=exit_code)[0] == {became: 1}
    assert raised(config) == []
    assert len(files(config)) == 1 + (became != "refused")


def test_a_dry_run_writes_nothing(config, folder):
    some(folder, 2)
    before = sorted(path for path in (config.parent / "data").rglob("*") if not path.name.startswith("index.db-"))
    ran = run(config, folder, "--dry-run")
    assert "2 would be imported" in ran.stdout
    assert stored(config) == []
    assert (
        sorted(path for path in (config.parent / "data").rglob("*") if not path.name.startswith("index.db-")) == before
    )


def test_explain_says_from_where_and_when(config, folder):
    (file,) = some(folder, 1)
    told(config, folder)
    (uid,) = stored(config)
    said = CliRunner().invoke(build(), ["explain", uid, "--config", str(config)]).output
    assert f"stored instance by an import from {file} in Explicit VR Little Endian" in said
    hidden = CliRunner().invoke(build(), ["explain", uid, "--json", "--no-phi", "--config", str(config)]).output
    assert str(folder) not in hidden


def test_the_archives_own_files_are_refused(config, folder):
    for path in (config.parent / "data" / "blobs", config.parent):
        (config.parent / "data" / "blobs").mkdir(exist_ok=True)
        ran = run(config, path)
        assert isinstance(ran.exception, HostdError)
        assert "the files of this archive itself" in str(ran.exception)
    assert "is not there" in str(run(config, folder / "nowhere").exception)


def test_two_imports_at_one_time_are_refused(config, folder):
    at_work = importer(config)
    try:
        assert "another import" in str(run(config, folder).exception)
    finally:
        at_work.close()


def test_a_full_disk_ends_it_with_what_was_taken_safe(config, folder, monkeypatch):
    monkeypatch.setattr(importing, "_AT_ONCE", 2)
    answers = iter([True, False])
    monkeypatch.setattr(Room, "is_left", lambda _: next(answers))
    some(folder, 5)
    ran = run(config, folder)
    assert ran.exit_code == 1
    assert "2 imported" in ran.stdout
    assert "nothing more is imported until there is room" in ran.stderr
    assert len(stored(config)) == 2


def test_a_commit_that_fails_tells_of_no_file_as_taken(config, folder, monkeypatch):
    def full(*_arguments):
        raise sa.exc.OperationalError("INSERT", {}, sqlite3.OperationalError("database or disk is full"))

    some(folder, 2)
    monkeypatch.setattr(importing.receiving, "take_in", full)
    ran = run(config, folder, "--json")
    assert ran.exit_code == 1
    found = json.loads(ran.stdout)["summary"]
    assert (found["stored"], found["failed"]) == (0, 2)
    assert "disk is full" in found["trouble"]
    monkeypatch.undo()
    assert told(config, folder)[0] == {"stored": 2}
    assert len(files(config)) == 2


# -- [storage] --------------------------------------------------------------------------------------------------------


def of_patients(folder, names):
    """Write three instances of each patient, in the order in which they are imported."""
    for number, name in enumerate(names):
        series = f"1.2.{number + 1}"
        for one in range(1, 4):
            elements = {"PatientID": name, "StudyInstanceUID": series, "SeriesInstanceUID": f"{series}.1"}
            ds = changed(made(10 * number + one, pixels=True, elements={}), elements)
            folder.mkdir(exist_ok=True)
            write(ds, folder / f"{number}-{one}.dcm", None)


def test_others_are_recycled_for_what_is_imported_and_that_is_said(config, folder):
    limited(config, 'max_patients = 2\nwhen_full = "recycle"')
    for name in "ABC":  # one after the other
        of_patients(folder, [name])
        ran = run(config, folder)
        shutil.rmtree(folder)
    assert (ran.exit_code, patients(config)) == (0, {"B", "C"})
    assert "recycled to make room" in ran.stdout


def test_an_import_of_more_than_fits_stays_within_the_limit_and_keeps_what_came_last(config, folder):
    limited(config, 'max_patients = 2\nwhen_full = "recycle"')
    of_patients(folder, "ABCDE")
    counts, _ = told(config, folder)
    assert counts == {"stored": 15, "recycled_patients": 3}
    assert len(patients(config)) == 2
    with attach(config.parent / "data") as connection:
        held = holding.held(connection)
        assert (held.patients, held.recycled_instances) == (2, 9)


def test_where_nothing_is_recycled_an_import_ends_at_the_limit_and_leaves_no_file(config, folder):
    limited(config, "max_patients = 2")
    of_patients(folder, "ABC")
    ran = run(config, folder)
    assert ran.exit_code == 1
    assert "the archive is full (storage.max_patients is 2)" in ran.stderr
    assert len(files(config)) == len(stored(config)) == 6
