"""Connections to SQLite's index that are kept open between two looks: to take one of the pool and to give it back takes as long as a look."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator
from contextlib import contextmanager

from sqlalchemy import Connection, Engine

from hostd.archive import rows

_KEPT = 16


class Readers:
    """Looks at an index, each on one of these connections. For any number of threads.

    A statement that is not read to its end keeps the state that it found, beyond COMMIT and the next BEGIN: whoever took its connection
    next would see what was. So only statements that are (`rows.Prepared`, `lookups.ByValues`) are executed here: SQLAlchemy begins a
    transaction of its own for any other, which SQLite refuses.
    """

    def __init__(self, engine: Engine) -> None:
        self._engine = engine
        self._idle: deque[Connection] = deque()

    @contextmanager
    def look(self) -> Iterator[Connection]:
        """Give a connection that reads one consistent state."""
        connection = self._take()
        try:
            rows.command(connection, "BEGIN")
            yield connection
            rows.command(connection, "COMMIT")
        except BaseException:
            connection.close()
            raise
        if len(self._idle) < _KEPT:
            self._idle.append(connection)
        else:
            connection.close()

    def close(self) -> None:
        """Close those that are kept."""
        while self._idle:
            self._idle.pop().close()

    def _take(self) -> Connection:
        try:
            return self._idle.pop()
        except IndexError:
            return self._engine.connect()
