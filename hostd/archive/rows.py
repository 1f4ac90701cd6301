"""Inserting a row and learning its number."""

from __future__ import annotations

from typing import Any

import sqlalchemy as sa
from sqlalchemy import Connection


def insert(connection: Connection, table: sa.Table, **values: Any) -> int:
    """Insert a row into a table with a growing number; return that number."""
    key = connection.execute(sa.insert(table).values(**values)).inserted_primary_key
    assert key is not None
    return int(key[0])
