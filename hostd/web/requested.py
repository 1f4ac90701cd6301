"""Tags that are asked for beside the main ones (`requestedTags`): from the index where it has them, else from a file."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from fastapi import Request
from pydicom.datadict import dictionary_keyword, tag_for_keyword
from sqlalchemy import Connection

from hostd.archive import hierarchy
from hostd.archive.archive import Archive
from hostd.archive.labels import Subject
from hostd.archive.records import Instance
from hostd.dicom.main_tags import main_keywords
from hostd.web import tags
from hostd.web.errors import UNKNOWN_TAG, WebError, unknown_resource
from hostd.web.files import opened

_ABOVE: dict[Subject, tuple[Subject, ...]] = {
    "patient": ("patient",),
    "study": ("patient", "study"),
    "series": ("patient", "study", "series"),
    "instance": ("patient", "study", "series", "instance"),
}


def requested_tags(request: Request) -> list[int]:
    """Return the tags that a request names, by keyword or number, with ";" between. Raises `WebError` for one that nobody knows."""
    text = request.query_params.get("requestedTags") or request.query_params.get("requested-tags") or ""
    return [tag_of(name) for name in text.split(";") if name]


def item_of(text: str) -> int:
    """Return the number of an item of a sequence, from 0, as a path names it. Raises `WebError`."""
    if not (text.isascii() and text.isdigit() and len(text) < 10):
        raise unknown_resource("items are counted from 0")
    return int(text)


def tag_of(name: str) -> int:
    """Return the tag of a keyword, or of a number such as `0010,0020`, `0010-0020` or `00100020`. Raises `WebError`."""
    number = name.replace(",", "").replace("-", "")
    if len(number) == 8 and all(digit in "0123456789abcdefABCDEF" for digit in number):
        return int(number, 16)
    tag = tag_for_keyword(name) if name else None
    if tag is None:
        raise WebError(400, UNKNOWN_TAG, f"there is no DICOM tag {name[:64]!r}")
    return tag


def requested_form(
    archive: Archive, connection: Connection, subject: Subject, members: Sequence[Instance], asked: Sequence[int]
) -> dict[str, Any]:
    """Return these tags of one of the four levels, by keyword; `members` are its instances, of which one speaks for all.

    What it has not is left out.
    """
    known = {
        keyword: text for level in _ABOVE[subject] for keyword, text in members[0].attributes[level].items()
    } | _computed(connection, subject, members)
    main = {tag for level in _ABOVE[subject] for tag in main_keywords(level).values()}
    found: dict[str, Any] = {}
    rest = []
    for tag in asked:
        keyword = dictionary_keyword(tag) if _is_named(tag) else ""
        if keyword in known:
            found[keyword] = known[keyword]
        elif tag not in main:
            rest.append(tag)
    if rest:
        with opened(archive, members[0]) as file:
            elements = tags.read_elements(file)
        found |= tags.simplified({tag: elements[tag] for tag in rest if tag in elements})
    return found


def _is_named(tag: int) -> bool:
    try:
        return bool(dictionary_keyword(tag))
    except KeyError:
        return False


def _computed(connection: Connection, subject: Subject, members: Sequence[Instance]) -> dict[str, str]:
    """Return what is of a level as a whole (PS3.4 §C.3.4)."""
    if subject == "instance":
        return {"InstanceAvailability": "ONLINE"}
    identifier = {"patient": members[0].patient, "study": members[0].study, "series": members[0].series}[subject]
    size = hierarchy.size(connection, subject, identifier)
    prefix = {"patient": "NumberOfPatientRelated", "study": "NumberOfStudyRelated", "series": "NumberOfSeriesRelated"}
    found = {f"{prefix[subject]}Instances": str(size.instances)}
    if subject != "series":
        found[f"{prefix[subject]}Series"] = str(size.series)
    if subject == "patient":
        found[f"{prefix[subject]}Studies"] = str(size.studies)
    if subject == "study":
        modalities = sorted({one.attributes["series"].get("Modality", "") for one in members} - {""})
        found["ModalitiesInStudy"] = "\\".join(modalities)
        found["SOPClassesInStudy"] = "\\".join(sorted({one.sop_class_uid for one in members}))
    return found
