"""The benchmark of what grows with the index runs, finds all that it has made, and writes its section."""

import pytest
import sqlalchemy as sa

from benchmarks import document
from benchmarks.growth import filled, measured
from benchmarks.growth.__main__ import section, taken
from hostd.archive import instances
from hostd.archive import tables as t
from hostd.archive.archive import Archive
from hostd.testing.clock import ManualClock


def test_it_measures_and_writes_its_section(tmp_path):
    found = taken(tmp_path, few=5_000, many=10_000, instances=60)
    assert [one.task for one in found] == list(measured.TASKS)
    assert all(min(*one.few_ms, *one.many_ms) > 0 for one in found)
    page = tmp_path / "performance.md"
    document.write(page, section(found, few=5_000, many=10_000))
    assert all(f"| {what} |" in page.read_text() for what in measured.TASKS.values())


def test_a_made_index_holds_what_a_node_would_have_written(tmp_path):
    filled.fill(tmp_path, 1200)
    archive = Archive(tmp_path, "node", ManualClock())
    try:
        with archive.read() as connection:
            assert instances.statistics(connection) == instances.Statistics(3, 3, 12, 1200, 1200 * 526_000)
            (one,) = instances.by_sop_instance_uid(connection, filled.sop_instance_uid(777))
            assert (one.id, one.received_sha256) == (filled.instance_id(777), filled.content(777))
            assert one.blob.name == filled.blob(777)
            for table in (t.event, t.delivery, t.attempt, t.label):
                assert connection.execute(sa.select(sa.func.count()).select_from(table)).scalar_one() == 1200
            assert connection.exec_driver_sql("PRAGMA foreign_key_check").all() == []
            assert connection.exec_driver_sql("PRAGMA integrity_check").scalar_one() == "ok"
            indexes = sa.inspect(connection).get_indexes("delivery")
        assert "ix_delivery_claim" in {index["name"] for index in indexes}
    finally:
        archive.close()


def test_what_was_not_done_is_noticed(tmp_path):
    with pytest.raises(RuntimeError, match="does not hold what was done"):
        _ended_early(tmp_path)


def _ended_early(folder):
    with measured.index(folder / "x", 500, lambda _line: None) as index:
        index.check(1)
