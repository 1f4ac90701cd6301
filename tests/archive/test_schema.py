import sqlite3
from pathlib import Path

import pytest
import sqlalchemy as sa
from alembic import command
from alembic.autogenerate import compare_metadata
from alembic.config import Config
from alembic.migration import MigrationContext

from hostd.archive import database
from hostd.archive.archive import Archive
from hostd.archive.database import bring_up_to_date, open_engine
from hostd.archive.orders import periods
from hostd.archive.tables import metadata
from hostd.config.place import Place
from hostd.errors import NodeError
from hostd.jobs.quiet import tell_due
from hostd.testing.clock import ManualClock
from hostd.testing.made import STUDY, arrive, header

BOTH_DATABASES = True


def test_the_migrations_make_exactly_the_tables_of_the_code(archive):
    with archive.read() as connection:
        context = MigrationContext.configure(connection, opts={"include_object": _is_of(connection.dialect.name)})
        assert compare_metadata(context, metadata) == []


def shape(engine):
    """Return all that a database says of its tables, apart from the order of their columns."""
    inspector = sa.inspect(engine)
    found = {}
    for name in inspector.get_table_names():
        found[name] = {
            "columns": sorted(
                (one["name"], str(one["type"]), one["nullable"], str(one["default"]), str(one.get("identity")))
                for one in inspector.get_columns(name)
            ),
            "key": inspector.get_pk_constraint(name)["constrained_columns"],
            "foreign": sorted(
                (one["constrained_columns"], one["referred_table"], one["referred_columns"], str(one["options"]))
                for one in inspector.get_foreign_keys(name)
            ),
            "unique": sorted(one["column_names"] for one in inspector.get_unique_constraints(name)),
            "checks": sorted(one["sqltext"] for one in inspector.get_check_constraints(name)),
        }
    with engine.connect() as connection:
        if engine.dialect.name == "sqlite":
            query = "SELECT name, sql FROM sqlite_master WHERE type <> 'table' AND sql IS NOT NULL"
            counting = connection.exec_driver_sql(
                "SELECT name FROM sqlite_master WHERE sql LIKE '%AUTOINCREMENT%'"
            ).all()
        else:
            query = "SELECT indexname, indexdef FROM pg_indexes WHERE schemaname = current_schema()"
            counting = connection.exec_driver_sql("SELECT sequencename FROM pg_sequences").all()
        indexes = sorted((name, " ".join(sql.split())) for name, sql in connection.exec_driver_sql(query))
    return found, indexes, sorted(counting)


@pytest.fixture(params=["sqlite", "postgresql"])
def empty(request, tmp_path):
    """Return two empty databases."""
    if request.param == "sqlite":
        made = []
        for name in ("one", "two"):
            (tmp_path / name).mkdir()
            made.append(tmp_path / name)
        yield made
        return
    server = request.getfixturevalue("postgresql_server")
    names = [server.empty_database() for _ in range(2)]
    yield [Place(tmp_path, tmp_path, url) for _, url in names]
    for name, _ in names:
        server.drop(name)


def test_a_new_index_is_as_all_migrations_would_have_made_it(empty):
    made, migrated = (open_engine(place, writes=True) for place in empty)
    bring_up_to_date(made)
    config = Config()
    config.set_main_option("script_location", str(Path(database.__file__).parent / "migrations"))
    with migrated.begin() as connection:
        config.attributes["connection"] = connection
        command.upgrade(config, "head")
    assert database.schema_version(made) == database.schema_version(migrated) == database.SCHEMA
    try:
        assert shape(made) == shape(migrated)
    finally:
        made.dispose()
        migrated.dispose()


_OF_SQLITE = {"uq_receipt_source_transform", "uq_delivery_open"}


def _is_of(dialect):
    """Leave out what only SQLite has, for which PostgreSQL has an index over a hash: Alembic does not ask `ddl_if`."""
    return lambda _object, name, *_: dialect == "sqlite" or name not in _OF_SQLITE


def test_the_index_is_durable_and_checks_its_references(tmp_path):
    Archive(tmp_path, "node", ManualClock()).close()
    engine = open_engine(tmp_path, writes=True)
    with engine.connect() as connection:
        pragmas = {
            name: connection.exec_driver_sql(f"PRAGMA {name}").scalar()
            for name in ("journal_mode", "synchronous", "foreign_keys")
        }
    engine.dispose()
    assert pragmas == {"journal_mode": "wal", "synchronous": 2, "foreign_keys": 1}


def test_a_reading_connection_cannot_write(archive):
    with archive.read() as connection, pytest.raises(Exception, match=r"readonly|read-only"):
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
    engine = open_engine(tmp_path, writes=True)
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


def test_what_an_older_index_holds_is_not_told_as_new_and_becomes_stable_only_with_what_comes(tmp_path):
    engine = open_engine(tmp_path, writes=True)
    config = Config()
    config.set_main_option("script_location", str(Path(database.__file__).parent / "migrations"))
    identity = header("1.2.3.4.1").identity
    with engine.begin() as connection:
        config.attributes["connection"] = connection
        command.upgrade(config, "0002")
        connection.exec_driver_sql(
            "INSERT INTO blob (name, size, sha256, transfer_syntax, created_at) VALUES ('node/a', 1, 'x', '1.2.840.10008.1.2.1', 1.0)"
        )
        connection.exec_driver_sql(
            "INSERT INTO instance VALUES (?, ?, ?, ?, 'P1', ?, '1.2.3.4', '1.2.3.4.1', '1.2', "
            """'{"patient": {}, "study": {"AccessionNumber": "A1"}, "series": {}, "instance": {}}', 'node/a', 'x', '{"kind": "import"}', '{}', '[]', 1.0)""",
            (identity.instance, identity.patient, identity.study, identity.series, STUDY),
        )
        for kind in ("stored_instance", "received_again"):
            connection.exec_driver_sql(
                "INSERT INTO event (kind, subject, blob, header, at) VALUES (?, ?, 'node/a', ?, 1.0)",
                (kind, identity.instance, header("1.2.3.4.1").encode()),
            )
    engine.dispose()
    clock = ManualClock()
    archive = Archive(tmp_path, "node", clock)
    assert tell_due(archive) == 0
    arrive(archive, "1.2.3.4.2")
    clock.advance(60)
    assert tell_due(archive) == 3
    with archive.read() as connection:
        found = connection.exec_driver_sql("SELECT told, accession_number FROM instance ORDER BY told").all()
        assert found == [(1, "A1"), (3, "")]
        kinds = connection.exec_driver_sql("SELECT kind FROM event ORDER BY number").scalars().all()
    assert kinds[2:] == ["stored_instance", "stable_series", "stable_study", "stable_patient"]
    archive.close()


def test_versions_that_ran_before_their_times_were_noted_have_times_all_the_same(tmp_path):
    engine = open_engine(tmp_path, writes=True)
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
