"""A disk that is full, read-only or broken: nothing is acknowledged, nothing is lost, and the node goes on when it can."""

import errno
import io
import os
import shutil
import subprocess
import threading
from contextlib import contextmanager
from pathlib import Path

import pytest
import requests
import sqlalchemy as sa
from node_kit import Place, connect, make_instances, store, upload

from hostd.archive import associations, deliveries, digests, holding, removal, retention
from hostd.archive import tables as t
from hostd.archive.verifying import verify
from hostd.config.settings import load
from hostd.dimse.errors import RejectedError
from hostd.errors import HostdError, StorageError
from hostd.node import Node
from hostd.testing.made import arrive

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
def small_disk(tmp_path, monkeypatch):
    """A disk that is written to until it is full, as another program may fill it in a moment."""
    monkeypatch.setenv("HOSTD_NODE__REFUSE_BELOW_MB", "0")
    with mounted(tmp_path / "disk", "-t", "tmpfs", "-o", "size=8m", "tmpfs") as folder:
        yield folder


@contextmanager
def suppress_full():
    try:
        yield
    except OSError as error:
        if error.errno != errno.ENOSPC:
            raise


def fill(folder):
    """Leave no byte free; return the file that takes them."""
    path = folder / "ballast"
    with path.open("wb", buffering=0) as ballast:
        for size in (1 << 16, 1 << 12, 1):
            with suppress_full():
                while True:
                    ballast.write(bytes(size))
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
            assert_holds(node, place, before)
            ballast.unlink()
            # The same association, and nobody told the node.
            for made in after:
                assert store(association, made) == 0
        assert upload(place, refused[0]).status_code == 200
        assert_holds(node, place, [*before, *after, refused[0]])
    with running(place) as node:
        assert_holds(node, place, [*before, *after, refused[0]])


def leave_room_for_a_file_alone(node, folder):
    """Fill the disk up to one page, with an empty write-ahead log: a small file fits, and the log cannot grow."""
    with node.archive._writing.connect() as connection:
        connection.exec_driver_sql("ROLLBACK")
        assert connection.exec_driver_sql("PRAGMA wal_checkpoint(TRUNCATE)").first()[0] == 0
        connection.exec_driver_sql("BEGIN")
    ballast = fill(folder)
    os.truncate(ballast, ballast.stat().st_size - 4096)
    return ballast


def test_an_index_that_finds_no_room_refuses_and_leaves_nothing_after_a_restart(small_disk, tmp_path):
    place = Place(tmp_path, "node", data=small_disk / "data")
    before, refused, after = make_instances(2), make_instances(1, seed=1, side=8), make_instances(1, seed=2)
    with running(place) as node, connect(place) as association:
        for made in before:
            assert store(association, made) == 0
        ballast = leave_room_for_a_file_alone(node, small_disk)
        assert store(association, refused[0]) == OUT_OF_RESOURCES
        assert stored(node).keys() == {made.uid for made in before}
        assert len(place.blob_names()) == len(before) + 1, "the fate of a commit is not known: the file is the sweep's"
        ballast.unlink()
        assert store(association, after[0]) == 0
    with running(place) as node:
        assert_holds(node, place, [*before, *after])


def test_a_full_index_is_a_full_disk_over_http_too(small_disk, tmp_path):
    place = Place(tmp_path, "node", data=small_disk / "data")
    (made,) = make_instances(1, side=8)
    with running(place) as node:
        ballast = leave_room_for_a_file_alone(node, small_disk)
        assert upload(place, made).status_code == 507
        assert len(place.blob_names()) == 1, "the file did fit"
        ballast.unlink()
        assert upload(place, made).status_code == 200


def test_a_disk_that_is_full_within_a_unit_of_work_is_the_storages_fault(tmp_path):
    place = Place(tmp_path, "node")
    with running(place) as node:

        def unit(connection):
            pages = connection.exec_driver_sql("PRAGMA page_count").scalar()
            connection.exec_driver_sql(f"PRAGMA max_page_count = {pages}")
            connection.execute(
                sa.insert(t.blob).values(name="x" * 500_000, size=0, sha256="", transfer_syntax="", created_at=0)
            )

        with pytest.raises(StorageError, match="full"):
            node.archive.writer.do(unit)


def test_a_node_that_cannot_start_for_want_of_room_says_so_and_can_be_started_later(small_disk, tmp_path):
    place = Place(tmp_path, "node", data=small_disk / "data")
    (made,) = make_instances(1)
    ballast = fill(small_disk)
    with pytest.raises(HostdError, match="No space left"):
        Node(load(place.config), run_scripts=False).start()
    ballast.unlink()
    with running(place), connect(place) as association:
        assert store(association, made) == 0
    ballast = fill(small_disk)
    with pytest.raises(HostdError, match=f"{place.data} cannot be opened"):
        Node(load(place.config), run_scripts=False).start()
    ballast.unlink()
    with running(place) as node:
        assert_holds(node, place, [made])


def test_a_start_that_fails_in_the_middle_leaves_the_folder_unlocked(tmp_path, monkeypatch):
    place = Place(tmp_path, "node")
    before = {thread.name for thread in threading.enumerate()}

    def refuse(*_):
        raise StorageError("the index could not be written: database or disk is full")

    with monkeypatch.context() as patch:
        patch.setattr(associations, "close_interrupted", refuse)
        with pytest.raises(StorageError):
            Node(load(place.config), run_scripts=False).start()
    assert {thread.name for thread in threading.enumerate()} <= before
    with running(place):
        pass


def how_it_is_turned_away(place, made):
    try:
        with connect(place) as association:
            return "status", store(association, made)
    except RejectedError as rejected:
        return "rejected", rejected.result


def test_a_new_association_on_a_full_disk_is_refused_or_turned_away_for_the_moment(small_disk, tmp_path):
    place = Place(tmp_path, "node", data=small_disk / "data")
    (made,) = make_instances(1)
    with running(place):
        ballast = fill(small_disk)
        assert how_it_is_turned_away(place, made) in {("status", OUT_OF_RESOURCES), ("rejected", TRANSIENT)}
        ballast.unlink()
        with connect(place) as association:
            assert store(association, made) == 0


def test_before_the_disk_is_full_nothing_more_is_taken_in_and_it_recovers_by_itself(small_disk, tmp_path, monkeypatch):
    monkeypatch.setenv("HOSTD_NODE__REFUSE_BELOW_MB", "100")  # of a small disk a twentieth
    place = Place(tmp_path, "node", data=small_disk / "data")
    early, late = make_instances(2)
    with running(place) as node:
        with connect(place) as association:
            assert store(association, early) == 0
            ballast = fill(small_disk)
            os.truncate(ballast, ballast.stat().st_size - (300 << 10))  # there is room for some, and none for more
            node._room._looked_at = None  # a second later
            assert store(association, late) == OUT_OF_RESOURCES
        assert how_it_is_turned_away(place, late) == ("rejected", TRANSIENT)
        assert upload(place, late).status_code == 507
        assert len(place.blob_names()) == 1
        ballast.unlink()
        node._room._looked_at = None
        with connect(place) as association:
            assert store(association, late) == 0


# -- a full disk in the middle of recycling ---------------------------------------------------------------------------


def test_recycling_for_which_the_disk_has_no_room_refuses_deletes_nothing_and_goes_on_later(small_disk, tmp_path):
    """To delete takes room, too: the index must be written before a file may go."""
    limits = '[storage]\nmax_patients = 2\nwhen_full = "recycle"\n'
    place = Place(tmp_path, "node", data=small_disk / "data", more=limits)
    first, second, third = (
        make_instances(12, seed=seed, side=8, patient=name) for seed, name in enumerate(("FIRST", "SECOND", "THIRD"))
    )
    with running(place) as node, connect(place) as association:
        for made in (*first, *second):
            assert store(association, made) == 0
        recycle, ballast = retention.recycle, None

        def full_after_a_part(connection, **meant):
            nonlocal ballast
            if connection.execute(sa.select(t.event.c.number).where(t.event.c.kind == "deleted_instance")).first():
                ballast = ballast or fill(small_disk)
            return recycle(connection, **meant)

        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(retention, "recycle", full_after_a_part)
            assert store(association, third[0]) == OUT_OF_RESOURCES
        assert ballast is not None
        left = stored(node).keys()
        assert {made.uid for made in second} <= left
        assert third[0].uid not in left
        assert 0 < len(left) - len(second) < len(first), "a part was deleted, and what could not be is there"
        assert all(path.exists() for path in stored(node).values())
        ballast.unlink()
        for made in third:
            assert store(association, made) == 0
        assert stored(node).keys() == {made.uid for made in (*second, *third)}
    with running(place) as node:
        node.archive.collect(trash_seconds=0)
        assert_holds(node, place, [*second, *third])
        with node.archive.read() as connection:
            size = connection.execute(sa.select(sa.func.sum(t.blob.c.size)).where(~t.blob.c.released)).scalar_one()
            assert (holding.held(connection).size, holding.held(connection).patients) == (size, 2)


# -- a full disk while a file is attached -----------------------------------------------------------------------------


def test_a_full_disk_leaves_the_attachment_that_was_there_and_no_part_of_another(small_disk, tmp_path):
    place = Place(tmp_path, "node", data=small_disk / "data")
    (made,) = make_instances(1)
    old, new = b"old" * 1000, bytes(200_000)
    with running(place) as node:
        url = f"http://127.0.0.1:{place.http_port}"
        path = f"{url}/studies/{upload(place, made).json()['ParentStudy']}/attachments/report"
        assert requests.put(path, data=old, timeout=60).status_code == 200
        ballast = fill(small_disk)
        assert requests.put(path, data=new, timeout=60).status_code == 507
        assert requests.post(f"{path}/compress", timeout=60).status_code == 507
        assert requests.get(f"{path}/data", timeout=60).content == old
        assert len(place.blob_names()) == 2
        ballast.unlink()
        ballast = leave_room_for_a_file_alone(node, small_disk)
        assert requests.put(path, data=b"new", timeout=60).status_code == 507
        assert requests.delete(path, timeout=60).status_code == 507
        assert requests.get(f"{path}/data", timeout=60).content == old
        ballast.unlink()
    with running(place) as node:
        assert len(place.blob_names()) == 2, "what was refused is swept"
        assert requests.get(f"{path}/data", timeout=60).content == old
        assert requests.put(path, data=new, timeout=60).status_code == 200
        assert requests.get(f"{path}/data", timeout=60).content == new
        assert node.archive.collect(trash_seconds=0) == 1
        assert len(place.blob_names()) == 2
        with node.archive.read() as connection:
            size = connection.execute(sa.select(sa.func.sum(t.blob.c.size))).scalar_one()
            assert holding.held(connection).size == size
    assert verify(place.data).is_sound


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
        device = folder.stat().st_dev
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
            path = str(Path(f"/proc/self/fd/{descriptor}").readlink())
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
                patch, lambda path: "/blobs/" in path and Path(path).is_dir() == (what == "directory")
            )
            assert store(association, second) == OUT_OF_RESOURCES
            assert len(failing.failed) == 1
            assert upload(place, second).status_code == 503
            assert len(failing.failed) == 2
        assert stored(node).keys() == {first.uid}
        with node.archive.read() as connection:
            assert connection.execute(sa.select(sa.func.count()).select_from(t.blob)).scalar_one() == 1
        assert store(association, third) == 0, "the next one has a file of its own"
    with running(place) as node:
        assert_holds(node, place, [first, third])


def test_a_file_that_cannot_be_removed_after_a_failed_fsync_is_left_to_the_sweep(tmp_path, monkeypatch):
    place = Place(tmp_path, "node")
    (made,) = make_instances(1)
    with running(place) as node, connect(place) as association:
        with monkeypatch.context() as patch:
            FailingFsync(patch, lambda path: "/blobs/" in path)

            def refuse(path, **_):
                raise OSError(errno.EROFS, os.strerror(errno.EROFS), str(path))

            patch.setattr(Path, "unlink", refuse)
            assert store(association, made) == OUT_OF_RESOURCES
            assert upload(place, made).status_code == 503
        assert len(place.blob_names()) == 2
        assert stored(node) == {}
    with running(place) as node:
        assert_holds(node, place, [])


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
            row = connection.execute(sa.select(t.blob).join(t.instance, t.instance.c.blob == t.blob.c.name)).one()
        content = node.archive.blobs.path(row.name).read_bytes()
        assert (row.state, row.sha256) == ("present", digests.of_file(io.BytesIO(content), row.sha256))


def test_a_version_an_event_and_a_delivery_go_on_with_the_file_that_came_again(tmp_path):
    place = Place(tmp_path, "node")
    with running(place) as node:
        archive = node.archive
        assert arrive(archive, content=b"one") == "stored"
        assert arrive(archive, content=b"two", on_conflict="first") == "kept as version"
        with archive.read() as connection:
            lost = connection.execute(sa.select(t.version.c.blob)).scalar_one()
            event = connection.execute(sa.select(t.event).where(t.event.c.blob == lost)).one()
        archive.writer.do(
            lambda c: deliveries.ask(
                c, instance=event.subject, sop_instance_uid="1.2", sop_class_uid="1.2", destination="modality:gone",
                content=event.content, blob=lost, now=0.0,
            )
        )  # fmt: skip
        archive.blobs.unlink(lost)
        archive.writer.do(lambda c: removal.mark_missing(c, [lost]))
        assert arrive(archive, content=b"two", on_conflict="first") == "stored"
        assert arrive(archive, content=b"two", on_conflict="first") == "already stored"
        with archive.read() as connection:
            found = connection.execute(sa.select(t.version.c.blob)).scalar_one()
            blobs_of = [
                connection.execute(query).scalar_one()
                for query in (
                    sa.select(t.event.c.blob).where(t.event.c.number == event.number),
                    sa.select(t.delivery.c.blob),
                )
            ]
        assert archive.blobs.path(found).read_bytes() == b"two"
        assert blobs_of == [found, found]
        assert archive.collect(trash_seconds=0) == 1, "the row of the lost file is forgotten"
