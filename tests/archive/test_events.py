"""P2's ground: no event is passed because another transaction committed in between."""

import sqlite3
import threading
import time

from hostd.archive import events, scripts
from hostd.testing.made import arrive


def numbers(archive, after=0):
    with archive.read() as connection:
        return [e.number for e in events.after(connection, after, ["stored_instance"], 100)]


def test_a_transaction_that_takes_its_number_and_waits_is_lost_to_nobody(archive, tmp_path):
    """Another process takes an event number, waits, and commits after we asked to commit ours."""
    other = sqlite3.connect(tmp_path / "index.db", isolation_level=None)
    other.execute("PRAGMA busy_timeout = 10000")
    other.execute("BEGIN IMMEDIATE")
    other.execute("INSERT INTO event (kind, subject, at) VALUES ('stored_instance', 'slow', 1.0)")
    seen: list[int] = []
    ours = threading.Thread(target=lambda: arrive(archive))
    ours.start()
    time.sleep(0.3)
    position = 0
    for number in numbers(archive, position):  # a dispatcher that looks now must not pass the one that is not committed
        seen.append(number)
        position = number
    assert seen == []
    other.execute("COMMIT")
    ours.join(10)
    seen += numbers(archive, position)
    assert len(seen) == 2
    assert seen == sorted(seen)
    other.close()


def test_numbers_are_never_given_again(archive, clock):
    arrive(archive)
    clock.advance(1e6)
    assert archive.writer.do(lambda c: events.purge(c, older_than=clock.now(), limit=10)) == 4
    arrive(archive, content=b"other")
    assert numbers(archive) == []
    with archive.read() as connection:
        assert events.get(connection, 1) is None
        assert events.get(connection, 5).kind == "conflicting_instance"


def test_events_that_a_script_has_not_passed_are_kept(archive, clock):
    archive.writer.do(lambda c: scripts.meet(c, "a.py", 0.0, from_beginning=False))
    arrive(archive)
    clock.advance(1e6)
    assert archive.writer.do(lambda c: events.purge(c, older_than=clock.now(), limit=10)) == 0
    archive.writer.do(lambda c: scripts.advance(c, "a.py", 0, after=0, to=1))
    assert archive.writer.do(lambda c: events.purge(c, older_than=clock.now(), limit=10)) == 1
