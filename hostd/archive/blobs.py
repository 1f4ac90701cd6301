"""Files of the archive: written once under a fresh random name, made durable, never changed (DESIGN.md §4)."""

from __future__ import annotations

import ctypes
import os
import secrets
import threading
import time
from collections import deque
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO, Protocol

import structlog

from hostd.config.place import Place
from hostd.errors import StorageError

_log = structlog.get_logger(__name__)

_FAN_OUT = 256
_AHEAD = 32
"""Files that are made ahead at once."""
_BURST_S = 2.0
"""As many files in so many seconds or less are a burst, in which more are made ahead."""
_REMEMBERED = 4096
_AT_ONCE = 512
"""Pieces that are written by one call; the system takes 1024."""

_SYNC_FILE_RANGE_WRITE = 2
_sync_file_range = getattr(ctypes.CDLL(None, use_errno=True), "sync_file_range", None)
"""Linux has it; Python has no name for it."""
if _sync_file_range is not None:
    _sync_file_range.argtypes = (ctypes.c_int, ctypes.c_int64, ctypes.c_int64, ctypes.c_uint)


ATTACHED = ".attached"
"""How the names of files end that somebody attached: without an index nothing else tells a DICOM file among them from an instance."""
PRODUCT = ".made"
"""How the names of files end that were made of others, to be sent: without an index nothing else tells them from what was received."""


class BlobFile:
    """A file being written. Nothing of it counts until a row names it."""

    def __init__(self, name: str, path: Path) -> None:
        self.name = name
        self.path = path
        self.size = 0
        self._file: BinaryIO | None = None
        try:
            descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
        except OSError as error:
            raise StorageError(f"no file can be created in {path.parent}: {error.strerror}") from error
        self._file = os.fdopen(descriptor, "w+b", buffering=0)

    def write(self, *pieces: bytes | memoryview) -> None:
        """Append. Raises `StorageError` when the disk refuses it."""
        assert self._file is not None
        try:
            for begin in range(0, len(pieces), _AT_ONCE):
                some = pieces[begin : begin + _AT_ONCE]
                written = os.writev(self._file.fileno(), some)
                self.size += written
                if written < sum(map(len, some)):
                    self._write_rest(memoryview(b"".join(some))[written:])
        except OSError as error:
            raise StorageError(f"writing to {self.path.parent} failed: {error.strerror}") from error

    def _write_rest(self, view: memoryview) -> None:
        assert self._file is not None
        while view:
            written = self._file.write(view)
            self.size += written
            view = view[written:]

    def reader(self) -> BinaryIO:
        """Return the open file for reading back; it stays owned by this object."""
        assert self._file is not None
        return self._file

    def hasten(self) -> None:
        """Have the disk begin with what was written so far, without waiting: `seal` then waits less. What fails here, `seal` says."""
        assert self._file is not None
        hasten(self._file.fileno())

    def seal(self) -> None:
        """Put the content on stable storage. A failed fsync is never retried: the file must be abandoned."""
        assert self._file is not None
        try:
            os.fsync(self._file.fileno())
        except OSError as error:
            raise StorageError(f"{self.path.parent} could not be synced: {error.strerror}") from error

    def close(self) -> None:
        """Close the descriptor; what was written stays."""
        if self._file is not None:
            self._file.close()
            self._file = None

    def abandon(self) -> None:
        """Close and remove the file. One that the disk does not let go of is left to the sweep: nothing speaks of it."""
        self.close()
        try:
            self.path.unlink(missing_ok=True)
        except OSError as error:
            _log.warning("a file that is not wanted could not be removed", file=self.name, reason=error.strerror)


def hasten(descriptor: int) -> None:
    """Have the disk begin with what was written to an open file, without waiting: fsync then waits less. What fails here, fsync says."""
    if _sync_file_range is not None:
        _sync_file_range(descriptor, 0, 0, _SYNC_FILE_RANGE_WRITE)


def stored_at(place: Path | Place, name: str) -> Path:
    """Return where in an archive the file of that name is, whether it is there or not."""
    return Place.of(place).blobs / name


SENDING = "~send"
"""The prefix of what `hostd send` keeps until it is delivered and never stores: that of no node, either."""


def import_prefix(node: str) -> str:
    """Return under which prefix `hostd import` keeps files: that of no node, so that none sweeps them before they have a row."""
    return f"~import.{node}"


@dataclass(frozen=True, slots=True)
class Vacancy:
    """A fresh name, and the place of a file that is not there yet."""

    name: str
    path: Path


class Blobs(Protocol):
    """Where the files are: a folder here, an object store perhaps elsewhere."""

    def create(self) -> BlobFile:
        """Begin a new file under a fresh name."""
        ...

    def create_attached(self) -> BlobFile:
        """Begin a new file that holds no instance, under a fresh name that ends with `ATTACHED`."""
        ...

    def vacant(self, *, is_product: bool = False) -> Vacancy:
        """Return a fresh name for a file that somebody else makes; that of a product ends with `PRODUCT`."""
        ...

    def path(self, name: str) -> Path:
        """Return where the file of that name is."""
        ...

    def sync_directories(self, names: Iterable[str]) -> None:
        """Put the names of these files on stable storage."""
        ...

    def unlink(self, name: str) -> None:
        """Remove the file; one that is gone already is no error."""
        ...


class FolderBlobs:
    """Files in `folder/prefix/xx/`, where the prefix is this node's own and the name is random.

    All sub-folders exist and are synced before the first file is written, so that a new file needs its own folder synced only. With
    `ahead`, in a burst, empty files are made ahead, many in one folder that is synced once for all of them; those that nobody takes are
    removed by `tidy`, by `close`, or by the sweep.
    """

    def __init__(self, folder: Path, prefix: str, *, ahead: bool = False) -> None:
        self._folder = folder
        self._place = str(self._folder)
        self._prefix = prefix
        self._ahead = ahead
        self._lock = threading.Lock()
        self._made_at: deque[float] = deque([float("-inf")] * _AHEAD, maxlen=_AHEAD)
        self._spare: deque[BlobFile] = deque()
        self._synced: dict[str, bool] = {}
        """Names on stable storage whose files were taken and not yet asked about, the oldest first."""
        own = folder / prefix
        if not (own / f"{_FAN_OUT - 1:02x}").is_dir():
            folder.mkdir(mode=0o700, exist_ok=True)
            own.mkdir(mode=0o700, exist_ok=True)
            for index in range(_FAN_OUT):
                (own / f"{index:02x}").mkdir(mode=0o700, exist_ok=True)
            for directory in (own, folder, folder.parent):
                sync_directory(directory)

    def create(self) -> BlobFile:
        """Begin a new file under a fresh name. Raises `StorageError` when that fails."""
        if not self._ahead:
            return self._new(secrets.token_hex(1))
        with self._lock:
            now = time.monotonic()
            is_burst = now - self._made_at[0] <= _BURST_S
            self._made_at.append(now)
            if not self._spare and is_burst:
                self._make_ahead()
            if not self._spare:
                return self._new(secrets.token_hex(1))
            spare = self._spare.popleft()
            self._synced[spare.name] = True
            if len(self._synced) > _REMEMBERED:  # given up by whoever took them; at worst a folder is synced twice
                del self._synced[next(iter(self._synced))]
            return spare

    def create_attached(self) -> BlobFile:
        """Begin a new file that holds no instance, under a fresh name that ends with `ATTACHED`. Raises `StorageError` when that fails."""
        name = self._fresh(secrets.token_hex(1)) + ATTACHED
        return BlobFile(name, self._folder / name)

    def vacant(self, *, is_product: bool = False) -> Vacancy:
        """Return a fresh name for a file that somebody else makes; that of a product ends with `PRODUCT`."""
        name = self._fresh(secrets.token_hex(1)) + (PRODUCT if is_product else "")
        return Vacancy(name, self._folder / name)

    def tidy(self) -> None:
        """Remove the files that were made ahead, where no burst goes on: nobody is to wonder for long what they are."""
        with self._lock:
            if time.monotonic() - self._made_at[-1] > _BURST_S:
                self._drop_spare()

    def close(self) -> None:
        """Remove the files that were made ahead."""
        with self._lock:
            self._drop_spare()

    def _drop_spare(self) -> None:
        while self._spare:
            self._spare.popleft().abandon()

    def _new(self, sub_folder: str) -> BlobFile:
        name = self._fresh(sub_folder)
        return BlobFile(name, self._folder / name)

    def _fresh(self, sub_folder: str) -> str:
        return f"{self._prefix}/{sub_folder}/{sub_folder}{secrets.token_hex(15)}"

    def _make_ahead(self) -> None:
        sub_folder = secrets.token_hex(1)
        made: list[BlobFile] = []
        try:
            made.extend(self._new(sub_folder) for _ in range(_AHEAD))
            sync_directory(self._folder / self._prefix / sub_folder)
        except StorageError:
            for file in made:
                file.abandon()
            raise
        self._spare.extend(made)

    def path(self, name: str) -> Path:
        """Return where the file of that name is."""
        return self._folder / name

    def place(self, name: str) -> str:
        """Return where the file of that name is: to make a `Path` of it takes as long as to open it."""
        return f"{self._place}/{name}"

    def holds(self, name: str, size: int) -> bool:
        """Tell whether the file of that name is there, with so many bytes."""
        return is_whole(self.path(name), size)

    def sync_directories(self, names: Iterable[str]) -> None:
        """Put the names of these files on stable storage, each folder once, where they are not there yet. Raises `StorageError`."""
        with self._lock:
            new = [name for name in names if not self._synced.pop(name, False)]
        for directory in {self._folder / name.rpartition("/")[0] for name in new}:
            sync_directory(directory)

    def unlink(self, name: str) -> None:
        """Remove the file; one that is gone already is no error."""
        self.path(name).unlink(missing_ok=True)

    def names(self) -> Iterator[str]:
        """Yield the names of all files under this node's own prefix, but those that this object made ahead."""
        with self._lock:
            spare = {file.name for file in self._spare}
        for name in names_under(self._folder, self._prefix):
            if name not in spare:
                yield name


def is_whole(file: Path, size: int) -> bool:
    """Tell whether a file is there, with so many bytes."""
    try:
        return file.stat().st_size == size
    except OSError:  # what cannot even be looked at is no safe copy
        return False


def names_under(folder: Path, prefix: str) -> Iterator[str]:
    """Yield the names of all files under a prefix; none where there is no such folder."""
    own = folder / prefix
    if own.is_dir():
        for directory in sorted(own.iterdir()):
            for entry in directory.iterdir():
                yield f"{prefix}/{directory.name}/{entry.name}"


def sync_directory(directory: Path) -> None:
    """Put the names in that folder on stable storage. Raises `StorageError`."""
    try:
        descriptor = os.open(directory, os.O_RDONLY | os.O_DIRECTORY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)
    except OSError as error:
        raise StorageError(f"{directory} could not be synced: {error.strerror}") from error
