"""Both databases for tests: a folder with an SQLite index, or a PostgreSQL database of this process, emptied for each test and dropped at the end.

The server is that of `HOSTD_TEST_POSTGRESQL`, a URL of SQLAlchemy's without a database, or the one of this machine. Without a server
the tests on it are skipped.
"""

import importlib.util
import os
import time
from pathlib import Path

import pytest
import sqlalchemy as sa
from processes import is_alive

from hostd.archive.database import bring_up_to_date, open_engine
from hostd.archive.tables import metadata
from hostd.config.place import Place

SERVER = os.environ.get("HOSTD_TEST_POSTGRESQL", "postgresql+psycopg://postgres@127.0.0.1:5432")
_PREFIX = "hostd_test_"
_HERE = Path()


class Server:
    """Has one database with the tables in it, which is emptied for each test: to make and to drop one takes longer than most tests."""

    def __init__(self):
        self._engine = sa.create_engine(
            f"{SERVER}/postgres", isolation_level="AUTOCOMMIT", connect_args={"connect_timeout": 3}
        )
        self._drop_left()
        self._name = self._make(os.getpid())
        self.url = f"{SERVER}/{self._name}"
        writing = open_engine(Place(_HERE, _HERE, self.url), writes=True)
        bring_up_to_date(writing)
        writing.dispose()
        self._inside = sa.create_engine(self.url, isolation_level="AUTOCOMMIT", pool_pre_ping=True)

    def emptied(self):
        """Return the URL of the database with nothing in it, as it was made."""
        deletes = [f'DELETE FROM "{table.name}"' for table in reversed(metadata.sorted_tables)]
        deletes.append("DELETE FROM holding")  # whose sums the others have counted down
        with self._inside.connect() as connection:
            connection.exec_driver_sql(
                "SELECT pg_terminate_backend(pid) FROM pg_stat_activity"
                " WHERE datname = current_database() AND pid <> pg_backend_pid()"
            )
            connection.exec_driver_sql("; ".join(["SET synchronous_commit = off", *deletes]))
            connection.exec_driver_sql(
                "SELECT setval(quote_ident(schemaname) || '.' || quote_ident(sequencename), 1, false) FROM pg_sequences"
            )
        return self.url

    def empty_database(self):
        """Return the name and URL of a database without tables, which the caller drops."""
        name = self._make(f"{os.getpid()}_{time.monotonic_ns()}")
        return name, f"{SERVER}/{name}"

    def drop(self, name):
        self._run(f'DROP DATABASE IF EXISTS "{name}" WITH (FORCE)')

    def close(self):
        self._inside.dispose()
        self.drop(self._name)
        self._engine.dispose()

    def _make(self, mark):
        name = f"{_PREFIX}{mark}"
        self._run(f'CREATE DATABASE "{name}" TEMPLATE template0')
        return name

    def _drop_left(self):
        """Drop what tests left that were killed."""
        with self._engine.connect() as connection:
            found = connection.exec_driver_sql("SELECT datname FROM pg_database").scalars().all()
        for name in found:
            pid = name.removeprefix(_PREFIX).partition("_")[0]
            if name.startswith(_PREFIX) and pid.isdecimal() and not is_alive(pid):
                self.drop(name)

    def _run(self, statement):
        with self._engine.connect() as connection:
            connection.exec_driver_sql(statement)


def _why_not():
    if importlib.util.find_spec("psycopg") is None:
        return "psycopg is not installed: pip install 'hostd[postgres]'"
    engine = sa.create_engine(f"{SERVER}/postgres", connect_args={"connect_timeout": 3})
    try:
        engine.connect().close()
    except sa.exc.OperationalError as error:
        return f"no PostgreSQL answers at {engine.url.render_as_string()}: {str(error.orig).splitlines()[0]}"
    finally:
        engine.dispose()
    return None


@pytest.fixture(scope="session")
def postgresql_server():
    """The server; tests that need it are skipped where there is none."""
    if why := _why_not():
        pytest.skip(why)
    server = Server()
    yield server
    server.close()


@pytest.fixture
def postgresql_url(postgresql_server):
    """The URL of a database that this test has for itself, with empty tables in it."""
    return postgresql_server.emptied()


@pytest.fixture
def place(request, tmp_path, prepared):
    """Where an archive of the test is to be; its tables are made already."""
    if getattr(request, "param", "sqlite") == "sqlite":
        return Place.of(prepared(tmp_path))
    return Place(tmp_path, tmp_path / "blobs", request.getfixturevalue("postgresql_url"))


def pytest_generate_tests(metafunc):
    """Give the tests of a module that says `BOTH_DATABASES` an archive on each, besides those marked `sqlite_only`.

    On PostgreSQL they are marked `postgresql`, and belong to the long runs.
    """
    if (
        "place" in metafunc.fixturenames
        and getattr(metafunc.module, "BOTH_DATABASES", False)
        and metafunc.definition.get_closest_marker("sqlite_only") is None
    ):
        on_postgresql = pytest.param("postgresql", marks=pytest.mark.postgresql)
        metafunc.parametrize("place", ["sqlite", on_postgresql], indirect=True)
