"""A used file is written over only where nobody can come to see another's content in it."""

import fcntl
import os
import subprocess
import sys
from pathlib import Path

import pytest

from hostd.transcoding.used_files import UsedFiles

needs_leases = pytest.mark.skipif(not hasattr(fcntl, "F_SETLEASE"), reason="the system has no leases")
F_WRLCK = fcntl.F_WRLCK
CONTENT = b"of the one before"


@pytest.fixture
def old(tmp_path):
    path = tmp_path / "old"
    path.write_bytes(CONTENT)
    return path


def opened(used, path):
    """Return what is at a path that was opened: which file, and its content."""
    descriptor = used.open(path)
    try:
        return os.fstat(descriptor).st_ino, os.pread(descriptor, 100, 0)
    finally:
        os.close(descriptor)


def given(path, **settings):
    used = UsedFiles(**settings)
    used.give(path, len(CONTENT))
    return used


@needs_leases
def test_it_becomes_the_next_file_once_and_is_not_where_it_was(tmp_path, old):
    used, number = given(old), old.stat().st_ino
    assert opened(used, tmp_path / "new") == (number, CONTENT)
    assert not old.exists()
    assert (tmp_path / "new").stat().st_ino == number
    assert opened(used, tmp_path / "newer") == ((tmp_path / "newer").stat().st_ino, b"")
    assert (tmp_path / "newer").stat().st_ino != number


@pytest.mark.parametrize("mode", ["rb", "r+b"])
def test_what_anybody_has_open_stays_as_it_is(tmp_path, old, mode):
    used, number = given(old), old.stat().st_ino
    with old.open(mode) as file:
        assert opened(used, tmp_path / "new")[1] == b""
        assert file.read() == CONTENT
        assert os.fstat(file.fileno()).st_ino == number
    assert [path.name for path in tmp_path.iterdir()] == ["new"]


def test_what_another_process_was_handed_stays_as_it_is(tmp_path, old):
    used = given(old)
    descriptor = os.open(old, os.O_RDWR)
    with subprocess.Popen(
        [sys.executable, "-c", "import sys; sys.stdin.read()"], stdin=subprocess.PIPE, pass_fds=[descriptor]
    ) as holder:
        os.close(descriptor)
        assert opened(used, tmp_path / "new")[1] == b""
        assert Path(f"/proc/{holder.pid}/fd/{descriptor}").read_bytes() == CONTENT
        holder.stdin.close()
    assert not old.exists()


@needs_leases
def test_who_opens_it_just_as_it_is_taken_over_does_no_harm(tmp_path, old, monkeypatch):
    asked = []

    def leased(descriptor, command, argument, fcntl=fcntl.fcntl):
        fcntl(descriptor, command, argument)
        if argument == F_WRLCK:
            with pytest.raises(BlockingIOError):
                os.open(tmp_path / "new", os.O_RDONLY | os.O_NONBLOCK)
            asked.append(command)

    monkeypatch.setattr(fcntl, "fcntl", leased)
    assert opened(given(old), tmp_path / "new")[1] == CONTENT
    assert asked


def test_one_that_is_gone_is_no_hindrance(tmp_path, old):
    used = given(old)
    old.unlink()
    assert opened(used, tmp_path / "new")[1] == b""


@pytest.mark.parametrize("settings", [{"most": 0}, {}])
def test_those_that_are_too_many_or_too_large_are_removed(old, settings):
    UsedFiles(**settings).give(old, 9 << 20 if not settings else 1)
    assert not old.exists()


def test_none_is_kept_when_it_is_closed(tmp_path, old):
    used = given(old)
    used.close()
    assert not old.exists()
    old.write_bytes(CONTENT)
    used.give(old, len(CONTENT))
    assert not old.exists()
    assert opened(used, tmp_path / "new")[1] == b""


def test_no_file_that_is_there_is_written_over_by_its_path(tmp_path, old):
    with pytest.raises(FileExistsError):
        UsedFiles().open(old)
    assert old.read_bytes() == CONTENT
