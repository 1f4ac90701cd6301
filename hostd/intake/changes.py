"""An instance with other elements: what filters want changed, written into a file of its own (PS3.3 §C.12.1.1.9).

The bytes of all other elements, and of the pixel data, are copied as they are, in any transfer syntax; group lengths of groups
that change, which are retired, are left out.
"""

from __future__ import annotations

import hashlib
import struct
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import BinaryIO, cast

from hostd.archive.blobs import BlobFile
from hostd.dicom import part10, syntaxes
from hostd.dicom.header import read_header
from hostd.dicom.part10 import FileStart
from hostd.dicom.syntaxes import TransferSyntax
from hostd.intake import element_values
from hostd.intake.filtering import Changes
from hostd.intake.reception import Complete
from hostd.transcoding.deflated import DeflatingFile, inflated
from hostd.transcoding.elements import PIXEL_REPRESENTATION, Span, pixel_head, spans_until_pixels

_CHARACTER_SET = 0x00080005
_SOP_CLASS, _SOP_INSTANCE = 0x00080016, 0x00080018
_ORIGINAL_ATTRIBUTES, _MODIFIED_ATTRIBUTES = 0x04000561, 0x04000550
_AT, _SYSTEM, _SOURCE, _REASON = 0x04000562, 0x04000563, 0x04000564, 0x04000565
_LONG_VRS = frozenset(b"SQ SV UC UR UT UV".split())
_PIECE = 1 << 20


def rewrite(complete: Complete, changes: Changes, result: BlobFile, at: float) -> Complete | None:
    """Write the instance as it is to be into `result`; None, and nothing is written, when it is so already.

    `at` is when, in seconds since 1970 UTC. The hash of the data set stays that of the one received, by which repeats are known.
    Raises `ValueError` for a value that the instance cannot hold, `CannotTranscodeError` or `UnparsableError` for a data set that
    cannot be read as its transfer syntax says, and `StorageError`.
    """
    with complete.file.path.open("rb") as source:
        start = part10.data_set_offset(source)
        original = _DataSet(source, start)
        edits = _edits(original, changes)
        if not edits:
            return None
        head = _head(source, start, complete, changes)
        written = _Written(result)
        written.write(head)
        output = DeflatingFile(cast("BinaryIO", written)) if original.syntax.is_deflated else written
        for piece in _pieces(original, edits | {_ORIGINAL_ATTRIBUTES: _record(original, edits, at)}):
            output.write(piece)
        if isinstance(output, DeflatingFile):
            output.close()
    header = read_header(result.reader(), offset=len(head), transfer_syntax=start.transfer_syntax_uid, size=result.size)
    return Complete(result, header, written.hash.hexdigest(), complete.data_set_sha256)


class _Written:
    """Hashes what goes into a file."""

    def __init__(self, file: BlobFile) -> None:
        self._file = file
        self.hash = hashlib.sha256()

    def write(self, piece: bytes) -> int:
        self._file.write(piece)
        self.hash.update(piece)
        return len(piece)

    def tell(self) -> int:
        return self._file.size


@dataclass(frozen=True, slots=True)
class _Encoding:
    is_implicit: bool
    is_little: bool

    def element(self, tag: int, vr: bytes, value: bytes) -> bytes:
        """Return an element of defined length."""
        if self.is_little:
            return pixel_head(tag, vr, len(value), implicit=self.is_implicit) + value
        group, number = tag >> 16, tag & 0xFFFF
        if vr in _LONG_VRS or len(value) > 0xFFFF:
            return struct.pack(">HH2sHI", group, number, vr if vr in _LONG_VRS else b"UN", 0, len(value)) + value
        return struct.pack(">HH2sH", group, number, vr, len(value)) + value

    def item(self, content: bytes) -> bytes:
        """Return an item of a sequence (PS3.5 §7.5)."""
        return struct.pack("<HHI" if self.is_little else ">HHI", 0xFFFE, 0xE000, len(content)) + content

    def delimiter(self) -> bytes:
        """Return the end of a sequence of undefined length."""
        return struct.pack("<HHI" if self.is_little else ">HHI", 0xFFFE, 0xE0DD, 0)


class _DataSet:
    """The data set of a file: where its elements are, and their bytes."""

    def __init__(self, file: BinaryIO, start: FileStart) -> None:
        self.syntax: TransferSyntax = syntaxes.by_uid(start.transfer_syntax_uid)
        self._source = inflated(file, start.offset) if self.syntax.is_deflated else file
        self._source.seek(0 if self.syntax.is_deflated else start.offset)
        self.encoding = _Encoding(self.syntax.is_implicit_vr, self.syntax.is_little_endian)
        self.spans, self.pixels_at = spans_until_pixels(
            self._source, implicit=self.syntax.is_implicit_vr, big_endian=not self.syntax.is_little_endian
        )

    def find(self, tag: int) -> Span | None:
        return next((span for span in self.spans if span.tag == tag), None)

    def element(self, span: Span) -> bytes:
        return self.slice(span.begin, span.end)

    def value(self, span: Span) -> bytes:
        return self.slice(span.value_at, span.end)

    def slice(self, begin: int, end: int) -> bytes:
        self._source.seek(begin)
        return self._source.read(end - begin)

    def rest(self) -> Iterator[bytes]:
        """Yield the pixel data and what follows it."""
        self._source.seek(self.pixels_at)
        while piece := self._source.read(_PIECE):
            yield piece


def _edits(original: _DataSet, changes: Changes) -> dict[int, bytes]:
    """Return what is to stand in the place of each element that changes: its bytes, none for one that goes."""
    sign = original.find(PIXEL_REPRESENTATION)
    low = 0 if original.encoding.is_little else 1
    signed = sign is not None and original.value(sign)[low : low + 1] == b"\1"
    named = original.find(_CHARACTER_SET)
    character_set = original.value(named).decode("ascii", "replace").strip(" \0") if named else ""
    edits: dict[int, bytes] = {}
    for tag, values in changes.set.items():
        element_values.check(tag, values)
        vr, value = element_values.encoded(
            tag, values, signed=signed, little=original.encoding.is_little, character_set=character_set
        )
        present = original.find(tag)
        if present is None or original.value(present) != value:
            edits[tag] = original.encoding.element(tag, vr, value)
    for tag in changes.remove:
        element_values.check_tag(tag)
        if original.find(tag) is not None:
            edits[tag] = b""
    return edits


def _record(original: _DataSet, edits: Mapping[int, bytes], at: float) -> bytes:
    """Return the Original Attributes Sequence with one item more: the elements that change, as they were."""
    encoding = original.encoding
    before: list[bytes] = []
    for tag in sorted(edits):
        present = original.find(tag)
        before.append(original.element(present) if present else _empty_like(edits[tag], encoding))
    when = datetime.fromtimestamp(at, UTC).strftime("%Y%m%d%H%M%S.%f") + "+0000"
    item = encoding.item(
        encoding.element(_MODIFIED_ATTRIBUTES, b"SQ", encoding.item(b"".join(before)))
        + encoding.element(_AT, b"DT", _even(when))
        + encoding.element(_SYSTEM, b"LO", _even("hostd"))
        + encoding.element(_SOURCE, b"LO", b"")
        + encoding.element(_REASON, b"CS", _even("COERCE"))
    )
    known = original.find(_ORIGINAL_ATTRIBUTES)
    if known is None:
        return encoding.element(_ORIGINAL_ATTRIBUTES, b"SQ", item)
    if known.vr not in (None, b"SQ"):
        raise ValueError(
            "the instance has an Original Attributes Sequence that is no sequence, so no change can be recorded"
        )
    value = original.value(known)
    if known.is_undefined_length:
        value = value[: -len(encoding.delimiter())]
    return encoding.element(_ORIGINAL_ATTRIBUTES, b"SQ", value + item)


def _even(text: str) -> bytes:
    return text.encode("ascii") + b" " * (len(text) % 2)


def _empty_like(element: bytes, encoding: _Encoding) -> bytes:
    """Return the head of an element that was not there, with no value."""
    order = "<" if encoding.is_little else ">"
    group, number = struct.unpack(f"{order}HH", element[:4])
    return encoding.element(group << 16 | number, b"UN" if encoding.is_implicit else element[4:6], b"")


def _pieces(original: _DataSet, edits: Mapping[int, bytes]) -> Iterator[bytes]:
    """Yield the data set as it is to be. New elements stand before the first one with a higher tag."""
    waiting = sorted(edits)
    groups = {tag >> 16 for tag in edits}
    for span in original.spans:
        while waiting and waiting[0] <= span.tag:
            yield edits[waiting.pop(0)]
        is_group_length = span.tag & 0xFFFF == 0 and span.tag >> 16 in groups
        if span.tag not in edits and not is_group_length:
            yield from _in_pieces(original, span.begin, span.end)
    for tag in waiting:
        yield edits[tag]
    yield from original.rest()


def _in_pieces(original: _DataSet, begin: int, end: int) -> Iterator[bytes]:
    for at in range(begin, end, _PIECE):
        yield original.slice(at, min(at + _PIECE, end))


def _head(source: BinaryIO, start: FileStart, complete: Complete, changes: Changes) -> bytes:
    """Return preamble and file meta information: as they are, unless they name another SOP instance than the data set will."""
    uids: Sequence[str | int | float] = changes.set.get(_SOP_INSTANCE, ())
    if not uids:
        source.seek(0)
        return source.read(start.offset)
    return part10.file_header(
        complete.header.sop_class_uid,
        str(uids[0]),
        start.transfer_syntax_uid,
        source_aet=start.meta.get(part10.META_SOURCE_AET) or None,
    )
