"""Importing the files of a folder: read, copied to stable storage by several threads, and entered many in a commit (P1).

It works beside a running node and without one: files have a prefix of their own (`archive.blobs.import_prefix`), which no node sweeps,
and the index is written as by each command that writes beside a node. What an import that was killed left is swept by the next one.
"""

from __future__ import annotations

import os
import stat
import threading
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import AbstractContextManager, ExitStack
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import Literal

import sqlalchemy as sa
from sqlalchemy import Connection, Engine

from hostd.archive import receiving, removal
from hostd.archive import tables as t
from hostd.archive.archive import Archive, is_held
from hostd.archive.blobs import FolderBlobs, import_prefix, is_whole, stored_at
from hostd.archive.bulletin import Bulletin
from hostd.archive.company import TOPICS, Guest
from hostd.archive.database import INDEX, open_engine
from hostd.archive.limits import Allowance
from hostd.archive.locking import lock
from hostd.archive.receiving import KEPT, Arrival, OnConflict
from hostd.archive.records import Origin
from hostd.archive.writer import Writer
from hostd.clock import Clock
from hostd.config.place import Place
from hostd.config.storage import Storage
from hostd.errors import LimitReachedError, NoRoomError, StorageError, UnparsableError
from hostd.intake.candidates import Candidate, OtherFileError, opened
from hostd.intake.copying import content_of, copy
from hostd.intake.taken import Taken, TakenFiles

FOLDER = "imports"
"""The folder, in the data folder, of what imports keep for themselves."""

Became = Literal["stored", "already stored", "replaced", "kept as version", "refused", "other", "failed"]

_MODALITY = 0x00080060
_AT_ONCE = 64
"""Files that are committed together: a node that runs is held up for as long as that takes."""
_WAIT_S = 60.0
_CONFLICT = 'it is stored with other content, and on_conflict is "refuse"'


@dataclass(frozen=True, slots=True)
class Imported:
    """What became of a file. "other": it holds no instance; `reason` says why it was not taken."""

    path: Path
    became: Became
    reason: str = ""


_ANY = Storage()


@dataclass(frozen=True, slots=True)
class Terms:
    """How files are taken: `raises_events` for scripts, and then levels are stable after `quiet_of` their modality, in seconds.

    What is imported stays within `limits`, as what is received does: others are recycled for it, or the import ends.
    """

    on_conflict: OnConflict = "newest"
    raises_events: bool = False
    quiet_of: Callable[[str], float] = lambda _modality: 60.0
    has_room: Callable[[], bool] = lambda: True
    threads: int = 4
    limits: Storage = _ANY


@dataclass(frozen=True, slots=True)
class _Copied:
    """A file whose copy is on stable storage, and is not entered yet."""

    path: Path
    status: os.stat_result
    arrival: Arrival


@dataclass(frozen=True, slots=True)
class _Opened:
    """The index, as an allowance needs it."""

    writer: Writer
    clock: Clock
    read: Callable[[], AbstractContextManager[Connection]]


_Ready = Imported | _Copied | Taken
"""What is to be done with a file: nothing, to enter its copy, or to note that its instance is there already."""


class Importer:
    """Takes files into the archive of a place, or only says what would become of them."""

    def __init__(self, place: Place, node: str, clock: Clock, terms: Terms, *, dry_run: bool = False) -> None:
        """Open the archive; without `dry_run` it is made where there is none. Raises `NodeError`, and `StorageError`."""
        self._place = place
        self._clock = clock
        self._terms = terms
        self._undo = ExitStack()
        self._stopping = threading.Event()
        self._reading: Engine | None = None
        try:
            if not dry_run:
                self._open(node)
            if place.database is not None or (place.data / INDEX).exists():
                self._reading = open_engine(place, writes=False)
                self._undo.callback(self._reading.dispose)
            self._threads = ThreadPoolExecutor(terms.threads, "import")
            self._undo.callback(self._threads.shutdown)
        except BaseException:
            self._undo.close()
            raise

    def _open(self, node: str) -> None:
        folder = self._place.data / FOLDER
        folder.mkdir(mode=0o700, exist_ok=True)
        goes_on = f"another import into {self._place.data} goes on: wait for its end, or stop it"
        self._undo.callback(os.close, lock(folder / "lock", lambda _: goes_on))
        if not is_held(self._place.data):
            Archive(self._place, node, self._clock).close()  # the index is there then, and of this version
        writing = open_engine(self._place, writes=True)
        self._undo.callback(writing.dispose)
        prefix = import_prefix(node)
        self._blobs = FolderBlobs(self._place.blobs, prefix, ahead=True)
        self._undo.callback(self._blobs.close)
        with writing.connect() as connection:
            wanted = removal.names_present(connection, prefix)
        for name in set(self._blobs.names()) - wanted:
            self._blobs.unlink(name)
        self._taken = TakenFiles(folder / "taken.db")
        self._undo.callback(self._taken.close)
        self._writer = Writer(writing, self._blobs, Bulletin(), Guest())
        self._undo.callback(self._writer.close)
        limits = self._terms.limits
        self._allowance = Allowance(_Opened(self._writer, self._clock, self._connected), lambda: limits)

    def stop(self) -> None:
        """Begin no more files; those that are being taken are. May be called from any thread."""
        self._stopping.set()

    def was_stopped(self) -> bool:
        """Tell whether it was told to stop."""
        return self._stopping.is_set()

    @property
    def recycled(self) -> int:
        """How many patients were recycled to make room."""
        return self._allowance.recycled

    def close(self) -> None:
        """Let go of everything; what was told as taken is safe."""
        self._undo.close()

    # -- what would be done

    def rehearse(self, files: Iterable[Path]) -> Iterator[Imported]:
        """Say what would become of each file, one at a time for itself; nothing is written."""
        for some in _portions(files):
            if self.was_stopped():
                return
            yield from self._threads.map(self._foresee, some)

    def _foresee(self, path: Path) -> Imported:
        try:
            with opened(path) as candidate:
                became, _ = self._there(candidate)
                return Imported(path, became, _CONFLICT if became == "refused" else "")
        except OtherFileError as error:
            return Imported(path, "other", str(error))
        except (UnparsableError, OSError) as error:
            return Imported(path, "failed", _told(error))

    # -- what is done

    def take(self, files: Iterable[Path]) -> Iterator[Imported]:
        """Take files, and say of each what became of it, once that is committed.

        Raises `NoRoomError` and `StorageError`, where nothing more can be taken; what was told until then is safe.
        """
        entering: list[tuple[_Ready, Future[receiving.Outcome] | None]] = []
        for some in _portions(files):
            if self.was_stopped():
                break
            if not self._terms.has_room():
                yield from self._settle(entering)
                raise NoRoomError("the disk is nearly full; nothing more is imported until there is room")
            try:
                ready = self._prepare(some)  # while what was prepared before is committed
            except StorageError:
                yield from self._settle(entering)
                raise
            yield from self._settle(entering)
            entering = [(one, self._enter(one)) for one in ready]
            self._writer.hurry()
        yield from self._settle(entering)

    def _prepare(self, paths: Sequence[Path]) -> list[_Ready]:
        known = self._taken.find(paths)
        there = self._held(list(known.values()))
        return list(self._threads.map(lambda path: self._copied(path, there.get(path)), paths))

    def _held(self, known: Sequence[Taken]) -> dict[Path, Taken]:
        """Return those of the files that were taken before whose instances are stored still."""
        if not known:
            return {}
        with self._connected() as connection:
            query = sa.select(t.instance.c.id, t.instance.c.received_sha256)
            rows = connection.execute(query.where(t.instance.c.id.in_({one.instance for one in known})))
            current = {(row.id, row.received_sha256) for row in rows}
            return {
                one.path: one
                for one in known
                if (one.instance, one.content) in current or receiving.holds(connection, one.instance, one.content)
            }

    def _copied(self, path: Path, before: Taken | None) -> _Ready:
        try:
            status = path.stat()
            if before is not None and (before.size, before.changed) == (status.st_size, status.st_mtime_ns):
                return Imported(path, "already stored")
            if not stat.S_ISREG(status.st_mode):
                return Imported(path, "other", "no file, but something else")
            return self._copy(path, status)
        except OtherFileError as error:
            return Imported(path, "other", str(error))
        except (UnparsableError, OSError) as error:
            return Imported(path, "failed", _told(error))

    def _copy(self, path: Path, status: os.stat_result) -> _Ready:
        file = None
        try:
            with opened(path) as candidate:
                became, content = self._there(candidate)
                identity = candidate.header.identity.instance
                if became == "already stored":
                    return Taken(path, status.st_size, status.st_mtime_ns, identity, content)
                if became == "refused":
                    return Imported(path, became, _CONFLICT)
                file = self._blobs.create()
                blob, content = copy(candidate.source, file, candidate.header, offset=candidate.offset)
        except BaseException:
            if file is not None:
                file.abandon()
            raise
        file.close()
        terms = self._terms
        arrival = Arrival(
            candidate.header,
            blob,
            content,
            Origin("import"),
            self._clock.now(),
            quiet_s=terms.quiet_of(candidate.header.text(_MODALITY)),
            silent=not terms.raises_events,
            file=str(path).encode("utf-8", "backslashreplace").decode(),
            is_there=self._holds,
        )
        return _Copied(path, status, arrival)

    def _there(self, candidate: Candidate) -> tuple[receiving.Outcome, str]:
        """Tell what would become of an instance, and where one of that identity is stored, the SHA-256 of its data set."""
        if self._reading is None:
            return "stored", ""
        identity = candidate.header.identity.instance
        with self._connected() as connection:
            if not receiving.is_known(connection, identity):
                return "stored", ""
        content = content_of(candidate.source, offset=candidate.offset)
        with self._connected() as connection:
            return receiving.foresee(connection, identity, content, self._terms.on_conflict, self._holds), content

    def _holds(self, name: str, size: int) -> bool:
        return is_whole(stored_at(self._place, name), size)

    def _connected(self) -> AbstractContextManager[Connection]:
        assert self._reading is not None
        return self._reading.begin()

    def _enter(self, ready: _Ready) -> Future[receiving.Outcome] | None:
        if not isinstance(ready, _Copied):
            return None
        unit = self._allowance.within(self._take_in(ready.arrival))
        return self._writer.submit(unit, blobs=[ready.arrival.blob.name], topics=self._topics(), within_s=_WAIT_S)

    def _take_in(self, arrival: Arrival) -> Callable[[Connection], receiving.Outcome]:
        return lambda connection: receiving.take_in(connection, arrival, self._terms.on_conflict)

    def _topics(self) -> Sequence[str]:
        return TOPICS if self._terms.raises_events else ()

    def _entered(self, arrival: Arrival, future: Future[receiving.Outcome]) -> receiving.Outcome:
        """Return what became of an arrival, for which others are recycled where that must be. Raises `StorageError`."""
        try:
            return future.result()
        except LimitReachedError:
            pass
        try:
            return self._allowance.enter(
                self._take_in(arrival), size=arrival.blob.size, patient=arrival.header.identity.patient,
                blobs=[arrival.blob.name], topics=TOPICS,
            )  # fmt: skip
        except LimitReachedError:  # nothing was entered
            self._blobs.unlink(arrival.blob.name)
            raise

    def _settle(self, entering: Sequence[tuple[_Ready, Future[receiving.Outcome] | None]]) -> Iterator[Imported]:
        """Say what became of files whose commit was asked for. Where it failed their copies stay, for a row may speak of them."""
        found: list[Imported] = []
        taken: list[Taken] = []
        trouble: StorageError | None = None
        for ready, future in entering:
            if isinstance(ready, Imported):
                found.append(ready)
            elif isinstance(ready, Taken):
                taken.append(ready)
                found.append(Imported(ready.path, "already stored"))
            elif future is not None:
                try:
                    outcome = self._entered(ready.arrival, future)
                except StorageError as error:
                    trouble = error
                    found.append(Imported(ready.path, "failed", str(error)))
                    continue
                found.append(Imported(ready.path, outcome, _CONFLICT if outcome == "refused" else ""))
                arrival = ready.arrival
                if outcome not in KEPT:
                    self._blobs.unlink(arrival.blob.name)
                if outcome != "refused":
                    status, identity = ready.status, arrival.header.identity.instance
                    taken.append(Taken(ready.path, status.st_size, status.st_mtime_ns, identity, arrival.content))
        if taken:
            self._taken.add(taken)
        yield from found
        if trouble is not None:
            raise trouble


def _portions(files: Iterable[Path]) -> Iterator[list[Path]]:
    remaining = iter(files)
    while some := list(islice(remaining, _AT_ONCE)):
        yield some


def _told(error: UnparsableError | OSError) -> str:
    return (error.strerror or str(error)) if isinstance(error, OSError) else str(error)
