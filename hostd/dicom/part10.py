"""DICOM files (PS3.10 §7): the head that hostd writes, and where the data set of any file begins."""

from __future__ import annotations

import contextlib
import functools
import io
import os
import struct
from collections.abc import Mapping
from pathlib import Path
from types import MappingProxyType
from typing import BinaryIO, NamedTuple

from hostd.dicom.vrs import LONG_ENCODED
from hostd.errors import NoDicomFileError, UnparsableError

IMPLEMENTATION_CLASS_UID = "2.25.294159590615456678668520990535919092377"
"""hostd's own, derived from a UUID (PS3.5 §B.2). It never changes."""
IMPLEMENTATION_VERSION_NAME = "HOSTD_0_1"

PREAMBLE_LENGTH = 128
PREFIX = b"DICM"

META_CLASS = 0x00020002
META_INSTANCE = 0x00020003
META_TRANSFER_SYNTAX = 0x00020010
META_IMPLEMENTATION_CLASS = 0x00020012
META_IMPLEMENTATION_VERSION = 0x00020013
META_SOURCE_AET = 0x00020016

_META_GROUP = b"\x02\x00"
_TEXT_VRS = frozenset({b"AE", b"CS", b"LO", b"SH", b"ST", b"UI", b"UR"})
_VRS = LONG_ENCODED | _TEXT_VRS | {b"AS", b"AT", b"DA", b"DT", b"IS", b"LT", b"PN", b"SL", b"SS", b"TM", b"UL", b"US"}
_TEXT_TAGS = frozenset({
    META_CLASS, META_INSTANCE, META_TRANSFER_SYNTAX, META_IMPLEMENTATION_CLASS, META_IMPLEMENTATION_VERSION,
    META_SOURCE_AET, 0x00020017, 0x00020018,
})  # fmt: skip
_MAX_TEXT = 4096
_LOOK = 1024
"""Bytes that are read at once: as a rule there is no more file meta information."""
_RECALLED = 64
"""Files whose beginnings are known still."""
_HEAD = struct.Struct("<HH2sH")
_LONG_HEAD = 12
"""Bytes of the head of an element whose VR has a long length."""


class FileStart(NamedTuple):
    """What the head of a file says."""

    offset: int
    """Where the data set begins, in bytes from the beginning of the file."""
    transfer_syntax_uid: str
    meta: Mapping[int, str]
    """The text elements of the file meta information: tag → value without padding."""


def file_header(
    sop_class_uid: str, sop_instance_uid: str, transfer_syntax: str, *, source_aet: str | None = None
) -> bytes:
    """Return preamble, prefix and file meta information (PS3.10 §7.1) of a file that hostd writes.

    `transfer_syntax` is a UID. `source_aet` is who sent the instance, and is left out when there is nobody to name.
    Raises `ValueError` for a UID that is not ASCII.
    """
    elements = b"".join(
        (
            _element(0x0001, b"OB", b"\x00\x01"),
            _element(0x0002, b"UI", _uid(sop_class_uid)),
            _element(0x0003, b"UI", _uid(sop_instance_uid)),
            _element(0x0010, b"UI", _uid(transfer_syntax)),
            _element(0x0012, b"UI", _uid(IMPLEMENTATION_CLASS_UID)),
            _element(0x0013, b"SH", _spaced(IMPLEMENTATION_VERSION_NAME)),
            _element(0x0016, b"AE", _spaced(source_aet)) if source_aet else b"",
        )
    )
    group_length = _element(0x0000, b"UL", struct.pack("<I", len(elements)))
    return bytes(PREAMBLE_LENGTH) + PREFIX + group_length + elements


def data_set_offset(file: BinaryIO) -> FileStart:
    """Tell where the data set of a DICOM file begins, and what the file meta information says.

    Tolerates a missing preamble, a missing or wrong group length, and file meta information in implicit VR. The file is
    read from its beginning and left at the data set. Raises `NoDicomFileError` for anything that is not a DICOM file, and
    `UnparsableError` for one that is cut off or names no transfer syntax.
    """
    file.seek(0)
    begin = file.read(_LOOK)
    position = meta_offset(begin)
    position, meta = _plain_meta(begin, position) or _read_meta(file, position)
    syntax = meta.get(META_TRANSFER_SYNTAX)
    if not syntax:
        raise UnparsableError("the file meta information names no transfer syntax (0002,0010), so nothing can be read")
    file.seek(position)
    return FileStart(position, syntax, meta)


def meta_offset(begin: bytes) -> int:
    """Tell where the file meta information begins in a file that begins so. Raises `NoDicomFileError` for anything that is not a DICOM file."""
    head = begin[: PREAMBLE_LENGTH + len(PREFIX)]
    if not head:
        raise NoDicomFileError("the file is empty")
    if head.startswith(_META_GROUP) and head[PREAMBLE_LENGTH:] != PREFIX:
        return 0
    if head.startswith(PREFIX):
        return len(PREFIX)
    if head[PREAMBLE_LENGTH:] == PREFIX:
        return len(head)
    raise NoDicomFileError("this is not a DICOM file: it has neither the prefix DICM nor file meta information")


def start_of(descriptor: int) -> FileStart:
    """Do as `data_set_offset` does with an open descriptor, and raise likewise: mostly in one system call, which leaves its position alone."""
    start = _start_in(os.pread(descriptor, _LOOK, 0))
    if start is not None:
        return start
    with os.fdopen(descriptor, "rb", closefd=False) as file:
        return data_set_offset(file)


@functools.lru_cache(maxsize=_RECALLED)
def _start_in(begin: bytes) -> FileStart | None:
    """Return what the first bytes of a file say; None where they are not enough. A file that is made and sent is looked at again and again."""
    with contextlib.suppress(UnparsableError):
        start = data_set_offset(io.BytesIO(begin))
        if start.offset <= len(begin) - _HEAD.size:  # what follows is no file meta information, and was seen
            return start._replace(meta=MappingProxyType(start.meta))
    return None


def start_at(path: Path) -> FileStart:
    """Do as `data_set_offset` does with the file at that path. Raises likewise, and `OSError` where it cannot be read."""
    descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    try:
        return start_of(descriptor)
    finally:
        os.close(descriptor)


def _element(number: int, vr: bytes, value: bytes) -> bytes:
    length = struct.pack("<HI", 0, len(value)) if vr in LONG_ENCODED else struct.pack("<H", len(value))
    return _META_GROUP + struct.pack("<H", number) + vr + length + value


def _uid(text: str) -> bytes:
    value = text.encode("ascii")
    return value + b"\0" * (len(value) % 2)


def _spaced(text: str) -> bytes:
    # An AE title that a peer sent may hold anything; the file must still be readable (AE and SH are of the default repertoire).
    value = text.encode("ascii", "replace")[:16]
    return value + b" " * (len(value) % 2)


def _plain_meta(begin: bytes, position: int) -> tuple[int, dict[int, str]] | None:
    """Read what is of the usual form, and all among the bytes that the file begins with; None for any other."""
    meta: dict[int, str] = {}
    last = len(begin) - _LONG_HEAD
    while position <= last:
        group, number, vr, length = _HEAD.unpack_from(begin, position)
        if group != 2:
            return position, meta
        value_at = position + 8
        if vr in LONG_ENCODED:
            length, value_at = int.from_bytes(begin[value_at : value_at + 4], "little"), value_at + 4
        elif vr not in _VRS:
            return None
        position = value_at + length
        if vr in _TEXT_VRS and length <= _MAX_TEXT:
            value = begin[value_at:position]
            meta[0x00020000 | number] = value.decode("ascii", "replace").rstrip("\0 ").lstrip(" ")
    return None


def _read_meta(file: BinaryIO, position: int) -> tuple[int, dict[int, str]]:
    meta: dict[int, str] = {}
    file.seek(0, 2)
    end = file.tell()
    file.seek(position)
    is_implicit: bool | None = None
    while True:
        head = file.read(8)
        if len(head) < 8 or not head.startswith(_META_GROUP):
            return position, meta
        number, vr = struct.unpack("<2xH2s2x", head)
        if is_implicit is None:
            is_implicit = vr not in _VRS
        if not is_implicit and vr not in _VRS:
            # A deflated data set may begin with the two bytes of the group.
            return position, meta
        length, head_length = _length(file, head, implicit=is_implicit)
        value_at = position + head_length
        if value_at + length > end:
            raise UnparsableError(f"the file ends inside its file meta information, in (0002,{number:04X})")
        tag = 0x00020000 | number
        if (tag in _TEXT_TAGS if is_implicit else vr in _TEXT_VRS) and length <= _MAX_TEXT:
            meta[tag] = file.read(length).decode("ascii", "replace").rstrip("\0 ").lstrip(" ")
        position = value_at + length
        file.seek(position)


def _length(file: BinaryIO, head: bytes, *, implicit: bool) -> tuple[int, int]:
    """Return the length of an element's value and of its head."""
    if implicit:
        return int.from_bytes(head[4:8], "little"), 8
    if head[4:6] in LONG_ENCODED:
        return int.from_bytes(file.read(4), "little"), 12
    return int.from_bytes(head[6:8], "little"), 8
