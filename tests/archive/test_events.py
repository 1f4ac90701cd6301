"""P2's ground: no event is passed because another transaction committed in between."""

import threading
import time

import sqlalchemy as sa

from hostd.archive import events, scripts
from hostd.archive import tables as t
from hostd.archive.database import open_engine
from hostd.testing.made import arrive

BOTH_DATABASES = True


def numbers(archive, after=0):
    with archive.read() as connection:
        return [e.number for e in events.after(connection, after, ["stored_instance"], 100)]


def test_a_transaction_that_takes_its_number_and_waits_is_lost_to_nobody(archive, place):
    """Another process takes an event number, waits, and commits after we asked to commit ours."""
    engine = open_engine(place, writes=True)
    other = engine.connect()
    transaction = other.begin()
    other.execute(sa.insert(t.event).values(kind="stored_instance", subject="slow", at=1.0))
    seen: list[int] = []
    ours = threading.Thread(target=lambda: arrive(archive))
    ours.start()
    time.sleep(0.3)
    position = 0
    for number in numbers(archive, position):  # a dispatcher that looks now must not pass the one that is not committed
        seen.append(number)
        position = number
    assert seen == []
    transaction.commit()
    ours.join(60)
    seen += numbers(archive, position)
    assert len(seen) == 2
    assert seen == sorted(seen)
    other.close()
    engine.dispose()


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
