"""What changed from one configuration to the next, and what of it a running node can go on with."""

from __future__ import annotations

from collections.abc import Iterator

from hostd.config.accepting import Accepting
from hostd.config.section import Section
from hostd.config.settings import DESTINATION_TABLES, Settings

RELOADED = frozenset(
    {
        *(
            "query",
            "users",
            "scripts",
            "sources",
            "retention",
            "storage",
            "delivery",
            "tools",
            "projects",
            "notify",
            "targets",
            "stable",
            "log",
        ),
        *DESTINATION_TABLES.values(),
    }
)
"""The sections of the configuration that may change while the node runs; the others take effect with its next start."""

RELOADED_OF = {
    "dicom": frozenset(Accepting.model_fields),
    "node": frozenset(
        {
            "trash_days",
            "events_days",
            "associations_days",
            "notifications_days",
            "finished_days",
            "min_free_mb",
            "refuse_below_mb",
        }
    ),
    "scripting": frozenset({"forget_after_days", "attempts", "park_after", "max_hops", "filter_time_limit_s"}),
    "jobs": frozenset({"keep_days"}),
    "http": frozenset({"check_revisions", "metadata_numbers", "attachment_numbers", "attachment_types"}),
}
"""Of other sections, the settings that may change while the node runs."""

DELIVERING = frozenset({"delivery", *DESTINATION_TABLES.values()})
"""The sections that say where and how things are sent."""


def taken(now: Settings, wanted: Settings) -> Settings:
    """Return the configuration of now with what can be taken over of the one that is wanted."""
    update = {name: getattr(wanted, name) for name in RELOADED}
    for section, names in RELOADED_OF.items():
        some = {name: getattr(getattr(wanted, section), name) for name in names}
        update[section] = getattr(now, section).model_copy(update=some)
    return now.model_copy(update=update)


def sections(now: Settings, wanted: Settings) -> list[str]:
    """Return the sections that differ and can be taken over, in the order of the documentation."""
    reachable = taken(now, wanted)
    return [name for name in Settings.model_fields if getattr(now, name) != getattr(reachable, name)]


def waiting(now: Settings, wanted: Settings) -> list[str]:
    """Return the settings that differ and need another start of the node: `dicom.port`."""
    reachable = taken(now, wanted)
    return [
        key
        for section in Settings.model_fields
        if getattr(reachable, section) != getattr(wanted, section)
        for key in _keys(section, reachable, wanted)
    ]


def _keys(section: str, now: Settings, wanted: Settings) -> Iterator[str]:
    one, other = getattr(now, section), getattr(wanted, section)
    assert isinstance(one, Section), "tables of tables are all reloaded"
    for key in type(one).model_fields:
        if getattr(one, key) != getattr(other, key):
            yield f"{section}.{key}"
