"""Who else has a file open, as the system tells by a lease."""

import mmap
import os

import pytest

from hostd.transcoding import file_leases

pytestmark = pytest.mark.skipif(not file_leases.IS_KNOWN, reason="this system has no leases")


@pytest.fixture
def path(tmp_path):
    (tmp_path / "file").write_bytes(b"content")
    if not asked(tmp_path / "file", os.O_RDONLY, file_leases.is_local):
        pytest.skip("the file system of the temporary folder is none of which the kernel knows who has a file open")
    return tmp_path / "file"


def asked(path, flags, question):
    descriptor = os.open(path, flags)
    try:
        return question(descriptor)
    finally:
        os.close(descriptor)


def reading(path):
    return asked(path, os.O_RDONLY, file_leases.is_open_for_writing)


def writing(path):
    return asked(path, os.O_RDWR, file_leases.has_alone)


def test_who_writes_is_seen_and_who_reads_is_not_in_the_way(path):
    assert not reading(path)
    with path.open("rb"):
        assert not reading(path)
        assert not writing(path)
    assert writing(path)
    with path.open("r+b"):
        assert reading(path)
        assert not writing(path)


def test_a_copy_of_a_descriptor_and_memory_that_is_mapped_are_seen_too(path):
    descriptor = os.open(path, os.O_RDWR)
    copy = os.dup(descriptor)
    os.close(descriptor)
    assert reading(path)
    mapped = mmap.mmap(copy, 0)
    os.close(copy)
    assert reading(path)
    mapped.close()
    assert not reading(path)


def test_it_leaves_no_lease_behind(path):
    descriptor = os.open(path, os.O_RDONLY)
    assert not file_leases.is_open_for_writing(descriptor)
    path.write_bytes(b"others may write again")
    os.close(descriptor)
    assert writing(path)


def test_where_it_cannot_be_told_nobody_is_said_to_write_and_nobody_to_be_alone(path, monkeypatch):
    monkeypatch.setattr(file_leases, "_SET_LEASE", None)
    with path.open("r+b"):
        assert not reading(path)
    assert not writing(path)


@pytest.mark.parametrize(
    "mounts", ["{0} - nfs4 server:/files rw", "{0} - fuse.sshfs x rw", "9999:1 / /x rw - ext4 x rw", "", "odd"]
)
def test_of_the_file_systems_of_networks_and_of_those_that_are_not_known_nothing_is_said(
    path, tmp_path, monkeypatch, mounts
):
    device = path.stat().st_dev
    listed = mounts.format(f"36 35 {os.major(device)}:{os.minor(device)} / /x rw shared:1")
    (tmp_path / "mounts").write_text(f"1 1 0:1 / / rw - ext4 x rw\n{listed}\n")
    with path.open("r+b"):
        assert reading(path)
        monkeypatch.setattr(file_leases, "_MOUNTS", tmp_path / "mounts")
        assert not reading(path)
        monkeypatch.setattr(file_leases, "_MOUNTS", tmp_path / "missing")
        assert not reading(path)
