"""Statements that go to the driver as they are: what they do, and what they tell, is what SQLAlchemy's own do and tell."""

import pytest
import sqlalchemy as sa
from sqlalchemy.exc import IntegrityError

from hostd.archive import rows
from hostd.archive import tables as t

BOTH_DATABASES = True

FIRST_OF = rows.Prepared(
    sa.select(t.label.c.label).where(t.label.c.level == sa.bindparam("level")).order_by(t.label.c.label).limit(1)
)


def add_label(connection, label):
    rows.add(connection, t.label, level="study", id="1", label=label)


def test_a_prepared_query_takes_its_parameters_and_keeps_its_own(archive):
    archive.writer.do(lambda c: [add_label(c, label) for label in ("b", "a")])
    with archive.read() as connection:
        assert [tuple(row) for row in FIRST_OF.rows(connection, level="study")] == [("a",)]
        assert list(FIRST_OF.rows(connection, level="series")) == []


def test_a_row_that_is_there_already_is_an_integrity_error_of_its_unit_alone(archive):
    archive.writer.do(lambda c: add_label(c, "a"))
    with pytest.raises(IntegrityError):
        archive.writer.do(lambda c: add_label(c, "a"))
    archive.writer.do(lambda c: add_label(c, "b"))
    with archive.read() as connection:
        assert connection.execute(sa.select(sa.func.count()).select_from(t.label)).scalar_one() == 2


def test_what_listens_to_statements_hears_them_all(archive):
    heard = []

    def note(_connection, _cursor, statement, *_):
        heard.append(statement.split()[0])

    sa.event.listen(archive._writing, "before_cursor_execute", note)
    archive.writer.do(lambda c: (add_label(c, "a"), FIRST_OF.rows(c, level="study")))
    assert [word for word in heard if word in ("INSERT", "SELECT")][-2:] == ["INSERT", "SELECT"]
