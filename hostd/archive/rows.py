"""Inserting a row, and learning its number."""

from __future__ import annotations

from functools import cache
from typing import Any

import sqlalchemy as sa
from sqlalchemy import Connection


def insert(connection: Connection, table: sa.Table, **values: Any) -> int:
    """Insert a row into a table with a growing number; return that number."""
    key = connection.execute(_insert(table), values).inserted_primary_key
    assert key is not None
    return int(key[0])


def add(connection: Connection, table: sa.Table, **values: Any) -> None:
    """Insert a row into a table whose key is among the values."""
    connection.execute(_insert(table), values)


@cache
def _insert(table: sa.Table) -> sa.Insert:
    """Return the statement, made once: to make one takes longer than to execute it."""
    return sa.insert(table)
