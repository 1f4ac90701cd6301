"""What a file of any folder is: an instance to import, something else, or damaged. Files are read only."""

from __future__ import annotations

import os
import re
import stat
import tempfile
import zlib
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO, cast

from hostd.dicom.header import Header, read_header
from hostd.dicom.part10 import META_CLASS, PREAMBLE_LENGTH, PREFIX, data_set_offset
from hostd.errors import NoDicomFileError, UnparsableError

_DIRECTORY_CLASS = "1.2.840.10008.1.3.10"
"""Media Storage Directory Storage (PS3.3 Annex F): a DICOMDIR."""
_ROWS, _PIXELS_ELSEWHERE = 0x00280010, 0x00287FE0
_UUID = re.compile(r"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}")
_SIZE_BYTES = 8
"""What Orthanc writes before a file that it compressed: its size, little endian."""
_ZLIB = b"\x78"
_PIECE = 1 << 20
_IN_MEMORY = 16 << 20


class OtherFileError(Exception):
    """A file that holds no instance to import, and is not damaged either; the message says what it is."""


@dataclass(frozen=True, slots=True)
class Candidate:
    """An instance in a file: `source` is open, its data set begins at `offset`."""

    source: BinaryIO
    offset: int
    header: Header


def files_in(paths: list[Path], unread: Callable[[OSError], None]) -> Iterator[Path]:
    """Yield the files below folders, in the order of their names, as absolute paths; links to folders are not followed.

    `unread` is told of each folder that cannot be read.
    """
    for path in paths:
        top = Path(os.path.abspath(path))  # noqa: PTH100 - the path as written, links kept
        if not top.is_dir():
            yield top
            continue
        for folder, below, names in os.walk(top, onerror=unread):
            below.sort()
            yield from (Path(folder, name) for name in sorted(names))


@contextmanager
def opened(path: Path) -> Iterator[Candidate]:
    """Open a file that holds an instance. One that Orthanc compressed is read as what it was before.

    Raises `OtherFileError`, `UnparsableError` for a damaged one, and `OSError`.
    """
    if not stat.S_ISREG(path.stat().st_mode):  # to open a pipe would wait for whoever writes to it
        raise OtherFileError("no file, but something else")
    with path.open("rb") as file:
        before = os.fstat(file.fileno())
        is_of_orthanc = _is_in_storage_of_orthanc(path)
        source = _inflated(file) if is_of_orthanc and _is_compressed(file) else file
        try:
            yield _candidate(source, is_of_orthanc=is_of_orthanc)
        finally:
            if source is not file:
                source.close()
        after = os.fstat(file.fileno())
        if (before.st_size, before.st_mtime_ns) != (after.st_size, after.st_mtime_ns):
            raise UnparsableError("the file changed while it was read")


def _candidate(source: BinaryIO, *, is_of_orthanc: bool) -> Candidate:
    try:
        start = data_set_offset(source)
    except NoDicomFileError as error:
        raise OtherFileError(str(error)) from error
    if start.meta.get(META_CLASS) == _DIRECTORY_CLASS:
        raise OtherFileError("a DICOMDIR: what it lists is imported, not the list")
    size = source.seek(0, os.SEEK_END)
    header = read_header(source, offset=start.offset, transfer_syntax=start.transfer_syntax_uid, size=size)
    if is_of_orthanc and not header.has_pixels and _ROWS in header.tags and _PIXELS_ELSEWHERE not in header.tags:
        raise OtherFileError("the head that Orthanc keeps of an instance beside the whole, without its pixel data")
    return Candidate(source, start.offset, header)


def _is_in_storage_of_orthanc(path: Path) -> bool:
    """Tell whether a file lies where Orthanc would put one of that name: ab/cd/abcd….; its attachments of all kinds do."""
    folders = path.parts[-3:-1]
    return _UUID.fullmatch(path.name) is not None and folders == (path.name[:2], path.name[2:4])


def _is_compressed(file: BinaryIO) -> bool:
    head = file.read(PREAMBLE_LENGTH + len(PREFIX))
    return head[_SIZE_BYTES : _SIZE_BYTES + 1] == _ZLIB and head[PREAMBLE_LENGTH:] != PREFIX


def _inflated(file: BinaryIO) -> BinaryIO:
    """Return what Orthanc compressed, as a file that is gone once it is closed. Raises `UnparsableError` where that is a damaged DICOM file."""
    file.seek(0)
    size = int.from_bytes(file.read(_SIZE_BYTES), "little")
    stream = zlib.decompressobj()
    inflated = cast("BinaryIO", tempfile.SpooledTemporaryFile(_IN_MEMORY))  # noqa: SIM115 - the caller closes it
    try:
        try:
            while not stream.eof and inflated.tell() <= size:
                piece = stream.unconsumed_tail or file.read(_PIECE)
                if not piece:
                    inflated.write(stream.flush())
                    break
                inflated.write(stream.decompress(piece, _PIECE))
            is_whole = stream.eof and inflated.tell() == size
        except zlib.error:
            is_whole = False
        inflated.seek(0)
        is_dicom = inflated.read(PREAMBLE_LENGTH + len(PREFIX))[PREAMBLE_LENGTH:] == PREFIX
        if not is_whole and is_dicom:
            raise UnparsableError("Orthanc compressed the file, and it is damaged")
        if not is_dicom:
            raise OtherFileError("this is not a DICOM file: Orthanc compressed it, and it is something else")
    except BaseException:
        inflated.close()
        raise
    return inflated
