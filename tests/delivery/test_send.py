"""`hostd send`: what arrives is what was named; without a node, beside one, and to a destination that is not there."""

import json
import sqlite3

import pytest
from delivery_kit import small_file
from typer.testing import CliRunner

from hostd.archive.archive import Archive
from hostd.archive.blobs import SENDING
from hostd.archive.database import INDEX
from hostd.archive.records import Origin
from hostd.archive.verifying import verify
from hostd.cli import build
from hostd.clock import SystemClock
from hostd.config.settings import load
from hostd.intake.intake import Intake
from hostd.node import Node


@pytest.fixture
def place(tmp_path, prepared):
    data = tmp_path / "data"
    data.mkdir(mode=0o700)
    prepared(data)
    (tmp_path / "out").mkdir()
    config = tmp_path / "hostd.toml"
    config.write_text(
        '[node]\ndata = "./data"\n[dicom]\nport = 0\n[http]\nport = 0\n[delivery]\nfirst_retry_s = 0.1\nmax_retry_s = 0.2\n'
        '[folders.export]\npath = "./out"\ntemplate = "{SOPInstanceUID}.dcm"\nalternate = "gone"\n[folders.gone]\npath = "./gone"\n'
    )
    config.chmod(0o600)
    return tmp_path


@pytest.fixture
def files(place):
    folder = place / "files"
    folder.mkdir()
    for number in range(3):
        (folder / f"{number}.dcm").write_bytes(small_file())
    return folder


def run(place, *arguments):
    return CliRunner().invoke(build(), ["send", *map(str, arguments), "--config", str(place / "hostd.toml")])


def arrived(place):
    return sorted(path.read_bytes() for path in (place / "out").glob("*.dcm"))


def rows(place, query):
    with sqlite3.connect(place / "data" / INDEX) as index:
        return index.execute(query).fetchall()


def test_files_arrive_without_a_node_and_are_not_stored(place, files):
    done = run(place, "export", files, "--json")
    assert done.exit_code == 0, done.output
    assert json.loads(done.stdout)["deliveries"] == {"delivered": 3}
    assert arrived(place) == sorted(path.read_bytes() for path in files.iterdir())
    assert rows(place, "SELECT count(*) FROM instance") == [(0,)]
    assert rows(place, "SELECT count(*) FROM event WHERE kind = 'stored_instance'") == [(0,)]
    assert rows(place, "SELECT DISTINCT released FROM blob") == [(1,)]
    assert verify(place / "data").is_sound


def test_files_are_carried_by_the_node_that_runs(place, files):
    node = Node(load(place / "hostd.toml"), run_scripts=False)
    node.start()
    try:
        done = run(place, "export", files / "0.dcm", "--wait", "60")
        assert done.exit_code == 0, done.output
        assert "1 of 1 arrived at folder:export" in done.stdout
    finally:
        node.stop()
    assert len(arrived(place)) == 1


def test_a_study_of_the_archive_is_sent(place):
    content = small_file()
    archive = Archive(place / "data", "hostd", SystemClock())
    reception = Intake(archive, on_conflict="newest", name_sender=lambda _: None).receive_file(origin=Origin("http"))
    reception.write(content)
    reception.finish()
    with archive.read() as connection:
        (study,) = connection.exec_driver_sql("SELECT study_instance_uid FROM instance").scalars()
    archive.close()
    assert run(place, "export", "--study", study).exit_code == 0
    assert arrived(place) == [content]
    missing = run(place, "export", "--study", "1.2.3")
    assert (missing.exit_code, "no instance of the study" in missing.stderr) == (1, True)


def test_what_does_not_arrive_waits_and_is_exit_code_1_and_what_is_no_instance_is_named(place, files):
    (files / "readme.txt").write_text("no DICOM")
    for _ in range(10):  # as long as it takes until it was tried
        waiting = run(place, "gone", files, "--wait", "1")
        assert waiting.exit_code == 1
        assert "3 still wait" in waiting.stderr
        if "No such file" in waiting.stderr:
            break
    assert "No such file" in waiting.stderr
    assert "readme.txt" in waiting.stderr
    again = run(place, "gone", files / "0.dcm", "--wait", "0")  # absorbed by what waits
    assert again.exit_code == 1
    assert rows(place, "SELECT count(*) FROM delivery") == [(3,)]
    (place / "gone").mkdir()
    arrived = run(place, "gone", files / "0.dcm")
    assert arrived.exit_code == 0, arrived.output
    assert not [p for p in (place / "data" / "blobs" / SENDING).rglob("*") if p.is_file() and not _is_known(place, p)]


def _is_known(place, path):
    name = path.relative_to(place / "data" / "blobs")
    return rows(place, f"SELECT 1 FROM blob WHERE name = '{name}'") == [(1,)]


@pytest.mark.parametrize("arguments", [[], ["x.dcm", "--study", "1.2"], ["x.dcm", "--priority", "urgent"]])
def test_a_send_says_what(place, arguments):
    assert run(place, "export", *arguments).exit_code == 2
