"""What the tests ask about processes, and that one may end at any moment."""

import os
import subprocess
import sys
from pathlib import Path

import processes
import pytest
from processes import (
    descendants_of,
    has_ended,
    is_alive,
    is_there,
    open_files_of,
    parent_of,
    peak_bytes,
    resident_bytes,
    threads_of,
)

PARENT = """
import subprocess, sys
child = subprocess.Popen(["sleep", "600"])
print(child.pid, flush=True)
sys.stdin.read()
child.kill()
child.wait()
"""


def test_a_process_has_a_parent_threads_memory_and_descendants_until_it_ends():
    with subprocess.Popen(
        [sys.executable, "-c", PARENT], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as parent:
        child = int(parent.stdout.readline())
        assert parent_of(child) == parent.pid
        assert parent_of(parent.pid) == os.getpid()
        assert descendants_of(parent.pid) == {child}
        assert descendants_of(os.getpid()) >= {child, parent.pid}
        assert all(map(is_alive, (child, parent.pid, "self")))
        assert not has_ended(child, within_s=0.01)
        assert threads_of(child) == {child}
        assert 1 << 20 < resident_bytes(parent.pid) <= peak_bytes(parent.pid) < 1 << 30
        parent.stdin.close()
        assert has_ended(child)
        assert has_ended(parent.pid)
        assert descendants_of(os.getpid()).isdisjoint({child, parent.pid})
        assert is_there(parent.pid), "nobody has asked for its exit code yet"
        assert (peak_bytes(parent.pid), resident_bytes(parent.pid)) == (None, None)
    assert_gone(parent.pid)


def test_open_files_are_told_also_when_they_are_deleted_or_closed_meanwhile(tmp_path, monkeypatch):
    with (tmp_path / "kept").open("w"), (tmp_path / "gone").open("w"):
        (tmp_path / "gone").unlink()
        assert {tmp_path / "kept", tmp_path / "gone (deleted)"} <= set(open_files_of("self"))
    assert not [path for path in open_files_of("self") if path.is_relative_to(tmp_path)]
    monkeypatch.setattr(processes, "_PROCESSES", tmp_path)
    (tmp_path / "10" / "fd").mkdir(parents=True)
    (tmp_path / "10" / "fd" / "3").symlink_to("/dev/null")
    monkeypatch.setattr(Path, "iterdir", lambda folder: iter([folder / "3", folder / "4"]))
    assert open_files_of(10) == [Path("/dev/null")]


def test_what_ends_while_it_is_looked_at_has_ended(tmp_path, monkeypatch):
    monkeypatch.setattr(processes, "_PROCESSES", tmp_path)
    (tmp_path / "meminfo").touch()
    for pid, stat in {"10": "10 (sh) S 1", "11": "11 (a) Z 1 () S 10 11", "13": "13 (left) Z 10"}.items():
        (tmp_path / pid).mkdir()
        (tmp_path / pid / "stat").write_text(stat)
    (tmp_path / "12").mkdir()  # it ended after the listing
    assert descendants_of(10) == {11}
    assert_gone(12)
    monkeypatch.setattr(Path, "read_text", _ended)  # it ended after its file was opened
    assert descendants_of(10) == set()
    assert_gone(10)


def _ended(*_args, **_kwargs):
    raise ProcessLookupError


def test_what_cannot_be_read_for_another_reason_is_an_error(monkeypatch):
    def refused(*_args, **_kwargs):
        raise PermissionError

    monkeypatch.setattr(Path, "read_text", refused)
    with pytest.raises(PermissionError):
        is_alive(os.getpid())


def assert_gone(pid):
    assert not is_there(pid)
    assert not is_alive(pid)
    assert (parent_of(pid), peak_bytes(pid), resident_bytes(pid)) == (None, None, None)
    assert threads_of(pid) == set()
    assert open_files_of(pid) == []
