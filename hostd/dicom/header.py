"""The header of an instance as plain values: what a script sees, what the index needs, and nothing that is large.

Values stand as they do in the file: text without padding, binary numbers as numbers. Nothing is interpreted here that a script
may not ask for; a text that is no number under a DS is still that text.
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any, BinaryIO

import msgspec

from hostd.dicom import plain_header, recalled_header, syntaxes
from hostd.dicom.element_values import (
    TEXT,
    Elements,
)
from hostd.dicom.identity import Identity, is_uid
from hostd.dicom.parsed_header import ElementReader, parse
from hostd.dicom.part10 import start_of
from hostd.dicom.plain_header import Form
from hostd.dicom.recalled_header import Memory, Recollection
from hostd.dicom.syntaxes import TransferSyntax
from hostd.dicom.truncation import missing_bytes
from hostd.errors import UnparsableError

MAX_VALUE = 1024
"""Bytes of an element that travel with an event; a larger one is asked for when a script wants it."""
MAX_ELEMENTS = 48 << 10
"""Bytes of values that travel in all; what comes later in the data set is asked for."""
_MOST_FRAMES = (1 << 31) - 1
"""The largest number that an IS may be (PS3.5 §6.2)."""
_LOOKS = 16 << 10, 128 << 10, 1 << 20
"""Bytes that are read at once of a header, as long as its end is not among them."""


class Header(msgspec.Struct, frozen=True):
    """What hostd knows of an instance without its pixels. UIDs and the patient ID are without padding."""

    patient_id: str
    study_instance_uid: str
    series_instance_uid: str
    sop_instance_uid: str
    sop_class_uid: str
    transfer_syntax: str
    has_pixels: bool
    frames: int
    size: int
    """Bytes of the whole file."""
    tags: Elements

    @property
    def identity(self) -> Identity:
        """The four identifiers."""
        return Identity(self.patient_id, self.study_instance_uid, self.series_instance_uid, self.sop_instance_uid)

    def text(self, tag: int) -> str:
        """Return the element's values as one text, '' when it is absent, empty, large or not text."""
        vr, values = self.tags.get(tag, ("", None))
        return "\\".join(map(str, values)) if values and vr in TEXT else ""

    def encode(self) -> bytes:
        """Return the stored form."""
        return _ENCODER.encode(self)

    @staticmethod
    def decode(stored: bytes) -> Header:
        """Return the header of its stored form."""
        return _DECODER.decode(stored)


class Outline(msgspec.Struct, frozen=True):
    """A header whose elements are left as they are stored, for whoever only hands them on: most of a header's time are its elements."""

    patient_id: str
    study_instance_uid: str
    series_instance_uid: str
    sop_instance_uid: str
    sop_class_uid: str
    transfer_syntax: str
    has_pixels: bool
    frames: int
    size: int
    tags: msgspec.Raw

    @staticmethod
    def decode(stored: bytes) -> Outline:
        """Return the outline of a header's stored form."""
        return _OUTLINE_DECODER.decode(stored)


_ENCODER = msgspec.msgpack.Encoder()
_DECODER = msgspec.msgpack.Decoder(Header)
_OUTLINE_DECODER = msgspec.msgpack.Decoder(Outline)


def read_header(
    file: BinaryIO, *, offset: int, transfer_syntax: str, size: int, memory: Memory | None = None
) -> Header:
    """Read the header of the data set that begins at `offset`.

    `file` must be seekable. What is as in the header that `memory` has in mind is not read again. At most 64 MiB are read, whatever the
    file claims. Raises `UnparsableError` when it is no data set, or lacks a SOP class, SOP instance, series or study UID.
    """
    syntax = syntaxes.by_uid(transfer_syntax)
    tags, pixels = _read_plain(file, offset, syntax, memory=memory) or _read_any(file, offset, syntax)
    has_pixels = bool(pixels)
    if has_pixels and not syntax.is_deflated and (missing := missing_bytes(file, file.tell(), size, syntax)):
        raise UnparsableError(f"the file is truncated: its pixel data lacks {missing} bytes")
    return Header(
        patient_id=_patient_id(tags),
        study_instance_uid=_uid(tags, 0x0020000D, "Study Instance UID"),
        series_instance_uid=_uid(tags, 0x0020000E, "Series Instance UID"),
        sop_instance_uid=_uid(tags, 0x00080018, "SOP Instance UID"),
        sop_class_uid=_uid(tags, 0x00080016, "SOP Class UID"),
        transfer_syntax=transfer_syntax,
        has_pixels=has_pixels,
        frames=_frames(tags) if has_pixels else 0,
        size=size,
        tags=tags,
    )


def _read_plain(
    file: BinaryIO,
    offset: int,
    syntax: TransferSyntax,
    *,
    max_value: int = MAX_VALUE,
    max_elements: int = MAX_ELEMENTS,
    memory: Recollection | None = None,
) -> tuple[Elements, Elements] | None:
    """Read a header of the usual form, and its pixel data without a value, and leave the file at the pixel data; None for any other."""
    if syntax.is_deflated or not syntax.is_little_endian:
        return None
    form = Form(syntax.is_implicit_vr, max_value, max_elements)
    for look in _LOOKS:
        file.seek(offset)
        begin = file.read(look)
        found = recalled_header.read(begin, form, memory) if memory is not None else plain_header.read(begin, form)
        is_whole = len(begin) < look
        if found is not None and (found.pixels_at is not None or is_whole):
            file.seek(offset + (found.pixels_at or 0))
            return found.elements, plain_header.pixel_data(begin, found.pixels_at, form)
        if is_whole:
            break
    return None


def _read_any(file: BinaryIO, offset: int, syntax: TransferSyntax) -> tuple[Elements, Elements]:
    dataset, pixels = parse(file, offset, syntax.uid)
    return ElementReader(
        dataset, syntax.is_little_endian, max_value=MAX_VALUE, max_elements=MAX_ELEMENTS
    ).elements(), pixels


def read_file_header(path: Path, memory: Memory | None = None) -> Header:
    """Read the header of a DICOM file, with `memory` as `read_header` does. Raises `UnparsableError`, and `OSError` for one that cannot be read."""
    with path.open("rb") as file:
        start = start_of(file.fileno())
        size = os.fstat(file.fileno()).st_size
        return read_header(
            file, offset=start.offset, transfer_syntax=start.transfer_syntax_uid, size=size, memory=memory
        )


def read_elements(
    file: BinaryIO,
    *,
    offset: int,
    transfer_syntax: str,
    max_value: int,
    max_elements: int,
    memory: Recollection | None = None,
) -> tuple[Elements, Elements]:
    """Return all elements of the data set that begins at `offset` up to the pixel data, and that by itself, without a value, if there is any.

    What is as in the header that `memory` has in mind is not read again. Values of more than `max_value` bytes are None, and so are those that come after `max_elements` bytes of values in all. Raises
    `UnparsableError`.
    """
    syntax = syntaxes.by_uid(transfer_syntax)
    plain = _read_plain(file, offset, syntax, max_value=max_value, max_elements=max_elements, memory=memory)
    if plain is not None:
        return plain
    dataset, pixels = parse(file, offset, transfer_syntax)
    reader = ElementReader(dataset, syntax.is_little_endian, max_value=max_value, max_elements=max_elements)
    return reader.elements(), pixels


def element_value(
    file: BinaryIO, *, offset: int, transfer_syntax: str, path: list[int], limit: int
) -> list[Any] | None:
    """Return the values of one element (`path`: tag, item, tag and so on), empty when it is absent, None when over `limit` bytes.

    Raises `UnparsableError` when the file cannot be read.
    """
    dataset, _ = parse(file, offset, transfer_syntax, defer_over=limit)
    little = syntaxes.by_uid(transfer_syntax).is_little_endian
    reader = ElementReader(dataset, little, max_value=limit, max_elements=limit)
    for tag, index in zip(path[:-1:2], path[1:-1:2], strict=True):
        if reader.is_left_out(tag):
            return None
        item = reader.item(tag, index)
        if item is None:
            return []
        reader = item
    return reader.values(path[-1])


def _one(tags: Elements, tag: int) -> str:
    values = tags.get(tag, ("", None))[1]
    return str(values[0]) if values else ""


def _patient_id(tags: Elements) -> str:
    """Return the whole Patient ID, its values joined again: the ID of a patient may have a backslash, though it should not."""
    values = tags.get(0x00100020, ("", []))[1]
    if values is None:
        raise UnparsableError("the Patient ID (0010,0020) is longer than any may be")
    return "\\".join(map(str, values))


def _uid(tags: Elements, tag: int, name: str) -> str:
    uid = _one(tags, tag)
    if not uid:
        raise UnparsableError(f"the instance has no {name} ({tag >> 16:04X},{tag & 0xFFFF:04X})")
    if not is_uid(uid):
        raise UnparsableError(f"the {name} ({tag >> 16:04X},{tag & 0xFFFF:04X}) is not a UID: {uid[:64]!r}")
    return uid


def _frames(tags: Elements) -> int:
    text = _one(tags, 0x00280008)
    return int(text) if text.isdigit() and 0 < int(text) <= _MOST_FRAMES else 1
