"""Who else has a file open, as the system tells by a lease."""

import mmap
import os

import pytest

from hostd.transcoding import file_leases

pytestmark = pytest.mark.skipif(not file_leases.IS_KNOWN, reason="this system has no leases")


@pytest.fixture
def path(tmp_path):
    (tmp_path / "file").write_bytes(b"content")
    return tmp_path / "file"


def reading(path):
    descriptor = os.open(path, os.O_RDONLY)
    try:
        return file_leases.is_open_for_writing(descriptor)
    finally:
        os.close(descriptor)


def writing(path):
    descriptor = os.open(path, os.O_RDWR)
    try:
        return file_leases.has_alone(descriptor)
    finally:
        os.close(descriptor)


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
