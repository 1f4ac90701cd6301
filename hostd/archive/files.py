"""Files from one archive to another, safely: by hard link where that can be, else by a copy, and on stable storage either way."""

from __future__ import annotations

import contextlib
import errno
import os
import secrets
import shutil
import sqlite3
from collections.abc import Iterator
from pathlib import Path
from typing import Literal

from hostd.archive.blobs import sync_directory
from hostd.errors import NodeError, StorageError

_PIECE = 1 << 20
_CANNOT_LINK = frozenset((errno.EXDEV, errno.EPERM, errno.EOPNOTSUPP, errno.EMLINK, errno.ENOSYS))

Way = Literal["linked", "copied", "there already"]


def transfer(source: Path, target: Path, size: int, *, link: bool) -> Way | None:
    """Put a file of an archive at `target`; return how, None when there is no such file any more.

    A file of an archive never changes, so one of that size that is there already is the same. Raises `StorageError`.
    """
    try:
        if target.exists() and target.stat().st_size == size:
            return "there already"
        target.unlink(missing_ok=True)
        target.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        if link:
            try:
                os.link(source, target)
                return "linked"
            except FileNotFoundError:
                return None
            except OSError as error:
                if error.errno not in _CANNOT_LINK:
                    raise
        return _copied(source, target)
    except OSError as error:
        raise StorageError(f"{target} cannot be written: {error.strerror or error}") from error


def _copied(source: Path, target: Path) -> Way | None:
    """Copy, under another name until it is whole: what is cut off is never taken for the file."""
    part = target.with_name(f"{target.name}.{secrets.token_hex(4)}.part")
    try:
        with source.open("rb") as opened:
            descriptor = os.open(part, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
            with os.fdopen(descriptor, "wb") as written:
                shutil.copyfileobj(opened, written, _PIECE)
                written.flush()
                found = os.fstat(opened.fileno())
                os.utime(
                    written.fileno(), ns=(found.st_atime_ns, found.st_mtime_ns)
                )  # which content is the newest is seen by it
                os.fsync(written.fileno())
        part.rename(target)
    except FileNotFoundError:
        return None
    finally:
        with contextlib.suppress(FileNotFoundError):
            part.unlink()
    return "copied"


def copy_index(source: Path, target: Path) -> None:
    """Copy an SQLite index that may be in use, as of one moment; `target` appears when it is whole and on stable storage.

    Raises `NodeError`.
    """
    part = target.with_name(f"{target.name}.part")
    try:
        part.unlink(missing_ok=True)
        with (
            contextlib.closing(sqlite3.connect(f"file:{source}?mode=ro", uri=True, timeout=30)) as opened,
            contextlib.closing(sqlite3.connect(part)) as written,
        ):
            part.chmod(0o600)
            opened.backup(written)  # in one step: of one moment, whatever is written meanwhile
            written.execute("PRAGMA journal_mode = DELETE")  # so that the copy is one file
        descriptor = os.open(part, os.O_RDONLY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)
        part.replace(target)
        sync_directory(target.parent)
    except (sqlite3.Error, OSError) as error:
        with contextlib.suppress(OSError):
            part.unlink(missing_ok=True)
        raise NodeError(f"the index {source} cannot be copied to {target}: {error}") from error


def files_under(folder: Path) -> Iterator[Path]:
    """Yield all files of a folder and those below it."""
    for top, _, names in os.walk(folder):
        yield from (Path(top, name) for name in names)
