"""Connections to SQLite's index that are kept open between two looks: to take one of the pool and to give it back takes as long as a look."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from sqlalchemy import Connection, Engine

_KEPT = 16

_Reader = tuple[Connection, Any]
"""A connection, and sqlite3's own below it: to begin and to end by that takes a tenth of the time."""


class Readers:
    """Looks at an index, each on one of these connections. For any number of threads.

    A statement that is not read to its end keeps the state that it found, beyond COMMIT and the next BEGIN: whoever took its connection
    next would see what was. So only statements that are (`rows.Prepared`, `lookups.ByValues`) are executed here: SQLAlchemy begins a
    transaction of its own for any other, which SQLite refuses.
    """

    def __init__(self, engine: Engine) -> None:
        self._engine = engine
        self._idle: deque[_Reader] = deque()

    @contextmanager
    def look(self) -> Iterator[Connection]:
        """Give a connection that reads one consistent state."""
        reader = self._take()
        connection, driver = reader
        try:
            driver.execute("BEGIN")
            yield connection
            driver.execute("COMMIT")
        except BaseException:
            connection.close()
            raise
        if len(self._idle) < _KEPT:
            self._idle.append(reader)
        else:
            connection.close()

    def close(self) -> None:
        """Close those that are kept."""
        while self._idle:
            self._idle.pop()[0].close()

    def _take(self) -> _Reader:
        try:
            return self._idle.pop()
        except IndexError:
            connection = self._engine.connect()
            return connection, connection.connection.driver_connection
