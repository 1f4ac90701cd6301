"""The identifiers of a modified instance, consistent over all instances that are changed with it and with what refers to them."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from collections.abc import Set as AbstractSet
from dataclasses import dataclass
from functools import partial

import msgspec

from hostd.editing import uids
from hostd.editing.terms import Terms
from hostd.editing.values import tag_name
from hostd.errors import CannotEditError
from hostd.transcoding import edits
from hostd.transcoding import elements as el
from hostd.transcoding.edits import Modify

SOP, STUDY, SERIES = 0x00080018, 0x0020000D, 0x0020000E
ORIGINAL = 0x04000561
"""Original Attributes Sequence, which tells of what was, and so is not changed."""
_PATIENT_ID, _ISSUER = 0x00100020, 0x00100021
_REFERENCED_SOP = 0x00081155
_SOP_REFERENCES = frozenset((SOP, _REFERENCED_SOP, 0x00200242, 0x00041511))
"""SOP Instance UID, Referenced SOP Instance UID, SOP Instance UID of Concatenation Source, and what a DICOMDIR refers to."""
REFERENCES = _SOP_REFERENCES | {STUDY, SERIES}
_REFERENCED_STUDY = 0x00081110
"""Referenced Study Sequence, whose Referenced SOP Instance UID is the study's."""
UNCHANGED = frozenset((ORIGINAL, 0x00081111, 0x00081120, 0x00081125))
"""Sequences in which no UID is changed: besides what was, references to performed procedure steps, patients and visits, which are no instances."""
_FRAMES_OF_REFERENCE = frozenset((0x00200052, 0x00200200, 0x30060024, 0x300600C2))
"""Frame of Reference UID, Synchronization Frame of Reference UID, and the references to them."""
OWN_UIDS = frozenset((SOP, STUDY, SERIES, *_FRAMES_OF_REFERENCE))
"""The UIDs that say what an instance belongs to."""

Maps = Mapping[int, uids.MapUid]
"""By tag, how its UIDs change."""


@dataclass(frozen=True, slots=True)
class Renewal:
    """A step that made `result` of `before`, by setting the tags `were_set` among others. `keeps` tells which tags are to stay."""

    before: el.Elements
    result: el.Elements
    step: Modify
    were_set: AbstractSet[int]
    keeps: Callable[[int], bool]
    terms: Terms

    def maps(self) -> Maps:
        """Return how UIDs change: what stands below the highest identifier that is another is new, and references to it alike.

        Raises `CannotEditError` for a data set without the UIDs that an instance has.
        """
        for tag in (SOP, STUDY, SERIES):
            if not el.text(self.result, tag):
                raise CannotEditError(f"the instance has no {tag_name(tag)}")
        patient = self._changed((_PATIENT_ID, _ISSUER))
        study = patient + self._changed((STUDY,))
        level, of = self.step.level, self.step.of
        # Of what is of no job, a level's scope holds only what is above it, so that instances that are given other texts stay in one series.
        is_series_new, is_study_new = study or level != "instance", patient or level in ("study", "patient")
        kinds = [
            (SOP, _SOP_REFERENCES, f"instance\0{of or edits.canonical(self.step)}"),
            (SERIES, (SERIES,), f"series\0{of or _text(study)}" if is_series_new else ""),
            (STUDY, (STUDY,), f"study\0{of or _text(patient)}" if is_study_new else ""),
        ]
        # Where an instance's own is kept, the others of its kind are too, and so is what refers to them.
        maps = {
            tag: self._change(own, scope)
            for own, tags, scope in kinds
            if not self.keeps(own)
            for tag in tags
            if not self.keeps(tag)
        }
        if patient:
            new = partial(uids.new_uid, self.terms.key, f"frame\0{_text(patient)}")
            maps |= {tag: new for tag in _FRAMES_OF_REFERENCE if not self.keeps(tag)}
        return maps

    def _change(self, own: int, scope: str) -> uids.MapUid:
        """Return how UIDs of one kind change: as the instance's own was set, or within the scope, if there is one."""
        was, given = el.text(self.before, own), el.text(self.result, own) if own in self.were_set else ""
        source = self.step.source if own == SOP else ""

        def change(old: str) -> str:
            if given and (old == was or (self.step.of and self._is_changed_alike(old))):
                return given
            if not scope or old == source or not self._is_changed_alike(old):
                return old
            return uids.new_uid(self.terms.key, scope, source if source and old == was else old)

        return change

    def _is_changed_alike(self, uid: str) -> bool:
        of = self.step.of
        is_own = uid in (el.text(self.before, tag) for tag in (SOP, STUDY, SERIES))
        return of is None or is_own or (of != "" and uid in self.terms.changed_alike)

    def _changed(self, tags: tuple[int, ...]) -> list[tuple[int, str]]:
        """Return what of these is other than before, as it is now."""
        values_of = [(tag, _raw(self.before, tag), _raw(self.result, tag)) for tag in tags]
        return [(tag, now) for tag, was, now in values_of] if any(was != now for _, was, now in values_of) else []


def mapped(elements: el.Elements, maps: Maps) -> el.Elements:
    """Return the elements with their UIDs, those of items too, changed."""
    result = elements
    for tag, element in elements.items():
        if tag in maps and element.value:
            result = result | {tag: uids.mapped(element, maps[tag])}
        elif tag not in UNCHANGED and element.value and (element.vr or el.implied_vr(tag, signed=False)) == b"SQ":
            items = el.items(element)
            inside = _of_studies(maps) if tag == _REFERENCED_STUDY else maps
            changed = [mapped(item, inside) for item in items]
            if changed != items:
                result = el.with_items(result, tag, changed)
    return result


def _of_studies(maps: Maps) -> Maps:
    """Return the maps for where the instance that is referred to is a study."""
    others = {tag: change for tag, change in maps.items() if tag != _REFERENCED_SOP}
    return others | {_REFERENCED_SOP: maps[STUDY]} if STUDY in maps else others


def _raw(elements: el.Elements, tag: int) -> str:
    return elements[tag].value.decode("latin-1").strip(" \0") if tag in elements else ""


def _text(facts: list[tuple[int, str]]) -> str:
    return msgspec.json.encode(facts).decode()
