"""`/tools/find`: what is stored, by its attributes and labels, as `host.find` finds it."""

from __future__ import annotations

from typing import Any

from hostd.sandbox.granted import shown
from hostd.sandbox.levels import Level
from hostd.sandbox.orthanc.resources import MAIN_TAGS, Kind
from hostd.sandbox.orthanc.session import Session
from hostd.sandbox.orthanc.tables import SimplifiedTags
from hostd.sandbox.searching import MOST
from hostd.sandbox.views import Instance

_LEVELS = ("Patient", "Study", "Series", "Instance")
_PASSED_OVER = {"RequestedTags", "CaseSensitive", "Full", "Short", "LabelsConstraint"}
_WILD = ("*", "?", "\\")


def find(session: Session, asked: dict[str, Any], route: str) -> list[Any]:
    """Answer a search: identifiers, or with `Expand` what each is. Raises `ValueError` for what cannot be asked for here."""
    rest = {name: value for name, value in asked.items() if name not in _PASSED_OVER}
    level, query = rest.pop("Level", None), rest.pop("Query", {})
    labels, limit, expand = rest.pop("Labels", []), rest.pop("Limit", 0), rest.pop("Expand", False)
    if rest:
        raise ValueError(f"{route}: {', '.join(map(str, sorted(rest)))} cannot be asked for here")
    if level not in _LEVELS or not isinstance(query, dict):
        raise ValueError(f"{route}: Level is one of {', '.join(_LEVELS)}, Query an object of keywords and texts")
    if not isinstance(labels, (list, tuple)) or len(labels) > 1:
        raise ValueError(f"{route}: Labels names one label, not {shown(labels)}")
    kind: Kind = level.lower()
    keys: dict[str, Any] = {name: _exact(session, name, text, route) for name, text in query.items() if text != "*"}
    label = labels[0] if labels else None
    found = session.found(session.host.find(kind, label=label, limit=limit or MOST, **keys))
    return [_described(session, one, kind) if expand else one.id for one in found]


def _exact(session: Session, name: object, text: object, route: str) -> str:
    if not isinstance(name, str) or not isinstance(text, str):
        raise TypeError(f"{route}: Query is of keywords and texts")
    session.run.world.tag(
        str.__str__(name)
    )  # refuses what is no keyword, such as the name of another argument of `find`
    if any(sign in text for sign in _WILD):
        raise ValueError(
            f"{route}: {name} is looked for as it stands, without wildcards: find more, and choose in the script"
        )
    return str.__str__(text)


def _described(session: Session, one: Instance | Level, kind: Kind) -> dict[str, Any]:
    wire = object.__getattribute__(one, "_level" if isinstance(one, Level) else "_instance")
    tags = SimplifiedTags(session.run, wire.tags, of=one.id)
    chosen = {keyword: tags[keyword] for keyword in MAIN_TAGS[kind]}
    main = {keyword: value for keyword, value in chosen.items() if isinstance(value, str)}
    return {"ID": one.id, "Type": kind.capitalize(), "MainDicomTags": main}
