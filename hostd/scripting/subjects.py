"""What an event is about besides an instance, as the worker gets it: a series, study or patient, or an association."""

from __future__ import annotations

from hostd.archive.fanout import Many
from hostd.archive.levels import LevelFacts
from hostd.archive.records import Event
from hostd.dicom.main_tags import main_elements, main_keywords
from hostd.sandbox import frames

_LEVELS = ("patient", "study", "series")


def level(event: Event) -> frames.Level | None:
    """Return the series, study or patient that an event is about; None when it is about none."""
    facts = LevelFacts.of(event.facts)
    if facts is None:
        return None
    above = _LEVELS[: _LEVELS.index(facts.level) + 1]
    return frames.Level(
        level=facts.level,
        id=event.subject,
        patient_id=facts.patient_id,
        study_instance_uid=facts.study_instance_uid,
        series_instance_uid=facts.series_instance_uid,
        count=facts.count,
        tags=main_elements(facts.attributes),
        known=sorted(tag for one in above for tag in main_keywords(one).values()),
        new=facts.new,
        occurrence=facts.occurrence,
        changes=list(facts.changes),
    )


def association(event: Event) -> frames.Association | None:
    """Return the association that an event is about; None when it is about none."""
    facts = event.facts
    if facts is None or "association" not in facts:
        return None
    return frames.Association(
        id=facts["association"], **{key: facts[key] for key in facts if key not in {"association", "port"}}
    )


def named(of: Many | None, event: Event) -> str:
    """Say which instances an action at an event means: " the series", " an instance of the series"; '' for the event's own."""
    if of is None:
        return ""
    if of.instance:
        return f" an instance of the {of.level}"
    return f" the {of.level}" if of.id == event.subject else f" a {of.level}"
