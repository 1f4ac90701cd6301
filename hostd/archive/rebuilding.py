"""An index made anew of the files, when it is lost: every instance that they hold.

Of several contents of one identity the newest is current, or the first, as `ingest.on_conflict` has it, and the others are versions; what was
made of an instance to be sent takes no place of what was received. What only the index knew is gone: labels, metadata, events, what was sent, what was deleted and
is still in the trash, and what attachments belong to: those are put aside, whole. Nothing is told to scripts, so that nothing is sent again.
"""

from __future__ import annotations

import hashlib
import shutil
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

import sqlalchemy as sa
from sqlalchemy import Connection

from hostd.archive import digests, leases, receiving, sqlite
from hostd.archive import tables as t
from hostd.archive.archive import is_held
from hostd.archive.blobs import ATTACHED, PRODUCT, stored_at, sync_directory
from hostd.archive.database import INDEX, bring_up_to_date, open_engine
from hostd.archive.files import files_under
from hostd.archive.receiving import KEPT, Arrival, OnConflict
from hostd.archive.records import Blob, Origin
from hostd.config.place import Place
from hostd.dicom.header import read_header
from hostd.dicom.part10 import data_set_offset
from hostd.errors import NodeError, UnparsableError

UNREADABLE = "unreadable"
"""The folder, beside the files, of those that hold no instance: the next start would sweep them."""

_PIECE = 1 << 20
_AT_ONCE = 100

Progress = Callable[[int, int], None]


@dataclass(slots=True)
class Rebuilt:
    """Of how many bytes of files, how many instances and versions were found, and which files hold none, or one that is there twice.

    Of `unreadable` it is told why, by the names of the files.
    """

    size: int = 0
    instances: int = 0
    versions: int = 0
    repeats: list[str] = field(default_factory=list)
    unreadable: dict[str, str] = field(default_factory=dict)


def rebuild(
    place: Path | Place,
    *,
    on_conflict: OnConflict = "newest",
    progress: Progress = lambda _size, _total: None,
) -> Rebuilt:
    """Make an index of the files of an archive that has none; nothing is refused, so "refuse" is as "first". Raises `NodeError`."""
    place = Place.of(place)
    data = place.data
    if is_held(data):
        raise NodeError(f"a node runs on {data}: stop it first")
    files = sorted(files_under(place.blobs), key=lambda path: (path.name.endswith(PRODUCT), path.stat().st_mtime_ns))
    if not files:
        raise NodeError(f"there are no files in {place.blobs}")
    rebuilt = Rebuilt(size=sum(path.stat().st_size for path in files))
    progress(0, rebuilt.size)
    if place.database is not None:
        _in_database(place, files, on_conflict, rebuilt, progress)
        return rebuilt
    if (data / INDEX).exists():
        raise NodeError(
            f"{data} has an index: move {data / INDEX} (and its -wal and -shm) away first, nothing is overwritten"
        )
    _in_file(place, files, on_conflict, rebuilt, progress)
    return rebuilt


def _in_file(place: Place, files: list[Path], on_conflict: OnConflict, rebuilt: Rebuilt, progress: Progress) -> None:
    """Make it beside its place, where it is whole or not there."""
    coming = place.data / f"{INDEX}.rebuilt"
    for old in (coming, Path(f"{coming}-wal"), Path(f"{coming}-shm")):
        old.unlink(missing_ok=True)
    engine = sqlite.open_engine(coming, writes=True)
    try:
        bring_up_to_date(engine)
        for at in range(0, len(files), _AT_ONCE):
            with engine.begin() as connection:
                _enter_all(connection, place, files[at : at + _AT_ONCE], on_conflict, rebuilt, progress)
        with engine.begin() as connection:
            _tell_nobody(connection)
            rebuilt.versions = _count_versions(connection)
        with engine.connect() as connection:
            connection.exec_driver_sql("ROLLBACK")
            connection.connection.driver_connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")  # type: ignore[union-attr]
    finally:
        engine.dispose()
    _put_aside(place, rebuilt)
    coming.replace(place.data / INDEX)
    sync_directory(place.data)


def _in_database(
    place: Place, files: list[Path], on_conflict: OnConflict, rebuilt: Rebuilt, progress: Progress
) -> None:
    """Make it in one transaction: a node that starts over half of an index would sweep the files of the other half."""
    engine = open_engine(place, writes=True)
    try:
        bring_up_to_date(engine)
        with engine.begin() as connection:
            connection.exec_driver_sql("SET LOCAL idle_in_transaction_session_timeout = 0")  # files are read meanwhile
            _require_empty(connection)
            _enter_all(connection, place, files, on_conflict, rebuilt, progress)
            _tell_nobody(connection)
            rebuilt.versions = _count_versions(connection)
            _put_aside(place, rebuilt)
    finally:
        engine.dispose()


def _require_empty(connection: Connection) -> None:
    if nodes := leases.other_nodes(connection, ""):
        raise NodeError(f"nodes run on the database ({', '.join(sorted(nodes))}): stop them first")
    if connection.execute(sa.select(t.blob.c.name).limit(1)).first() is not None:
        raise NodeError("the database has an index: name an empty one, nothing is overwritten")


def _enter_all(
    connection: Connection,
    place: Place,
    files: list[Path],
    on_conflict: OnConflict,
    rebuilt: Rebuilt,
    progress: Progress,
) -> None:
    for path in files:
        size = path.stat().st_size
        _enter(connection, place, path, on_conflict, rebuilt)
        progress(size, rebuilt.size)


def _enter(connection: Connection, place: Place, path: Path, on_conflict: OnConflict, rebuilt: Rebuilt) -> None:
    name = str(path.relative_to(place.blobs))
    if name.endswith(ATTACHED):
        rebuilt.unreadable[name] = "it was attached to something, which only the lost index knew"
        return
    try:
        arrival = _arrival(path, name)
    except (UnparsableError, OSError) as error:
        rebuilt.unreadable[name] = str(error)
        return
    is_newest = on_conflict == "newest" and not name.endswith(PRODUCT)
    outcome = receiving.take_in(connection, arrival, "newest" if is_newest else "first")
    if outcome not in KEPT:  # the same data set is there already: the file is of no use, and is kept all the same
        rebuilt.repeats.append(name)
    elif outcome == "stored":
        rebuilt.instances += 1


def _arrival(path: Path, name: str) -> Arrival:
    data_set = hashlib.sha256()
    with path.open("rb") as file:
        start = data_set_offset(file)
        size = path.stat().st_size
        header = read_header(file, offset=start.offset, transfer_syntax=start.transfer_syntax_uid, size=size)
        file.seek(0)
        head = file.read(start.offset)
        while piece := file.read(_PIECE):
            data_set.update(piece)
    content = data_set.hexdigest()
    blob = Blob(name, size, digests.of_parts(head, content), header.transfer_syntax)
    return Arrival(header, blob, content, Origin("import"), path.stat().st_mtime)


def _put_aside(place: Place, rebuilt: Rebuilt) -> None:
    """Take the files out that no row names, perhaps to another disk, before a node sweeps them."""
    for name in (*rebuilt.unreadable, *rebuilt.repeats):
        aside = place.data / UNREADABLE / name.replace("/", "_")
        aside.parent.mkdir(mode=0o700, exist_ok=True)
        shutil.move(stored_at(place, name), aside)


def _count_versions(connection: Connection) -> int:
    return connection.execute(sa.select(sa.func.count()).select_from(t.version)).scalar_one()


def _tell_nobody(connection: Connection) -> None:
    """Take back the events, and that series, studies and patients are to be told as stable: all that is old news."""
    last = connection.execute(sa.select(sa.func.max(t.event.c.number))).scalar() or 0
    connection.execute(sa.update(t.stable).values(due_at=None, upto=last))
    connection.execute(sa.delete(t.event))


__all__ = ["UNREADABLE", "Rebuilt", "rebuild"]
