"""Reading rows by their identifiers, however many there are."""

import json

import pytest
import sqlalchemy as sa

from hostd.archive.lookups import ByValues, document

WORDS = sa.table("words", sa.column("word", sa.Text), sa.column("length", sa.Integer))


@pytest.fixture
def connection():
    engine = sa.create_engine("sqlite://")
    with engine.begin() as connection:
        connection.exec_driver_sql("CREATE TABLE words (word TEXT PRIMARY KEY, length INTEGER)")
        connection.exec_driver_sql(
            "INSERT INTO words VALUES (?, ?)", [(f"w{number}", len(f"w{number}")) for number in range(1000)]
        )
        yield connection
    engine.dispose()


@pytest.mark.parametrize("count", [0, 1, 2, 7, 8, 9, 64, 65, 256, 257, 600, 1000])
def test_each_of_the_values_is_found_once(connection, count):
    by_word = ByValues(lambda values: sa.select(WORDS.c.word).where(WORDS.c.word.in_(values)))
    wanted = [f"w{number}" for number in range(count)]
    assert sorted(row[0] for row in by_word.rows(connection, wanted)) == sorted(wanted)


def test_other_parameters_hold_for_all_values(connection):
    longer = ByValues(
        lambda values: sa.select(WORDS.c.word).where(WORDS.c.word.in_(values), WORDS.c.length > sa.bindparam("than"))
    )
    found = longer.rows(connection, ["w1", "w22", "w333", "nothing"], than=2)
    assert {row[0] for row in found} == {"w22", "w333"}


@pytest.mark.parametrize("value", [{}, {"PatientName": "É^Ü"}, {"of a damaged file": "\ud800"}, ["\x00"]])
def test_a_document_is_read_whichever_way_the_driver_gives_it(value):
    assert document(json.dumps(value)) == value
    assert document(value) == value
