"""The benchmark of several nodes runs, sees that all is stored, and leaves no database behind."""

import shutil

import pytest
import sqlalchemy as sa

from benchmarks.nodes.__main__ import SERVER, section, taken
from benchmarks.receive.rounds import Sample


@pytest.mark.postgresql
@pytest.mark.skipif(shutil.which("storescu") is None, reason="DCMTK is not installed")
def test_it_measures_one_node_and_three(postgresql_server, tmp_path):
    found = taken(tmp_path / "round", 12)
    assert [sample.instances for sample in found.values()] == [12, 12, 12]
    assert all(sample.rate > 0 and sample.cpu >= 0 for sample in found.values())
    engine = sa.create_engine(f"{SERVER}/postgres")
    with engine.connect() as connection:
        left = connection.execute(sa.text("SELECT datname FROM pg_database WHERE datname LIKE 'hostd_benchmark_%'"))
        assert left.all() == []
    engine.dispose()


def test_the_section_has_the_median_of_the_rounds():
    names = ("1 node on SQLite", "1 node on PostgreSQL", "3 nodes on PostgreSQL")
    rounds = [{name: Sample(wall, 1.0, 100) for name in names} for wall in (1.0, 2.0, 10.0)]
    assert "| 3 nodes on PostgreSQL | 50.0 [10.0 to 100.0] | **1.00** | 10.0 |" in section(rounds).markdown()
