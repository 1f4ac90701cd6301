"""Data elements as bytes (PS3.5 §7): read and written again in another encoding with their values untouched.

No value is decoded, so nothing that hostd does not understand can be changed: character sets, private elements, values that
break their VR. Only heads are rewritten, and sequences whose content has other heads too. What is read in big endian (PS3.5
§A.3) is turned to little endian at once, by the width that the VR's numbers have; a value of VR UN is left as it is.
"""

from __future__ import annotations

import os
import struct
from collections.abc import Callable
from dataclasses import dataclass
from functools import lru_cache
from io import BytesIO
from typing import BinaryIO, Literal

import msgspec
from pydicom.datadict import dictionary_VR

from hostd.dicom.vrs import LONG_ENCODED
from hostd.errors import CannotTranscodeError

UNDEFINED = 0xFFFFFFFF
PIXEL_DATA = 0x7FE00010
PIXEL_TAGS = frozenset({0x7FE00008, 0x7FE00009, PIXEL_DATA})
"""Float Pixel Data, Double Float Pixel Data, Pixel Data."""
PIXEL_REPRESENTATION = 0x00280103
TRAILING_PADDING = 0xFFFCFFFC

_ITEM, _ITEM_END, _SEQUENCE_END = 0xFFFEE000, 0xFFFEE00D, 0xFFFEE0DD
_SHORT_VRS = frozenset(b"AE AS AT CS DA DS DT FD FL IS LO LT PN SH SL SS ST TM UI UL US".split())
_UNDEFINED_VRS = frozenset(b"OB OW SQ UN".split())
_MAX_DEPTH = 64
_HEAD, _HEAD_BIG = struct.Struct("<HH2sH"), struct.Struct(">HH2sH")
"""Group, element, VR and the length of a VR that has a short one (PS3.5 §7.1.2)."""
_LENGTH = struct.Struct("<I")
_UNDEFINED_LENGTH = _LENGTH.pack(UNDEFINED)
_HEAD_LENGTH = 12
"""Of an element whose VR has a long one."""
_PIXEL_GROUP = 0x7FE0
_BLOCK = 1 << 14
"""Bytes in which plain elements are looked for at one time."""
_WIDTHS = (
    dict.fromkeys(b"AT OW SS US".split(), 2)
    | dict.fromkeys(b"FL OF OL SL UL".split(), 4)
    | dict.fromkeys(b"FD OD OV SV UV".split(), 8)
)
"""VR → bytes that are turned round together (PS3.5 §7.3)."""


class Element(msgspec.Struct, frozen=True):
    """One data element; `vr` is None when it was read in implicit VR. `value` is what stands between head and delimiter."""

    tag: int
    vr: bytes | None
    value: bytes
    is_undefined_length: bool = False


@dataclass(frozen=True, slots=True)
class PixelElement:
    """Where the pixel data of a file is; its value is not read."""

    tag: int
    vr: bytes | None
    length: int
    """Bytes, or `UNDEFINED`."""
    value_at: int


@dataclass(frozen=True, slots=True)
class Span:
    """Where an element of the top level is: its head begins at `begin`, its value at `value_at`, the next element at `end`.

    With `is_undefined_length` the value ends with its delimiter, of eight bytes, before `end`.
    """

    tag: int
    vr: bytes | None
    begin: int
    value_at: int
    end: int
    is_undefined_length: bool


Elements = dict[int, Element]


class WrittenElements(Elements):
    """Elements as they were read, and as they stand in explicit VR little endian. What is made of them by the functions below are others."""

    __slots__ = ("encoded",)

    def __init__(self) -> None:
        super().__init__()
        self.encoded = b""
        """Empty where they do not stand as hostd would write them."""


EditItem = Callable[[Elements], Elements]


def read_until_pixels(
    source: BinaryIO, *, implicit: bool, big_endian: bool = False, known: Elements | None = None
) -> tuple[Elements, PixelElement | None]:
    """Read the elements from where `source` stands up to the pixel data, if there is any.

    Where they stand as those that are `known` do, they are those. Raises `CannotTranscodeError` when the data set is cut off or broken.
    """
    reader = _Reader(source, big_endian=big_endian)
    is_plain = not (implicit or big_endian)
    begin, are_plain = reader.position, is_plain
    elements = WrittenElements()
    is_known = is_plain and isinstance(known, WrittenElements) and reader.follows(known.encoded)
    if is_known:
        elements.update(known or {})
    while True:
        if is_plain and not is_known:
            reader.plain(elements)
        end = reader.position
        if reader.at_end():
            return elements, None
        tag, vr, length = reader.head(implicit=implicit)
        if tag in PIXEL_TAGS:
            elements.encoded = reader.written(begin, end) if are_plain else b""
            return elements, PixelElement(tag, vr, length, reader.position)
        elements[tag] = reader.element(tag, vr, length)
        are_plain = False


def spans_until_pixels(source: BinaryIO, *, implicit: bool, big_endian: bool = False) -> tuple[list[Span], int]:
    """Tell where the elements are that `source` stands before, up to the pixel data; and where they end.

    No value is read. Raises `CannotTranscodeError` when the data set is cut off or broken.
    """
    reader = _Reader(source, big_endian=big_endian)
    found: list[Span] = []
    while not reader.at_end():
        begin = reader.position
        tag, vr, length = reader.head(implicit=implicit)
        if tag in PIXEL_TAGS:
            return found, begin
        value_at = reader.position
        reader.skip(vr, length)
        found.append(Span(tag, vr, begin, value_at, reader.position, length == UNDEFINED))
    return found, reader.position


def read_all(source: BinaryIO, *, implicit: bool, big_endian: bool = False) -> Elements:
    """Read the elements from where `source` stands up to the end. Raises `CannotTranscodeError`."""
    return _Reader(source, big_endian=big_endian).elements(implicit=implicit)


def turned(value: bytes, width: int) -> bytes:
    """Return numbers of so many bytes each in the other byte order. Raises `CannotTranscodeError` when one is not whole."""
    if width == 1:
        return value
    if len(value) % width:
        raise CannotTranscodeError(f"a big endian value of {len(value)} bytes is not made of numbers of {width} bytes")
    result = bytearray(len(value))
    for place in range(width):
        result[place::width] = value[width - 1 - place :: width]
    return bytes(result)


def encode(elements: Elements, *, implicit: bool, signed: bool = False, edit_item: EditItem | None = None) -> bytes:
    """Write elements in ascending order, in implicit or explicit VR.

    Group lengths and trailing padding are left out. `edit_item` may change the items of every sequence. `signed` is the
    Pixel Representation of the data set around, by which VRs are chosen that depend on it.
    """
    own = elements.get(PIXEL_REPRESENTATION)
    signed = own.value[:1] == b"\1" if own else signed
    encoded = bytearray()
    for tag in sorted(elements):
        if tag & 0xFFFF == 0 or tag == TRAILING_PADDING:
            continue
        element = elements[tag]
        vr = element.vr or implied_vr(tag, signed=signed)
        value, undefined = element.value, element.is_undefined_length
        if vr == b"SQ" and (edit_item or implicit != (element.vr is None)):
            value = _encode_items(element, implicit=implicit, signed=signed, edit_item=edit_item)
            undefined = False
        if undefined and vr not in _UNDEFINED_VRS:
            vr = b"UN"
        encoded += _head(tag, vr, UNDEFINED if undefined else len(value), implicit=implicit)
        encoded += value
        if undefined:
            encoded += _delimiter(_SEQUENCE_END)
    return bytes(encoded)


def pixel_head(tag: int, vr: bytes, length: int, *, implicit: bool) -> bytes:
    """Return the head of an element whose value is written by the caller."""
    return _head(tag, vr, length, implicit=implicit)


@lru_cache(maxsize=4096)
def implied_vr(tag: int, *, signed: bool) -> bytes:
    """Return the VR of an element that was read in implicit VR (PS3.5 §A.1); UN for one that is not known."""
    if tag >> 16 & 1:
        return b"LO" if 0x10 <= tag & 0xFFFF <= 0xFF else b"UN"
    try:
        vr = dictionary_VR(tag)
    except KeyError:
        return b"UN"
    if vr == "US or SS":
        return b"SS" if signed else b"US"
    if " or " in vr:
        # OB or OW, US or OW, US or SS or OW: in implicit VR little endian the value is as OW has it.
        return b"OW"
    return vr.encode("ascii") if len(vr) == 2 else b"UN"


def _encode_items(element: Element, *, implicit: bool, signed: bool, edit_item: EditItem | None) -> bytes:
    return _encoded_items(items(element), implicit=implicit, signed=signed, edit_item=edit_item)


def _encoded_items(
    contents: list[Elements], *, implicit: bool, signed: bool = False, edit_item: EditItem | None = None
) -> bytes:
    encoded = bytearray()
    for item in contents:
        content = encode(edit_item(item) if edit_item else item, implicit=implicit, signed=signed, edit_item=edit_item)
        encoded += struct.pack("<HHI", _ITEM >> 16, _ITEM & 0xFFFF, len(content)) + content
    return bytes(encoded)


def _head(tag: int, vr: bytes, length: int, *, implicit: bool) -> bytes:
    if implicit:
        return struct.pack("<HHI", tag >> 16, tag & 0xFFFF, length)
    if vr not in LONG_ENCODED and length > 0xFFFF:
        vr = b"UN"  # PS3.5 §6.2.2, Note: a value too long for its VR's length field
    if vr in LONG_ENCODED:
        return struct.pack("<HH2sHI", tag >> 16, tag & 0xFFFF, vr, 0, length)
    return struct.pack("<HH2sH", tag >> 16, tag & 0xFFFF, vr, length)


def _delimiter(tag: int) -> bytes:
    return struct.pack("<HHI", tag >> 16, tag & 0xFFFF, 0)


def _plain(block: bytes, position: int, elements: Elements) -> int:
    """Enter the elements that are whole in a block, in explicit VR little endian, in order and as `encode` would write them; return where another begins."""
    stop = len(block) - _HEAD_LENGTH
    last = next(reversed(elements), -1)
    unpacked, length_of = _HEAD.unpack_from, _LENGTH.unpack_from
    while position <= stop:
        group, number, vr, length = unpacked(block, position)
        if group >= _PIXEL_GROUP:
            break
        begin = position + 8
        if vr not in _SHORT_VRS:
            if vr not in LONG_ENCODED:
                break
            (length,) = length_of(block, begin)
            begin += 4
            if vr == b"SQ" and _UNDEFINED_LENGTH in block[begin : begin + length]:  # of an item, perhaps
                break
        end = begin + length
        if end > len(block):  # so has one of an undefined length
            break
        tag = group << 16 | number
        if tag <= last or not number:  # what is out of order, or a group length
            break
        elements[tag] = Element(tag, vr, block[begin:end])
        position, last = end, tag
    return position


class _Reader:
    """Reads elements strictly: what is cut off or is no element raises `CannotTranscodeError`."""

    def __init__(self, source: BinaryIO, *, big_endian: bool = False) -> None:
        self._source = source
        self._is_big = big_endian
        self._order: Literal["big", "little"] = "big" if big_endian else "little"
        self._unpacked = _HEAD_BIG.unpack if big_endian else _HEAD.unpack
        self._block = b""
        self._block_at = 0
        self.position = source.tell()
        self._end = source.seek(0, os.SEEK_END)
        source.seek(self.position)

    def at_end(self) -> bool:
        return self.position >= self._end

    def elements(self, *, implicit: bool) -> Elements:
        found: Elements = {}
        while not self.at_end():
            tag, vr, length = self.head(implicit=implicit)
            found[tag] = self.element(tag, vr, length)
        return found

    def plain(self, elements: Elements) -> None:
        """Read the next elements of explicit VR in little endian as far as they are of a defined length, and not large: it takes a third of the time."""
        position = self.position
        while position < self._end:
            if not self._block_at <= position <= self._block_at + len(self._block) - _HEAD_LENGTH:
                self._source.seek(position)
                self._block, self._block_at = self._source.read(min(_BLOCK, self._end - position)), position
            reached = self._block_at + _plain(self._block, position - self._block_at, elements)
            if reached == position:
                break
            position = reached
        self._seek(position)

    def written(self, begin: int, end: int) -> bytes:
        """Return bytes that were read in one go; none where they were not."""
        if not self._block_at <= begin < end <= self._block_at + len(self._block):
            return b""
        return self._block[begin - self._block_at : end - self._block_at]

    def follows(self, written: bytes) -> bool:
        """Pass over these bytes, and tell whether they were there."""
        position = self.position
        if written and self._source.read(len(written)) == written:
            self.position += len(written)
            return True
        self._source.seek(position)
        return False

    def head(self, *, implicit: bool) -> tuple[int, bytes | None, int]:
        head = self._read(8)
        group, number, vr, length = self._unpacked(head)
        tag = group << 16 | number
        if group == 0xFFFE or implicit:
            return tag, None, int.from_bytes(head[4:], self._order)
        if vr in _SHORT_VRS:
            return tag, vr, length
        if vr in LONG_ENCODED:
            return tag, vr, int.from_bytes(self._read(4), self._order)
        raise CannotTranscodeError(
            f"({group:04X},{number:04X}) has no VR that exists ({vr!r}), so the data set cannot be read"
        )

    def element(self, tag: int, vr: bytes | None, length: int, depth: int = 0) -> Element:
        read = Element(tag, vr, self._read(length)) if length != UNDEFINED else self._undefined_length(tag, vr, depth)
        return self._turned(read) if self._is_big else read

    def _turned(self, element: Element) -> Element:
        """Return an element that was read in big endian as it is in little endian."""
        if element.vr == b"SQ":
            inside = _Reader(BytesIO(element.value), big_endian=True).items(implicit=False)
            return Element(element.tag, b"SQ", _encoded_items(inside, implicit=False))
        if element.is_undefined_length and element.vr != b"UN":
            raise CannotTranscodeError("encapsulated data inside a big endian header cannot be")
        return msgspec.structs.replace(element, value=turned(element.value, _WIDTHS.get(element.vr or b"", 1)))

    def _undefined_length(self, tag: int, vr: bytes | None, depth: int) -> Element:
        begin = self.position
        self.skip(vr, UNDEFINED, depth)
        end = self.position
        self._seek(begin)
        value = self._read(end - begin - 8)
        self._seek(end)
        return Element(tag, vr, value, is_undefined_length=True)

    def skip(self, vr: bytes | None, length: int, depth: int = 0) -> None:
        """Pass over a value, with its delimiter where its length is undefined."""
        if length != UNDEFINED:
            self._seek(self.position + length)
        elif vr in (b"OB", b"OW"):
            self._skip_fragments()
        else:
            # PS3.5 §6.2.2, Note: UN of undefined length is a sequence in implicit VR.
            self._skip_items(implicit=vr != b"SQ", depth=depth)

    def items(self, *, implicit: bool) -> list[Elements]:
        """Read the items of a sequence of which this reader holds the whole value."""
        found = []
        while not self.at_end():
            tag, _, length = self.head(implicit=True)
            if tag != _ITEM:
                raise CannotTranscodeError(
                    f"a sequence is broken: ({tag >> 16:04X},{tag & 0xFFFF:04X}) stands where an item should"
                )
            if length == UNDEFINED:
                found.append(self._delimited_item(implicit=implicit, depth=0))
            else:
                inside = _Reader(BytesIO(self._read(length)), big_endian=self._is_big)
                found.append(inside.elements(implicit=implicit))
        return found

    def _delimited_item(self, *, implicit: bool, depth: int) -> Elements:
        found: Elements = {}
        while True:
            tag, vr, length = self.head(implicit=implicit)
            if tag == _ITEM_END:
                return found
            found[tag] = self.element(tag, vr, length, depth + 1)

    def _skip_items(self, *, implicit: bool, depth: int) -> None:
        if depth > _MAX_DEPTH:
            raise CannotTranscodeError(f"sequences are nested more than {_MAX_DEPTH} deep")
        while True:
            tag, _, length = self.head(implicit=True)
            if tag == _SEQUENCE_END:
                return
            if tag != _ITEM:
                raise CannotTranscodeError(
                    f"a sequence is broken: ({tag >> 16:04X},{tag & 0xFFFF:04X}) stands where an item should"
                )
            if length == UNDEFINED:
                self._skip_delimited_item(implicit=implicit, depth=depth)
            else:
                self._seek(self.position + length)

    def _skip_delimited_item(self, *, implicit: bool, depth: int) -> None:
        while True:
            tag, vr, length = self.head(implicit=implicit)
            if tag == _ITEM_END:
                return
            self.skip(vr, length, depth + 1)

    def _skip_fragments(self) -> None:
        while True:
            tag, _, length = self.head(implicit=True)
            if tag == _SEQUENCE_END:
                return
            if tag != _ITEM or length == UNDEFINED:
                raise CannotTranscodeError("encapsulated data inside the header is broken")
            self._seek(self.position + length)

    def _read(self, count: int) -> bytes:
        end = self.position + count
        if count < 0 or end > self._end:
            raise CannotTranscodeError(f"the data set is cut off or broken near byte {self.position}")
        self.position = end
        return self._source.read(count)

    def _seek(self, position: int) -> None:
        if position > self._end:
            raise CannotTranscodeError(f"the data set is cut off or broken near byte {self.position}")
        self.position = position
        self._source.seek(position)


# -- values that are looked at or set --------------------------------------------------------------------------------


def number(elements: Elements, tag: int) -> int | None:
    """Return the first number of a binary or IS element; None when absent or empty. Raises `ValueError` when it is none."""
    element = elements.get(tag)
    if element is None or not element.value:
        return None
    is_text = (element.vr or implied_vr(tag, signed=False)) in (b"IS", b"DS")
    if is_text:
        text = element.value.split(b"\\")[0].strip(b" \0").decode("ascii")
        return int(text) if text else None
    return int.from_bytes(element.value[: 4 if len(element.value) == 4 else 2], "little")


def text(elements: Elements, tag: int) -> str:
    """Return a text element of the default repertoire without padding; empty when absent."""
    element = elements.get(tag)
    return element.value.decode("ascii", "replace").strip(" \0") if element else ""


def with_text(elements: Elements, tag: int, vr: bytes, value: str) -> Elements:
    """Return the elements with one text element set."""
    padded = value.encode("ascii") + (b"\0" if vr == b"UI" else b" ") * (len(value) % 2)
    return elements | {tag: Element(tag, vr, padded)}


def with_number(elements: Elements, tag: int, value: int) -> Elements:
    """Return the elements with one US element set."""
    return elements | {tag: Element(tag, b"US", struct.pack("<H", value))}


def with_bytes(elements: Elements, tag: int, vr: bytes, value: bytes) -> Elements:
    """Return the elements with one binary element set, of defined length."""
    return elements | {tag: Element(tag, vr, value + bytes(len(value) % 2))}


def without(elements: Elements, *tags: int) -> Elements:
    """Return the elements without these."""
    if not any(tag in elements for tag in tags):
        return elements
    return {tag: element for tag, element in elements.items() if tag not in tags}


def items(sequence: Element) -> list[Elements]:
    """Return the items of a sequence. Raises `CannotTranscodeError` when it is broken."""
    return _Reader(BytesIO(sequence.value)).items(implicit=sequence.vr is None)


def with_item(elements: Elements, tag: int, item: Elements) -> Elements:
    """Return the elements with an item appended to a sequence, which is made if need be."""
    known = elements.get(tag)
    return with_items(elements, tag, [*(items(known) if known and known.value else []), item])


def code_item(value: str, meaning: str) -> Elements:
    """Return the item of a code sequence with a code of DCM (PS3.16 Annex D)."""
    item = with_text({}, 0x00080100, b"SH", value)
    item = with_text(item, 0x00080102, b"SH", "DCM")
    return with_text(item, 0x00080104, b"LO", meaning)


def with_items(elements: Elements, tag: int, contents: list[Elements]) -> Elements:
    """Return the elements with a sequence of these items."""
    return elements | {tag: Element(tag, b"SQ", _encoded_items(contents, implicit=False))}
