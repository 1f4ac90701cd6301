"""The others on the same index: noticing what they commit, and telling them what this node did.

SQLite has one node, and perhaps a command line beside it; PostgreSQL has as many nodes as there are, each of a name of its own.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Collection
from typing import Any, Protocol

import sqlalchemy as sa
import structlog
from sqlalchemy import Connection, Engine
from sqlalchemy.exc import DBAPIError

from hostd.archive import leases, postgresql, sqlite
from hostd.archive.bulletin import Bulletin
from hostd.errors import NodeError, StorageError

TOPICS = ("event", "delivery", "script", "notification", "action", "schedule", "stable", "job")
"""What others may have changed when it is not known what they did."""

_log = structlog.get_logger(__name__)

_WATCH_S = 5.0
_LISTEN_S = 0.5
_AGAIN_S = 1.0
_NAME_LOOKS = 15
"""Times that a name which is taken is looked at again. Looks are counted, not seconds: where the server stood still, none has passed."""
_NAME_LOOK_S = 0.2


class Company(Protocol):
    """What a node has to do with the others on its index."""

    def admit(self, connection: Connection) -> None:
        """Raise `StorageError` where this node may not write any more; called first in each of its transactions."""
        ...

    def announce(self, connection: Connection, topics: Collection[str]) -> None:
        """Tell the others, once this transaction is committed."""
        ...

    def close(self) -> None:
        """Take leave."""
        ...


class Alone:
    """On SQLite: looks now and then whether another process, a command line, changed the index."""

    def __init__(self, reading: Engine, bulletin: Bulletin) -> None:
        self._bulletin = bulletin
        self._closing = threading.Event()
        connection = reading.connect()
        seen = sqlite.data_version(connection)  # what others change from now on is noticed
        self._thread = threading.Thread(target=self._watch, args=(connection, seen), name="index-watcher", daemon=True)
        self._thread.start()

    def admit(self, connection: Connection) -> None:
        """Nobody else is a node on this index: the data folder is locked."""

    def announce(self, connection: Connection, topics: Collection[str]) -> None:
        """Nobody is there to be told."""

    def close(self) -> None:
        """Stop looking."""
        self._closing.set()
        self._thread.join()

    def _watch(self, connection: Connection, seen: int) -> None:
        with connection:
            while not self._closing.wait(_WATCH_S):
                version = sqlite.data_version(connection)
                if version != seen:
                    self._bulletin.ring(*TOPICS)
                seen = version


class Guest:
    """A command that writes beside the nodes on an index, or without any."""

    def admit(self, connection: Connection) -> None:
        """Let it write: nothing that it writes could be another's."""

    def announce(self, connection: Connection, topics: Collection[str]) -> None:
        """Tell the nodes, once this transaction is committed; on SQLite they notice by themselves."""
        notify(connection, topics)

    def close(self) -> None:
        """Do nothing: it holds nothing."""


class Members:
    """On PostgreSQL: holds the node's name by a connection of its own, over which it hears of commits and renews its leases.

    A node that lost that connection may have lost its name to another one, which then has swept its files: so each of its transactions
    looks whether the name is still its own (`leases.NODE`), and commits nothing otherwise.
    """

    def __init__(self, writing: Engine, listening: Engine, node: str, bulletin: Bulletin) -> None:
        """Raise `NodeError` when another node of this name is running."""
        self._engine = listening
        self._node = node
        self._bulletin = bulletin
        self._closing = threading.Event()
        self._what = f"{leases.NODE}{node}"
        self._connection: Connection | None = self._enter(_NAME_LOOKS)
        if self._connection is None:
            raise NodeError(
                f"another node of the name {node} is running on this database: give one of them another name"
            )
        with writing.begin() as connection:
            self._channel = _channel(connection)
            leases.end_all(connection, node)  # of its last life
            self._token = leases.seize(connection, self._what, node, leases.SECONDS)
        self._writing = writing
        self._thread = threading.Thread(target=self._listen, name="index-listener", daemon=True)
        self._thread.start()

    def admit(self, connection: Connection) -> None:
        """Raise `StorageError` where another node has taken this one's name."""
        if not leases.is_token(connection, self._what, self._token):
            raise StorageError(
                f"another node of the name {self._node} has taken over: this one writes nothing any more"
            )

    def announce(self, connection: Connection, topics: Collection[str]) -> None:
        """Tell the other nodes, once this transaction is committed."""
        notify(connection, topics, self._channel, self._node)

    def close(self) -> None:
        """Let go of the name, and of all leases, so that the others go on at once."""
        self._closing.set()
        self._thread.join()
        try:
            with self._writing.begin() as connection:
                if leases.is_token(connection, self._what, self._token):
                    leases.end_all(connection, self._node)
                    notify(connection, TOPICS, self._channel, self._node)
        except DBAPIError as error:  # they end by themselves
            _log.warning("the leases of this node could not be ended", reason=str(error.orig).strip())
        if self._connection is not None:
            self._connection.invalidate()  # with the session goes its lock
            self._connection.close()

    def _enter(self, looks: int) -> Connection | None:
        """Open the connection, take the name, and listen; None when another node has the name, after that many looks more."""
        connection = self._engine.connect().execution_options(isolation_level="AUTOCOMMIT")
        try:
            connection.exec_driver_sql("SET default_transaction_read_only = off")  # it renews leases
            while not connection.execute(_TAKE_NAME, {"what": f"node {self._node}"}).scalar_one():
                if looks == 0:
                    connection.invalidate()
                    connection.close()
                    return None
                looks -= 1
                time.sleep(_NAME_LOOK_S)  # the server may not have noticed yet that the last one ended
            connection.execute(sa.text(f'LISTEN "{_channel(connection)}"'))
        except BaseException:
            connection.invalidate()
            connection.close()
            raise
        return connection

    def _listen(self) -> None:
        renew_at = 0.0
        while not self._closing.is_set():
            try:
                if self._connection is None:
                    self._connection = self._enter(0)
                    if self._connection is None:
                        _log.error("another node of this name is running on the database", node=self._node)
                        self._closing.wait(_AGAIN_S)
                        continue
                    _log.info("the index's server is there again")
                    self._bulletin.ring(*TOPICS)  # whatever was told meanwhile was not heard
                self._hear(self._connection)
                if time.monotonic() >= renew_at:
                    leases.renew_all(self._connection, self._node)
                    renew_at = time.monotonic() + leases.RENEW_S
            except Exception as error:  # noqa: BLE001 - a thread that must not end; it connects again
                _log.warning("the connection to the index's server was lost", reason=str(error).strip().split("\n")[0])
                self._drop()
                self._closing.wait(_AGAIN_S)

    def _hear(self, connection: Connection) -> None:
        driver: Any = connection.connection.driver_connection
        for told in driver.notifies(timeout=_LISTEN_S):
            node, _, topics = told.payload.partition(" ")
            if node != self._node:
                self._bulletin.ring(*topics.split())

    def _drop(self) -> None:
        if self._connection is not None:
            self._connection.invalidate()
            self._connection.close()
            self._connection = None


_TAKE_NAME = sa.text(f"SELECT pg_try_advisory_lock({postgresql.KEY})")


def _channel(connection: Connection) -> str:
    schema = connection.execute(sa.text("SELECT current_schema()")).scalar_one()
    return postgresql.channel(schema)


def notify(connection: Connection, topics: Collection[str], channel: str | None = None, node: str = "") -> None:
    """Tell the nodes on an index what was changed; on SQLite they notice by themselves."""
    if topics and connection.dialect.name == "postgresql":
        told = {"channel": channel or _channel(connection), "payload": f"{node} {' '.join(sorted(topics))}"}
        connection.execute(_NOTIFY, told)


_NOTIFY = sa.text("SELECT pg_notify(:channel, :payload)")
