"""SQLite's part of opening the index: one file, one writer at a time, readers beside it (WAL)."""

from __future__ import annotations

import sqlite3
from pathlib import Path
from typing import Any

import sqlalchemy as sa
from sqlalchemy import Connection, Engine, event
from sqlalchemy.engine.interfaces import DBAPIConnection

from hostd.archive import rows

_BUSY_MS = 30_000


def open_engine(path: Path, *, writes: bool) -> Engine:
    """Open the file. A writing engine takes SQLite's one lock at BEGIN.

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
        rows.command(connection, "BEGIN IMMEDIATE" if writes else "BEGIN")

    return engine


def data_version(connection: Connection) -> int:
    """Return a number that changes when another connection has changed the database."""
    version = connection.exec_driver_sql("PRAGMA data_version").scalar_one()
    connection.rollback()
    return int(version)
