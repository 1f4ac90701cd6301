"""The identifiers of a modified instance, consistent over all instances of a study and with what refers to them."""

from __future__ import annotations

from collections.abc import Callable
from collections.abc import Set as AbstractSet

import msgspec

from hostd.editing import uids
from hostd.editing.values import tag_name
from hostd.errors import CannotEditError
from hostd.transcoding import elements as el

SOP, STUDY, SERIES = 0x00080018, 0x0020000D, 0x0020000E
ORIGINAL = 0x04000561
"""Original Attributes Sequence, which tells of what was, and so is not changed."""
_PATIENT_ID, _ISSUER = 0x00100020, 0x00100021
_SOP_REFERENCES = frozenset((SOP, 0x00081155, 0x00200242, 0x00041511))
"""SOP Instance UID, Referenced SOP Instance UID, SOP Instance UID of Concatenation Source, and what a DICOMDIR refers to."""
_FRAMES_OF_REFERENCE = frozenset((0x00200052, 0x00200200, 0x30060024, 0x300600C2))
"""Frame of Reference UID, Synchronization Frame of Reference UID, and the references to them."""
OWN_UIDS = frozenset((SOP, STUDY, SERIES, *_FRAMES_OF_REFERENCE))
"""The UIDs that say what an instance belongs to."""


def renewed(
    before: el.Elements,
    result: el.Elements,
    change: str,
    were_set: AbstractSet[int],
    keeps: Callable[[int], bool],
    key: bytes,
) -> el.Elements:
    """Give new UIDs to what stands below the highest identifier that changed, and change all references to it alike.

    `change` is the text of the whole change, `were_set` the tags that it set, `keeps` tells which are to stay. Raises
    `CannotEditError` for a data set without the UIDs that an instance has.
    """
    for tag in (SOP, STUDY, SERIES):
        if not el.text(result, tag):
            raise CannotEditError(f"the instance has no {tag_name(tag)}")
    maps: dict[int, uids.MapUid] = {}
    for tags, scope, own in _kinds(before, result, change):
        if own is not None and keeps(own):
            continue  # the others of its kind are kept too, and so is what refers to them
        given = (el.text(before, own), el.text(result, own)) if own is not None and own in were_set else None
        for tag in tags:
            if not keeps(tag):
                maps[tag] = _map(key, scope, given)
    protected = {tag: result[tag] for tag in were_set if tag in maps}
    return _mapped(result, maps) | protected


def _kinds(before: el.Elements, result: el.Elements, change: str) -> list[tuple[frozenset[int], str, int | None]]:
    """Return which kinds of UIDs are new: their tags, the scope ('' where only the one that was set is another), and the instance's own."""
    # A level's scope holds only what is above it, so that instances that are given other texts stay in one series.
    patient = _changed(before, result, (_PATIENT_ID, _ISSUER))
    study = patient + _changed(before, result, (STUDY,))
    series = study + _changed(before, result, (SERIES,))
    tables: list[tuple[frozenset[int], str, int | None]] = [(_SOP_REFERENCES, f"instance\0{change}", SOP)]
    if study:
        tables.append((frozenset((SERIES,)), f"series\0{_text(study)}", SERIES))
        tables.append((_FRAMES_OF_REFERENCE, f"frame\0{_text(study)}", None))
    elif series:
        tables.append((frozenset((SERIES,)), "", SERIES))
    if patient:
        tables.append((frozenset((STUDY,)), f"study\0{_text(patient)}", STUDY))
    elif study:
        tables.append((frozenset((STUDY,)), "", STUDY))
    return tables


def _map(key: bytes, scope: str, given: tuple[str, str] | None) -> uids.MapUid:
    """Return how UIDs of one kind change: the instance's own as it was given, the others within the scope, if there is one."""

    def change(old: str) -> str:
        if given is not None and old == given[0]:
            return given[1]
        return uids.new_uid(key, scope, old) if scope else old

    return change


def _mapped(elements: el.Elements, maps: dict[int, uids.MapUid]) -> el.Elements:
    result = elements
    for tag, element in elements.items():
        if tag in maps and element.value:
            result = result | {tag: uids.mapped(element, maps[tag])}
        elif tag != ORIGINAL and element.value and (element.vr or el.implied_vr(tag, signed=False)) == b"SQ":
            items = el.items(element)
            changed = [_mapped(item, maps) for item in items]
            if changed != items:
                result = el.with_items(result, tag, changed)
    return result


def _changed(before: el.Elements, after: el.Elements, tags: tuple[int, ...]) -> list[tuple[int, str]]:
    """Return what of these is other than before, as it is now."""
    values_of = [(tag, _raw(before, tag), _raw(after, tag)) for tag in tags]
    return [(tag, now) for tag, was, now in values_of] if any(was != now for _, was, now in values_of) else []


def _raw(elements: el.Elements, tag: int) -> str:
    return elements[tag].value.decode("latin-1").strip(" \0") if tag in elements else ""


def _text(facts: list[tuple[int, str]]) -> str:
    return msgspec.json.encode(facts).decode()
