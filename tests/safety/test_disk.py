"""A disk that is full, read-only or broken: nothing is acknowledged, nothing is lost, and the node goes on when it can."""

import errno
import hashlib
import os
import shutil
import subprocess
import sys
from contextlib import contextmanager
from pathlib import Path

import pytest
import sqlalchemy as sa

from hostd.archive import tables as t
from hostd.config.settings import load
from hostd.dimse.errors import RejectedError
from hostd.errors import HostdError
from hostd.node import Node
from node_kit import Place, connect, make_instances, store, upload, wait_until

OUT_OF_RESOURCES = 0xA700
TRANSIENT = 2


def run(*command):
    """Run a program; return whether it worked, and what it said."""
    ended = subprocess.run(command, capture_output=True, text=True, check=False)
    return ended.returncode == 0, ended.stderr.strip()


@contextmanager
def mounted(folder, *arguments):
    if shutil.which("mount") is None:
        pytest.skip("mount is not installed")
    folder.mkdir(mode=0o700)
    worked, why = run("mount", *arguments, str(folder))
    if not worked:
        pytest.skip(f"a file system of its own may not be mounted here: {why}")
    try:
        yield folder
    finally:
        run("umount", "--lazy", str(folder))


@contextmanager
def running(place, *, run_scripts=False):
    node = Node(load(place.config), run_scripts=run_scripts)
    node.start()
    try:
        yield node
    finally:
        node.stop()


@pytest.fixture
def small_disk(tmp_path):
    with mounted(tmp_path / "disk", "-t", "tmpfs", "-o", "size=8m", "tmpfs") as folder:
        yield folder


def fill(folder):
    """Leave no byte free; return the file that takes them."""
    path = folder / "ballast"
    with path.open("wb", buffering=0) as ballast:
        for size in (1 << 16, 1 << 12, 1):
            try:
                while True:
                    ballast.write(bytes(size))
            except OSError as error:
                assert error.errno == errno.ENOSPC
    return path


def stored(node):
    """Return SOP Instance UID → path of all instances."""
    with node.archive.read() as connection:
        rows = connection.execute(sa.select(t.instance.c.sop_instance_uid, t.instance.c.blob))
        return {row.sop_instance_uid: node.archive.blobs.path(row.blob) for row in rows}


def assert_holds(node, place, instances):
    """Nothing but these is stored, each is readable, and no file is there that has no row."""
    found = stored(node)
    assert found.keys() == {made.uid for made in instances}
    for made in instances:
        assert found[made.uid].read_bytes().endswith(made.data_set)
    assert len(place.blob_names()) == len(instances)


# -- a full disk ------------------------------------------------------------------------------------------------------


def test_a_full_disk_refuses_loses_nothing_and_recovers_by_itself(small_disk, tmp_path):
    place = Place(tmp_path, "node", data=small_disk / "data")
    before, refused, after = make_instances(6)[:2], *[make_instances(2, seed=seed) for seed in (1, 2)]
    with running(place) as node:
        with connect(place) as association:
            for made in before:
                assert store(association, made) == 0
            ballast = fill(small_disk)
            for made in refused:
                assert store(association, made) == OUT_OF_RESOURCES
                response = upload(place, made)
                assert response.status_code == 507
                assert "disk is full" in response.json()["Details"]
            assert association.echo if hasattr(association, "echo") else True
            assert_holds(node, place, before)
            ballast.unlink()
            # The same association, and nobody told the node.
            for made in after:
                assert store(association, made) == 0
        assert upload(place, refused[0]).status_code == 200
        assert_holds(node, place, [*before, *after, refused[0]])
    with running(place) as node:
        assert_holds(node, place, [*before, *after, refused[0]])


def test_an_index_that_finds_no_room_refuses_and_leaves_nothing_after_a_restart(small_disk, tmp_path, monkeypatch):
    """The file still fits, and the write-ahead log does not."""
    place = Place(tmp_path, "node", data=small_disk / "data")
    before, refused = make_instances(2), make_instances(3, seed=1, side=8)
    with running(place) as node, connect(place) as association:
        for made in before:
            assert store(association, made) == 0
        with node.archive._writing.connect() as connection:  # empty the log, so that it must grow
            connection.exec_driver_sql("ROLLBACK")
            assert connection.exec_driver_sql("PRAGMA wal_checkpoint(TRUNCATE)").first()[0] == 0
            connection.exec_driver_sql("BEGIN")
        ballast = fill(small_disk)
        with ballast.open("r+b") as file:  # room for the received file alone
            file.truncate(ballast.stat().st_size - 4096)
        assert store(association, refused[0]) == OUT_OF_RESOURCES
        fill_again = small_disk / "ballast 2"
        assert len(place.blob_names()) == 3, "whether the commit failed is not known for sure: the file is the sweep's"
        assert stored(node).keys() == {made.uid for made in before}
        place_left = [name for name in place.blob_names() if name not in {str(p) for p in stored(node).values()}]
        assert place_left
        ballast.unlink()
        assert not fill_again.exists()
        assert store(association, refused[1]) == 0
    with running(place) as node:
        assert_holds(node, place, [*before, refused[1]])


def test_a_full_index_is_507_over_http(small_disk, tmp_path):
    place = Place(tmp_path, "node", data=small_disk / "data")
    (made,) = make_instances(1, side=8)
    with running(place) as node:
        with node.archive._writing.connect() as connection:
            connection.exec_driver_sql("ROLLBACK")
            assert connection.exec_driver_sql("PRAGMA wal_checkpoint(TRUNCATE)").first()[0] == 0
            connection.exec_driver_sql("BEGIN")
        ballast = fill(small_disk)
        with ballast.open("r+b") as file:
            file.truncate(ballast.stat().st_size - 4096)
        response = upload(place, made)
        assert response.status_code == 507
        ballast.unlink()
        assert upload(place, made).status_code == 200


def test_a_new_association_on_a_full_disk_is_refused_or_turned_away_for_the_moment(small_disk, tmp_path):
    place = Place(tmp_path, "node", data=small_disk / "data")
    (made,) = make_instances(1)
    with running(place):
        ballast = fill(small_disk)
        try:
            with connect(place) as association:
                assert store(association, made) == OUT_OF_RESOURCES
        except RejectedError as rejected:
            assert rejected.result == TRANSIENT
        ballast.unlink()
        with connect(place) as association:
            assert store(association, made) == 0


# -- a disk that becomes read-only ------------------------------------------------------------------------------------


@pytest.fixture
def failing_disk(tmp_path):
    """An ext4 of our own, and what makes the kernel take it for broken: then it is read-only, as after an error of the device."""
    image = tmp_path / "image"
    image.write_bytes(b"")
    os.truncate(image, 48 << 20)
    if shutil.which("mkfs.ext4") is None:
        pytest.skip("mkfs.ext4 is not installed")
    worked, why = run("mkfs.ext4", "-q", str(image))
    assert worked, why
    with mounted(tmp_path / "disk", "-o", "loop,errors=remount-ro", str(image)) as folder:
        device = os.stat(folder).st_dev
        name = Path(f"/sys/dev/block/{os.major(device)}:{os.minor(device)}").resolve().name
        trigger = Path(f"/sys/fs/ext4/{name}/trigger_fs_error")
        if not os.access(trigger, os.W_OK):
            pytest.skip("the kernel's trigger for file system errors cannot be used here")
        yield folder, lambda: trigger.write_text("a test of hostd")


def test_a_disk_that_becomes_read_only_refuses_and_what_was_stored_stays_readable(failing_disk, tmp_path):
    folder, break_it = failing_disk
    place = Place(tmp_path, "node", data=folder / "data")
    before, refused = make_instances(2), make_instances(2, seed=1)
    with running(place) as node, connect(place) as association:
        for made in before:
            assert store(association, made) == 0
        break_it()
        for made in refused:
            assert store(association, made) == OUT_OF_RESOURCES
            assert upload(place, made).status_code == 503
        assert_holds(node, place, before)


def test_a_node_on_a_read_only_folder_does_not_start_and_says_why(small_disk, tmp_path):
    place = Place(tmp_path, "node", data=small_disk / "data")
    with running(place):
        pass
    worked, why = run("mount", "-o", "remount,ro", str(small_disk))
    assert worked, why
    node = Node(load(place.config), run_scripts=False)
    with pytest.raises(HostdError, match=str(place.data)):
        node.start()
    assert run("mount", "-o", "remount,rw", str(small_disk))[0]
    with running(place):
        pass


# -- a failed fsync ---------------------------------------------------------------------------------------------------


class FailingFsync:
    """Stands for os.fsync; fails with EIO for the paths that `which` chooses, and counts."""

    def __init__(self, monkeypatch, which):
        self.failed = []
        fsync = os.fsync

        def replaced(descriptor):
            path = os.readlink(f"/proc/self/fd/{descriptor}")
            if which(path):
                self.failed.append(path)
                raise OSError(errno.EIO, os.strerror(errno.EIO))
            fsync(descriptor)

        monkeypatch.setattr(os, "fsync", replaced)


@pytest.mark.parametrize("what", ["file", "directory"])
def test_a_failed_fsync_is_answered_with_out_of_resources_never_retried_and_leaves_no_row(what, tmp_path, monkeypatch):
    place = Place(tmp_path, "node")
    first, second, third = make_instances(3)
    with running(place) as node, connect(place) as association:
        assert store(association, first) == 0
        with monkeypatch.context() as patch:
            failing = FailingFsync(
                patch, lambda path: "/blobs/" in path and os.path.isdir(path) == (what == "directory")
            )
            assert store(association, second) == OUT_OF_RESOURCES
            assert len(failing.failed) == 1
            assert upload(place, second).status_code == 503
            assert len(failing.failed) == 2
            assert len(set(failing.failed)) == (2 if what == "file" else len(set(failing.failed)))
        assert stored(node).keys() == {first.uid}
        with node.archive.read() as connection:
            assert connection.execute(sa.select(sa.func.count()).select_from(t.blob)).scalar_one() == 1
        assert store(association, third) == 0, "the next one has a file of its own"
    with running(place) as node:
        assert_holds(node, place, [first, third])


def test_one_failed_directory_fails_no_instance_of_another_directory(tmp_path, monkeypatch):
    """A group of commits shares nothing with the unit whose folder failed."""
    place = Place(tmp_path, "node")
    with running(place) as node:
        good, bad = node.archive.blobs.create(), node.archive.blobs.create()
        while bad.name.split("/")[1] == good.name.split("/")[1]:
            bad.abandon()
            bad = node.archive.blobs.create()
        for file in (good, bad):
            file.seal()
            file.close()
        bad_folder = str(bad.path.parent)
        FailingFsync(monkeypatch, lambda path: path == bad_folder)
        gate = node.archive.writer.submit(lambda _c: wait_until("both handed over", lambda: len(node.archive.writer._others) == 2))
        results = [node.archive.writer.submit(lambda _c, n=file.name: n, blobs=[file.name]) for file in (good, bad)]
        gate.result(20)
        assert results[0].result(20) == good.name
        with pytest.raises(HostdError, match="could not be synced"):
            results[1].result(20)
        good.abandon()


# -- a file that is gone ----------------------------------------------------------------------------------------------


def test_an_instance_whose_file_was_lost_is_taken_again_when_it_is_sent_again(tmp_path):
    """Acknowledging the repeat without keeping it would lose it for good (P1)."""
    place = Place(tmp_path, "node")
    (made,) = make_instances(1)
    with running(place) as node:
        with connect(place) as association:
            assert store(association, made) == 0
        lost = stored(node)[made.uid]
    lost.unlink()
    with running(place) as node:
        with connect(place) as association:
            assert store(association, made) == 0
            assert store(association, made) == 0
        assert_holds(node, place, [made])
        with node.archive.read() as connection:
            row = connection.execute(
                sa.select(t.blob).join(t.instance, t.instance.c.blob == t.blob.c.name)
            ).one()
        content = node.archive.blobs.path(row.name).read_bytes()
        assert (row.state, row.sha256) == ("present", hashlib.sha256(content).hexdigest())
    assert sys.is_finalizing() is False
