"""Names of files made of an instance's attributes: `{PatientID}/{StudyDate}/{Modality}/{SOPInstanceUID}.dcm`.

What a file says of itself is not to be trusted with a file system. A value never adds or climbs a folder, never makes a name that an
operating system keeps for itself, and is cut where names end; and two values never become one name by any of that, for then two
patients would share a folder.
"""

from __future__ import annotations

import hashlib
import re
import unicodedata
from collections.abc import Mapping
from dataclasses import dataclass
from difflib import get_close_matches
from typing import Self

from pydicom.datadict import dictionary_VR, keyword_dict, tag_for_keyword

MAX_NAME = 240
"""Bytes of the longest name that is made; file systems end at 255, and a number or a temporary name may be added."""
MAX_FOLDERS = 16

_VRS = frozenset(("AE", "AS", "CS", "DA", "DS", "DT", "IS", "LO", "PN", "SH", "TM", "UC", "UI"))
_PLACE = re.compile(r"\{([^{}]*)\}")
_PUNCTUATION = frozenset(" ._-^+=@,()")
_RESERVED = frozenset(
    (
        "con",
        "prn",
        "aux",
        "nul",
        "conin$",
        "conout$",
        *(f"{name}{n}" for name in ("com", "lpt") for n in "0123456789¹²³"),
    )
)
_DIGEST = 8


@dataclass(frozen=True, slots=True)
class PathTemplate:
    """A relative path with attributes in it. Each part is a name: texts, and the keywords (tags) that stand between them."""

    text: str
    parts: tuple[tuple[str | int, ...], ...]

    @classmethod
    def parse(cls, text: str) -> Self:
        """Return the template. Raises `ValueError` that says what is wrong with it."""
        names = text.split("/")
        if not text or any(not name for name in names):
            raise ValueError("should be a relative path such as {PatientID}/{SOPInstanceUID}.dcm, without empty names")
        if len(names) > MAX_FOLDERS:
            raise ValueError(f"has {len(names)} names one in another, more than {MAX_FOLDERS}")
        return cls(text, tuple(_part(name) for name in names))

    @property
    def tags(self) -> frozenset[int]:
        """The tags of the attributes that it names."""
        return frozenset(piece for part in self.parts for piece in part if isinstance(piece, int))

    def render(self, values: Mapping[int, str], missing: str) -> tuple[str, ...]:
        """Return the names of the path; an attribute without a value is `missing`."""
        return tuple(
            _name(
                "".join(piece if isinstance(piece, str) else values.get(piece, "").strip() or missing for piece in part)
            )
            for part in self.parts
        )


def numbered(name: str, number: int) -> str:
    """Return that name with a number before its ending, for a file whose own name is taken: `name-2.dcm`."""
    stem, dot, ending = name.rpartition(".")
    return f"{stem}-{number}{dot}{ending}" if stem and len(ending) <= 8 else f"{name}-{number}"


def safe_name(text: str) -> str:
    """Return that text as a name of a file or folder on any file system; see the module."""
    return _name(text)


def _part(name: str) -> tuple[str | int, ...]:
    pieces: list[str | int] = []
    at = 0
    for place in _PLACE.finditer(name):
        pieces += [_literal(name[at : place.start()])] if place.start() > at else []
        pieces.append(_tag(place[1]))
        at = place.end()
    pieces += [_literal(name[at:])] if at < len(name) else []
    if name.startswith("."):
        raise ValueError("no name may begin with a dot")
    return tuple(pieces)


def _literal(text: str) -> str:
    if "{" in text or "}" in text:
        raise ValueError("has a '{' or '}' that belongs to no attribute: write {PatientID}")
    if _cleaned(text) != text:
        raise ValueError(
            f"{text!r} has characters that are not safe in a file name: use letters, digits and '. _ - ^ + = @ , ( )'"
        )
    return text


def _tag(keyword: str) -> int:
    tag = tag_for_keyword(keyword) if keyword else None  # some retired attributes have no keyword
    if tag is None:
        near = get_close_matches(keyword, keyword_dict, n=1, cutoff=0.7)
        raise ValueError(f"there is no attribute {keyword!r}" + (f": did you mean {near[0]}?" if near else ""))
    if dictionary_VR(tag) not in _VRS:
        raise ValueError(f"{keyword} is no short text, and makes no file name")
    return tag


def _name(text: str) -> str:
    text = unicodedata.normalize("NFC", text)
    name = _cleaned(text).rstrip(" .")
    if not name or name.startswith((".", " ")) or name.partition(".")[0].rstrip(" ").casefold() in _RESERVED:
        name = f"_{name}"
    if name == text and len(name.encode()) <= MAX_NAME:
        return name
    stem, dot, ending = name.rpartition(".")
    if not stem or len(ending) > _DIGEST or not ending.isalnum():
        stem, dot, ending = name, "", ""
    tail = f"~{hashlib.sha256(text.encode(errors='surrogatepass')).hexdigest()[:_DIGEST]}{dot}{ending}"
    return stem.encode()[: MAX_NAME - len(tail.encode())].decode(errors="ignore") + tail


def _cleaned(text: str) -> str:
    return "".join(c if (c.isalnum() or c in _PUNCTUATION) else "_" for c in text)
