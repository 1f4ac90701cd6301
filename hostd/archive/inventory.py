"""Which files an index names, read beside nodes that may be writing: some hundred at one time, so that reading holds nobody up."""

from __future__ import annotations

import sqlite3
from collections.abc import Collection, Iterator
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Self

import sqlalchemy as sa
from sqlalchemy import Engine

from hostd.archive import postgresql
from hostd.archive import tables as t
from hostd.archive.database import INDEX
from hostd.config.place import Place
from hostd.errors import NodeError

_AT_ONCE = 500
_WAIT_S = 30


@dataclass(frozen=True, slots=True)
class Named:
    """A file as its row says it is: its size in bytes, its digest, and whether it is known to be missing."""

    name: str
    size: int
    sha256: str
    is_missing: bool


class Inventory:
    """What an index names. Nothing is written, not even beside an index that is a file."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine

    @classmethod
    def of(cls, place: Place) -> Self:
        """Return that of an archive. Raises `NodeError` when it has no index."""
        if place.database is None:
            return cls.of_file(place.data / INDEX)
        found = cls(postgresql.open_engine(place.database, writes=False))
        if not sa.inspect(found._engine).has_table(t.blob.name):
            found.close()
            raise NodeError("the database has no index yet")
        return found

    @classmethod
    def of_file(cls, index: Path) -> Self:
        """Return that of an index which is a file. Raises `NodeError` when there is none."""
        if not index.exists():
            raise NodeError(f"there is no index in {index.parent}")
        connect = partial(sqlite3.connect, f"file:{index}?mode=ro", uri=True, timeout=_WAIT_S)
        return cls(sa.create_engine("sqlite+pysqlite://", creator=connect, poolclass=sa.NullPool))

    def close(self) -> None:
        """Let go of the index."""
        self._engine.dispose()

    def size(self) -> int:
        """Return the bytes of all files."""
        with self._engine.connect() as connection:
            return int(connection.execute(sa.select(sa.func.coalesce(sa.func.sum(t.blob.c.size), 0))).scalar_one())

    def files(self) -> Iterator[Named]:
        """Yield all files by name."""
        columns = t.blob.c.name, t.blob.c.size, t.blob.c.sha256, (t.blob.c.state == "missing").label("is_missing")
        last = ""
        while True:
            query = sa.select(*columns).where(t.blob.c.name > last).order_by(t.blob.c.name).limit(_AT_ONCE)
            with self._engine.connect() as connection:
                found = [Named(*row) for row in connection.execute(query)]
            yield from found
            if len(found) < _AT_ONCE:
                return
            last = found[-1].name

    def among(self, names: Collection[str]) -> set[str]:
        """Return those of the names that are named now."""
        with self._engine.connect() as connection:
            return set(connection.execute(sa.select(t.blob.c.name).where(t.blob.c.name.in_(names))).scalars())

    def faults(self) -> list[str]:
        """Return what the database itself finds wrong with an index that is a file; PostgreSQL looks after its own."""
        if self._engine.dialect.name != "sqlite":
            return []
        with self._engine.connect() as connection:
            broken = connection.exec_driver_sql("PRAGMA quick_check").scalars().all()
            strays = connection.exec_driver_sql("PRAGMA foreign_key_check").all()
        return [
            *(text for text in broken if text != "ok"),
            *(f"a row of {row[0]} refers to none of {row[2]}" for row in strays),
        ]


__all__ = ["Inventory", "Named"]
