import threading

import msgspec
import pytest
import sqlalchemy as sa

from hostd.archive import events
from hostd.archive import tables as t
from hostd.errors import StorageError

BOTH_DATABASES = True


def add_event(kind="stored_instance"):
    return lambda c: events.append(c, kind, "subject", 1.0)


def count(archive):
    with archive.read() as connection:
        return connection.execute(sa.select(sa.func.count()).select_from(t.event)).scalar_one()


def hold(archive):
    """Occupy the writer until the returned event is set, so that what is submitted meanwhile forms one group."""
    release, entered = threading.Event(), threading.Event()

    def unit(_connection):
        entered.set()
        release.wait(60)

    archive.writer.submit(unit)
    entered.wait(60)
    return release


def test_a_unit_is_committed_when_its_future_resolves(archive):
    number = archive.writer.do(add_event())
    assert count(archive) == 1
    assert number == 1


def test_a_bad_unit_fails_alone(archive):
    release = hold(archive)

    def bad(connection):
        events.append(connection, "stored_instance", "lost", 1.0)
        raise ValueError("no")

    futures = [archive.writer.submit(unit) for unit in (add_event(), bad, add_event())]
    release.set()
    assert futures[0].result(60) < futures[2].result(60)
    with pytest.raises(ValueError, match="no"):
        futures[1].result(60)
    assert count(archive) == 2


def test_what_waits_is_committed_as_one_group(archive):
    commits = []
    sa.event.listen(archive._writing, "commit", commits.append)
    release = hold(archive)
    futures = [archive.writer.submit(add_event()) for _ in range(50)]
    release.set()
    assert sorted(future.result(60) for future in futures) == list(range(1, 51))
    assert len(commits) == 2  # the one that held the writer, and the group


def test_what_can_wait_is_committed_with_what_comes_meanwhile(archive):
    commits = []
    sa.event.listen(archive._writing, "commit", commits.append)
    waiting = [archive.writer.submit(add_event(), within_s=600) for _ in range(3)]
    assert not any(future.done() for future in waiting)
    assert archive.writer.do(add_event()) == 4
    assert [future.result(60) for future in waiting] == [1, 2, 3]
    assert len(commits) == 1


def test_what_can_wait_goes_when_its_time_has_come_or_somebody_hurries(archive):
    archive.writer.hurry()  # with nothing there
    assert archive.writer.submit(add_event(), within_s=0.01).result(60) == 1
    waiting = archive.writer.submit(add_event(), within_s=600)
    archive.writer.hurry()
    assert waiting.result(60) == 2


def test_what_can_wait_is_committed_when_the_node_stops(archive):
    waiting = archive.writer.submit(add_event(), within_s=600)
    archive.writer.close()
    assert waiting.result(0) == 1


def test_an_urgent_unit_that_finds_the_writer_free_is_committed_by_the_thread_that_waits(archive):
    by = archive.writer.do(lambda _c: threading.current_thread(), urgent=True)
    assert by is threading.current_thread()
    assert archive.writer.do(lambda _c: threading.current_thread()) is not by


def test_what_comes_while_another_thread_commits_is_committed_after_it(archive):
    release, entered, later = threading.Event(), threading.Event(), []

    def unit(_connection):
        entered.set()
        release.wait(60)

    holder = threading.Thread(target=lambda: archive.writer.do(unit, urgent=True))
    holder.start()
    entered.wait(60)
    others = [
        threading.Thread(target=lambda: later.append(archive.writer.do(add_event(), urgent=True))) for _ in range(3)
    ]
    for other in others:
        other.start()
    assert later == []
    release.set()
    for thread in (holder, *others):
        thread.join(60)
    assert sorted(later) == [1, 2, 3]


def test_the_first_of_those_that_wait_is_given_the_writer_and_commits_for_all(archive):
    commits, by = [], []
    sa.event.listen(archive._writing, "commit", commits.append)
    release, entered = threading.Event(), threading.Event()

    def unit(_connection):
        entered.set()
        release.wait(60)

    def noted():
        by.append((threading.current_thread(), archive.writer.do(lambda _c: threading.current_thread(), urgent=True)))

    holder = threading.Thread(target=lambda: archive.writer.do(unit, urgent=True))
    holder.start()
    entered.wait(60)
    others = [threading.Thread(target=noted) for _ in range(3)]
    for number, other in enumerate(others, 1):
        other.start()
        while len(archive.writer._acknowledgements) < number:
            threading.Event().wait(0.001)
    waiting = archive.writer.submit(add_event())
    release.set()
    for thread in (holder, *others):
        thread.join(60)
    assert waiting.result(60) == 1
    assert {thread for thread, _ in by} == set(others)
    assert {committer for _, committer in by} == {others[0]}
    assert len(commits) == 2


def test_many_threads_lose_nothing_and_the_writer_is_free_afterwards(archive):
    def add():
        for urgent in (True, False) * 10:
            archive.writer.do(add_event(), urgent=urgent)

    threads = [threading.Thread(target=add) for _ in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(100)
    assert count(archive) == 120
    assert archive.writer.submit(add_event(), within_s=0.01).result(60) == 121


def test_a_bad_unit_that_is_alone_leaves_nothing_and_the_writer_goes_on(archive):
    def bad(connection):
        events.append(connection, "stored_instance", "lost", 1.0)
        raise ValueError("no")

    for urgent in (False, True):
        with pytest.raises(ValueError, match="no"):
            archive.writer.do(bad, urgent=urgent)
    assert count(archive) == 0
    archive.writer.do(add_event(), urgent=True)
    assert count(archive) == 1


def test_the_end_waits_for_a_thread_that_commits(archive):
    release, entered, committed = threading.Event(), threading.Event(), []

    def unit(connection):
        entered.set()
        release.wait(60)
        return events.append(connection, "stored_instance", "subject", 1.0)

    holder = threading.Thread(target=lambda: committed.append(archive.writer.do(unit, urgent=True)))
    holder.start()
    entered.wait(60)
    closing = threading.Thread(target=archive.writer.close)
    closing.start()
    closing.join(0.05)
    assert closing.is_alive()
    release.set()
    closing.join(60)
    holder.join(60)
    assert committed == [1]


def test_acknowledgements_go_first(archive):
    order = []
    release = hold(archive)
    futures = [
        archive.writer.submit(lambda _c: order.append("later")),
        archive.writer.submit(lambda _c: order.append("urgent"), urgent=True),
    ]
    release.set()
    for future in futures:
        future.result(60)
    assert order == ["urgent", "later"]


def test_a_failed_commit_tells_everyone_in_the_group(archive):
    def fail(_connection):
        raise OSError("disk I/O error")

    release = hold(archive)
    futures = [archive.writer.submit(add_event()) for _ in range(3)]
    sa.event.listen(archive._writing, "commit", fail)
    release.set()
    for future in futures:
        with pytest.raises(StorageError, match="disk I/O error"):
            future.result(60)
    sa.event.remove(archive._writing, "commit", fail)
    assert count(archive) == 0
    archive.writer.do(add_event())
    assert count(archive) == 1


@pytest.mark.sqlite_only  # its disk can be made small
def test_a_full_disk_fails_the_units_and_the_writer_goes_on(archive):
    pages = archive.writer.do(lambda c: c.exec_driver_sql("PRAGMA page_count").scalar())
    archive.writer.do(lambda c: c.exec_driver_sql(f"PRAGMA max_page_count = {pages + 8}").scalar())
    big_header = msgspec.msgpack.encode({"study_instance_uid": "1.2", "patient_id": "x" * 100_000})
    big = [
        archive.writer.submit(lambda c: events.append(c, "stored_instance", "x", 1.0, header=big_header))
        for _ in range(3)
    ]
    for future in big:
        with pytest.raises(Exception, match="full"):
            future.result(60)
    archive.writer.do(lambda c: c.exec_driver_sql("PRAGMA max_page_count = 1000000").scalar())
    archive.writer.do(add_event())
    assert count(archive) == 1


def test_a_directory_that_cannot_be_synced_fails_the_units_with_files_only(archive, monkeypatch):
    def fail(names):
        if list(names):
            raise StorageError("sync failed")

    monkeypatch.setattr(archive.blobs, "sync_directories", fail)
    release = hold(archive)
    with_file, without = archive.writer.submit(add_event(), blobs=["node/00/x"]), archive.writer.submit(add_event())
    release.set()
    with pytest.raises(StorageError, match="sync failed"):
        with_file.result(60)
    without.result(60)
    assert count(archive) == 1


def test_topics_ring_after_the_commit_only(archive):
    seen = archive.bulletin.seen("event")
    with pytest.raises(ValueError):
        archive.writer.do(lambda _c: int("x"), topics=("event",))
    assert archive.bulletin.seen("event") == seen
    archive.writer.do(add_event(), topics=("event",))
    assert archive.bulletin.wait("event", seen, 60) == seen + 1


def test_nothing_is_taken_after_the_end(archive):
    archive.writer.close()
    with pytest.raises(StorageError, match="stopping"):
        archive.writer.submit(add_event())
