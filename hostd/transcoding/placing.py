"""Results of commands and callers: under their names only when they are whole and on stable storage."""

from __future__ import annotations

import ctypes
import errno
import os
import secrets
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from hostd.archive.blobs import sync_directory

_NO_LINKS = (errno.EPERM, errno.EOPNOTSUPP, errno.ENOSYS, errno.EMLINK, errno.EINVAL)
_AT_FDCWD = -100
_RENAME_NOREPLACE = 1
_READ_WRITE = 0o666


@contextmanager
def placed(result: Path, *, like: Path | None = None, overwrite: bool = False) -> Iterator[Path]:
    """Yield a spare name in the folder of `result`; the file that stands there at the end gets the name `result`, at once.

    Its content must be synced by then. The result gets the permissions of the file `like`, as far as the umask lets it;
    without one its owner alone reads it. When the body raises, nothing is left. Raises `FileExistsError` when `result` exists
    and is not to be overwritten, `OSError` and `StorageError` as the file system has it.
    """
    spare = result.with_name(f".hostd-{secrets.token_hex(8)}.part")
    mode = _mode_here(spare, like)
    try:
        yield spare
        spare.chmod(mode)
        if overwrite:
            spare.replace(result)
        else:
            _name(spare, result)
        sync_directory(result.parent)
    finally:
        spare.unlink(missing_ok=True)


def make_folder(folder: Path) -> None:
    """Create a folder and those above it that are missing, on stable storage. Raises `OSError` and `StorageError`."""
    missing = []
    while not folder.exists():
        missing.append(folder)
        folder = folder.parent
    for each in reversed(missing):
        each.mkdir(exist_ok=True)
        sync_directory(each.parent)


def _mode_here(spare: Path, like: Path | None) -> int:
    """Return the permissions that a new file of that name gets under the umask, which cannot be asked for."""
    wanted = like.stat().st_mode & _READ_WRITE | 0o600 if like else 0o600
    try:
        descriptor = os.open(spare, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, wanted)
    except OSError as error:
        error.filename = str(spare.parent)  # the spare name says nothing to anybody
        raise
    try:
        return os.fstat(descriptor).st_mode & 0o777
    finally:
        os.close(descriptor)
        spare.unlink()


def _name(spare: Path, result: Path) -> None:
    """Give a file its name, which must be free. Raises `FileExistsError` when it is not."""
    try:
        os.link(spare, result, follow_symlinks=False)
    except OSError as error:
        if error.errno not in _NO_LINKS:
            raise
        _rename_to_free_name(spare, result)


def _rename_to_free_name(spare: Path, result: Path) -> None:
    """Rename where there are no hard links, as on exFAT (renameat2(2), which Python does not have)."""
    library = ctypes.CDLL(None, use_errno=True)
    if library.renameat2(_AT_FDCWD, os.fsencode(spare), _AT_FDCWD, os.fsencode(result), _RENAME_NOREPLACE):
        number = ctypes.get_errno()
        raise OSError(number, os.strerror(number), str(result))
