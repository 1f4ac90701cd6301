"""Connections that are kept between two readings: each reading sees what was committed before it, whatever the one before did."""

from concurrent.futures import ThreadPoolExecutor

import pytest
import sqlalchemy as sa

from hostd.archive import labels
from hostd.archive import tables as t


def known(archive):
    with archive.read() as connection:
        return labels.known(connection)


def add(archive, label):
    archive.writer.do(lambda c: c.execute(sa.insert(t.label).values(level="study", id="1", label=label)))


def test_each_reading_sees_what_was_committed_before_it(archive):
    for number in range(5):
        add(archive, f"label {number}")
        assert len(known(archive)) == number + 1


def test_a_reading_within_another_has_a_state_of_its_own(archive):
    with archive.read() as outer:
        assert labels.known(outer) == []
        add(archive, "a")
        assert known(archive) == ["a"]
        assert labels.known(outer) == [], "one reading sees one state"
    assert known(archive) == ["a"]


def test_a_reading_that_fails_leaves_nothing_to_the_next(archive):
    def fail():
        with archive.read() as connection:
            labels.known(connection)
            raise ValueError

    with pytest.raises(ValueError):
        fail()
    add(archive, "a")
    assert known(archive) == ["a"]
    with pytest.raises(sa.exc.DBAPIError), archive.read() as connection:
        connection.execute(sa.insert(t.label).values(level="study", id="1", label="b"))  # it may only read
    assert known(archive) == ["a"]


def test_many_threads_read_at_one_time_with_connections_of_their_own(archive):
    add(archive, "a")
    with ThreadPoolExecutor(40) as pool:
        assert list(pool.map(lambda _: known(archive), range(400))) == [["a"]] * 400
