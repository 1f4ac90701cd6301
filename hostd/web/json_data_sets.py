"""Data sets that a client writes in JSON: attributes by keyword or number, as texts, sequences as arrays of such objects."""

from __future__ import annotations

from typing import Any

from pydicom.datadict import dictionary_VR
from pydicom.dataset import Dataset

from hostd.web.errors import BAD_PARAMETER_TYPE, UNKNOWN_TAG, WebError, bad_request
from hostd.web.requested import tag_of

UTF_8 = "ISO_IR 192"
_SPECIFIC_CHARACTER_SET = 0x00080005
_DEEPEST = 8
_LONG = 1024
_LONGEST = {"LT": 10_240, "UC": 1 << 20, "UR": 1 << 20, "UT": 1 << 24}
"""Characters of a text, which VRs with a short length could not say beyond 64 kB (PS3.5 §7.1.2)."""
_BINARY = frozenset({"OB", "OD", "OF", "OL", "OV", "OW", "UN"})


def data_set_of(given: dict[str, Any]) -> Dataset:
    """Return the data set, whose texts are in UTF-8 whatever it says itself. Raises `WebError`."""
    made = _data_set(given, 0)
    made.SpecificCharacterSet = UTF_8
    return made


def _data_set(given: dict[str, Any], depth: int) -> Dataset:
    if depth > _DEEPEST:
        raise bad_request("the sequences are nested too deep")
    made = Dataset()
    for name, value in given.items():
        tag = tag_of(name)
        if tag == _SPECIFIC_CHARACTER_SET:
            continue
        try:
            vr = dictionary_VR(tag).split(" ")[0]
        except KeyError as error:
            raise WebError(400, UNKNOWN_TAG, f"there is no DICOM tag {name[:64]!r}") from error
        held = _value(name, vr, value, depth)
        try:
            made.add_new(tag, vr, held)
        except (ValueError, TypeError, OverflowError, AttributeError) as error:
            raise WebError(400, BAD_PARAMETER_TYPE, f"{name[:64]} cannot have that value") from error
    return made


def _value(name: str, vr: str, value: Any, depth: int) -> Any:
    if vr in _BINARY or not isinstance(value, (str, list)):
        raise WebError(400, BAD_PARAMETER_TYPE, f"Bad Parameter type for tag {name[:64]}")
    if isinstance(value, str):
        if len(value) > _LONGEST.get(vr, _LONG):
            raise WebError(400, BAD_PARAMETER_TYPE, f"{name[:64]} is too long")
        if vr == "SQ" and value:
            raise WebError(400, BAD_PARAMETER_TYPE, f"{name[:64]} is a sequence")
        return [] if vr == "SQ" else _number_of(name, vr, value)
    if vr != "SQ" or not all(isinstance(item, dict) for item in value):
        raise WebError(400, BAD_PARAMETER_TYPE, f"{name[:64]} is no sequence of objects")
    return [_data_set(item, depth + 1) for item in value]


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
