"""Headers of the usual form, read in one pass over their bytes: it costs a quarter of what pydicom's data elements do.

Usual is: little endian, tags in ascending order, VRs that the standard has, and an undefined length only of a sequence or an item.
Of anything else nothing is said here, and pydicom reads it (`hostd.dicom.header`). What is said is what comes out there too.
"""

from __future__ import annotations

import struct
from dataclasses import dataclass
from typing import Any, NamedTuple

from hostd.dicom.element_values import (
    CHARSET,
    DEFAULT_ENCODINGS,
    ESCAPE,
    NUMBERS,
    TEXT,
    UNSPLIT,
    Elements,
    chosen_vr,
    encodings_of,
    has_ascii,
    known_vr,
    split,
    values,
)
from hostd.dicom.open_sequences import after_item
from hostd.dicom.vrs import LONG
from hostd.errors import UnparsableError

PIXELS = (0x7FE00008, 0x7FE00009, 0x7FE00010)
_BEFORE_PIXELS = 0x7FE00000
MAX_DEPTH = 16
ITEM_BYTES = 16
"""What an item counts for among the bytes that travel."""
_LARGEST_ITEM = 1 << 20
"""Bytes of an item of which is noted where all of its elements are."""
ELEMENT_BYTES = 8
"""What an element counts for there besides its value: no less than the head that it has in a file is long."""

_UNDEFINED = 0xFFFFFFFF
_ITEM, _ITEM_END = 0xFFFEE000, 0xFFFEE00D
_SEQUENCE_END = b"\xfe\xff\xdd\xe0" + bytes(4)
_SHORT = "AE AS AT CS DA DS DT FD FL IS LO LT PN SH SL SS ST TM UI UL US"
_VRS = {vr.encode(): (vr, vr in LONG) for vr in (*LONG, *_SHORT.split())}
_SHORT_VRS = {vr.encode(): vr for vr in _SHORT.split()}
_ONE = {vr: (struct.calcsize(f"<{code}"), struct.Struct(f"<{code}").unpack_from) for vr, code in NUMBERS.items()}
"""Length of one number of a VR, and what reads it."""
_SPLIT_TEXT = TEXT - UNSPLIT
"""VRs of text that may have several values."""
CHARACTER_SET, PIXEL_REPRESENTATION = 0x00080005, 0x00280103
_DEEPEST = 2 * MAX_DEPTH

_EXPLICIT_HEAD = struct.Struct("<HH2sH").unpack_from
_IMPLICIT_HEAD = struct.Struct("<HHI").unpack_from
_LENGTH = struct.Struct("<I").unpack_from


@dataclass(frozen=True, slots=True)
class Found:
    """What was read. `pixels_at` is where the pixel data element begins in the bytes, None when there is none."""

    elements: Elements
    pixels_at: int | None


class Form(NamedTuple):
    """How a data set is written, and the limits of what is read of it: those of `hostd.dicom.header`, in bytes."""

    implicit: bool
    max_value: int
    max_elements: int


def read(data: bytes, form: Form) -> Found | None:
    """Return the elements of the data set that begins with these bytes, or None when it is not of the usual form.

    The bytes must reach to the pixel data, or to the end where there is none.
    """
    try:
        scan = Scan(data, implicit=form.implicit)
        level, end, _ = scan.level(0, len(data), depth=0)
        reader = Reader(scan, form)
        elements = reader.elements(level, DEFAULT_ENCODINGS, depth=0)
    except (UnusualError, struct.error):
        return None
    return Found(elements, end if end < len(data) else None)


def pixel_data(data: bytes, at: int | None, form: Form) -> Elements:
    """Return the pixel data element that begins there, without its value; nothing where `at` is None."""
    if at is None:
        return {}
    group, element, named, _ = _EXPLICIT_HEAD(data, at)
    tag = group << 16 | element
    if form.implicit:
        return {tag: (chosen_vr(known_vr(tag), signed=False), None)}
    # Some writers say OW of what is encapsulated, which is OB (PS3.5 §A.4).
    return {tag: ("OB" if _LENGTH(data, at + 8)[0] == _UNDEFINED else named.decode("ascii"), None)}


def items_of(
    value: bytes, form: Form, encodings: tuple[str, ...], *, depth: int
) -> tuple[list[Elements] | None, int] | None:
    """Return the items of a sequence in a data set of these encodings, and what room they leave of `max_elements`; None when they are not of the usual form.

    Each is read when its turn comes. Where there is no room for all of them, None is returned for the items.
    """
    scan = Scan(value, implicit=form.implicit)
    reader = Reader(scan, form)
    read: list[Elements] = []
    position = 0
    try:
        while position < len(value) and reader.room >= 0:
            end = after_item(value, position, implicit=form.implicit, little=True)
            if end - position > _LARGEST_ITEM:
                return None
            level, position = scan.item(position, end, depth=depth)
            read.append(reader.elements(level, encodings, depth=depth))
            reader.room -= ITEM_BYTES
    except (UnusualError, UnparsableError, struct.error):
        return None
    return (read if reader.room >= 0 else None), reader.room


class UnusualError(Exception):
    """It is not of the form that is read here."""


Place = tuple[str, int, int, "list[Level] | None"]
"""VR, where the value begins, its length, the items of a sequence of undefined length."""
Level = dict[int, Place]
"""Tag → where the element is."""


class Scan:
    """Finds where elements are, each level of a data set once."""

    def __init__(self, data: bytes, *, implicit: bool) -> None:
        self.data = data
        self._implicit = implicit

    def begin(self, position: int) -> None:
        """Look at the first element of a level. Raises `UnusualError` for one that has a VR where none is due."""
        if self._implicit and _looks_like_vr(self.data[position + 4 : position + 6]):
            raise UnusualError

    def level(self, position: int, end: int, *, depth: int, is_open: bool = False) -> tuple[Level, int, int]:
        """Return the elements of a level, where they end, and where what follows begins.

        The top level ends before pixel data; one that `is_open` with its delimiter, any other at `end`.
        """
        if depth > _DEEPEST:
            raise UnusualError
        data, is_implicit = self.data, self._implicit
        self.begin(position)
        found: Level = {}
        last = -1
        while position < end:
            if is_implicit:
                tag, vr, length, value_at = self._implicit_head(position)
            else:  # most are of a short VR: they are read here, as a call would take as long again
                group, element, named, length = _EXPLICIT_HEAD(data, position)
                tag, value_at = group << 16 | element, position + 8
                short = _SHORT_VRS.get(named)
                if short is not None and last < tag < _BEFORE_PIXELS:
                    last = tag
                    found[tag] = (short, value_at, length, None)
                    position = value_at + length
                    continue
                tag, vr, length, value_at = self._explicit_head(position)
            if tag == _ITEM_END and is_open and not length:
                return found, position, value_at
            if depth == 0 and tag in PIXELS:
                return found, position, position
            if not last < tag < _ITEM or (length == _UNDEFINED and vr != "SQ"):
                raise UnusualError
            last = tag
            found[tag], position = self._placed(vr, value_at, length, end, depth)
        if is_open or position > end:
            raise UnusualError
        return found, position, position

    def element(self, position: int) -> tuple[int, Place, int] | None:
        """Return the tag of the element of the top level that begins there, its place, and where it ends; None at pixel data."""
        head = self._implicit_head if self._implicit else self._explicit_head
        tag, vr, length, value_at = head(position)
        if tag in PIXELS:
            return None
        if tag >= _ITEM or (length == _UNDEFINED and vr != "SQ"):
            raise UnusualError
        place, position = self._placed(vr, value_at, length, len(self.data), 0)
        if position > len(self.data):
            raise UnusualError
        return tag, place, position

    def _placed(self, vr: str, value_at: int, length: int, end: int, depth: int) -> tuple[Place, int]:
        """Return the place of an element whose head was read, and where it ends."""
        if length != _UNDEFINED:
            return (vr, value_at, length, None), value_at + length
        items, position = self.items(value_at, end, depth=depth + 1, is_open=True)
        return (vr, value_at, length, items), position

    def _implicit_head(self, position: int) -> tuple[int, str, int, int]:
        """Return the tag, VR and length of an element, and where its value begins."""
        group, element, length = _IMPLICIT_HEAD(self.data, position)
        tag = group << 16 | element
        return tag, known_vr(tag), length, position + 8

    def _explicit_head(self, position: int) -> tuple[int, str, int, int]:
        group, element, named, length = _EXPLICIT_HEAD(self.data, position)
        tag = group << 16 | element
        if tag == _ITEM_END:  # it has no VR, and a length of four bytes
            return tag, "", _LENGTH(self.data, position + 4)[0], position + 8
        if named not in _VRS:
            raise UnusualError
        vr, is_long = _VRS[named]
        if not is_long:
            return tag, vr, length, position + 8
        (length,) = _LENGTH(self.data, position + 8)
        if vr == "UN" and (vr := known_vr(tag)) == "SQ":
            raise UnusualError
        return tag, vr, length, position + 12

    def items(self, position: int, end: int, *, depth: int, is_open: bool) -> tuple[list[Level], int]:
        """Return the items of a sequence, and where what follows it begins."""
        found: list[Level] = []
        while position < end:
            if is_open and self.data.startswith(_SEQUENCE_END, position):
                return found, position + 8
            level, position = self.item(position, end, depth=depth)
            found.append(level)
        if is_open:
            raise UnusualError
        return found, position

    def item(self, position: int, end: int, *, depth: int) -> tuple[Level, int]:
        """Return the item that begins there, and where what follows it begins."""
        group, element, length = _IMPLICIT_HEAD(self.data, position)
        position += 8
        is_open = length == _UNDEFINED
        if group << 16 | element != _ITEM or (not is_open and position + length > end):
            raise UnusualError
        level, _, position = self.level(position, end if is_open else position + length, depth=depth, is_open=is_open)
        return level, position


def _looks_like_vr(two: bytes) -> bool:
    return two.isalpha() and two.isupper()


class Reader:
    """Turns what was found into values, within the room there is for them."""

    def __init__(self, scan: Scan, form: Form) -> None:
        self._scan = scan
        self._data = scan.data
        self._max_value = form.max_value
        self.room = form.max_elements

    def elements(self, level: Level, encodings: tuple[str, ...], *, depth: int) -> Elements:
        """Return the elements of a level whose parent has these encodings."""
        encodings, signed = self.manner(level, encodings)
        return self.values(level, encodings, signed=signed, depth=depth)

    def manner(self, level: Level, encodings: tuple[str, ...]) -> tuple[tuple[str, ...], bool]:
        """Return what a level says of how its other elements are to be read: their encodings, and whether pixels are signed."""
        if CHARACTER_SET in level:
            _, value_at, length, _ = level[CHARACTER_SET]
            character_set = self._data[value_at : value_at + length]
            if b"\0" in character_set.rstrip(b"\0 "):
                raise UnusualError
            encodings = encodings_of(character_set) or encodings
        signed = False
        if PIXEL_REPRESENTATION in level:  # decides between US and SS
            _, sign = self._plain(level[PIXEL_REPRESENTATION], encodings, signed=False)
            signed = bool(sign and sign[0])
        return encodings, signed

    def values(self, level: Level, encodings: tuple[str, ...], *, signed: bool, depth: int) -> Elements:
        """Return the elements of a level that are read in this manner."""
        read: Elements = {}
        sequences: list[int] = []
        data, most, room = self._data, self._max_value, self.room
        is_plain = has_ascii(encodings[0])
        for tag, found in level.items():
            vr, value_at, length, _ = found
            # The most frequent kinds are read here: a call for each would take as long again.
            if length <= most and length <= room and tag & 0xFFFF and tag < _BEFORE_PIXELS:
                if (one := _ONE.get(vr)) is not None and length == one[0]:
                    room -= length + ELEMENT_BYTES
                    read[tag] = (vr, list(one[1](data, value_at)))
                    continue
                if vr in _SPLIT_TEXT:
                    value = data[value_at : value_at + length]
                    if value.isascii() and (vr not in CHARSET or (is_plain and ESCAPE not in value)):
                        room -= length + ELEMENT_BYTES
                        read[tag] = (vr, split(value.decode("ascii")))
                        continue
            if vr == "SQ":
                sequences.append(tag)
                read[tag] = ("SQ", None)
            elif tag & 0xFFFF and tag not in PIXELS:
                self.room = room
                read[tag] = self._plain(found, encodings, signed=signed)
                room = self.room
        self.room = room
        for tag in sequences:
            self.room -= ELEMENT_BYTES
            read[tag] = ("SQ", self._items(level[tag], encodings, depth))
        return read

    def _plain(self, found: Place, encodings: tuple[str, ...], *, signed: bool) -> tuple[str, list[Any] | None]:
        vr, value_at, length, _ = found
        if " " in vr:
            vr = chosen_vr(vr, signed=signed)
        if length > self._max_value or length > self.room:
            return vr, None
        self.room -= length + ELEMENT_BYTES
        if (one := _ONE.get(vr)) is not None and length == one[0]:
            return vr, list(one[1](self._data, value_at))
        return vr, values(vr, self._data[value_at : value_at + length], "<", encodings)

    def _items(self, found: Place, encodings: tuple[str, ...], depth: int) -> list[Any] | None:
        _, value_at, length, items = found
        if depth >= MAX_DEPTH or self.room <= 0:
            return None
        if items is None:
            if length > self.room:
                return None
            items, _ = self._scan.items(value_at, value_at + length, depth=depth + 1, is_open=False)
        read: list[Any] = []
        for item in items:
            read.append(self.elements(item, encodings, depth=depth + 1))
            self.room -= ITEM_BYTES
            if self.room < 0:
                return None
        return read
