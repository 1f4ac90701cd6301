"""Statements that are executed for each instance that comes: made and compiled once, and handed to the driver as they are.

To make a statement, to look for its compiled form and to wrap its result takes SQLAlchemy several times as long as SQLite needs to
execute it. Where somebody listens to the statements of a connection, they go by SQLAlchemy's own way, so that all are heard.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Any, TypeVar

import sqlalchemy as sa
from sqlalchemy import Connection, Dialect
from sqlalchemy.exc import DBAPIError

T = TypeVar("T")


def insert(connection: Connection, table: sa.Table, **values: Any) -> int:
    """Insert a row into a table with a growing number; return that number."""
    statement = _insert(connection.dialect, table, tuple(values), numbered=True)
    return int(_fetched(connection, statement.text, statement.bound(values))[0][0])


def add(connection: Connection, table: sa.Table, **values: Any) -> None:
    """Insert a row into a table whose key is among the values."""
    statement = _insert(connection.dialect, table, tuple(values), numbered=False)
    _fetched(connection, statement.text, statement.bound(values), returns=False)


class Prepared:
    """A statement with bound parameters that returns rows of plain text and numbers: nothing is made of what the driver gives."""

    def __init__(self, statement: sa.Executable) -> None:
        self._statement: Any = statement
        self._compiled: dict[Dialect, _Compiled] = {}

    def rows(self, connection: Connection, **values: Any) -> Sequence[Any]:
        """Execute it; return all rows."""
        compiled = self._for(connection)
        return _fetched(connection, compiled.text, compiled.bound(values))

    def change(self, connection: Connection, **values: Any) -> int:
        """Execute one that returns nothing, an UPDATE; return how many rows there were to change."""
        compiled = self._for(connection)
        return int(_executed(connection, compiled.text, compiled.bound(values), lambda result: result.rowcount))

    def _for(self, connection: Connection) -> _Compiled:
        compiled = self._compiled.get(connection.dialect)
        if compiled is None:
            compiled = self._compiled[connection.dialect] = _compiled(
                connection.dialect, self._statement.compile(dialect=connection.dialect)
            )
        return compiled


def command(connection: Connection, text: str) -> None:
    """Execute a statement without parameters and result."""
    _fetched(connection, text, (), returns=False)


def _fetched(connection: Connection, text: str, parameters: Any, *, returns: bool = True) -> Sequence[Any]:
    return _executed(connection, text, parameters, lambda result: result.fetchall() if returns else ())


def _executed(connection: Connection, text: str, parameters: Any, take: Callable[[Any], T]) -> T:
    """Execute, and return what is taken of the result, which is the driver's or SQLAlchemy's."""
    if connection.dispatch.before_cursor_execute:
        return take(connection.exec_driver_sql(text, parameters))
    cursor: Any = None
    try:
        cursor = connection.connection.cursor()
        cursor.execute(text, parameters)
        found = take(cursor)
        cursor.close()
    except connection.dialect.loaded_dbapi.Error as error:
        raise _told(connection, cursor, text, error) from error
    return found


def _told(connection: Connection, cursor: Any, text: str, error: Exception) -> Exception:
    """Return the error as SQLAlchemy tells it; a connection that is lost is marked so."""
    dialect = connection.dialect
    driver: Any = error
    is_lost = not connection.invalidated and dialect.is_disconnect(
        driver, connection.connection.dbapi_connection, cursor
    )
    told = DBAPIError.instance(
        text, None, error, dialect.loaded_dbapi.Error,
        hide_parameters=True, connection_invalidated=is_lost, dialect=dialect,
    )  # fmt: skip
    if is_lost:
        connection.invalidate(error)
    return told


@dataclass(frozen=True, slots=True)
class _Compiled:
    """The statement as its driver takes it. `order` is that of its parameters, None where they have names; `fixed` are those it has itself."""

    text: str
    order: tuple[str, ...] | None
    processors: tuple[tuple[str, Callable[[Any], Any]], ...]
    fixed: dict[str, Any]

    def bound(self, values: dict[str, Any]) -> Any:
        """Return the values as the driver takes them; `values` is changed."""
        if self.fixed:
            values = self.fixed | values
        for name, process in self.processors:
            values[name] = process(values[name])
        return tuple([values[name] for name in self.order]) if self.order is not None else values


@lru_cache(maxsize=256)
def _insert(dialect: Dialect, table: sa.Table, names: tuple[str, ...], *, numbered: bool) -> _Compiled:
    statement: Any = sa.insert(table)
    if numbered:
        statement = statement.returning(*table.primary_key.columns)
    return _compiled(dialect, statement.compile(dialect=dialect, column_keys=list(names)))


def _compiled(dialect: Dialect, compiled: Any) -> _Compiled:
    processors = (
        (name, bind.type.dialect_impl(dialect).bind_processor(dialect)) for name, bind in compiled.binds.items()
    )
    return _Compiled(
        str(compiled),
        tuple(compiled.positiontup) if compiled.positional else None,
        tuple((name, process) for name, process in processors if process is not None),
        {name: value for name, value in compiled.params.items() if value is not None},
    )
