"""Values of elements as they stand in a data set: bytes to text and numbers (PS3.5 §6.1, §6.2)."""

from __future__ import annotations

import struct
from functools import lru_cache
from typing import Any

from pydicom.charset import convert_encodings, decode_bytes
from pydicom.datadict import dictionary_VR
from pydicom.tag import BaseTag
from pydicom.valuerep import TEXT_VR_DELIMS

Value = tuple[str, list[Any] | None]
"""VR, and values; None instead of a list: too large to travel."""
Elements = dict[int, Value]
"""Tag → (VR, values); items of a sequence are `Elements` again; None instead of a list: too large to travel."""

TEXT = frozenset(["AE", "AS", "CS", "DA", "DS", "DT", "IS", "LO", "LT", "PN", "SH", "ST", "TM", "UC", "UI", "UR", "UT"])
UNSPLIT = frozenset(["LT", "ST", "UT", "UR"])
CHARSET = frozenset(["LO", "LT", "PN", "SH", "ST", "UC", "UT"])
NUMBERS = {"US": "H", "SS": "h", "UL": "I", "SL": "i", "FL": "f", "FD": "d", "UV": "Q", "SV": "q"}
"""VRs of binary numbers, and how `struct` names them."""
ESCAPE = b"\x1b"
DEFAULT_ENCODINGS: tuple[str, ...] = ("iso8859",)


def values(vr: str, value: bytes, order: str, encodings: tuple[str, ...]) -> list[Any]:
    """Return the values of an element: text without padding, numbers, tags as numbers; of other VRs the bytes.

    `order` is '<' or '>', `encodings` are Python's names of the Specific Character Set.
    """
    if not value:
        return []
    if vr in TEXT:
        return _text(vr, value, encodings)
    if code := NUMBERS.get(vr):
        count = len(value) // struct.calcsize(f"<{code}")
        return list(struct.unpack_from(f"{order}{count}{code}", value))
    if vr == "AT":
        return [
            group << 16 | element for group, element in struct.iter_unpack(f"{order}HH", value[: len(value) // 4 * 4])
        ]
    return [value]


@lru_cache(maxsize=256)
def encodings_of(character_set: bytes) -> tuple[str, ...]:
    """Return Python's names of a Specific Character Set (0008,0005); of one that nobody knows those that lose no byte."""
    try:
        return tuple(
            convert_encodings([name.strip(" \0") for name in character_set.decode("ascii", "replace").split("\\")])
        )
    except (LookupError, ValueError):  # a name with a NUL inside is the latter
        return DEFAULT_ENCODINGS


@lru_cache(maxsize=8192)
def known_vr(tag: int) -> str:
    """Return the VR that the data dictionary has, which may be a choice such as "US or SS"; "UN" for what is in none."""
    try:
        return str(dictionary_VR(tag))
    except KeyError:
        return "LO" if BaseTag(tag).is_private_creator else "UN"


def chosen_vr(vr: str, *, signed: bool) -> str:
    """Return one VR where the dictionary has a choice; `signed` is whether the pixels are."""
    if " or " not in vr:
        return vr
    return "OW" if vr[0] == "O" else "SS" if signed else "US"


def _text(vr: str, value: bytes, encodings: tuple[str, ...]) -> list[str]:
    if vr not in CHARSET:
        text = value.decode("ascii", "replace")
    elif value.isascii() and ESCAPE not in value and has_ascii(encodings[0]):
        text = value.decode("ascii")
    else:
        try:
            text = decode_bytes(value, encodings, TEXT_VR_DELIMS if vr != "PN" else {0x5E, 0x3D})
        except (LookupError, UnicodeError):
            text = value.decode("iso8859")
    if vr in UNSPLIT:
        text = text.rstrip(" \0")
        return [text] if text else []
    return split(text)


def split(text: str) -> list[str]:
    """Return the values of a text that may have several, without padding; none where all are empty."""
    if "\\" not in text:
        text = text.strip(" \0")
        return [text] if text else []
    parts = [part.strip(" \0") for part in text.split("\\")]
    return parts if any(parts) else []


@lru_cache(maxsize=64)
def has_ascii(encoding: str) -> bool:
    """Tell whether ASCII stands for itself in that encoding."""
    plain = bytes(code for code in range(0x80) if code != ESCAPE[0])
    try:
        return plain.decode(encoding) == plain.decode("ascii")
    except (LookupError, UnicodeError):
        return False
