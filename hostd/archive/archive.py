"""One node's archive, opened: the index with its one writer, and the files."""

from __future__ import annotations

import fcntl
import os
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import structlog
from sqlalchemy import Connection
from sqlalchemy.exc import DBAPIError

from hostd.archive import associations, events, installation, removal
from hostd.archive.blobs import FolderBlobs
from hostd.archive.bulletin import Bulletin
from hostd.archive.database import bring_up_to_date, open_engine
from hostd.archive.writer import Writer
from hostd.clock import Clock
from hostd.errors import NodeError

_log = structlog.get_logger(__name__)

INDEX = "index.db"
LOCK = "node.lock"
ALL_TOPICS = ("event", "delivery", "script", "notification", "action")
_WATCH_S = 5.0
_HOLDER_LENGTH = 16


class Archive:
    """The index and the files of one data folder. Only one node may hold it open."""

    def __init__(self, data: Path, node: str, clock: Clock) -> None:
        """Open, lock, migrate and sweep the data folder, which must exist.

        Raises `NodeError` when another node holds the folder, it cannot be written, or a newer hostd wrote it, and `StorageError`
        when there is no room. Then nothing is left running, and the folder is not locked.
        """
        self.data = data
        self.node = node
        self.clock = clock
        self._lock = _lock(data / LOCK)
        try:
            self._writing = open_engine(data / INDEX, writes=True)
            bring_up_to_date(self._writing)
            self._reading = open_engine(data / INDEX, writes=False)
            self.blobs = FolderBlobs(data / "blobs", node)
            self.bulletin = Bulletin()
            self.writer = Writer(self._writing, self.blobs, self.bulletin)
        except (OSError, DBAPIError) as error:
            os.close(self._lock)
            why = error.orig if isinstance(error, DBAPIError) else error.strerror
            raise NodeError(f"the archive in {data} cannot be opened: {why}") from error
        except BaseException:
            os.close(self._lock)
            raise
        try:
            self._sweep()
            self.secret = self.writer.do(installation.secret)
            """The installation's (`hostd.archive.installation`)."""
            self.writer.do(lambda c: associations.close_interrupted(c, clock.now()))
            watching = self._reading.connect()
            seen = _data_version(watching)  # what others change from now on is noticed
        except BaseException:
            self.writer.close()
            self._let_go()
            raise
        self._closing = threading.Event()
        self._watcher = threading.Thread(target=self._watch, args=(watching, seen), name="index-watcher", daemon=True)
        self._watcher.start()

    @contextmanager
    def read(self) -> Iterator[Connection]:
        """Give a connection that reads one consistent state. Do not hold it over anything slow."""
        with self._reading.begin() as connection:
            yield connection

    def collect(self, *, trash_seconds: float) -> int:
        """Remove what nothing needs any more; return how many files."""
        removed = 0
        while names := self.writer.do(lambda c: removal.collect(c, now=self.clock.now(), trash_seconds=trash_seconds)):
            for name in names:
                self.blobs.unlink(name)
            removed += len(names)
        return removed

    def purge(self, *, events_seconds: float, associations_seconds: float, chunk: int = 500) -> None:
        """Forget old events that all scripts have passed, and old associations, in chunks."""
        now = self.clock.now()
        while self.writer.do(lambda c: events.purge(c, older_than=now - events_seconds, limit=chunk)):
            pass
        while self.writer.do(lambda c: associations.purge(c, older_than=now - associations_seconds, limit=chunk)):
            pass

    def close(self) -> None:
        """Commit what waits and let go of the folder."""
        self._closing.set()
        self._watcher.join()
        self.writer.close()
        self._let_go()

    def _let_go(self) -> None:
        self._reading.dispose()
        self._writing.dispose()
        os.close(self._lock)

    def _sweep(self) -> None:
        """Remove files without a row (the rest of what was never acknowledged), and report rows without a file."""
        with self.read() as connection:
            wanted = removal.names_present(connection, self.node)
        present = set(self.blobs.names())
        for name in present - wanted:
            self.blobs.unlink(name)
        if missing := sorted(wanted - present):
            _log.error("files of the archive are missing", count=len(missing), first=missing[0])
            self.writer.do(lambda c: removal.mark_missing(c, missing))

    def _watch(self, connection: Connection, seen: int) -> None:
        """Notice what other processes (a command line) changed in the index."""
        with connection:
            while not self._closing.wait(_WATCH_S):
                version = _data_version(connection)
                if version != seen:
                    self.bulletin.ring(*ALL_TOPICS)
                seen = version


def _data_version(connection: Connection) -> int:
    """Return a number that changes when another connection has changed the database."""
    version = connection.exec_driver_sql("PRAGMA data_version").scalar_one()
    connection.rollback()
    return int(version)


def _lock(path: Path) -> int:
    try:
        descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    except OSError as error:
        raise NodeError(f"the folder {path.parent} cannot be written: {error.strerror}") from error
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError as error:
        holder = os.pread(descriptor, _HOLDER_LENGTH, 0).decode("ascii", "replace").strip()
        os.close(descriptor)
        raise NodeError(f"another node (process {holder or 'unknown'}) is running on {path.parent}") from error
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
def attach(data: Path, *, writes: bool = False) -> Iterator[Connection]:
    """Give a connection to the index of a node that may be running, for a command line.

    Raises `NodeError` when there is no index.
    """
    if not (data / INDEX).exists():
        raise NodeError(f"there is no index in {data}: nothing has run there yet")
    engine = open_engine(data / INDEX, writes=writes)
    try:
        with engine.begin() as connection:
            yield connection
    finally:
        engine.dispose()
