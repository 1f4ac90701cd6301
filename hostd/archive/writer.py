"""The one writer of the index: units of work, committed in groups (DESIGN.md §4 "One writer on SQLite").

A group is whatever waits when the writer is free. Each unit has its SAVEPOINT: a bad one fails alone. Directories of new files
are synced before the commit, so that a committed row always has its file; a unit's future resolves only after the commit.
"""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Callable, Sequence
from concurrent.futures import Future
from dataclasses import dataclass
from typing import Any, TypeVar

import structlog
from sqlalchemy import Connection, Engine
from sqlalchemy.exc import OperationalError

from hostd.archive.blobs import Blobs
from hostd.archive.bulletin import Bulletin
from hostd.errors import StorageError

T = TypeVar("T")
Unit = Callable[[Connection], T]

_log = structlog.get_logger(__name__)


@dataclass(slots=True)
class _Submission:
    unit: Unit[Any]
    blobs: Sequence[str]
    topics: Sequence[str]
    future: Future[Any]
    result: Any = None
    error: BaseException | None = None


class Writer:
    """Owns the only writing connection of this node."""

    def __init__(self, engine: Engine, blobs: Blobs, bulletin: Bulletin) -> None:
        self._engine = engine
        self._blobs = blobs
        self._bulletin = bulletin
        self._acknowledgements: deque[_Submission] = deque()
        self._others: deque[_Submission] = deque()
        self._filled = threading.Condition()
        self._closing = False
        self._thread = threading.Thread(target=self._serve, name="writer", daemon=True)
        self._thread.start()

    def submit(
        self, unit: Unit[T], *, blobs: Sequence[str] = (), topics: Sequence[str] = (), urgent: bool = False
    ) -> Future[T]:
        """Hand over a unit of work; its future has its result once it is committed.

        `blobs` are new files whose directories are synced before the commit; `topics` are rung after it; `urgent` units, those that
        an acknowledgement waits for, go first. The future raises what the unit raised, or `StorageError` when the commit failed:
        then it is not known what was committed, and nothing may be told to be safe.
        """
        submission = _Submission(unit, blobs, topics, Future())
        with self._filled:
            if self._closing:
                raise StorageError("the node is stopping and takes no more changes")
            (self._acknowledgements if urgent else self._others).append(submission)
            self._filled.notify()
        return submission.future

    def do(self, unit: Unit[T], *, topics: Sequence[str] = (), blobs: Sequence[str] = (), urgent: bool = False) -> T:
        """Submit a unit and wait for it."""
        return self.submit(unit, topics=topics, blobs=blobs, urgent=urgent).result()

    def close(self) -> None:
        """Commit what waits, then end."""
        with self._filled:
            self._closing = True
            self._filled.notify()
        self._thread.join()

    def _serve(self) -> None:
        while True:
            with self._filled:
                self._filled.wait_for(lambda: self._acknowledgements or self._others or self._closing)
                group = [*self._acknowledgements, *self._others]
                self._acknowledgements.clear()
                self._others.clear()
            if not group:
                return
            self._commit(group)

    def _commit(self, group: list[_Submission]) -> None:
        for submission in self._execute(group):
            if submission.error is not None:
                submission.future.set_exception(submission.error)
            else:
                submission.future.set_result(submission.result)
        topics = {topic for submission in group if submission.error is None for topic in submission.topics}
        self._bulletin.ring(*topics)

    def _execute(self, group: list[_Submission]) -> list[_Submission]:
        group = self._sync(group)
        try:
            with self._engine.begin() as connection:
                for submission in group:
                    if submission.error is None:
                        _run(connection, submission)
        except BaseException as error:  # noqa: BLE001 - whatever it is, no unit of the group may be believed
            # The transaction as a whole is lost or its fate unknown: nobody in the group may believe anything.
            _log.exception("commit failed", units=len(group))
            for submission in group:
                if submission.error is None:
                    submission.error = StorageError(f"the index could not be written: {error}")
                    submission.error.__cause__ = error
        return group

    def _sync(self, group: list[_Submission]) -> list[_Submission]:
        """Sync the directories of all new files of the group; where that fails, none of its new files may be believed in.

        To find out which it was would mean to sync again, and a failed fsync is never retried.
        """
        try:
            self._blobs.sync_directories([name for submission in group for name in submission.blobs])
        except StorageError as error:
            for submission in group:
                if submission.blobs:
                    submission.error = error
        return group


def _run(connection: Connection, submission: _Submission) -> None:
    """Run a unit in its savepoint. Raises only when the whole transaction is gone, as SQLite's is on a full disk."""
    savepoint = connection.begin_nested()
    try:
        submission.result = submission.unit(connection)
        savepoint.commit()
    except Exception as error:  # noqa: BLE001 - a bad unit fails alone; its caller gets the error
        submission.error = _told(error)
        try:
            savepoint.rollback()
        except Exception:  # noqa: BLE001 - the savepoint went with the transaction: what took both away is what is told
            raise error from None


def _told(error: Exception) -> Exception:
    """Return what the caller of a unit is told: a disk that is full or broken is a matter of the storage, not of the unit."""
    if not isinstance(error, OperationalError):
        return error
    told = StorageError(f"the index could not be written: {error.orig}")
    told.__cause__ = error
    return told
