"""The one writer of a node: units of work, committed in groups (DESIGN.md §4 "One writer on SQLite").

Of several nodes on PostgreSQL one writes at a time (`hostd.archive.postgresql`), so that a unit is alone with the index there too. Where
the server went before the COMMIT was sent, nothing was done, and the group is done again: a unit may be called more than once, and what
it leaves outside the index must not mind.

A group is whatever waits when the writer is free; units that can wait a little (`within_s`) make it take a group only when their time has
come. Each unit has its SAVEPOINT, where there are several: a bad one fails alone. An urgent unit that finds the writer free is committed
by the thread that waits for it, and one that does not by the first of those that wait, who is given the writer and takes all: to wake
another thread and to be woken by it takes as long as the commit. Directories of new files are synced before the commit, so that a
committed row always has its file; a unit's future resolves only after the commit.
"""

from __future__ import annotations

import math
import threading
import time
from collections import deque
from collections.abc import Callable, Collection, Sequence
from concurrent.futures import Future
from dataclasses import dataclass
from typing import Any, Protocol, TypeVar

import structlog
from sqlalchemy import Connection, Engine
from sqlalchemy.exc import OperationalError

from hostd.archive import rows
from hostd.archive.blobs import Blobs
from hostd.archive.bulletin import Bulletin
from hostd.archive.company import Company
from hostd.archive.postgresql import is_passing
from hostd.errors import StorageError

T = TypeVar("T")
Unit = Callable[[Connection], T]

_log = structlog.get_logger(__name__)

_PAUSES_S = (0.05, 0.2, 0.5, 1.0, 2.0, 4.0)
"""Seconds before a group is done again whose transaction was lost before its COMMIT: as long as a server may take to restart."""


class Write(Protocol):
    """Does a unit of work and returns its result once it is committed: `Writer.do`, or what does so on terms."""

    def __call__(self, unit: Unit[T], *, topics: Sequence[str] = (), blobs: Sequence[str] = ()) -> T:
        """Do it; see `Writer.submit`."""
        ...


@dataclass(slots=True)
class _Submission:
    unit: Unit[Any]
    blobs: Sequence[str]
    topics: Collection[str]
    future: Future[Any] | None = None
    """Of a unit that nobody waits for in `do`."""
    turn: threading.Lock | None = None
    """Held while the thread of an urgent unit is to wait: until its unit is committed, or the writer is given to it."""
    is_done: bool = False
    result: Any = None
    error: BaseException | None = None


class Writer:
    """Owns the only writing connection of this node."""

    def __init__(self, engine: Engine, blobs: Blobs, bulletin: Bulletin, company: Company) -> None:
        self._engine = engine
        self._blobs = blobs
        self._bulletin = bulletin
        self._company = company
        self._acknowledgements: deque[_Submission] = deque()
        self._others: deque[_Submission] = deque()
        self._filled = threading.Condition()
        self._is_taken = False
        """Whether a thread has the writer: it takes groups and commits them."""
        self._connection: Connection | None = None
        """Of the thread that has the writer, from one group to the next: to take one from the pool takes a tenth of a small unit's time."""
        self._closing = False
        self._due = math.inf  # when the next group is taken, by the monotonic clock
        self._thread = threading.Thread(target=self._serve, name="writer", daemon=True)
        self._thread.start()

    def submit(
        self,
        unit: Unit[T],
        *,
        blobs: Sequence[str] = (),
        topics: Collection[str] = (),
        urgent: bool = False,
        within_s: float = 0.0,
    ) -> Future[T]:
        """Hand over a unit of work; its future has its result once it is committed.

        `blobs` are new files whose directories are synced before the commit; `topics` are rung after it, as they are by then; `urgent`
        units, those that an acknowledgement waits for, go first. One that need only be taken `within_s` seconds waits for others to be
        committed with, until `hurry`. The future raises what the unit raised, or `StorageError` when the commit failed:
        then it is not known what was committed, and nothing may be told to be safe.
        """
        future: Future[T] = Future()
        submission = _Submission(unit, blobs, topics, future)
        with self._filled:
            self._enter(submission, urgent=urgent, within_s=within_s)
            if not self._is_taken:
                self._filled.notify()
        return future

    def do(self, unit: Unit[T], *, topics: Sequence[str] = (), blobs: Sequence[str] = (), urgent: bool = False) -> T:
        """Submit a unit and wait for it."""
        if not urgent:
            return self.submit(unit, topics=topics, blobs=blobs).result()
        submission = _Submission(unit, blobs, topics)
        with self._filled:
            self._enter(submission, urgent=True)
            if self._is_taken:
                submission.turn = threading.Lock()
                submission.turn.acquire()
            self._is_taken = True
        if submission.turn is not None:
            submission.turn.acquire()
        if not submission.is_done:
            self._commit_and_give()
        if submission.error is not None:
            raise submission.error
        result: T = submission.result
        return result

    def _enter(self, submission: _Submission, *, urgent: bool, within_s: float = 0.0) -> None:
        if self._closing:
            raise StorageError("the node is stopping and takes no more changes")
        (self._acknowledgements if urgent else self._others).append(submission)
        self._due = min(self._due, time.monotonic() + within_s)

    def _commit_and_give(self) -> None:
        """Commit what waits, then give the writer to the first that still does, or to the writer's own thread, which is the last to have it."""
        try:
            if group := self._taken():
                self._commit(group)
        finally:
            with self._filled:
                next_one = next((one.turn for one in self._acknowledgements if one.turn is not None), None)
                if next_one is not None:
                    next_one.release()
                else:
                    self._is_taken = False
                    if self._acknowledgements or self._others or self._closing:
                        self._filled.notify()

    def _taken(self) -> list[_Submission]:
        """Take what waits, those first that an acknowledgement waits for."""
        with self._filled:
            group = [*self._acknowledgements, *self._others]
            self._acknowledgements.clear()
            self._others.clear()
            self._due = math.inf
        return group

    def hurry(self) -> None:
        """Take at once what waits for others to be committed with."""
        with self._filled:
            if self._others:
                self._due = 0.0
                self._filled.notify()

    def close(self) -> None:
        """Commit what waits, then end."""
        with self._filled:
            self._closing = True
            self._filled.notify()
        self._thread.join()
        self._disconnect()

    def _serve(self) -> None:
        while True:
            with self._filled:
                while (left_s := self._due - time.monotonic()) > 0 or self._is_taken:
                    if self._closing and not self._is_taken:
                        break
                    self._filled.wait(None if left_s == math.inf or self._is_taken else left_s)
                if self._closing and not (self._acknowledgements or self._others):
                    return
                self._is_taken = True
            self._commit_and_give()

    def _commit(self, group: list[_Submission]) -> None:
        self._sync(group)
        self._execute([submission for submission in group if submission.error is None])
        for submission in group:
            submission.is_done = True
            if submission.turn is not None:
                submission.turn.release()
            elif submission.future is None:
                continue  # that of this thread
            elif submission.error is not None:
                submission.future.set_exception(submission.error)
            else:
                submission.future.set_result(submission.result)
        self._bulletin.ring(*_topics(group))

    def _execute(self, group: list[_Submission]) -> None:
        for pause_s in (*_PAUSES_S, None):
            try:
                self._transact(group)
                return
            except _NothingDoneError as lost:
                if pause_s is not None and not self._closing:
                    _log.warning("the index's server is not there, or busy; hostd tries again", reason=str(lost.cause))
                    time.sleep(pause_s)
                    continue
                error: BaseException = lost.cause
            except BaseException as fatal:  # noqa: BLE001 - whatever it is, no unit of the group may be believed
                error = fatal
            # The transaction as a whole is lost or its fate unknown: nobody in the group may believe anything.
            _log.error("commit failed", units=len(group), exc_info=error)
            for submission in group:
                if submission.error is None:
                    submission.error = StorageError(f"the index could not be written: {error}")
                    submission.error.__cause__ = error
            return

    def _transact(self, group: list[_Submission]) -> None:
        """Do all units of a group in one transaction. Raises `_NothingDoneError` where it may be done again."""
        for submission in group:
            submission.error = None
        try:
            connection = self._connection = self._connection or self._engine.connect()
        except Exception as error:
            raise (_NothingDoneError(error) if is_passing(error) else error) from error
        is_committed = False
        try:
            is_committed = self._transact_on(connection, group)
        finally:
            if not is_committed:
                self._disconnect()

    def _transact_on(self, connection: Connection, group: list[_Submission]) -> bool:
        """Return whether there was anything to commit."""
        try:
            transaction = connection.begin()
            self._company.admit(connection)
            # Of a server the savepoint's end tells, before COMMIT is sent, whether the connection is still there.
            if len(group) == 1 and connection.dialect.name == "sqlite":
                if not _run_alone(connection, group[0]):
                    return False
            else:
                for submission in group:
                    _run(connection, submission)
            self._company.announce(connection, _topics(group))
        except Exception as error:
            if is_passing(error):
                raise _NothingDoneError(error) from error
            raise
        try:
            transaction.commit()
        except BaseException:
            connection.invalidate()  # whatever state it is in, the next group has a fresh one
            raise
        return True

    def _disconnect(self) -> None:
        """Give the connection back, and what was not committed on it up; the next group has another."""
        if self._connection is not None:
            connection, self._connection = self._connection, None
            connection.close()

    def _sync(self, group: list[_Submission]) -> None:
        """Sync the directories of all new files of the group; where that fails, none of its new files may be believed in.

        To find out which it was would mean to sync again, and a failed fsync is never retried.
        """
        try:
            self._blobs.sync_directories([name for submission in group for name in submission.blobs])
        except StorageError as error:
            for submission in group:
                if submission.blobs:
                    submission.error = error


class _NothingDoneError(Exception):
    """A transaction was lost before its COMMIT was sent, for a reason that passes."""

    def __init__(self, cause: Exception) -> None:
        super().__init__(str(cause))
        self.cause = cause


def _topics(group: Sequence[_Submission]) -> set[str]:
    return {topic for submission in group if submission.error is None for topic in submission.topics}


def _run_alone(connection: Connection, submission: _Submission) -> bool:
    """Run a unit whose transaction is its own; return whether there is anything to commit. Raises as `_run` does."""
    try:
        submission.result = submission.unit(connection)
    except Exception as error:
        if is_passing(error):
            raise
        submission.error = _told(error)
        return False
    return True


def _run(connection: Connection, submission: _Submission) -> None:
    """Run a unit in its savepoint. Raises only when the whole transaction is gone, as SQLite's is on a full disk, or is to be done again."""
    # In SQL rather than by SQLAlchemy's nested transactions, which cost as much as a small unit does.
    rows.command(connection, "SAVEPOINT unit")
    try:
        submission.result = submission.unit(connection)
        rows.command(connection, "RELEASE SAVEPOINT unit")
    except Exception as error:
        if is_passing(error):
            raise
        submission.error = _told(error)
        try:
            rows.command(connection, "ROLLBACK TO SAVEPOINT unit")
            rows.command(connection, "RELEASE SAVEPOINT unit")
        except Exception:  # noqa: BLE001 - the savepoint went with the transaction: what took both away is what is told
            raise error from None


def _told(error: Exception) -> Exception:
    """Return what the caller of a unit is told: a disk that is full or broken is a matter of the storage, not of the unit."""
    if not isinstance(error, OperationalError):
        return error
    told = StorageError(f"the index could not be written: {error.orig}")
    told.__cause__ = error
    return told
