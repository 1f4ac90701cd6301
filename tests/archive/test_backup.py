"""Backup, restore, verify, and an index made anew: what is there is whole, and nothing is overwritten or lost on the way."""

import os
import sqlite3

import pytest
import sqlalchemy as sa

from hostd.archive import backup as backups
from hostd.archive import deliveries, instances, jobs, notices, rows, tasks
from hostd.archive import tables as t
from hostd.archive.archive import Archive
from hostd.archive.backup import backup, restore
from hostd.archive.database import INDEX, SCHEMA, bring_up_to_date
from hostd.archive.sqlite import open_engine
from hostd.archive.verifying import verify
from hostd.errors import NodeError
from hostd.testing.clock import ManualClock
from hostd.testing.made import arrive


@pytest.fixture
def data(tmp_path, prepared):
    folder = tmp_path / "data"
    folder.mkdir(mode=0o700)
    return prepared(folder)


@pytest.fixture
def node(data):
    opened = Archive(data, "node", ManualClock())
    yield opened
    opened.close()


@pytest.fixture
def filled(node):
    for number in range(3):
        arrive(node, f"1.2.{number}", content=b"data %d" % number)
    return node


def uids(folder):
    with sqlite3.connect(folder / INDEX) as index:
        return {row[0] for row in index.execute("SELECT sop_instance_uid FROM instance")}


def test_a_backup_of_a_running_node_is_whole_and_restores_to_the_same(filled, data, tmp_path):
    report = backup(data, tmp_path / "backup")
    assert (report.files, report.missing) == ({"linked": 3}, [])
    assert verify(tmp_path / "backup").is_sound
    arrive(filled, "1.2.9")
    restored = restore(tmp_path / "backup", tmp_path / "restored")
    assert restored.files == {"copied": 3}
    assert uids(tmp_path / "restored") == {"1.2.0", "1.2.1", "1.2.2"}
    assert verify(tmp_path / "restored").is_sound
    again = Archive(tmp_path / "restored", "node", ManualClock())
    again.close()
    assert verify(tmp_path / "restored").is_sound  # its sweep took nothing


def test_copies_are_files_of_their_own(filled, data, tmp_path):
    report = backup(data, tmp_path / "backup", link=False)
    assert report.files == {"copied": 3}
    (one, *_) = [path for path in (tmp_path / "backup" / "blobs").rglob("*") if path.is_file()]
    assert one.stat().st_nlink == 1
    original = data / "blobs" / one.relative_to(tmp_path / "backup" / "blobs")
    assert one.stat().st_mtime_ns == original.stat().st_mtime_ns


def test_a_second_backup_adds_what_is_new_and_drops_what_is_gone(filled, data, tmp_path):
    backup(data, tmp_path / "backup")
    arrive(filled, "1.2.9", content=b"new")
    with filled.read() as connection:
        gone = instances.by_sop_instance_uid(connection, "1.2.0")[0]
    filled.writer.do(lambda c: instances.hide(c, gone.id, 1.0))
    filled.writer.do(lambda c: c.execute(sa.delete(t.event)))
    for _ in range(2):
        filled.collect(trash_seconds=0)
    report = backup(data, tmp_path / "backup")
    assert (report.files, report.removed, report.missing) == ({"linked": 1}, 1, [])
    assert uids(tmp_path / "backup") == {"1.2.1", "1.2.2", "1.2.9"}
    assert verify(tmp_path / "backup").is_sound


def test_what_comes_and_goes_while_it_runs_leaves_no_gap(filled, data, tmp_path, monkeypatch):
    real, calls = backups.copy_index, []

    def busy(source, target):
        real(source, target)
        calls.append(target)
        if len(calls) == 1:  # a file that the snapshot names is removed before it is copied
            with filled.read() as connection:
                one = instances.by_sop_instance_uid(connection, "1.2.8")[0]
            filled.writer.do(lambda c: instances.hide(c, one.id, 1.0))
            filled.writer.do(lambda c: c.execute(sa.delete(t.event)))
            for _ in range(2):
                filled.collect(trash_seconds=0)

    def first_pass(*arguments, **options):
        real_transfer(*arguments, **options)
        if not calls:
            arrive(filled, "1.2.8", content=b"comes and goes")

    real_transfer = backups._transfer_all
    monkeypatch.setattr(backups, "_transfer_all", first_pass)
    monkeypatch.setattr(backups, "copy_index", busy)
    report = backup(data, tmp_path / "backup")
    assert len(calls) == 2
    assert report.missing == []
    assert verify(tmp_path / "backup").is_sound
    assert uids(tmp_path / "backup") == {"1.2.0", "1.2.1", "1.2.2"}


def test_a_backup_goes_nowhere_where_it_could_do_harm(filled, data, tmp_path):
    strange = tmp_path / "photos"
    strange.mkdir()
    (strange / "cat.jpg").write_bytes(b"")
    for folder in (strange, data, data / "blobs" / "backup"):
        with pytest.raises(NodeError):
            backup(data, folder)
    assert (strange / "cat.jpg").exists()


def test_a_restore_overwrites_nothing_and_needs_a_folder_that_nobody_uses(filled, data, tmp_path):
    backup(data, tmp_path / "backup")
    with pytest.raises(NodeError, match="a node runs"):
        restore(tmp_path / "backup", data)
    filled.close = lambda: None
    Archive.close(filled)
    with pytest.raises(NodeError, match="has an index already"):
        restore(tmp_path / "backup", data)
    with pytest.raises(NodeError, match="no backup"):
        restore(tmp_path / "nothing", tmp_path / "elsewhere")


def test_a_restore_can_hold_what_may_have_been_sent_since(filled, data, tmp_path):
    with filled.read() as connection:
        one = instances.by_sop_instance_uid(connection, "1.2.0")[0]
    filled.writer.do(
        lambda c: deliveries.ask(
            c, instance=one.id, sop_instance_uid="1.2.0", sop_class_uid="1.3", destination="peer:x",
            content=one.received_sha256, blob=one.blob.name, now=1.0,
        )
    )  # fmt: skip
    backup(data, tmp_path / "backup")
    assert restore(tmp_path / "backup", tmp_path / "restored", hold=True).held == 1
    with sqlite3.connect(tmp_path / "restored" / INDEX) as index:
        assert index.execute("SELECT state FROM delivery").fetchall() == [("held",)]


def _task(connection, queue):
    """Have a script's action wait in a queue; return its number."""
    run = rows.insert(
        connection, t.run, script="s.py", version="v", event=1, outcome="done", tags_read=[], log=[], error=None, at=1.0, seconds=0.0,
    )  # fmt: skip
    action = rows.insert(
        connection, t.action, run=run, script="s.py", event=1, position=run, verb="post", inputs={}, state="open"
    )
    return rows.insert(
        connection, t.task, action=action, script="s.py", verb="post", queue=queue, transform="", details={}, hops=0,
        state="waiting", attempts=0, next_attempt_at=1.0, created_at=1.0,
    )  # fmt: skip


def test_a_restore_can_hold_what_may_have_been_done_outside_since(filled, data, tmp_path):
    def ask(connection):
        _task(connection, "store")
        jobs.submit(connection, "DicomModalityStore", {}, 1.0)
        notices.ask(connection, channel="mail", key="k", text="x", every_s=None, now=1.0)
        return [_task(connection, queue) for queue in ("http:reg", "deliveries")]

    held = filled.writer.do(ask)
    backup(data, tmp_path / "backup")
    report = restore(tmp_path / "backup", tmp_path / "restored", hold=True)
    assert (report.held, report.actions, report.notices, report.jobs) == (0, 2, 1, 1)
    restored = Archive(tmp_path / "restored", "node", ManualClock())
    try:
        with restored.read() as connection:
            assert sorted(connection.execute(sa.select(t.task.c.state)).scalars()) == ["failed", "failed", "waiting"]
            assert connection.execute(sa.select(t.notification.c.state)).scalars().all() == ["failed"]
            assert connection.execute(sa.select(t.job.c.state)).scalars().all() == ["paused"]
            ended = connection.execute(sa.select(t.action).where(t.action.c.state == "failed")).all()
        assert [one.result for one in ended] == [
            {"reason": "held by a restore: it may have been done since the backup"}
        ] * 2
        restored.writer.do(lambda c: tasks.retry(c, held[0], 2.0))
        with restored.read() as connection:
            assert tasks.get(connection, held[0]).state == "waiting"
    finally:
        restored.close()


def test_verify_finds_what_is_missing_changed_and_unknown(filled, data):
    files = sorted(path for path in (data / "blobs").rglob("*") if path.is_file())
    assert verify(data).is_sound
    files[0].chmod(0o600)
    files[0].write_bytes(files[0].read_bytes()[::-1])
    files[1].unlink()
    files[2].write_bytes(b"longer than it was")
    stray = data / "blobs" / "node" / "00" / "stray"
    stray.write_bytes(b"x")
    fresh = data / "blobs" / "node" / "00" / "fresh"  # is being received
    fresh.write_bytes(b"x")
    os.utime(stray, (0, 0))
    found = verify(data)
    names = [str(path.relative_to(data / "blobs")) for path in files]
    assert found.missing == [names[1]]
    assert found.changed.keys() == {names[0], names[2]}
    assert found.orphans == ["node/00/stray"]
    assert not found.is_sound
    assert verify(data, hashes=False).changed.keys() == {names[2]}


def test_an_index_that_is_no_database_is_a_finding(data, tmp_path):
    (tmp_path / "other").mkdir()
    (tmp_path / "other" / INDEX).write_bytes(b"not a database, far from it" * 100)
    assert "cannot be read" in verify(tmp_path / "other").index[0]


def test_an_older_index_is_copied_before_it_is_migrated_and_a_newer_one_is_refused(tmp_path):
    path = tmp_path / INDEX
    engine = open_engine(path, writes=True)
    from alembic import command  # noqa: PLC0415 - as the archive does
    from alembic.config import Config  # noqa: PLC0415

    config = Config()
    config.set_main_option("script_location", str(backups.Path(backups.__file__).parent / "migrations"))
    with engine.begin() as connection:
        config.attributes["connection"] = connection
        command.upgrade(config, "0005")
    bring_up_to_date(engine)
    engine.dispose()
    versions = {}
    for name in (INDEX, f"{INDEX}.before-0005"):
        with sqlite3.connect(tmp_path / name) as index:
            versions[name] = index.execute("SELECT version_num FROM alembic_version").fetchone()[0]
    assert versions == {INDEX: SCHEMA, f"{INDEX}.before-0005": "0005"}
    with sqlite3.connect(path) as index:
        index.execute("UPDATE alembic_version SET version_num = '9999'")
    with pytest.raises(NodeError, match="9999"):
        bring_up_to_date(open_engine(path, writes=True))


def test_the_first_start_leaves_no_copy_of_nothing(tmp_path):
    Archive(tmp_path, "node", ManualClock()).close()
    assert list(tmp_path.glob("*.before-*")) == []
