"""What a test has hostd read through is noticed, and what it reads by itself is not."""

import sqlalchemy as sa
import whole_tables

from hostd.archive import instances
from hostd.archive import tables as t
from hostd.testing.made import arrive


def test_a_table_that_is_read_through_is_noticed_with_who_reads_it(archive, monkeypatch, _index_with_tables):  # noqa: PT019 - its file is used
    arrive(archive)
    monkeypatch.setattr(whole_tables, "_met", {})
    monkeypatch.setattr(whole_tables, "KNOWN", {})
    with archive.read() as connection:
        connection.execute(sa.select(t.instance).where(t.instance.c.sop_class_uid == "1.2")).all()
        instances.get(connection, "x")
        assert whole_tables.read_through(_index_with_tables) == []
        instances.statistics(connection)
    found = whole_tables.read_through(_index_with_tables)
    assert {asker for asker, _, _ in found} == {"archive/instances.py statistics"}
    assert whole_tables.read_through(_index_with_tables) == [], "it is told once"
