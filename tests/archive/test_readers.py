"""Connections that are kept between two looks: each look sees what was committed before it, whatever the one before did."""

from concurrent.futures import ThreadPoolExecutor

import pytest
import sqlalchemy as sa

from hostd.archive import labels
from hostd.archive import tables as t
from hostd.archive.readers import Readers


def known(archive):
    with archive.look() as connection:
        return labels.of(connection, "study", "1")


def add(archive, label):
    archive.writer.do(lambda c: c.execute(sa.insert(t.label).values(level="study", id="1", label=label)))


def test_each_look_sees_what_was_committed_before_it(archive):
    for number in range(5):
        add(archive, f"label {number}")
        assert len(known(archive)) == number + 1


def test_a_look_within_another_has_a_state_of_its_own(archive):
    with archive.look() as outer:
        assert labels.of(outer, "study", "1") == []
        add(archive, "a")
        assert known(archive) == ["a"]
        assert labels.of(outer, "study", "1") == [], "one look sees one state"
    assert known(archive) == ["a"]


def test_a_look_that_fails_leaves_nothing_to_the_next(archive):
    def fail():
        with archive.look() as connection:
            labels.of(connection, "study", "1")
            raise ValueError

    with pytest.raises(ValueError):
        fail()
    add(archive, "a")
    assert known(archive) == ["a"]


@pytest.mark.sqlite_only
def test_a_statement_that_may_be_left_half_read_is_refused(archive):
    for number in range(3):
        add(archive, f"label {number}")
    with pytest.raises(sa.exc.OperationalError, match="within a transaction"), archive.look() as connection:
        connection.execute(sa.select(t.label.c.label)).first()
    add(archive, "another")
    assert len(known(archive)) == 4


@pytest.mark.sqlite_only
def test_a_statement_that_is_left_half_read_keeps_the_state_that_it_found(archive):
    """It is why any other statement is refused: what is committed in between is not seen by whoever comes next."""
    add(archive, "a")
    add(archive, "b")
    reader = archive._reading.raw_connection()
    half_read = reader.cursor().execute("SELECT label FROM label")
    half_read.fetchone()
    reader.execute("BEGIN")
    reader.execute("COMMIT")
    add(archive, "c")
    reader.execute("BEGIN")
    assert reader.execute("SELECT count(*) FROM label").fetchall() == [(2,)]
    reader.execute("COMMIT")
    half_read.close()
    assert reader.execute("SELECT count(*) FROM label").fetchall() == [(3,)]
    reader.close()


@pytest.mark.sqlite_only
def test_a_connection_is_kept_and_taken_again(archive):
    readers = Readers(archive._reading)
    with readers.look() as first:
        pass
    with readers.look() as second, readers.look() as third:
        assert second is first
        assert third is not first
    readers.close()
    assert first.closed
    assert third.closed


def test_many_threads_look_at_one_time_with_connections_of_their_own(archive):
    add(archive, "a")
    with ThreadPoolExecutor(40) as pool:
        assert list(pool.map(lambda _: known(archive), range(400))) == [["a"]] * 400
