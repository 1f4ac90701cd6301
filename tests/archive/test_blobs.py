"""Files made ahead: in a burst a name is on stable storage before its file is taken, and nothing of them is left."""

import os
from pathlib import Path

import pytest

from hostd.archive import blobs
from hostd.archive.blobs import FolderBlobs
from hostd.errors import StorageError


@pytest.fixture
def synced(monkeypatch):
    """Note the folders that are synced, each with the names that were in it then."""
    noted = []
    original = blobs.sync_directory

    def sync(directory):
        original(directory)
        noted.append((directory, frozenset(path.name for path in directory.iterdir())))

    monkeypatch.setattr(blobs, "sync_directory", sync)
    return noted


@pytest.fixture
def clock(monkeypatch):
    """The time that a burst is told by."""
    now = [1000.0]
    monkeypatch.setattr(blobs.time, "monotonic", lambda: now[0])
    return now


def taken(folder, count):
    """Take as many files as make a burst, and so many more; return those."""
    for _ in range(blobs._AHEAD):
        folder.create().abandon()
    return [folder.create() for _ in range(count)]


def is_durable(synced, name):
    path = Path(name)
    return any(directory.name == path.parent.name and path.name in names for directory, names in synced)


def test_in_a_burst_a_folder_is_synced_once_for_many_files(tmp_path, synced):
    folder = FolderBlobs(tmp_path, "node", ahead=True)
    files = taken(folder, blobs._AHEAD)
    synced.clear()
    folder.sync_directories([file.name for file in files])
    assert synced == []


def test_every_name_is_durable_once_its_directory_is_said_to_be_synced(tmp_path, synced, clock):
    folder = FolderBlobs(tmp_path, "node", ahead=True)
    names = []
    for step in range(200):
        clock[0] += 0.01 if step % 70 < 50 else 10.0  # bursts and quiet in turns
        names.append(folder.create().name)
        folder.sync_directories(names[-1:])
        assert is_durable(synced, names[-1])
    assert len(set(names)) == 200
    assert len(synced) < 150


def test_a_name_that_is_asked_for_again_is_synced_again(tmp_path, synced):
    folder = FolderBlobs(tmp_path, "node", ahead=True)
    (file,) = taken(folder, 1)
    folder.sync_directories([file.name])
    synced.clear()
    folder.sync_directories([file.name])
    assert is_durable(synced, file.name)


def test_what_somebody_else_makes_in_a_burst_is_synced_by_its_name_too(tmp_path, synced):
    folder = FolderBlobs(tmp_path, "node", ahead=True)
    taken(folder, 1)
    synced.clear()
    vacancy = folder.vacant()
    assert not vacancy.path.exists()
    vacancy.path.touch()
    folder.sync_directories([vacancy.name])
    assert is_durable(synced, vacancy.name)


def test_where_files_come_now_and_then_none_is_made_ahead(tmp_path, clock):
    folder = FolderBlobs(tmp_path, "node", ahead=True)
    names = set()
    for _ in range(3 * blobs._AHEAD):
        clock[0] += 1.0
        names.add(folder.create().name)
    assert {f"node/{path.parent.name}/{path.name}" for path in tmp_path.rglob("*") if path.is_file()} == names


def test_files_made_ahead_are_not_listed_and_are_removed_at_the_end(tmp_path):
    folder = FolderBlobs(tmp_path, "node", ahead=True)
    (file,) = taken(folder, 1)
    assert sum(path.is_file() for path in tmp_path.rglob("*")) == blobs._AHEAD
    assert list(folder.names()) == [file.name]
    folder.close()
    assert [path for path in tmp_path.rglob("*") if path.is_file()] == [file.path]


def test_they_are_removed_when_the_burst_is_over_and_not_before(tmp_path, clock):
    folder = FolderBlobs(tmp_path, "node", ahead=True)
    (file,) = taken(folder, 1)
    folder.tidy()
    assert sum(path.is_file() for path in tmp_path.rglob("*")) == blobs._AHEAD
    clock[0] += 60
    folder.tidy()
    assert [path for path in tmp_path.rglob("*") if path.is_file()] == [file.path]
    assert folder.create().path.is_file()


def test_after_a_kill_the_next_node_finds_them_to_sweep(tmp_path):
    taken(FolderBlobs(tmp_path, "node", ahead=True), 1)
    assert len(list(FolderBlobs(tmp_path, "node", ahead=True).names())) == blobs._AHEAD


def test_where_the_folder_cannot_be_synced_none_is_taken_and_none_is_left(tmp_path, monkeypatch):
    folder = FolderBlobs(tmp_path, "node", ahead=True)

    def fails(_directory):
        raise StorageError("could not be synced")

    monkeypatch.setattr(blobs, "sync_directory", fails)
    with pytest.raises(StorageError):
        taken(folder, 1)
    assert not [path for path in tmp_path.rglob("*") if path.is_file()]


@pytest.mark.parametrize("has_call", [True, False])
def test_a_file_that_the_disk_begins_with_early_is_written_on_and_whole(tmp_path, monkeypatch, has_call):
    if not has_call:
        monkeypatch.setattr(blobs, "_sync_file_range", None)
    file = FolderBlobs(tmp_path, "node").create()
    for piece in (b"one", b"two"):
        file.write(piece)
        file.hasten()
    file.seal()
    file.close()
    assert file.path.read_bytes() == b"onetwo"


def test_many_pieces_are_written_in_order_and_whole_where_the_disk_takes_less_at_a_time(tmp_path, monkeypatch):
    pieces = [bytes([number % 251]) * (number % 7) for number in range(3000)]
    whole = FolderBlobs(tmp_path, "node").create()
    whole.write(*pieces)
    writev = os.writev

    def less(descriptor, some):
        joined = b"".join(some)
        return writev(descriptor, [joined[: max(1, len(joined) // 3)]])

    monkeypatch.setattr(os, "writev", less)
    slow = FolderBlobs(tmp_path, "node").create()
    slow.write(*pieces)
    for file in (whole, slow):
        file.close()
        assert file.path.read_bytes() == b"".join(pieces)
        assert file.size == file.path.stat().st_size
