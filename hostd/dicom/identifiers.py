"""Identifiers of C-FIND (PS3.4 §C.4.1): a request's keys, and the data set of a match, encoded without a detour for there are many."""

from __future__ import annotations

import struct
from collections.abc import Mapping
from typing import Any, Literal

from hostd.dicom.data_sets import Encoded
from hostd.dicom.element_values import NUMBERS, TEXT, Elements, encodings_of
from hostd.dicom.header import read_elements
from hostd.dicom.query import PATIENT_ROOT
from hostd.dicom.syntaxes import IMPLICIT_LE
from hostd.dicom.vrs import LONG
from hostd.errors import HostdError, UnparsableError

CHARACTER_SET, LEVEL, RETRIEVE_AET, TIMEZONE = 0x00080005, 0x00080052, 0x00080054, 0x00080201
UTF_8 = "ISO_IR 192"
Level = Literal["patient", "study", "series", "instance"]
_LEVELS: dict[str, Level] = {"PATIENT": "patient", "STUDY": "study", "SERIES": "series", "IMAGE": "instance"}
NAMES: dict[Level, str] = {level: name for name, level in _LEVELS.items()}
_LARGEST = 4 << 20
"""VRs with a length of four bytes (PS3.5 §7.1.2)."""


class IdentifierError(HostdError):
    """An identifier does not fit its SOP class: no level, none of the model's, or no key for it (DIMSE 0xA900)."""


def decode(data: bytes, syntax: str) -> Elements:
    """Return the elements of an identifier. Raises `UnparsableError`."""
    file = Encoded(data)
    found, _ = read_elements(file, offset=0, transfer_syntax=syntax, max_value=_LARGEST, max_elements=_LARGEST)
    file.require_end()
    return found


def level_of(elements: Elements, sop_class: str) -> Level:
    """Return the Query/Retrieve Level of an identifier. Raises `IdentifierError` where that SOP class has none such."""
    text = text_of(elements.get(LEVEL)).upper()
    level = _LEVELS.get(text)
    if level is None:
        raise IdentifierError(f"Query/Retrieve Level (0008,0052) is {text[:16]!r}, none of {', '.join(_LEVELS)}")
    if level == "patient" and sop_class != PATIENT_ROOT:
        raise IdentifierError("Query/Retrieve Level PATIENT is not in the Study Root model")
    return level


def keys_of(elements: Elements) -> dict[int, tuple[str, str]]:
    """Return the keys of an identifier: tag → (VR, text). A sequence with items in its items has a text that is not empty."""
    left_out = {CHARACTER_SET, LEVEL, RETRIEVE_AET, TIMEZONE}
    return {tag: (one[0], text_of(one)) for tag, one in elements.items() if tag not in left_out and tag & 0xFFFF}


def text_of(element: tuple[str, list[Any] | None] | None) -> str:
    """Return the values of an element as one text."""
    if element is None or element[1] is None:
        return ""
    if element[0] == "SQ":
        return "items" if any(element[1]) else ""
    return "\\".join(map(str, element[1]))


def encode(elements: Mapping[int, tuple[str, list[Any] | None]], syntax: str, character_set: str) -> bytes:
    """Return elements as a data set in the character set that was asked for, or in UTF-8 where that does not do.

    `character_set` is Specific Character Set (0008,0005), '' for none: then what is ASCII declares none.
    """
    encodings = encodings_of(character_set.encode("ascii", "replace")) if character_set else ("ascii",)
    if len(encodings) == 1 and not character_set.startswith("ISO 2022"):
        try:
            return _encoded(elements, syntax, character_set, encodings[0])
        except (UnicodeEncodeError, LookupError):
            pass
    return _encoded(elements, syntax, UTF_8, "utf-8")


def _encoded(
    elements: Mapping[int, tuple[str, list[Any] | None]], syntax: str, character_set: str, encoding: str
) -> bytes:
    is_implicit = syntax == IMPLICIT_LE.uid
    declared = {CHARACTER_SET: ("CS", [character_set])} if character_set else {}
    data = bytearray()
    for tag, (vr, values) in sorted({**elements, **declared}.items()):
        value = _value(vr, values, encoding)
        head = struct.pack("<HH", tag >> 16, tag & 0xFFFF)
        if is_implicit:
            data += head + struct.pack("<I", len(value)) + value
        elif vr in LONG:
            data += head + vr.encode("ascii") + struct.pack("<xxI", len(value)) + value
        else:
            data += head + vr.encode("ascii") + struct.pack("<H", len(value)) + value
    return bytes(data)


def _value(vr: str, values: list[Any] | None, encoding: str) -> bytes:
    if not values:
        return b""
    if vr in TEXT:
        value = "\\".join(map(str, values)).encode(encoding)
        if len(value) % 2:
            value += b"\0" if vr == "UI" else b" "
        return value if vr in LONG or len(value) < 1 << 16 else b""
    if (code := NUMBERS.get(vr)) is not None:
        return struct.pack(f"<{len(values)}{code}", *values)
    if vr == "AT":
        return b"".join(struct.pack("<HH", tag >> 16, tag & 0xFFFF) for tag in values)
    return b""  # sequences and bulk are not told


__all__ = [
    "CHARACTER_SET", "LEVEL", "NAMES", "RETRIEVE_AET", "IdentifierError", "Level", "UnparsableError", "decode", "encode",
    "keys_of", "level_of", "text_of",
]  # fmt: skip
