import sqlite3
from pathlib import Path

import pytest
from alembic import command
from alembic.autogenerate import compare_metadata
from alembic.config import Config
from alembic.migration import MigrationContext

from hostd.archive import database
from hostd.archive.archive import Archive
from hostd.archive.database import open_engine
from hostd.archive.orders import periods
from hostd.archive.tables import metadata
from hostd.errors import NodeError
from hostd.testing.clock import ManualClock
from hostd.testing.made import STUDY, header


def test_the_migrations_make_exactly_the_tables_of_the_code(archive):
    with archive.read() as connection:
        assert compare_metadata(MigrationContext.configure(connection), metadata) == []


def test_the_index_is_durable_and_checks_its_references(tmp_path):
    Archive(tmp_path, "node", ManualClock()).close()
    engine = open_engine(tmp_path / "index.db", writes=True)
    with engine.connect() as connection:
        pragmas = {
            name: connection.exec_driver_sql(f"PRAGMA {name}").scalar()
            for name in ("journal_mode", "synchronous", "foreign_keys")
        }
    engine.dispose()
    assert pragmas == {"journal_mode": "wal", "synchronous": 2, "foreign_keys": 1}


def test_a_reading_connection_cannot_write(archive):
    with archive.read() as connection, pytest.raises(Exception, match="readonly"):
        connection.exec_driver_sql("DELETE FROM event")


def test_an_index_of_a_newer_hostd_is_refused_and_left_alone(tmp_path):
    Archive(tmp_path, "node", ManualClock()).close()
    with sqlite3.connect(tmp_path / "index.db") as raw:
        raw.execute("UPDATE alembic_version SET version_num = '9999'")
    with pytest.raises(NodeError, match="9999"):
        Archive(tmp_path, "node", ManualClock())
    with sqlite3.connect(tmp_path / "index.db") as raw:
        assert raw.execute("SELECT version_num FROM alembic_version").fetchone() == ("9999",)


def test_an_index_of_the_first_schema_is_brought_up_to_date_with_all_that_is_in_it(tmp_path):
    engine = open_engine(tmp_path / "index.db", writes=True)
    config = Config()
    config.set_main_option("script_location", str(Path(database.__file__).parent / "migrations"))
    with engine.begin() as connection:
        config.attributes["connection"] = connection
        command.upgrade(config, "0001")
        for number, stored in ((1, header("1.2.3.4.5").encode()), (2, None)):
            connection.exec_driver_sql(
                "INSERT INTO event (number, kind, subject, header, at) VALUES (?, 'stored_instance', 'x', ?, 1.0)",
                (number, stored),
            )
    engine.dispose()
    archive = Archive(tmp_path, "node", ManualClock())
    with archive.read() as connection:
        assert connection.exec_driver_sql("SELECT number, study FROM event ORDER BY number").all() == [
            (1, STUDY),
            (2, None),
        ]
        assert compare_metadata(MigrationContext.configure(connection), metadata) == []
    archive.close()


def test_versions_that_ran_before_their_times_were_noted_have_times_all_the_same(tmp_path):
    engine = open_engine(tmp_path / "index.db", writes=True)
    config = Config()
    config.set_main_option("script_location", str(Path(database.__file__).parent / "migrations"))
    with engine.begin() as connection:
        config.attributes["connection"] = connection
        command.upgrade(config, "0005")
        for name, state, gone in (("runs.py", "running", None), ("gone.py", "absent", 9.0)):
            connection.exec_driver_sql(
                "INSERT INTO script (name, version, state, first_seen, absent_since) VALUES (?, 'b', ?, 1.0, ?)",
                (name, state, gone),
            )
            for hash_, at in (("a", 1.0), ("b", 2.0)):
                connection.exec_driver_sql(
                    "INSERT INTO script_version (script, hash, source, handlers, accepted_at) VALUES (?, ?, '', '[]', ?)",
                    (name, hash_, at),
                )
    engine.dispose()
    archive = Archive(tmp_path, "node", ManualClock())
    with archive.read() as connection:
        told = {
            name: [(p.version, p.since, p.until) for p in periods(connection, name)] for name in ("runs.py", "gone.py")
        }
    archive.close()
    assert told == {
        "runs.py": [("a", 1.0, 2.0), ("b", 2.0, None)],
        "gone.py": [("a", 1.0, 2.0), ("b", 2.0, 9.0)],
    }
