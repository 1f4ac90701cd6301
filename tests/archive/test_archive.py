import multiprocessing
import os
import stat

import pytest
import sqlalchemy as sa

from hostd.archive import instances
from hostd.archive import tables as t
from hostd.archive.archive import Archive, attach
from hostd.archive.blobs import SENDING, FolderBlobs, import_prefix
from hostd.archive.records import Blob
from hostd.errors import NodeError, StorageError
from hostd.testing.clock import ManualClock
from hostd.testing.made import arrive

BOTH_DATABASES = True


def _open_in_another_process(folder, said):
    try:
        Archive(folder, "other", ManualClock())
        said.put("opened")
    except NodeError as error:
        said.put(str(error))


def test_a_second_node_on_the_same_folder_is_refused(archive, tmp_path):
    said = multiprocessing.get_context("spawn").Queue()
    process = multiprocessing.get_context("spawn").Process(target=_open_in_another_process, args=(tmp_path, said))
    process.start()
    assert "another node" in said.get(timeout=60)
    process.join(60)


def test_files_without_a_row_are_swept_at_the_start_and_others_stay(place, tmp_path):
    archive = Archive(place, "node", ManualClock())
    arrive(archive)
    left = archive.blobs.create()
    left.write(b"never acknowledged")
    left.close()
    archive.close()
    foreign = tmp_path / "blobs" / "other" / "00" / "x"
    foreign.parent.mkdir(parents=True)
    foreign.write_bytes(b"another node's")
    archive = Archive(place, "node", ManualClock())
    assert not left.path.exists()
    assert len(list(archive.blobs.names())) == 1
    assert foreign.exists()
    archive.close()


@pytest.mark.parametrize("prefix", [SENDING, import_prefix("node")])
def test_what_a_killed_command_left_goes_when_it_is_old_and_what_may_still_be_wanted_stays(place, tmp_path, prefix):
    clock = ManualClock()
    archive = Archive(place, "node", clock)
    kept = {name: FolderBlobs(tmp_path / "blobs", prefix).create() for name in ("old", "recent", "named")}
    for name, days in (("old", 8), ("recent", 6), ("named", 8)):
        kept[name].close()
        os.utime(kept[name].path, times=(clock.now() - days * 86400,) * 2)
    archive.writer.do(
        lambda c: instances.add_blob(c, Blob(kept["named"].name, 0, "0" * 64, "1.2.840.10008.1.2.1"), clock.now())
    )
    archive.close()
    archive = Archive(place, "node", clock)
    assert [name for name, file in kept.items() if file.path.exists()] == ["recent", "named"]
    archive.close()


def test_a_row_without_its_file_is_marked_and_does_not_stop_the_node(tmp_path):
    archive = Archive(tmp_path, "node", ManualClock())
    arrive(archive)
    (name,) = archive.blobs.names()
    archive.blobs.unlink(name)
    archive.close()
    archive = Archive(tmp_path, "node", ManualClock())
    with archive.read() as connection:
        assert connection.execute(sa.select(t.blob.c.state)).scalar() == "missing"
    archive.close()


def test_stored_files_are_private_and_named_by_no_received_data(archive):
    arrive(archive)
    (name,) = archive.blobs.names()
    assert stat.S_IMODE(archive.blobs.path(name).stat().st_mode) == 0o600
    assert "1.2.3" not in name


def test_a_file_is_never_overwritten(archive):
    file = archive.blobs.create()
    with pytest.raises(StorageError):
        type(file)(file.name, file.path)
    file.abandon()


def test_a_command_line_sees_what_a_running_node_stored(archive, place):
    arrive(archive)
    with attach(place) as connection:
        assert connection.execute(sa.select(sa.func.count()).select_from(t.instance)).scalar() == 1


def test_a_command_line_says_where_no_index_is(tmp_path):
    with pytest.raises(NodeError, match="no index"), attach(tmp_path / "nowhere"):
        pass


def test_what_another_process_changed_is_noticed(place, monkeypatch):
    monkeypatch.setattr("hostd.archive.company._WATCH_S", 0.05)
    archive = Archive(place, "node", ManualClock())
    seen = archive.bulletin.seen("delivery")
    with attach(place, writes=True) as connection:
        connection.execute(sa.insert(t.blob).values(name="n", size=1, sha256="s", transfer_syntax="x", created_at=1.0))
    assert archive.bulletin.wait("delivery", seen, 60) > seen
    archive.close()
