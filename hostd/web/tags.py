"""The tags of a stored file, as Orthanc shows them: full, by number (`short`) or by name (`simplify`)."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any, BinaryIO

from pydicom.datadict import dictionary_keyword, private_dictionary_description

from hostd.dicom import header
from hostd.dicom.element_values import Elements
from hostd.dicom.part10 import data_set_offset

_LONGEST = 256
"""Characters of a text that are shown; what is longer is `TooLong`, with no value."""
_READ_LIMIT = 64 << 20

_BINARY = frozenset({"OB", "OD", "OF", "OL", "OV", "OW", "UN"})
_UNNAMED = "Unknown Tag & Data"
_PIXEL_DATA = 0x7FE00010


def read_elements(file: BinaryIO) -> Elements:
    """Read all elements up to the pixel data, which is there without a value. Raises `UnparsableError`."""
    start = data_set_offset(file)
    elements, has_pixels = header.read_elements(
        file,
        offset=start.offset,
        transfer_syntax=start.transfer_syntax_uid,
        max_value=4 * _LONGEST,
        max_elements=_READ_LIMIT,
    )
    return elements | {_PIXEL_DATA: ("OW", None)} if has_pixels else elements


def full(elements: Elements) -> dict[str, Any]:
    """Return `{"gggg,eeee": {"Name", "Type", "Value"}}`; `Type` is String, Sequence, Null or TooLong.

    A private element tells its `PrivateCreator` (PS3.5 §7.8.1) besides.
    """
    shown = {}
    for tag, (vr, values) in elements.items():
        value: Any
        if vr == "SQ" and values is not None:
            kind, value = "Sequence", [full(item) for item in values]
        else:
            kind, value = _typed(vr, values)
        creator = _creator(elements, tag)
        owned = {"PrivateCreator": creator} if creator else {}
        shown[_number(tag)] = {"Name": _name(tag, creator) or _UNNAMED, **owned, "Type": kind, "Value": value}
    return shown


def short(elements: Elements) -> dict[str, Any]:
    """Return `{"gggg,eeee": value}`."""
    return {_number(tag): _value(vr, values, short) for tag, (vr, values) in elements.items()}


def simplified(elements: Elements) -> dict[str, Any]:
    """Return `{"Keyword": value}`; what has no name, or that of an earlier element, goes by its number, so that none hides another."""
    shown: dict[str, Any] = {}
    for tag, (vr, values) in elements.items():
        name = _name(tag, _creator(elements, tag))
        key = _number(tag) if name is None or name in shown else name
        shown[key] = _value(vr, values, simplified)
    return shown


def _value(vr: str, values: list[Any] | None, form: Callable[[Elements], dict[str, Any]]) -> Any:
    return [form(item) for item in values] if vr == "SQ" and values is not None else _typed(vr, values)[1]


def _typed(vr: str, values: list[Any] | None) -> tuple[str, str | None]:
    if vr in _BINARY:
        return "Null", None
    if values is None:
        return "TooLong", None
    text = "\\".join(_text(vr, value) for value in values)
    return ("TooLong", None) if len(text) > _LONGEST else ("String", text)


def _text(vr: str, value: Any) -> str:
    if vr in {"FL", "FD"}:
        return f"{value:.17g}"
    if vr == "AT":
        return _number(value)
    return str(value)


def _number(tag: int) -> str:
    return f"{tag >> 16:04x},{tag & 0xFFFF:04x}"


def _creator(elements: Elements, tag: int) -> str | None:
    """Return who reserved the block that a private element is in, None for others and where nobody did."""
    if not tag >> 16 & 1 or tag & 0xFFFF < 0x1000:
        return None
    _, values = elements.get(tag & 0xFFFF0000 | tag >> 8 & 0xFF, ("", None))
    return str(values[0]) if values else None


def _name(tag: int, creator: str | None) -> str | None:
    """Return the keyword of an element (PS3.6), or what a private one's creator calls it; None when it is in no dictionary."""
    try:
        if not tag >> 16 & 1:
            return dictionary_keyword(tag) or None
        if 0x10 <= tag & 0xFFFF <= 0xFF:
            return "PrivateCreator"
        if creator is None:
            return None
        description = private_dictionary_description(tag, creator)
    except KeyError:
        return None
    words = re.findall(r"[A-Za-z0-9]+", description)
    return "".join(word[0].upper() + word[1:] for word in words) or None
