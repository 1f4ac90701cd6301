"""`hostd backup`, `restore`, `verify` and `index rebuild`: what they print, and their exit codes."""

import json

import pytest
from typer.testing import CliRunner

from hostd.archive.archive import Archive
from hostd.cli import build
from hostd.testing.clock import ManualClock
from hostd.testing.made import arrive


@pytest.fixture
def place(tmp_path, prepared):
    data = tmp_path / "data"
    data.mkdir(mode=0o700)
    (tmp_path / "hostd.toml").write_text('[node]\ndata = "./data"\n')
    archive = Archive(prepared(data), "hostd", ManualClock())
    arrive(archive)
    archive.close()
    return tmp_path


def run(place, *arguments):
    return CliRunner().invoke(build(), [*map(str, arguments), "--config", str(place / "hostd.toml")])


def test_there_and_back(place):
    done = run(place, "backup", place / "backup", "--json")
    assert done.exit_code == 0, done.output
    assert json.loads(done.stdout)["files"] == {"linked": 1}
    assert "nothing new" in run(place, "backup", place / "backup").stdout
    assert run(place, "verify", place / "backup").exit_code == 0
    (place / "data").rename(place / "lost")
    assert run(place, "restore", place / "backup", "--hold").exit_code == 0
    checked = run(place, "verify", "--json")
    assert (checked.exit_code, json.loads(checked.stdout)["files"]) == (0, 1)


def test_what_is_wrong_is_named_and_is_exit_code_1(place):
    (blob,) = [path for path in (place / "data" / "blobs").rglob("*") if path.is_file()]
    blob.unlink()
    checked = run(place, "verify")
    assert checked.exit_code == 1
    assert f"is missing: hostd/{blob.parent.name}/{blob.name}" in checked.stderr
    saved = run(place, "backup", place / "backup")
    assert saved.exit_code == 1
    assert "1 files that the index names are missing" in saved.stderr


def test_an_index_is_rebuilt_by_command(place):
    for path in (place / "data").glob("index.db*"):
        path.unlink()
    rebuilt = run(place, "index", "rebuild", "--json")
    assert rebuilt.exit_code == 1  # the made file holds no DICOM
    assert len(json.loads(rebuilt.stdout)["unreadable"]) == 1
