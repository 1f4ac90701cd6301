"""What of a notification's text may go to a channel that is not meant for patient data.

Two nets. Values of the event's instance that PS3.15 Annex E names are blanked wherever they stand in the text, whole or a part of a name:
an answer of a peer may quote them. And after a run that read such an element nothing of the text is kept, for a script may have
turned a value into something that no longer looks like it.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from functools import cache

from pydicom.datadict import keyword_for_tag

from hostd.archive.levels import LevelFacts
from hostd.archive.records import Event
from hostd.dicom.header import Header
from hostd.dicom.main_tags import main_elements
from hostd.editing import profile
from hostd.sandbox.frames import Elements

_BLANK = "[…]"
_EXAMPLES = 3
_SHORTEST = 3
"""Characters: shorter values, such as M or 042Y's digits, say little and stand in many words."""
_NOT_TEXT = frozenset({"UI", "SQ"})
"""A UID is how people find the instance that is meant; what is in a sequence's items is looked at by itself."""


def without_patient(text: str, event: Event, tags_read: Sequence[str]) -> tuple[str, bool]:
    """Return the text as it may go out, and whether it was left out altogether."""
    told = sorted(set(tags_read) & _telling_keywords())
    if told:
        read = ", ".join(told[:_EXAMPLES]) + (" and more" if len(told) > _EXAMPLES else "")
        why = f"It read {read}, so that its words are not sent by a channel without phi = true."
        return (
            f"A script has something to say of event {event.number}. {why} `hostd explain {event.subject}` has them.",
            True,
        )
    values = {value for value in _values_of(event) if len(value) >= _SHORTEST}
    for value in sorted(values, key=len, reverse=True):
        text = re.sub(re.escape(value), _BLANK, text, flags=re.IGNORECASE)
    return text, False


@cache
def _telling_keywords() -> frozenset[str]:
    return frozenset(keyword_for_tag(tag) for tag, rule in profile.table().items() if rule.vr not in _NOT_TEXT) - {""}


def _values_of(event: Event) -> Iterator[str]:
    """Yield what an event's instance, or its series, study or patient, has that tells who the patient is."""
    if event.header:
        header = Header.decode(event.header)
        yield header.patient_id
        yield from _telling_values(header.tags)
    facts = LevelFacts.of(event.facts)
    if facts is not None:
        yield facts.patient_id
        yield from _telling_values(main_elements(facts.attributes))


def _telling_values(elements: Elements) -> Iterator[str]:
    rules = profile.table()
    for tag, (vr, values) in elements.items():
        for value in values or ():
            if isinstance(value, dict):
                yield from _telling_values(value)
            elif tag in rules and vr not in _NOT_TEXT and isinstance(value, str):
                yield value
                if vr == "PN":
                    yield from filter(None, re.split(r"[\^=\s]+", value))
