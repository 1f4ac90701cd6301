"""Backup and restore of a data folder: the index as of one moment, and every file that it names.

Files of the archive are written once and never changed, so a backup of the same folder only adds what is new. The index comes last in both
directions: a backup or a restore that was cut off has the index of before, or none.
"""

from __future__ import annotations

import contextlib
import json
import os
import sqlite3
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path

from hostd.archive.archive import LOCK, is_held
from hostd.archive.blobs import stored_at, sync_directory
from hostd.archive.database import INDEX
from hostd.archive.files import copy_index, files_under, transfer
from hostd.archive.inventory import Inventory
from hostd.config.place import Place
from hostd.errors import NodeError

MANIFEST = "backup.json"
_HELD = "held by a restore: it may have been done since the backup"
_SNAPSHOTS = 5

Progress = Callable[[int, int], None]
"""Told of every file: how many bytes it has, and of how many all have. The first call is (0, all)."""


def silent(_size: int, _total: int) -> None:
    """Tell nobody."""


@dataclass(slots=True)
class Report:
    """What was done: files by how they came, bytes in all, and files that the index names and that are missing (or were known to be).

    `held` counts deliveries; with them `actions` and `notices` were held, as failed ones, and `jobs`, which are paused.
    """

    files: Counter[str] = field(default_factory=Counter)
    size: int = 0
    missing: list[str] = field(default_factory=list)
    removed: int = 0
    held: int = 0
    actions: int = 0
    notices: int = 0
    jobs: int = 0


def backup(place: Path | Place, target: Path, *, link: bool = True, progress: Progress = silent) -> Report:
    """Bring a backup of a data folder, in use or not, up to date. Raises `NodeError` and `StorageError`.

    Files that were removed from the archive go from the backup too, when its new index is in place.
    """
    place = of_files(place)
    data = place.data
    if not (data / INDEX).exists():
        raise NodeError(f"there is no index in {data}: nothing has run there yet")
    if target.resolve() == data.resolve() or data.resolve() in target.resolve().parents:
        raise NodeError(f"{target} is inside of what is to be backed up: name a folder elsewhere")
    _require_ours(target)
    report = Report()
    snapshot = target / f"{INDEX}.new"
    _transfer_all(place, data / INDEX, target, report, link=link, progress=progress)  # most of it, which may take hours
    for _ in range(_SNAPSHOTS):
        copy_index(data / INDEX, snapshot)
        report.missing.clear()
        _transfer_all(place, snapshot, target, report, link=link, progress=silent)
        if not report.missing:  # nothing was removed between the snapshot and its files
            break
    _sync_folders(target)
    snapshot.replace(target / INDEX)
    sync_directory(target)
    report.removed = _remove_others(target)
    with contextlib.closing(_opened(target / INDEX)) as index:
        report.size = index.execute("SELECT coalesce(sum(size), 0) FROM blob WHERE state = 'present'").fetchone()[0]
        version = index.execute("SELECT version_num FROM alembic_version").fetchone()[0]
        instances = index.execute("SELECT count(*) FROM instance").fetchone()[0]
    at = datetime.now(UTC).isoformat(timespec="seconds")
    facts = {"at": at, "of": str(data), "schema": version, "instances": instances, "bytes": report.size}
    (target / MANIFEST).write_text(json.dumps(facts, indent=2) + "\n", encoding="utf-8")
    return report


def restore(
    source: Path, place: Path | Place, *, link: bool = False, hold: bool = False, progress: Progress = silent
) -> Report:
    """Make a data folder of a backup. With `hold` what was still to be sent and done outside then is held: somebody decides of it.

    Raises `NodeError` for a folder that is in use or has an index, and `StorageError`.
    """
    place = of_files(place)
    data = place.data
    if not (source / INDEX).exists():
        raise NodeError(f"{source} is no backup: it has no index")
    if is_held(data):
        raise NodeError(f"a node runs on {data}: stop it first")
    if (data / INDEX).exists():
        raise NodeError(f"{data} has an index already: move it away first, nothing is overwritten")
    data.mkdir(mode=0o700, parents=True, exist_ok=True)
    report = Report()
    _transfer_all(source, source / INDEX, place, report, link=link, progress=progress)
    _sync_folders(place)
    coming = data / f"{INDEX}.restored"
    copy_index(source / INDEX, coming)
    if hold:
        _hold(coming, report)
    coming.replace(data / INDEX)
    sync_directory(data)
    with contextlib.closing(Inventory.of_file(data / INDEX)) as inventory:
        report.size = inventory.size()
    return report


def _hold(index: Path, report: Report) -> None:
    """Hold what goes outside: scripts are told of nothing by it. An index of an older hostd may lack some of the tables."""
    with contextlib.closing(sqlite3.connect(index)) as opened, opened:
        there = {name for (name,) in opened.execute("SELECT name FROM sqlite_master WHERE type = 'table'")}

        def change(table: str, what: str) -> int:
            values = {"why": _HELD, "at": datetime.now(UTC).timestamp()}
            return opened.execute(f"UPDATE {table} SET {what}", values).rowcount if table in there else 0  # noqa: S608 - of the texts below

        report.held = change("delivery", "state = 'held', last_error = :why WHERE state IN ('preparing', 'waiting', 'sending')")  # fmt: skip
        failed = "state = 'failed', last_error = :why, finished_at = :at"
        report.actions = change("task", f"{failed} WHERE state IN ('waiting', 'running') AND (queue LIKE 'http:%' OR queue = 'deliveries')")  # fmt: skip
        if report.actions:
            change("action", "state = 'failed', result = json_object('reason', :why) WHERE id IN (SELECT action FROM task WHERE last_error = :why)")  # fmt: skip
        report.notices = change("notification", f"{failed} WHERE state = 'waiting'")
        report.jobs = change("job", "state = 'paused', wanted = NULL, started_at = NULL WHERE state IN ('pending', 'running', 'retry')")  # fmt: skip


def _transfer_all(
    source: Path | Place, index: Path, target: Path | Place, report: Report, *, link: bool, progress: Progress
) -> None:
    """Bring all files that an index names; what is missing and not known to be is reported."""
    with contextlib.closing(Inventory.of_file(index)) as inventory:
        total = inventory.size()
        progress(0, total)
        for named in inventory.files():
            way = transfer(stored_at(source, named.name), stored_at(target, named.name), named.size, link=link)
            if way is None and not named.is_missing:
                report.missing.append(named.name)
            elif way not in (None, "there already"):
                report.files[way] += 1
            progress(named.size, total)


def _opened(index: Path) -> sqlite3.Connection:
    return sqlite3.connect(f"file:{index}?mode=ro", uri=True, timeout=30)


def _require_ours(target: Path) -> None:
    try:
        target.mkdir(mode=0o700, parents=True, exist_ok=True)
        strange = {entry.name for entry in target.iterdir()} - {
            INDEX,
            f"{INDEX}.new",
            f"{INDEX}.new.part",
            MANIFEST,
            "blobs",
        }
    except OSError as error:
        raise NodeError(f"{target} cannot be used: {error.strerror}") from error
    if strange or (target / LOCK).exists():
        raise NodeError(
            f"{target} holds something else ({min(strange)}): name an empty folder, or one of an earlier backup"
        )


def _remove_others(target: Path) -> int:
    with contextlib.closing(Inventory.of_file(target / INDEX)) as inventory:
        wanted = {named.name for named in inventory.files()}
    removed = 0
    for path in files_under(target / "blobs"):
        if str(path.relative_to(target / "blobs")) not in wanted:
            path.unlink()
            removed += 1
    return removed


def _sync_folders(target: Path | Place) -> None:
    blobs = Place.of(target).blobs
    for top, _, _ in os.walk(blobs):
        sync_directory(Path(top))
    sync_directory(blobs.parent)


def of_files(place: Path | Place) -> Place:
    """Return the place, whose index is a file. Raises `NodeError` for an index in PostgreSQL, which has tools of its own."""
    place = Place.of(place)
    if place.database is not None:
        raise NodeError(
            f"the index is in PostgreSQL: use its own tools for it (pg_dump, pg_restore), and copy the files of {place.blobs} after that"
        )
    return place
