"""The newest events are read once for all scripts, and what each is given is what the index would have given it (P2)."""

import time

import pytest

from hostd.archive import events
from hostd.archive import tables as t
from hostd.scripting import feed as feeds
from hostd.scripting.feed import Feed
from hostd.testing.made import offer

KINDS = {"stored_instance"}


@pytest.fixture
def counted(archive, monkeypatch):
    """How often the index was read for new events."""
    read = []
    genuine = events.above
    monkeypatch.setattr(events, "above", lambda *asked: read.append(asked[1]) or genuine(*asked))
    return read


def numbers(feed, number, *, limit=64, script="a.py", kinds=KINDS):
    return [event.number for event in feed.after(number, kinds, limit, script=script).events]


def of_index(archive, number, *, limit=64, script="a.py", kinds=KINDS):
    with archive.read() as connection:
        return [event.number for event in events.after(connection, number, kinds, limit, script=script)]


def last(archive):
    with archive.read() as connection:
        return events.last_number(connection)


def test_what_one_script_has_read_the_next_ones_are_given_from_memory(archive, counted):
    feed = Feed(archive)
    assert numbers(feed, last(archive)) == []
    begin = last(archive)
    offer(archive, range(1, 6))
    given = [numbers(feed, begin, script=f"{n}.py") for n in range(10)]
    assert given == [of_index(archive, begin)] * 10
    assert len(given[0]) == 5
    assert counted == [begin]
    with archive.read() as connection:
        assert feed.after(begin, KINDS, 64, script="a.py").events == events.after(connection, begin, KINDS, 64), "whole"


def test_a_script_that_is_far_behind_reads_the_index(archive):
    offer(archive, range(1, 31))
    feed = Feed(archive)
    assert numbers(feed, 0, limit=100) == of_index(archive, 0, limit=100)
    news = feed.after(0, KINDS, 10, script="a.py")
    assert news.is_more
    assert news.upto == news.events[-1].number
    assert len(news.events) == 10


@pytest.mark.parametrize("count", [3, 9, 30], ids=["few", "more than are kept", "too many at once"])
def test_whatever_is_kept_a_script_that_goes_on_misses_nothing(archive, monkeypatch, count):
    monkeypatch.setattr(feeds, "_KEPT", 7)
    feed = Feed(archive)
    feed.after(0, KINDS, 64, script="a.py")
    at, seen = 0, []
    for first in range(1, 91, count):
        offer(archive, range(first, first + count))
        until = time.monotonic() + 60.0
        while at != last(archive):  # the feed is told just after the commit, by another thread
            news = feed.after(at, KINDS, 4, script="a.py")
            seen += [event.number for event in news.events]
            at = news.upto
            assert time.monotonic() < until, (at, last(archive))
    assert seen == of_index(archive, 0, limit=1000)
    assert len(seen) == 90


def test_kinds_and_whom_an_event_is_for_are_as_in_the_index(archive):
    feed = Feed(archive)
    feed.after(0, KINDS, 64, script="a.py")
    offer(archive, range(1, 4))
    own = {"subject": "x", "header": None}

    def tell(connection):
        for kind in ("stored_instance", "deleted_instance"):
            events.append(connection, kind, at=1.0, only_for="a.py", **own)
            events.append(connection, kind, at=1.0, only_for="b.py", **own)
            events.append(connection, kind, at=1.0, by="a.py", **own)
            events.append(connection, kind, at=1.0, by="b.py", **own)

    archive.writer.do(tell, topics=("event",))
    for script in ("a.py", "b.py", "c.py"):
        for kinds in (KINDS, {"deleted_instance"}, {"changed_instance"}, set()):
            assert numbers(feed, 0, script=script, kinds=kinds) == of_index(archive, 0, script=script, kinds=kinds)
    assert len(numbers(feed, 0)) == 5


def test_an_event_about_what_was_done_is_given_with_its_instance(archive):
    feed = Feed(archive)
    feed.after(0, KINDS, 64, script="a.py")
    offer(archive, range(1, 3))
    with archive.read() as connection:
        told = events.after(connection, 0, KINDS, 1)[0]
    done = {"content": told.content, "facts": {"of": told.number}}
    archive.writer.do(lambda c: events.append(c, "delivery_done", told.subject, 1.0, **done), topics=("event",))
    (event,) = feed.after(0, {"delivery_done"}, 64, script="a.py").events
    assert event.header == told.header
    assert event.origin == told.origin


def test_what_is_committed_without_being_told_is_there_with_what_comes_next(archive):
    feed = Feed(archive)
    feed.after(0, KINDS, 64, script="a.py")
    archive.writer.do(lambda c: events.append(c, "stored_instance", "x", 1.0))
    assert numbers(feed, 0) == []
    offer(archive, range(1, 2))
    assert len(numbers(feed, 0)) == 2
    assert len(of_index(archive, 0)) == 2
    with archive.read() as connection:
        assert connection.execute(t.event.select()).first() is not None
