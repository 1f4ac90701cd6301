"""Values as people write them, checked by their VR and written as bytes (PS3.5 §6.2)."""

from __future__ import annotations

import math
import struct
from dataclasses import dataclass
from typing import cast

from pydicom import config
from pydicom.datadict import dictionary_VM, dictionary_VR, keyword_for_tag
from pydicom.tag import Tag
from pydicom.valuerep import format_number_as_ds, validate_value

from hostd.dicom import binary_text
from hostd.dicom.vrs import BINARY
from hostd.editing.charsets import TEXT_VRS, UNSPLIT_VRS, CharacterSet
from hostd.editing.paths import parse
from hostd.errors import CannotEditError
from hostd.transcoding import elements as el
from hostd.transcoding.edits import Scalar, Value

_NUMBERS = {
    b"FD": "d", b"FL": "f", b"SL": "i", b"SS": "h", b"SV": "q", b"UL": "I", b"US": "H", b"UV": "Q",
}  # fmt: skip
_ASCII_VRS = frozenset((b"AE", b"AS", b"CS", b"DA", b"DS", b"DT", b"IS", b"TM", b"UI", b"UR"))
_MAX_ITEM_DEPTH = 8


class NeedsUnicodeError(Exception):
    """A text cannot be said in the instance's character set; it must be widened first."""


@dataclass(frozen=True, slots=True)
class Place:
    """Where a value is set: the data set or item, and what of its surroundings matters."""

    elements: el.Elements
    characters: CharacterSet
    is_signed: bool = False

    def vr(self, tag: int, creator: str | None) -> bytes:
        """Return the VR that a value there has. Raises `CannotEditError` for one that nothing tells."""
        known = self.elements.get(tag)
        own = known.vr if known is not None and known.vr not in (None, b"UN") else None
        try:
            if creator is None and not tag >> 16 & 1:
                vr = dictionary_VR(tag).encode("ascii")
            else:
                vr = own or self._private_vr(tag, creator)
        except KeyError:
            if own:
                return own
            raise CannotEditError(
                f"({tag >> 16:04X},{tag & 0xFFFF:04X}) is in no dictionary, and of no private creator, so its VR is not known; it cannot be "
                "set where it is absent"
            ) from None
        if len(vr) == 2:
            return vr
        return own or (b"SS" if b"SS" in vr and self.is_signed else b"US" if b"US" in vr else vr[:2])

    def _private_vr(self, tag: int, creator: str | None) -> bytes:
        """Return the VR of a private attribute. Raises `KeyError` for one that is of nobody."""
        creator = creator or el.text(self.elements, tag & 0xFFFF0000 | tag >> 8 & 0xFF)
        if not creator:
            raise KeyError(tag)
        return binary_text.private_vr(tag, creator).encode("ascii")


def element(tag: int, value: Value, place: Place, *, name: str, creator: str | None = None) -> el.Element:
    """Return an attribute with that value. `name` is for the message.

    Raises `CannotEditError` when the value cannot be one of that VR, and `NeedsUnicodeError`.
    """
    vr = place.vr(tag, creator)
    if vr == b"SQ":
        return _sequence(tag, value, place, name, 0)
    return _plain(tag, vr, value, place, name)


def _sequence(tag: int, value: Value, place: Place, name: str, depth: int) -> el.Element:
    if value is None:
        value = []
    if not isinstance(value, list) or not all(isinstance(item, dict) for item in value) or depth > _MAX_ITEM_DEPTH:
        raise CannotEditError(f"{name} is a sequence: its value is a list of items, each with attributes by keyword")
    items = []
    for item in value:
        made: el.Elements = {}
        for key, inner in cast("dict[str, Value]", item).items():
            path = parse(key)
            if len(path) > 1 or path[0].creator is not None:
                raise CannotEditError(f"{name}: an item's attributes are named by keyword or tag, not {key!r}")
            where = Place(made, place.characters, place.is_signed)
            inner_name = f"{name}.{key}"
            if where.vr(path[0].tag, None) == b"SQ":
                made[path[0].tag] = _sequence(path[0].tag, inner, where, inner_name, depth + 1)
            else:
                made[path[0].tag] = element(path[0].tag, inner, where, name=inner_name)
        items.append(made)
    return el.with_items({}, tag, items)[tag]


def _plain(tag: int, vr: bytes, value: Value, place: Place, name: str) -> el.Element:
    if vr.decode("ascii") in BINARY:
        return el.Element(tag, vr, _binary(vr.decode("ascii"), value, name))
    values: list[Scalar] = []
    for one in value if isinstance(value, list) else [] if value is None else [value]:
        if isinstance(one, dict):
            raise CannotEditError(f"{name} is no sequence (its VR is {vr.decode()}), so it has no items")
        splits = isinstance(one, str) and vr not in UNSPLIT_VRS
        values += one.split("\\") if splits else [one]  # type: ignore[union-attr]  # it is a str where it splits
    if vr in UNSPLIT_VRS and len(values) > 1:
        raise CannotEditError(f"{name} has one value (its VR is {vr.decode()}), and {len(values)} are given")
    _check_count(tag, len(values), name)
    if vr in _NUMBERS:
        raw = b"".join(_number(one, vr, name) for one in values)
        return el.Element(tag, vr, raw)
    if vr == b"AT":
        return el.Element(tag, vr, b"".join(_tag(one, name) for one in values))
    text = "\\".join(_text(one, vr, name) for one in values)
    characters = place.characters if vr in TEXT_VRS else CharacterSet()
    encoded = characters.encode(text, vr)
    if encoded is None:
        if vr not in TEXT_VRS:
            raise CannotEditError(f"{name}: a value of VR {vr.decode()} has no characters beyond ASCII")
        raise NeedsUnicodeError(name)
    return el.Element(tag, vr, encoded + (b"\0" if vr == b"UI" else b" ") * (len(encoded) % 2))


def _check_count(tag: int, count: int, name: str) -> None:
    if tag >> 16 & 1 or not count or not keyword_for_tag(tag):
        return
    most = dictionary_VM(tag).split("-")[-1]
    if most.isdigit() and count > int(most):
        raise CannotEditError(f"{name} has at most {most} value{'s' if most != '1' else ''}, and {count} are given")


def _number(value: Scalar, vr: bytes, name: str) -> bytes:
    try:
        number = float(value or 0) if vr in (b"FL", b"FD") else int(value or 0)
        if isinstance(value, float) and not isinstance(number, float) and number != value:
            raise ValueError
        return struct.pack("<" + _NUMBERS[vr], number)
    except (ValueError, struct.error, OverflowError):
        raise CannotEditError(f"{name} is given what is no number that fits its VR {vr.decode()}") from None


def _binary(vr: str, value: Value, name: str) -> bytes:
    if not value:
        return b""
    if not isinstance(value, str):
        raise CannotEditError(
            f"{name} holds binary values (its VR is {vr}); they are given as one text, or as a data URI"
        )
    try:
        return binary_text.padded(vr, binary_text.data_uri(value)[1] if value.startswith("data:") else value.encode())
    except ValueError as error:
        raise CannotEditError(f"{name}: {error}") from None


def _tag(value: Scalar, name: str) -> bytes:
    try:
        (node,) = parse(str(value))
        if node.creator is None:
            return struct.pack("<HH", node.tag >> 16, node.tag & 0xFFFF)
    except (CannotEditError, ValueError):  # whose words repeat the value
        pass
    raise CannotEditError(f"{name} is given what is no tag, and its VR is AT")


def _text(value: Scalar, vr: bytes, name: str) -> str:
    if value is None:
        return ""
    if isinstance(value, float) and (vr != b"DS" or not math.isfinite(value)):
        raise CannotEditError(f"{name} is given a number, and the VR {vr.decode()} holds text; give it as text")
    if isinstance(value, float):
        text = format_number_as_ds(value)
    elif isinstance(value, int) and vr not in (b"DS", b"IS"):
        # '00123' and 123 are not the same identifier, so nothing is guessed.
        raise CannotEditError(f"{name} is given a number, and the VR {vr.decode()} holds text; give it as text")
    else:
        text = str(value)
    try:
        validate_value(vr.decode("ascii"), text, config.RAISE)
    except ValueError:
        # Neither the value nor pydicom's words, which repeat it: what is set may say who somebody is.
        raise CannotEditError(f"{name} is given what its VR {vr.decode()} cannot hold (PS3.5 §6.2)") from None
    if any(
        character < " " and character not in ("\r\n\t\f" if vr in (b"LT", b"ST", b"UT") else "") for character in text
    ):
        raise CannotEditError(f"{name} cannot have control characters in it")
    return text


def tag_name(tag: int) -> str:
    """Return keyword or tag, for a message."""
    return keyword_for_tag(tag) or str(Tag(tag))
