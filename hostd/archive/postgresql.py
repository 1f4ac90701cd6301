"""PostgreSQL's part of opening the index: what makes it behave as SQLite does under the same units of work.

A writing transaction takes one advisory lock first, as SQLite's takes its lock at BEGIN: of all nodes on the index one writes at a
time, and each statement of it sees what all those before it committed. So whatever a unit reads stays true until it has written,
event numbers are in the order of commits, and no two units can wait for each other. The lock is that of the index (its database
and schema); a group of units a commit keeps it busy with work rather than with waiting for the disk.

A node that stops in the middle of a transaction, as one whose machine hangs, holds the others up for `_IDLE_S` seconds at most: then
the server ends its session, and nothing of the transaction was done.
"""

from __future__ import annotations

import hashlib
import importlib.util
import json
import re
from typing import Any

import sqlalchemy as sa
from sqlalchemy import Connection, Engine, event
from sqlalchemy.engine.interfaces import DBAPIConnection
from sqlalchemy.exc import ArgumentError, DBAPIError, OperationalError

from hostd.errors import NodeError

_LOCK_WAIT_S = 30
_IDLE_S = 10
_CONNECT_S = 10
_POOL = 8
_OVERFLOW = 16
_WRITE = "hostd write"
_NUL = re.compile(r"(?<!\\)((?:\\\\)*)\\u0000")
_IN_ITS_PLACE = "␀"
"""What stands for a NUL character, which no text of PostgreSQL may hold."""

_SETTINGS = {
    "application_name": "hostd",
    # A connection whose node is gone without a word is noticed, and its locks go.
    "tcp_keepalives_idle": "10",
    "tcp_keepalives_interval": "5",
    "tcp_keepalives_count": "3",
    "tcp_user_timeout": "20s",
}
_WRITER_SETTINGS = {
    "lock_timeout": f"{_LOCK_WAIT_S}s",
    "idle_in_transaction_session_timeout": f"{_IDLE_S}s",
}
_PASSING = frozenset({"40001", "40P01", "55P03", "57P01", "57P02", "57P03", "25P03"})
"""SQLSTATEs after which nothing was committed and the same may succeed: collisions, locks, a server that goes or comes."""


def open_engine(url: str, *, writes: bool) -> Engine:
    """Open the database. Raises `NodeError` when the driver is not installed, or the URL cannot be used."""
    if importlib.util.find_spec("psycopg") is None:
        raise NodeError(
            "PostgreSQL needs its driver, psycopg: install hostd with its extra `postgres` (docs/several-machines.md)"
        )
    try:
        engine = sa.create_engine(
            url,
            isolation_level="READ COMMITTED" if writes else "REPEATABLE READ",
            pool_size=2 if writes else _POOL,
            max_overflow=0 if writes else _OVERFLOW,
            pool_pre_ping=True,
            json_serializer=_serialized,
            hide_parameters=True,
            connect_args={
                "connect_timeout": _CONNECT_S,
                "keepalives_idle": 10,
                "keepalives_interval": 5,
                "keepalives_count": 3,
                "tcp_user_timeout": 20_000,
            },
        )
    except ArgumentError as error:
        raise NodeError("node.database is not the URL of a database") from error

    @event.listens_for(engine, "connect")
    def _settings(connection: DBAPIConnection, _record: Any) -> None:
        _prepare(connection, writes=writes)

    if writes:

        @event.listens_for(engine, "begin")
        def _begin(connection: Connection) -> None:
            connection.execute(_TAKE_LOCK, {"what": _WRITE})

    return engine


KEY = "hashtextextended(current_schema() || ' ' || :what, 0)"
"""The number of an advisory lock of this index for the purpose `what`."""
_TAKE_LOCK = sa.text(f"SELECT pg_advisory_xact_lock({KEY})")


def _prepare(connection: DBAPIConnection, *, writes: bool) -> None:
    from psycopg.types.string import StrDumper  # noqa: PLC0415 - only where the driver is installed

    class _WithoutNul(StrDumper):  # type: ignore[misc]  # mypy does not follow the driver, which need not be there
        def dump(self, obj: str) -> Any:
            return super().dump(obj.replace("\0", _IN_ITS_PLACE))

    driver: Any = connection
    driver.adapters.register_dumper(str, _WithoutNul)
    settings = _SETTINGS | (_WRITER_SETTINGS if writes else {"default_transaction_read_only": "on"})
    with driver.cursor() as cursor:
        for name, value in settings.items():
            cursor.execute("SELECT set_config(%s, %s, false)", (name, value))
        cursor.execute("SHOW synchronous_commit")
        if cursor.fetchone()[0] == "off":  # P1: what is answered for is on stable storage
            cursor.execute("SET synchronous_commit = on")
    driver.commit()


def _serialized(value: object) -> str:
    return _NUL.sub(rf"\1{_IN_ITS_PLACE}", json.dumps(value))


def is_passing(error: BaseException) -> bool:
    """Tell whether a transaction that failed before its COMMIT may succeed when it is done again."""
    if not isinstance(error, DBAPIError) or isinstance(error.orig, ValueError):
        return False
    state: str | None = getattr(error.orig, "sqlstate", None)
    if state is None:  # the connection was lost, or could not be made
        return error.connection_invalidated or (isinstance(error, OperationalError) and hasattr(error.orig, "pgconn"))
    return state in _PASSING or state.startswith("08")


def channel(schema: str) -> str:
    """Return the name under which the nodes on an index tell each other what was committed."""
    return f"hostd_{hashlib.sha256(schema.encode()).hexdigest()[:16]}"
