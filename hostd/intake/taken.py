"""Which files imports have taken already, so that one that is resumed need not read them again.

It is only ever believed of what the index holds as well, so that it may be older or newer than the index, and may be removed: then
the files are read again, and found to be stored.
"""

from __future__ import annotations

import os
import sqlite3
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

import structlog

_log = structlog.get_logger(__name__)

_TABLE = (
    "CREATE TABLE IF NOT EXISTS taken (path BLOB PRIMARY KEY, size INTEGER NOT NULL, changed INTEGER NOT NULL,"
    " instance TEXT NOT NULL, content TEXT NOT NULL) WITHOUT ROWID"
)


@dataclass(frozen=True, slots=True)
class Taken:
    """A file as it was when it was taken (size in bytes, time of its last change in nanoseconds), and what it held.

    `instance` is Orthanc's identifier, `content` the SHA-256 of the data set.
    """

    path: Path
    size: int
    changed: int
    instance: str
    content: str


class TakenFiles:
    """The list, in a file of its own: with a million rows it must not be in memory."""

    def __init__(self, file: Path) -> None:
        """Open it; one that is damaged is begun anew."""
        try:
            self._rows = _opened(file)
        except sqlite3.DatabaseError as error:
            _log.warning("the list of imported files is damaged, and is begun anew", file=str(file), reason=str(error))
            for each in (file, Path(f"{file}-wal"), Path(f"{file}-shm")):
                each.unlink(missing_ok=True)
            self._rows = _opened(file)

    def find(self, paths: Sequence[Path]) -> dict[Path, Taken]:
        """Return what is known of these files."""
        by_name = {os.fsencode(path): path for path in paths}
        marks = ", ".join("?" * len(by_name))
        found = self._rows.execute(f"SELECT * FROM taken WHERE path IN ({marks})", list(by_name))  # noqa: S608 - marks only
        return {by_name[name]: Taken(by_name[name], *rest) for name, *rest in found}

    def add(self, files: Iterable[Taken]) -> None:
        """Note files that were taken, once their instances are committed."""
        rows = [(os.fsencode(one.path), one.size, one.changed, one.instance, one.content) for one in files]
        with self._rows:
            self._rows.executemany("INSERT OR REPLACE INTO taken VALUES (?, ?, ?, ?, ?)", rows)

    def close(self) -> None:
        """Close the file."""
        self._rows.close()


def _opened(file: Path) -> sqlite3.Connection:
    rows = sqlite3.connect(file, timeout=30.0)
    try:
        rows.execute("PRAGMA journal_mode = WAL")
        rows.execute("PRAGMA synchronous = NORMAL")  # what power loss takes is read again
        rows.execute(_TABLE)
        rows.execute("SELECT path, size, changed, instance, content FROM taken LIMIT 1").fetchall()
    except BaseException:
        rows.close()
        raise
    return rows
