"""Values that a filter wants in an element: whether they are right for it, and as bytes (PS3.5 §6.1, §6.2)."""

from __future__ import annotations

import math
import re
import struct

from pydicom import config
from pydicom.charset import convert_encodings
from pydicom.datadict import dictionary_VM, dictionary_VR, keyword_for_tag
from pydicom.valuerep import format_number_as_ds, validate_value

from hostd.dicom.identity import is_uid
from hostd.intake.filtering import Values

_LOCAL_TEXT = frozenset(("LO", "LT", "PN", "SH", "ST", "UC", "UT"))
"""VRs whose text is in the Specific Character Set (PS3.5 §6.1.2.3)."""
_TEXT = _LOCAL_TEXT | {"AE", "AS", "CS", "DA", "DS", "DT", "IS", "TM", "UI", "UR"}
_LINES = frozenset(("LT", "ST", "UT"))
_NUMBERS = {"US": "H", "SS": "h", "UL": "I", "SL": "i", "UV": "Q", "SV": "q", "FL": "f", "FD": "d"}
_CONTROL = re.compile("[\x00-\x1f\x7f-\x9f]")
_DIRECT = re.compile(r"latin_1|iso8859_\d+|iso_ir_1(26|27|38|44|48|66)|utf8|gb18030|gbk", re.IGNORECASE)
"""Encodings of pydicom's in which a text is encoded as a whole, without escapes."""

_FIXED = frozenset((
    0x00080005, 0x00080016, 0x04000561, 0x00280002, 0x00280004, 0x00280006, 0x00280008, 0x00280010, 0x00280011, 0x00280100,
    0x00280101, 0x00280102, 0x00280103,
))  # fmt: skip
"""Character set, SOP class, the record of changes, and what says how to read the pixels."""


def name_of(tag: int) -> str:
    """Return an element's keyword."""
    return keyword_for_tag(tag) or f"({tag >> 16:04X},{tag & 0xFFFF:04X})"


def check_tag(tag: int) -> None:
    """Raise `ValueError` for an element that no filter may set or remove."""
    if (
        tag in _FIXED
        or not 0x0008 <= tag >> 16 < 0x7FE0
        or tag >> 16 & 1
        or tag & 0xFFFF == 0
        or not keyword_for_tag(tag)
    ):
        raise ValueError(f"{name_of(tag)} cannot be changed by a filter")


def check(tag: int, values: Values) -> None:
    """Raise `ValueError` when these are no values of that element, in any character set."""
    check_tag(tag)
    vr = _vr(tag, signed=False)
    if vr not in _TEXT and vr not in _NUMBERS:
        raise ValueError(f"{name_of(tag)} has VR {vr}, which a filter cannot set")
    if values and not _may_have(dictionary_VM(tag), len(values)):
        raise ValueError(f"{name_of(tag)} has {dictionary_VM(tag)} values, not {len(values)}")
    for value in values:
        try:
            _check_one(dictionary_VR(tag), value)
        except ValueError as error:
            raise ValueError(f"{name_of(tag)} cannot have that value: {error}") from error


def encoded(tag: int, values: Values, *, signed: bool, little: bool, character_set: str) -> tuple[bytes, bytes]:
    """Return VR and value, of even length, as a data set of that byte order has them; `values` have passed `check`.

    `character_set` is the Specific Character Set, '' for the default repertoire. Raises `ValueError` where it has not the characters.
    """
    vr = _vr(tag, signed=signed)
    if code := _NUMBERS.get(vr):
        try:
            return vr.encode(), struct.pack(f"{'<' if little else '>'}{len(values)}{code}", *values)
        except struct.error as error:  # US or SS: only the instance says which
            raise ValueError(f"{name_of(tag)} cannot have that value: it is no number that VR {vr} can hold") from error
    text = "\\".join(_text(vr, value) for value in values)
    encoding = _encoding(character_set) if vr in _LOCAL_TEXT else "ascii"
    try:
        raw = text.encode(encoding)
    except UnicodeEncodeError as error:
        raise ValueError(
            f"{name_of(tag)} cannot have that value: the instance's character set ({character_set or 'the default, ASCII'}) "
            "does not have all of its characters"
        ) from error
    return vr.encode(), raw + (b"\0" if vr == "UI" else b" ") * (len(raw) % 2)


def _check_one(vr: str, value: str | float) -> None:
    if vr in _NUMBERS or vr == "US or SS":
        if not _is_number_of(vr, value):
            raise ValueError(f"it is no number that VR {vr} can hold")
        return
    if not isinstance(value, str) and vr not in ("DS", "IS"):
        raise ValueError(f"VR {vr} takes a text")
    text = _text(vr, value)
    if _CONTROL.search(re.sub("[\t\n\f\r]", "", text) if vr in _LINES else text):
        raise ValueError("it has control characters")
    if "\\" in text and vr not in _LINES:
        raise ValueError("a backslash parts values: give a list")
    if vr == "UI" and not is_uid(text):
        raise ValueError("it is not a UID")
    validate_value(vr, text, config.RAISE)


def _is_number_of(vr: str, value: str | float) -> bool:
    if vr == "US or SS":
        return _is_number_of("US", value) or _is_number_of("SS", value)
    if isinstance(value, str) or (isinstance(value, float) and vr not in ("FL", "FD")):
        return False
    try:
        struct.pack(f"<{_NUMBERS[vr]}", value)
    except (struct.error, OverflowError):
        return False
    return math.isfinite(value)


def _text(vr: str, value: str | float) -> str:
    if isinstance(value, str):
        return value
    if isinstance(value, int):
        return str(value)
    if vr == "IS" or not math.isfinite(value):
        raise ValueError("VR IS takes a whole number" if vr == "IS" else "it is not a finite number")
    return format_number_as_ds(value)


def _vr(tag: int, *, signed: bool) -> str:
    vr = dictionary_VR(tag)
    return ("SS" if signed else "US") if vr == "US or SS" else vr


def _may_have(multiplicity: str, count: int) -> bool:
    """Tell whether so many values are right for a multiplicity such as "1", "1-3", "1-n" or "2-2n" (PS3.5 §6.4)."""
    low, _, high = multiplicity.partition("-")
    if not high:
        return not low.isdigit() or count == int(low)
    if high.endswith("n"):
        step = int(high[:-1] or "1")
        return count >= int(low) and count % step == 0
    return int(low) <= count <= int(high)


def _encoding(character_set: str) -> str:
    """Return Python's name for the character set that a whole text can be in; what only escapes reach cannot be set."""
    first = character_set.split("\\", maxsplit=1)[0].strip()
    if first in ("", "ISO_IR 6", "ISO 2022 IR 6"):
        return "ascii"
    try:
        found = convert_encodings([first])[0]
    except LookupError:
        return "ascii"
    return found if _DIRECT.fullmatch(found) else "ascii"
