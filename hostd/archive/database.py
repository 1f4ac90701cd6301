"""Opening the index: engines, SQLite's settings, and the version of the schema."""

from __future__ import annotations

import sqlite3
from pathlib import Path
from typing import Any

import sqlalchemy as sa
from sqlalchemy import Connection, Engine, event
from sqlalchemy.engine.interfaces import DBAPIConnection

from hostd.archive.tables import metadata
from hostd.errors import NodeError

SCHEMA = "0013"
"""The revision of the schema that this code reads and writes (migrations/versions)."""

_BUSY_MS = 30_000


def open_engine(path: Path, *, writes: bool) -> Engine:
    """Open the SQLite index. A writing engine takes its lock at BEGIN; a reading one refuses to write.

    synchronous=FULL puts every commit on stable storage before it returns, in WAL mode too.
    """
    engine = sa.create_engine(
        f"sqlite+pysqlite:///{path}",
        poolclass=sa.QueuePool,
        pool_size=2 if writes else 16,
        max_overflow=0 if writes else 64,
    )

    @event.listens_for(engine, "connect")
    def _settings(connection: DBAPIConnection, _record: Any) -> None:
        assert isinstance(connection, sqlite3.Connection)
        connection.isolation_level = None  # BEGIN is ours, below
        for pragma in (
            f"busy_timeout = {_BUSY_MS}",
            "journal_mode = WAL",
            "synchronous = FULL",
            "foreign_keys = ON",
            f"query_only = {int(not writes)}",
        ):
            connection.execute(f"PRAGMA {pragma}")

    @event.listens_for(engine, "begin")
    def _begin(connection: Connection) -> None:
        connection.exec_driver_sql("BEGIN IMMEDIATE" if writes else "BEGIN")

    return engine


def bring_up_to_date(engine: Engine) -> None:
    """Create or migrate the schema. Raises `NodeError` for an index that a newer hostd wrote.

    Alembic is imported only when there is something to do, which keeps an ordinary start fast.
    """
    found = schema_version(engine)
    if found == SCHEMA:
        return
    from alembic import command  # noqa: PLC0415 - see the docstring
    from alembic.config import Config  # noqa: PLC0415
    from alembic.script import ScriptDirectory  # noqa: PLC0415

    config = Config()
    config.set_main_option("script_location", str(Path(__file__).parent / "migrations"))
    if found is not None and found not in {r.revision for r in ScriptDirectory.from_config(config).walk_revisions()}:
        raise NodeError(
            f"the index has version {found}, this hostd knows up to {SCHEMA}: run the hostd that wrote it, or a newer one"
        )
    with engine.begin() as connection:
        config.attributes["connection"] = connection
        command.upgrade(config, SCHEMA)


def schema_version(engine: Engine) -> str | None:
    """Return the revision of the schema that is there, None for an empty database."""
    with engine.connect() as connection:
        if not sa.inspect(connection).has_table("alembic_version"):
            return None
        return connection.execute(sa.text("SELECT version_num FROM alembic_version")).scalar()


__all__ = ["SCHEMA", "bring_up_to_date", "metadata", "open_engine", "schema_version"]
