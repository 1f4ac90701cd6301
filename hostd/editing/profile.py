"""The Application Level Confidentiality Profile of PS3.15 Annex E as data: Table E.1-1 and the safe private attributes of Table E.3.10-1.

`profile.csv` and `safe_private.csv` are the standard's tables, edition 2026c, with the VR of each attribute.
"""

from __future__ import annotations

import csv
from dataclasses import dataclass
from enum import StrEnum
from functools import cache
from pathlib import Path

from hostd.editing.terms import Project

_FOLDER = Path(__file__).parent
_CODE_COLUMNS = (
    "uids", "device", "institution", "patient", "full_dates", "modified_dates", "descriptors", "structured", "graphics",
)  # fmt: skip


class Action(StrEnum):
    """What becomes of an attribute, as Table E.1-1a has it."""

    KEEP = "K"
    REMOVE = "X"
    EMPTY = "Z"
    DUMMY = "D"
    UID = "U"
    CLEAN = "C"
    SHIFT = "shift"
    """C of a date: moved by the patient's days."""
    REFERENCES = "U*"
    """A sequence of references, which stays and whose UIDs are replaced."""


@dataclass(frozen=True, slots=True)
class Rule:
    """One row of Table E.1-1."""

    tag: int
    vr: str
    basic: str
    """Such as `X/Z/D`: what may be done, the last being what keeps the instance valid whatever its type there is."""
    options: dict[str, str]
    """Column → K or C."""

    @property
    def without_options(self) -> Action:
        """What the basic profile does: of several the last, which is valid for every type that the attribute may have."""
        return Action(self.basic.split("/")[-1])

    def action(self, enabled: tuple[str, ...]) -> Action:
        """Return what is done with these options; keeping goes before cleaning."""
        codes = {column: code for column, code in self.options.items() if column in enabled}
        if "K" in codes.values():
            return Action.KEEP
        if "modified_dates" in codes and self.vr in ("DA", "DT", "TM"):
            return Action.SHIFT
        if any(column != "modified_dates" for column in codes):
            return Action.CLEAN
        return self.without_options


@cache
def table() -> dict[int, Rule]:
    """Return Table E.1-1 by tag. Curves (50xx) and overlays (60xx) are not in it: they always go."""
    rules = {}
    with (_FOLDER / "profile.csv").open(encoding="ascii", newline="") as file:
        for row in csv.DictReader(file):
            tag = int(row["tag"], 16)
            options = {column: row[column] for column in _CODE_COLUMNS if row[column]}
            rules[tag] = Rule(tag, row["vr"], row["basic"], options)
    return rules


@cache
def safe_private() -> dict[tuple[int, int, str], bytes]:
    """Return the private attributes that are known to be safe: (group, low byte of the element, creator) → VR."""
    with (_FOLDER / "safe_private.csv").open(encoding="ascii", newline="") as file:
        return {
            (int(row["group"], 16), int(row["element"], 16), row["creator"]): row["vr"].encode("ascii")
            for row in csv.DictReader(file)
        }


def enabled(project: Project) -> tuple[str, ...]:
    """Return the columns of the table that a project's options turn on."""
    chosen = {
        "uids": project.retain_uids,
        "device": project.retain_device_identity,
        "institution": project.retain_institution,
        "patient": project.retain_patient_characteristics,
        "full_dates": project.dates == "keep",
        "modified_dates": project.dates == "shift",
        "descriptors": project.clean_descriptors,
        "structured": project.clean_structured_content,
        "graphics": project.clean_graphics,
    }
    return tuple(column for column, is_on in chosen.items() if is_on)


def method_codes(project: Project, *, pixels_cleaned: bool) -> list[tuple[str, str]]:
    """Return the codes of what was done, as De-identification Method Code Sequence has them (CID 7050)."""
    options = [
        (True, "113100", "Basic Application Confidentiality Profile"),
        (pixels_cleaned, "113101", "Clean Pixel Data Option"),
        (project.clean_graphics, "113103", "Clean Graphics Option"),
        (project.clean_structured_content, "113104", "Clean Structured Content Option"),
        (project.clean_descriptors, "113105", "Clean Descriptors Option"),
        (project.dates == "keep", "113106", "Retain Longitudinal Temporal Information Full Dates Option"),
        (project.dates == "shift", "113107", "Retain Longitudinal Temporal Information Modified Dates Option"),
        (project.retain_patient_characteristics, "113108", "Retain Patient Characteristics Option"),
        (project.retain_device_identity, "113109", "Retain Device Identity Option"),
        (project.retain_uids, "113110", "Retain UIDs Option"),
        (project.retain_safe_private, "113111", "Retain Safe Private Option"),
        (project.retain_institution, "113112", "Retain Institution Identity Option"),
    ]
    return [(code, meaning) for is_used, code, meaning in options if is_used]
