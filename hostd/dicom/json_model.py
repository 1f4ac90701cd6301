"""The DICOM JSON Model (PS3.18 Annex F) and the Native DICOM Model (PS3.19 Annex A) of elements that were read."""

from __future__ import annotations

import base64
import math
import re
from collections.abc import Callable
from functools import lru_cache
from typing import Any
from xml.sax.saxutils import escape, quoteattr

from pydicom.datadict import dictionary_keyword

from hostd.dicom.element_values import TEXT, Elements
from hostd.dicom.vrs import BINARY

Path = tuple[int, ...]
"""A tag, the number of an item (from 0), a tag in it, and so on."""
BulkUri = Callable[[Path], str]
"""Gives the URI under which a value can be fetched that does not stand in the model itself."""

_DECIMAL = frozenset({"DS", "IS"})
_SIMPLE = TEXT - {"PN"} | {"SL", "SS", "UL", "US"}
"""VRs whose values stand in JSON as they are read, but for numbers that are texts."""
_RETURN = {"\r": "&#13;"}
"""As itself it would be read as the end of a line (XML 1.0 §2.11)."""
_PERSON_GROUPS = ("Alphabetic", "Ideographic", "Phonetic")
_WHOLE = re.compile(r"[+-]?[0-9]{1,15}")
_MAX_INTEGER = 1 << 53
"""Beyond this a number of JSON may not be what it was (PS3.18 §F.2.3.1: 64 bit integers may be strings)."""


def to_json(elements: Elements, bulk_uri: BulkUri, at: Path = ()) -> dict[str, Any]:
    """Return elements in the DICOM JSON Model; a value that was too large to be read is a `BulkDataURI`."""
    told: dict[str, Any] = {}
    for tag, (vr, values) in sorted(elements.items()):
        # The most frequent kinds are told here: a call for each would take as long again.
        if not values or vr not in _SIMPLE:
            told[_name(tag)] = _attribute(tag, vr, values, bulk_uri, at)
        elif vr in _DECIMAL:
            told[_name(tag)] = {"vr": vr, "Value": [_number(vr, value) if value else None for value in values]}
        else:
            told[_name(tag)] = {"vr": vr, "Value": values if "" not in values else [value or None for value in values]}
    return told


@lru_cache(maxsize=8192)
def _name(tag: int) -> str:
    return f"{tag:08X}"


def _attribute(tag: int, vr: str, values: list[Any] | None, bulk_uri: BulkUri, at: Path) -> dict[str, Any]:
    path = (*at, tag)
    if vr == "SQ":
        items = [to_json(item, bulk_uri, (*path, number)) for number, item in enumerate(values or ())]
        return {"vr": vr, "Value": items} if items else {"vr": vr}
    if values is None:
        return {"vr": vr, "BulkDataURI": bulk_uri(path)}
    if not values:
        return {"vr": vr}
    if vr in BINARY:
        return {"vr": vr, "InlineBinary": base64.b64encode(values[0]).decode("ascii")}
    return {"vr": vr, "Value": [_json_value(vr, value) for value in values]}


def _json_value(vr: str, value: Any) -> Any:
    match vr:
        case "PN":
            groups = zip(_PERSON_GROUPS, str(value).split("="), strict=False)
            return {name: text for name, text in groups if text} or None
        case "AT":
            return f"{value:08X}"
        case "FL" | "FD":
            return value if math.isfinite(value) else str(value)
        case "UV" | "SV":
            return value if abs(value) < _MAX_INTEGER else str(value)
    return value


def _number(vr: str, text: str) -> float | str:
    """Return the number that a text is, or the text where it is none, or one that JSON has not."""
    try:
        number = int(text) if vr == "IS" or _WHOLE.fullmatch(text) else float(text)
    except ValueError:
        return text
    return number if math.isfinite(number) and abs(number) < _MAX_INTEGER else text


def to_xml(elements: Elements, bulk_uri: BulkUri) -> str:
    """Return elements as a document of the Native DICOM Model."""
    return (
        '<?xml version="1.0" encoding="utf-8"?>\n'
        '<NativeDicomModel xmlns="http://dicom.nema.org/PS3.19/models/NativeDICOM" xml:space="preserve">'
        f"{_xml_level(elements, bulk_uri, ())}</NativeDicomModel>"
    )


def _xml_level(elements: Elements, bulk_uri: BulkUri, at: Path) -> str:
    return "".join(_xml_attribute(elements, tag, bulk_uri, at) for tag in sorted(elements))


def _xml_attribute(elements: Elements, tag: int, bulk_uri: BulkUri, at: Path) -> str:
    vr, values = elements[tag]
    path = (*at, tag)
    creator = _creator(elements, tag) if tag >> 16 & 1 else None
    # PS3.19 Table A.1.5-2: who knows the creator needs no number of its block.
    names = [f'tag="{_xml_tag(tag & 0xFFFF00FF if creator else tag)}"', f'vr="{vr}"']
    if creator:
        names.append(f"privateCreator={quoteattr(_xml_text(creator))}")
    elif keyword := _keyword(tag):
        names.append(f'keyword="{keyword}"')
    if vr == "SQ":
        inside = "".join(
            f'<Item number="{number + 1}">{_xml_level(item, bulk_uri, (*path, number))}</Item>'
            for number, item in enumerate(values or ())
        )
    elif values is None:
        inside = f"<BulkData uri={quoteattr(bulk_uri(path))}/>"
    elif vr in BINARY:
        inside = f"<InlineBinary>{base64.b64encode(values[0]).decode('ascii')}</InlineBinary>" if values else ""
    else:
        inside = "".join(_xml_value(vr, number + 1, value) for number, value in enumerate(values))
    return f"<DicomAttribute {' '.join(names)}>{inside}</DicomAttribute>"


def _xml_value(vr: str, number: int, value: Any) -> str:
    if vr == "PN":
        return f'<PersonName number="{number}">{_xml_person(str(value))}</PersonName>'
    text = _xml_tag(value) if vr == "AT" else str(value)
    return f'<Value number="{number}">{escape(_xml_text(text), _RETURN)}</Value>'


def _xml_person(name: str) -> str:
    parts = ("FamilyName", "GivenName", "MiddleName", "NamePrefix", "NameSuffix")
    groups = []
    for group, text in zip(_PERSON_GROUPS, name.split("="), strict=False):
        named = zip(parts, text.split("^"), strict=False)
        inside = "".join(f"<{part}>{escape(_xml_text(one))}</{part}>" for part, one in named if one)
        groups += [f"<{group}>{inside}</{group}>"] if inside else []
    return "".join(groups)


def _xml_text(text: str) -> str:
    """Return a text without the characters that XML 1.0 cannot have."""
    return "".join(char if char in "\t\n\r" or ord(char) >= 0x20 else "\ufffd" for char in text)


def _xml_tag(tag: int) -> str:
    return f"{tag:08X}"


def _keyword(tag: int) -> str:
    try:
        return dictionary_keyword(tag)
    except KeyError:
        return ""


def _creator(elements: Elements, tag: int) -> str | None:
    _, values = elements.get(tag & 0xFFFF0000 | tag >> 8 & 0xFF, ("", None))
    return str(values[0]) if values and tag & 0xFFFF >= 0x1000 else None
