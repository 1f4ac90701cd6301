"""Whether a data folder, or a backup, holds what its index says: every file there, whole and unchanged, and none that nobody knows."""

from __future__ import annotations

import contextlib
import os
import sqlite3
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

from hostd.archive.archive import is_held
from hostd.archive.backup import of_files
from hostd.archive.blobs import stored_at
from hostd.archive.database import INDEX
from hostd.archive.files import sha256_of
from hostd.config.place import Place
from hostd.errors import NodeError

_AT_ONCE = 500
_YOUNG_S = 3600.0
"""Seconds for which a file without a row is no finding while a node runs: it is being received."""

Progress = Callable[[int, int], None]


@dataclass(slots=True)
class Findings:
    """What is wrong: names of files that are missing, changed (with how), or unknown to the index; and what SQLite says of the index."""

    files: int = 0
    size: int = 0
    missing: list[str] = field(default_factory=list)
    changed: dict[str, str] = field(default_factory=dict)
    orphans: list[str] = field(default_factory=list)
    index: list[str] = field(default_factory=list)

    @property
    def is_sound(self) -> bool:
        """Whether nothing is wrong."""
        return not (self.missing or self.changed or self.orphans or self.index)


def verify(place: Path | Place, *, hashes: bool = True, progress: Progress = lambda _size, _total: None) -> Findings:
    """Look at every file; without `hashes` only at its size. Nothing is changed. Raises `NodeError` when there is no index."""
    place = of_files(place)
    data = place.data
    if not (data / INDEX).exists():
        raise NodeError(f"there is no index in {data}")
    findings = Findings()
    try:
        with contextlib.closing(_opened(data / INDEX)) as index:
            findings.index = [row[0] for row in index.execute("PRAGMA quick_check") if row[0] != "ok"]
            findings.index += [
                f"a row of {row[0]} refers to none of {row[2]}" for row in index.execute("PRAGMA foreign_key_check")
            ]
            total = index.execute("SELECT coalesce(sum(size), 0) FROM blob").fetchone()[0]
        progress(0, total)
        for name, size, sha256 in _rows(data / INDEX):
            _look(place, name, size, sha256 if hashes else None, findings)
            progress(size, total)
        findings.orphans = sorted(_orphans(place))
    except sqlite3.DatabaseError as error:
        findings.index.append(f"the index cannot be read: {error}")
    return findings


def _look(place: Place, name: str, size: int, sha256: str | None, findings: Findings) -> None:
    path = stored_at(place, name)
    try:
        found = path.stat().st_size
        if found != size:
            findings.changed[name] = f"{found} bytes instead of {size}"
        elif sha256 is not None and sha256_of(path) != sha256:
            findings.changed[name] = "its content is not what was stored"
        else:
            findings.files += 1
            findings.size += size
    except FileNotFoundError:
        if _is_named(place.data / INDEX, name):  # or it was removed in this moment
            findings.missing.append(name)
    except OSError as error:
        findings.changed[name] = f"it cannot be read: {error.strerror or error}"


def _orphans(place: Place) -> Iterator[str]:
    runs, now = is_held(place.data), time.time()
    for top, _, names in os.walk(place.blobs):
        for each in names:
            path = Path(top, each)
            name = str(path.relative_to(place.blobs))
            if _is_named(place.data / INDEX, name):
                continue
            with contextlib.suppress(FileNotFoundError):
                if not runs or now - path.stat().st_mtime > _YOUNG_S:
                    yield name


def _is_named(index: Path, name: str) -> bool:
    with contextlib.closing(_opened(index)) as opened:
        return opened.execute("SELECT 1 FROM blob WHERE name = ?", (name,)).fetchone() is not None


def _rows(index: Path) -> Iterator[tuple[str, int, str]]:
    last = ""
    while True:
        with contextlib.closing(_opened(index)) as opened:
            found = opened.execute(
                "SELECT name, size, sha256 FROM blob WHERE name > ? ORDER BY name LIMIT ?", (last, _AT_ONCE)
            ).fetchall()
        yield from found
        if len(found) < _AT_ONCE:
            return
        last = found[-1][0]


def _opened(index: Path) -> sqlite3.Connection:
    return sqlite3.connect(f"file:{index}?mode=ro", uri=True, timeout=30)
