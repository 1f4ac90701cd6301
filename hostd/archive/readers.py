"""Connections that read, kept between two readings: to take one of the pool and to give it back takes as long as a short query."""

from __future__ import annotations

from collections import deque

from sqlalchemy import Connection, Engine


class Readers:
    """Connections of an engine, none of them in a transaction while nobody has it. For any number of threads."""

    def __init__(self, engine: Engine, *, keeps: int) -> None:
        """Begin with none; `keeps` are how many are kept: none where the pool is to look at each before it is used."""
        self._engine = engine
        self._keeps = keeps
        self._idle: deque[Connection] = deque()

    def take(self) -> Connection:
        """Return a connection, which is the caller's until it is given back or closed."""
        try:
            return self._idle.pop()
        except IndexError:
            return self._engine.connect()

    def give_back(self, connection: Connection) -> None:
        """Keep a connection for the next one; its transaction has ended well."""
        if len(self._idle) < self._keeps and not connection.invalidated:
            self._idle.append(connection)
        else:
            connection.close()

    def close(self) -> None:
        """Close those that are kept."""
        while self._idle:
            self._idle.pop().close()
