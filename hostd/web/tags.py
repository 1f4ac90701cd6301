"""The tags of a stored file, as Orthanc shows them: full, by number (`short`) or by name (`simplify`)."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any, BinaryIO

from pydicom.datadict import dictionary_keyword, private_dictionary_description

from hostd.dicom import header, plain_header
from hostd.dicom.element_values import Elements
from hostd.dicom.part10 import PREAMBLE_LENGTH, PREFIX, data_set_offset
from hostd.dicom.plain_header import Form
from hostd.dicom.recalled_header import Recollection
from hostd.dicom.vrs import BINARY

LONGEST = 256
"""Characters of a text that are shown; what is longer is `TooLong`, with no value."""
_READ_LIMIT = 16 << 20
"""Bytes of values, heads and items that are read in all; what comes later is `TooLong`, too."""

_UNNAMED = "Unknown Tag & Data"
_META_LENGTH = 0x00020000


def _tags(text: str) -> frozenset[int]:
    """Return tags that are written as groups, each with its elements."""
    lines = (line.split() for line in text.strip().splitlines())
    return frozenset(int(group, 16) << 16 | int(element, 16) for group, *elements in lines for element in elements)


_MODULES = {
    "patient": _tags("""
        0008 1120
        0010 0010 0020 0021 0022 0024 0026 0027 0028 0030 0032 0033 0034 0035 0040 1000 1001 1002 1100 2160 2201 2202 2292 2293 2294 2295 2296 2297 2298 2299 4000
        0012 0062 0063 0064
    """),
    "study": _tags("""
        0008 0020 0030 0050 0051 0090 0096 009C 009D 1030 1032 1048 1049 1060 1062 1110
        0020 000D 0010
        0032 1033 1034
        0040 1012
    """),
    "series": _tags("""
        0008 0021 0031 0060 103E 103F 1050 1052 1070 1072 1111 1250
        0010 2210
        0018 0015 1030 5100
        0020 000E 0011 0060
        0028 0108 0109
        0040 0244 0245 0250 0251 0253 0254 0260 0275 0280
    """),
    "instance": _tags("""
        0008 0005 0012 0013 0014 0015 0016 0018 001A 001B 0110 0124 0201
        0018 A001
        0020 0013
        0028 0303
        003A 0200
        0040 A390
        0042 0010
        0100 0410 0420 0424 0426
        0400 0500 0561
        4FFE 0001
        FFFA FFFA
    """),
}


def read_elements(file: BinaryIO, lately: Recollection | None = None) -> Elements:
    """Read all elements up to the pixel data, which is there without a value. Raises `UnparsableError`.

    What is as in `lately` is not read again, and is then the same object.
    """
    start = data_set_offset(file)
    elements, pixels = header.read_elements(
        file,
        offset=start.offset,
        transfer_syntax=start.transfer_syntax_uid,
        max_value=4 * LONGEST,
        max_elements=_READ_LIMIT,
        memory=lately,
    )
    return elements | pixels


def read_meta(file: BinaryIO) -> Elements:
    """Read the file meta information (PS3.10 §7.1). Raises `UnparsableError`."""
    start = data_set_offset(file)
    begin = PREAMBLE_LENGTH + len(PREFIX)
    file.seek(begin)
    head = file.read(start.offset - begin)
    found = plain_header.read(head, Form(implicit=False, max_value=4 * LONGEST, max_elements=_READ_LIMIT))
    if found is None:
        return {tag: ("UI", [text]) for tag, text in start.meta.items()}
    lengths = {_META_LENGTH: ("UL", [int.from_bytes(head[8:12], "little")])} if head[:4] == b"\2\0\0\0" else {}
    return lengths | texts(found.elements)


def shared(of_one: Elements, of_other: Elements) -> Elements:
    """Return the texts (`texts`) that two data sets show alike."""
    other = texts(of_other)
    return {
        tag: element
        for tag, element in texts(of_one).items()
        if tag in other and _typed(*other[tag]) == _typed(*element)
    }


def texts(elements: Elements) -> Elements:
    """Return the elements that are shown as a text."""
    return {
        tag: (vr, values) for tag, (vr, values) in elements.items() if vr != "SQ" and _typed(vr, values)[0] == "String"
    }


def module(elements: Elements, subject: str) -> Elements:
    """Return the elements of the module that describes a patient, a study, a series or an instance (PS3.3 §C.7.1.1 to §C.7.3.1, §C.12.1)."""
    return {tag: element for tag, element in elements.items() if tag in _MODULES[subject]}


def tags_of(*subjects: str) -> frozenset[int]:
    """Return the tags of these modules, whether an instance has them or not."""
    return frozenset().union(*(_MODULES[subject] for subject in subjects))


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
    if vr in BINARY:
        return "Null", None
    if values is None:
        return "TooLong", None
    text = "\\".join(_text(vr, value) for value in values)
    return ("TooLong", None) if len(text) > LONGEST else ("String", text)


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
