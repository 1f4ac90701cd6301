"""Data sets that a client writes in JSON: attributes by keyword or number, as texts, sequences as arrays of such objects."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal

from pydicom.datadict import dictionary_VR
from pydicom.dataset import Dataset
from pydicom.tag import BaseTag

from hostd.dicom import binary_text
from hostd.dicom.vrs import BINARY
from hostd.web.errors import BAD_FILE_FORMAT, BAD_PARAMETER_TYPE, UNKNOWN_TAG, WebError, bad_request
from hostd.web.requested import tag_of

UTF_8 = "ISO_IR 192"
_SPECIFIC_CHARACTER_SET = 0x00080005
_DEEPEST = 8
_LONG = 1024
_LONGEST = {"LT": 10_240, "UC": 1 << 20, "UR": 1 << 20, "UT": 1 << 24}
"""Characters of a text, which VRs with a short length could not say beyond 64 kB (PS3.5 §7.1.2)."""
_FIRST_PRIVATE = 0x0009


@dataclass(frozen=True, slots=True)
class Reading:
    """How what is not of the standard's text is read.

    `binary` values are none that are taken, bytes in data URIs, or the characters as they are. `creator` is whose private elements are
    that have no creator beside them.
    """

    binary: Literal["refused", "data URI", "as it is"] = "refused"
    creator: str | None = None


def data_set_of(given: dict[str, Any], reading: Reading | None = None) -> Dataset:
    """Return the data set, whose texts are in UTF-8 whatever it says itself. Raises `WebError`."""
    made = _data_set(given, reading or Reading(), 0)
    made.SpecificCharacterSet = UTF_8
    return made


def _data_set(given: dict[str, Any], reading: Reading, depth: int) -> Dataset:
    if depth > _DEEPEST:
        raise bad_request("the sequences are nested too deep")
    made = Dataset()
    named = {tag: (name, value) for name, value in given.items() if (tag := tag_of(name)) != _SPECIFIC_CHARACTER_SET}
    creators = {tag: value for tag, (_, value) in named.items() if BaseTag(tag).is_private_creator}
    for tag, (name, value) in named.items():
        vr = _private_vr(tag, name, creators, reading) if BaseTag(tag).is_private else _vr(tag, name)
        held = _value(name, vr, "" if value is None else value, reading, depth)
        try:
            made.add_new(tag, vr, held)
        except (ValueError, TypeError, OverflowError, AttributeError) as error:
            raise WebError(400, BAD_PARAMETER_TYPE, f"{name[:64]} cannot have that value") from error
    for tag, creator in creators.items():
        made.add_new(tag, "LO", _value(f"{tag >> 16:04x},{tag & 0xFFFF:04x}", "LO", creator, reading, depth))
    return made


def _vr(tag: int, name: str) -> str:
    try:
        return dictionary_VR(tag).split(" ")[0]
    except KeyError as error:
        raise WebError(400, UNKNOWN_TAG, f"there is no DICOM tag {name[:64]!r}") from error


def _private_vr(tag: int, name: str, creators: dict[int, Any], reading: Reading) -> str:
    """Return the VR of a private element, whose creator is entered where it is not there (PS3.5 §7.8.1)."""
    group, element = tag >> 16, tag & 0xFFFF
    if group < _FIRST_PRIVATE or group == 0xFFFF or not (0x10 <= element <= 0xFF or element >= 0x1000):
        raise WebError(400, UNKNOWN_TAG, f"{name[:64]!r} is no tag that a private element may have (PS3.5 §7.8.1)")
    if element <= 0xFF:
        return "LO"
    creator = creators.setdefault(group << 16 | element >> 8, reading.creator)
    if not isinstance(creator, str) or not creator:
        raise WebError(
            400, UNKNOWN_TAG, f'{name[:64]!r} is private, and nobody knows of whom: "PrivateCreator" is to say it'
        )
    return binary_text.private_vr(tag, creator).split(" ")[0]


def _value(name: str, vr: str, value: Any, reading: Reading, depth: int) -> Any:
    if not isinstance(value, (str, list)) or (
        vr in BINARY and (reading.binary == "refused" or isinstance(value, list))
    ):
        raise WebError(400, BAD_PARAMETER_TYPE, f"Bad Parameter type for tag {name[:64]}")
    if isinstance(value, str):
        if vr in BINARY:
            return _bytes(name, vr, value, reading)
        if len(value) > _LONGEST.get(vr, _LONG):
            raise WebError(400, BAD_PARAMETER_TYPE, f"{name[:64]} is too long")
        if vr == "SQ" and value:
            raise WebError(400, BAD_PARAMETER_TYPE, f"{name[:64]} is a sequence")
        return [] if vr == "SQ" else _number_of(name, vr, value)
    if vr != "SQ" or not all(isinstance(item, dict) for item in value):
        raise WebError(400, BAD_PARAMETER_TYPE, f"{name[:64]} is no sequence of objects")
    return [_data_set(item, reading, depth + 1) for item in value]


def _bytes(name: str, vr: str, value: str, reading: Reading) -> bytes:
    is_uri = reading.binary == "data URI" and value.startswith("data:")
    found = data_uri(value)[1] if is_uri else value.encode("utf-8", "replace")
    try:
        return binary_text.padded(vr, found)
    except ValueError as error:
        raise WebError(400, BAD_PARAMETER_TYPE, f"{name[:64]} {error}") from error


def data_uri(uri: str) -> tuple[str, bytes]:
    """Return media type and bytes of a data URI (RFC 2397). Raises `WebError`."""
    try:
        return binary_text.data_uri(uri)
    except ValueError as error:
        raise WebError(400, BAD_FILE_FORMAT, str(error)) from error


_WHOLE = frozenset({"IS", "SL", "SS", "SV", "UL", "US", "UV"})
_BROKEN = frozenset({"DS", "FD", "FL"})


def _number_of(name: str, vr: str, text: str) -> Any:
    """Return a text as pydicom takes it for that VR. Raises `WebError` for one that is no number, or no tag, and should be."""
    if vr == "AT":
        return [tag_of(part) for part in text.split("\\")] if text else []
    if not text or vr not in _WHOLE | _BROKEN:
        return text
    try:
        found = [int(part) if vr in _WHOLE else float(part) for part in text.split("\\")]
    except ValueError as error:
        raise WebError(400, BAD_PARAMETER_TYPE, f"{name[:64]} is a number") from error
    return text if vr in {"DS", "IS"} else found if len(found) > 1 else found[0]
