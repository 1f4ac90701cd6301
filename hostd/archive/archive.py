"""One node's archive, opened: the index with its one writer, and the files."""

from __future__ import annotations

import fcntl
import os
from collections.abc import Iterator
from contextlib import AbstractContextManager, ExitStack, contextmanager
from functools import partial
from pathlib import Path

import structlog
from sqlalchemy import Connection, Engine
from sqlalchemy.exc import DBAPIError

from hostd.archive import (
    associations,
    commitments,
    events,
    figures,
    finished,
    inquiries,
    installation,
    promises,
    removal,
    retrievals,
)
from hostd.archive.blobs import SENDING, FolderBlobs, import_prefix, names_under
from hostd.archive.bulletin import Bulletin
from hostd.archive.company import TOPICS, Alone, Company, Members, notify
from hostd.archive.database import INDEX, SCHEMA, bring_up_to_date, open_engine, schema_version
from hostd.archive.locking import lock
from hostd.archive.postgresql import is_passing
from hostd.archive.readers import Readers
from hostd.archive.writer import Writer
from hostd.clock import Clock
from hostd.config.permissions import hindrance
from hostd.config.place import Place
from hostd.errors import NodeError, StorageError

_log = structlog.get_logger(__name__)

LOCK = "node.lock"
_HOLDER_LENGTH = 16
_COMMAND_S = 7 * 86400.0
"""What a command left behind that was killed is swept after so long: no command takes that long between a file and its row."""


class Archive:
    """The index and the files that one node works on. Only one node may have a data folder, or a name on an index."""

    def __init__(self, place: Path | Place, node: str, clock: Clock) -> None:
        """Open, lock, migrate and sweep; the data folder must exist.

        Raises `NodeError` when another node holds the folder or the name, the folder cannot be written, the index's server cannot be
        reached, or a newer hostd wrote the index, and `StorageError` when there is no room. Then nothing is left running, and nothing
        is locked.
        """
        self.place = place = Place.of(place)
        self.data = place.data
        self.node = node
        self.clock = clock
        self._undo = ExitStack()
        try:
            with _openable(place):
                self._open(place)
            self._begin()
        except BaseException:
            self._undo.close()
            raise

    def _open(self, place: Place) -> None:
        self._undo.callback(os.close, _lock(place.data / LOCK))
        self._writing = open_engine(place, writes=True)
        self._undo.callback(self._writing.dispose)
        bring_up_to_date(self._writing)
        self._reading = open_engine(place, writes=False)
        self._undo.callback(self._reading.dispose)
        self._readers = Readers(self._reading)
        self._undo.callback(self._readers.close)
        self.blobs = FolderBlobs(place.blobs, self.node, ahead=True)
        self._undo.callback(self.blobs.close)
        self.bulletin = Bulletin()
        self._company = self._join()
        self._undo.callback(self._company.close)
        self.writer = Writer(self._writing, self.blobs, self.bulletin, self._company)
        self._undo.callback(self.writer.close)

    def _join(self) -> Company:
        if self.place.database is None:
            return Alone(self._reading, self.bulletin)
        return Members(self._writing, self._reading, self.node, self.bulletin)

    def _begin(self) -> None:
        self._sweep()
        self.secret = self.writer.do(installation.secret)
        """The installation's (`hostd.archive.installation`)."""
        self.writer.do(lambda c: associations.close_interrupted(c, self.node, self.clock.now()))
        self.writer.do(lambda c: retrievals.close_interrupted(c, self.node, self.clock.now()))

    @property
    def is_shared(self) -> bool:
        """Whether other nodes may work on the same index."""
        return self.place.database is not None

    @contextmanager
    def read(self) -> Iterator[Connection]:
        """Give a connection that reads one consistent state. Do not hold it over anything slow.

        Raises `StorageError` where the index's server is not there.
        """
        try:
            with self._reading.begin() as connection:
                yield connection
        except DBAPIError as error:
            if is_passing(error):
                raise StorageError(f"the index could not be read: {error.orig}") from error
            raise

    def look(self) -> AbstractContextManager[Connection]:
        """Do as `read`, in half the time, for statements that are read to their end at once (`rows.Prepared`): SQLite refuses any other."""
        if self.is_shared or self._reading.dispatch.before_cursor_execute:  # somebody listens to all statements
            return self.read()
        return self._readers.look()

    def collect(self, *, trash_seconds: float) -> int:
        """Remove what nothing needs any more; return how many files."""
        self.blobs.tidy()
        removed = 0
        while names := self.writer.do(lambda c: removal.collect(c, now=self.clock.now(), trash_seconds=trash_seconds)):
            for name in names:
                self.blobs.unlink(name)
            removed += len(names)
        return removed

    def purge(self, *, events_seconds: float, associations_seconds: float, chunk: int = 500) -> None:
        """Forget old events that all scripts have passed, and old associations with what was retrieved on them, in chunks."""
        now = self.clock.now()
        while self.writer.do(lambda c: events.purge(c, older_than=now - events_seconds, limit=chunk)):
            pass
        while self.writer.do(lambda c: associations.purge(c, older_than=now - associations_seconds, limit=chunk)):
            pass
        for purge in (retrievals.purge, promises.purge, inquiries.purge):
            while self.writer.do(partial(purge, older_than=now - associations_seconds, limit=chunk)):
                pass

    def reckon(self) -> None:
        """Bring the figures up to date, in pieces."""
        while self.writer.do(figures.reckon):
            pass

    def forget_finished(self, *, seconds: float) -> int:
        """Forget what ended longer ago than that, in pieces; return how many rows. It looks at all that is there."""
        before, gone = self.clock.now() - seconds, 0
        for purge in finished.ALL.values():
            step: tuple[int, int] | None = (0, 0)
            while step is not None:
                gone += step[1]
                step = self.writer.do(partial(finished.step, purge, before, step[0]))
        piece: tuple[str, int] | None = ("", 0)
        while piece is not None:  # when the deliveries that named them have gone
            gone += piece[1]
            piece = self.writer.do(partial(commitments.purge, before=before, after=piece[0], limit=finished.AT_ONCE))
        return gone

    def close(self) -> None:
        """Commit what waits and let go of the folder."""
        self._undo.close()

    def _sweep(self) -> None:
        """Remove files without a row (the rest of what was never acknowledged), and report rows without a file.

        What commands keep is theirs while they may go on: it goes when it is old and no row has come.
        """
        with self.read() as connection:
            wanted = removal.names_present(connection, self.node)
        present = set(self.blobs.names())
        for name in present - wanted:
            self.blobs.unlink(name)
        for prefix in (import_prefix(self.node), SENDING):
            kept = set(names_under(self.place.blobs, prefix))
            with self.read() as connection:
                named = removal.names_present(connection, prefix)
            for name in kept - named:
                self._sweep_of_command(name)
            if prefix != SENDING:  # which several nodes share
                wanted |= named
                present |= kept
        if missing := sorted(wanted - present):
            _log.error("files of the archive are missing", count=len(missing), first=missing[0])
            self.writer.do(lambda c: removal.mark_missing(c, missing))

    def _sweep_of_command(self, name: str) -> None:
        try:
            age = self.clock.now() - self.blobs.path(name).stat().st_mtime
        except FileNotFoundError:  # a command has just taken it back
            return
        if age > _COMMAND_S:
            self.blobs.unlink(name)


@contextmanager
def _openable(place: Place) -> Iterator[None]:
    """Say in one sentence why an archive cannot be opened. The password of a database is in no message."""
    try:
        yield
    except (OSError, DBAPIError) as error:
        why = str(error.orig).strip() if isinstance(error, DBAPIError) else error.strerror
        where = (
            "database" if place.database is not None and isinstance(error, DBAPIError) else f"archive in {place.data}"
        )
        raise NodeError(f"the {where} cannot be opened: {why}") from error


def _lock(path: Path) -> int:
    def held(descriptor: int) -> str:
        holder = os.pread(descriptor, _HOLDER_LENGTH, 0).decode("ascii", "replace").strip()
        return f"another node (process {holder or 'unknown'}) is running on {path.parent}"

    descriptor = lock(path, held)
    try:
        # Of one length, over what the last node wrote: a full disk does not hinder it.
        os.pwrite(descriptor, f"{os.getpid():<{_HOLDER_LENGTH - 1}}\n".encode(), 0)
    except OSError as error:
        os.close(descriptor)
        raise NodeError(f"the folder {path.parent} cannot be written: {error.strerror}") from error
    return descriptor


def is_held(data: Path) -> bool:
    """Tell whether a node runs on this data folder."""
    if not (data / LOCK).exists():
        return False
    with (data / LOCK).open("rb") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_SH | fcntl.LOCK_NB)
        except BlockingIOError:
            return True
    return False


@contextmanager
def attach(place: Path | Place, *, writes: bool = False) -> Iterator[Connection]:
    """Give a connection to the index of a node that may be running, for a command line.

    Raises `NodeError` when there is no index.
    """
    place = Place.of(place)
    if place.database is None and (fault := hindrance(place.data / INDEX)):
        raise NodeError(fault)
    if place.database is None and not (place.data / INDEX).exists():
        raise NodeError(f"there is no index in {place.data}: nothing has run there yet")
    engine = open_engine(place, writes=writes)
    try:
        with _openable(place):
            _refuse_foreign(engine, place)
        with engine.begin() as connection:
            yield connection
            if writes:
                notify(connection, TOPICS)
    finally:
        engine.dispose()


def _refuse_foreign(engine: Engine, place: Place) -> None:
    if place.database is not None and (found := schema_version(engine)) != SCHEMA:
        has = f"has the tables of version {found}, and this hostd knows {SCHEMA}" if found else "has no index yet"
        raise NodeError(f"the database {has}: start a node of this version on it first")
