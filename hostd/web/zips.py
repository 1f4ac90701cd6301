"""A ZIP of DICOM files as one upload: written to the disk as it comes, then taken in file by file."""

from __future__ import annotations

import io
import tempfile
import zipfile
import zlib
from collections.abc import Callable, Iterator
from pathlib import Path, PurePosixPath
from typing import IO, TYPE_CHECKING, BinaryIO

from hostd.dicom.part10 import meta_offset
from hostd.errors import NoDicomFileError, ReceptionError, StorageError
from hostd.intake.reception import Received
from hostd.web.errors import BAD_FILE_FORMAT, BAD_REQUEST, WebError, problem_of

if TYPE_CHECKING:  # it imports this
    from hostd.web.upload import Reception

_MAGIC = b"PK\x03\x04"
_DICOM_MAGIC = slice(128, 132)
HEAD = 132
"""Bytes at the beginning that tell a ZIP from a DICOM file, whose preamble may be anything (PS3.10 §7.1)."""
_PIECE = 1 << 20
_LARGEST_READ = 16 << 20
"""Bytes of the largest directory of a ZIP that is read: that of some 150,000 files."""
_METHODS = frozenset({zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED})
_MOST_NAMED = 20


def is_zip(head: bytes) -> bool:
    """Tell whether what begins like that is a ZIP, and no DICOM file."""
    return head.startswith(_MAGIC) and head[_DICOM_MAGIC] != b"DICM"


class ZipReception:
    """A ZIP on its way in. `folder` is where it lies meanwhile, without a name; `receive` begins to take in one file.

    What is unpacked may have `max_bytes` in all.
    """

    def __init__(self, folder: Path, receive: Callable[[], Reception], max_bytes: int) -> None:
        self._file: BinaryIO = tempfile.TemporaryFile(dir=folder)  # noqa: SIM115 - `finish` and `abandon` close it
        self._receive = receive
        self._left = max_bytes
        self._max_bytes = max_bytes

    def write(self, piece: bytes | memoryview) -> None:
        """Take the next piece. Raises `StorageError` when the disk refuses it."""
        try:
            self._file.write(piece)
        except OSError as error:
            raise StorageError(f"the ZIP could not be written: {error.strerror}") from error

    def abandon(self) -> None:
        """Give up: nothing of the ZIP stays."""
        self._file.close()

    def finish(self) -> list[Received]:
        """Take in its DICOM files, and return what became of each, once they are on stable storage; other files are passed over.

        Raises `WebError` when the ZIP is damaged, or when a DICOM file in it was not taken; those that were taken stay.
        """
        taken: list[Received] = []
        refused: dict[str, ReceptionError] = {}
        with self._file:
            try:
                with zipfile.ZipFile(_Bounded(self._file)) as packed:
                    for member in _files_of(packed):
                        try:
                            taken.append(self._take(packed, member))
                        except NoDicomFileError:
                            continue
                        except StorageError:
                            raise
                        except ReceptionError as error:
                            refused[member.filename] = error
            # RuntimeError is zipfile's for what needs a password, NotImplementedError for what it cannot unpack.
            except (zipfile.BadZipFile, zlib.error, EOFError, OSError, RuntimeError, ValueError) as error:
                raise WebError(400, BAD_FILE_FORMAT, _damaged(error, len(taken))) from error
        if refused:
            raise _not_all(refused, len(taken))
        return taken

    def _take(self, packed: zipfile.ZipFile, member: zipfile.ZipInfo) -> Received:
        with packed.open(member) as file:
            piece = self._read(file)
            meta_offset(piece)  # for what is no DICOM file nothing is begun
            reception = self._receive()
            try:
                while piece:
                    reception.write(piece)
                    piece = self._read(file)
            except BaseException:
                reception.abandon()
                raise
        return reception.finish()

    def _read(self, member: IO[bytes]) -> bytes:
        piece = member.read(_PIECE)
        self._left -= len(piece)
        if self._left < 0:
            said = f"the files in the ZIP have more than {self._max_bytes} bytes (http.max_upload_mb)"
            raise WebError(413, BAD_REQUEST, said)
        return piece


def _files_of(packed: zipfile.ZipFile) -> Iterator[zipfile.ZipInfo]:
    """Yield what may be a DICOM file. Raises `NotImplementedError` for what is packed in another way than all can unpack."""
    for member in packed.infolist():
        if member.is_dir() or PurePosixPath(member.filename).name.upper() == "DICOMDIR":
            continue
        if member.compress_type not in _METHODS:
            raise NotImplementedError(f"{member.filename} is packed by method {member.compress_type}: deflate it")
        yield member


def _damaged(error: Exception, taken: int) -> str:
    before = f"; {taken} files before were stored" if taken else ""
    return f"the ZIP cannot be unpacked: {error}{before}"


def _not_all(refused: dict[str, ReceptionError], taken: int) -> WebError:
    """Return the error that names what was not taken, and with the status of the first."""
    problem = problem_of(next(iter(refused.values())))
    named = "; ".join(f"{name}: {problem_of(error).details}" for name, error in list(refused.items())[:_MOST_NAMED])
    more = f"; and {len(refused) - _MOST_NAMED} more" if len(refused) > _MOST_NAMED else ""
    said = f"{len(refused)} DICOM files of the ZIP were not stored, the other {taken} are: {named}{more}"
    return WebError(problem.status, problem.orthanc_status, said)


class _Bounded(io.RawIOBase):
    """A file of which no more than `_LARGEST_READ` bytes are read at once: a directory may claim any size."""

    def __init__(self, file: BinaryIO) -> None:
        self._file = file

    def read(self, size: int = -1) -> bytes:
        if size > _LARGEST_READ:
            raise zipfile.BadZipFile("its directory is too large")
        return self._file.read(_LARGEST_READ if size < 0 else size)

    def seek(self, offset: int, whence: int = 0) -> int:
        return self._file.seek(offset, whence)

    def tell(self) -> int:
        return self._file.tell()

    def seekable(self) -> bool:
        return True
