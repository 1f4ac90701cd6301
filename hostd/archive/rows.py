"""Inserting a row, and learning its number.

A row is inserted by a statement that SQLAlchemy compiled once: to compile one, or only to look for it, takes longer than SQLite
does to execute it, and some are executed for each instance that comes.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import sqlalchemy as sa
from sqlalchemy import Connection, Dialect


def insert(connection: Connection, table: sa.Table, **values: Any) -> int:
    """Insert a row into a table with a growing number; return that number."""
    statement = _insert(connection.dialect, table, tuple(values), numbered=True)
    return int(connection.exec_driver_sql(statement.text, statement.bound(values)).scalar_one())


def add(connection: Connection, table: sa.Table, **values: Any) -> None:
    """Insert a row into a table whose key is among the values."""
    statement = _insert(connection.dialect, table, tuple(values), numbered=False)
    connection.exec_driver_sql(statement.text, statement.bound(values))


@dataclass(frozen=True, slots=True)
class _Insert:
    """The statement as its driver takes it. `order` is that of its parameters, None where they have names."""

    text: str
    order: tuple[str, ...] | None
    processors: tuple[tuple[str, Callable[[Any], Any]], ...]

    def bound(self, values: dict[str, Any]) -> Any:
        """Return the values as the driver takes them; `values` is changed."""
        for name, process in self.processors:
            values[name] = process(values[name])
        return tuple([values[name] for name in self.order]) if self.order is not None else values


@lru_cache(maxsize=256)
def _insert(dialect: Dialect, table: sa.Table, names: tuple[str, ...], *, numbered: bool) -> _Insert:
    statement: Any = sa.insert(table)
    if numbered:
        statement = statement.returning(*table.primary_key.columns)
    compiled = statement.compile(dialect=dialect, column_keys=list(names))
    processors = ((name, table.c[name].type.dialect_impl(dialect).bind_processor(dialect)) for name in names)
    return _Insert(
        str(compiled),
        tuple(compiled.positiontup) if compiled.positional else None,
        tuple((name, process) for name, process in processors if process is not None),
    )
