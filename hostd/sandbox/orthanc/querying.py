"""`/modalities/{id}/query`, `/queries` and `/modalities/{id}/move`: other archives, as `host.query` and `host.retrieve` reach them."""

from __future__ import annotations

from typing import Any

from hostd.sandbox.granted import shown
from hostd.sandbox.orthanc.session import Asked, Session
from hostd.sandbox.orthanc.tables import SimplifiedTags
from hostd.sandbox.querying import MOST
from hostd.sandbox.tags import Tags

_LEVELS = {"Patient": "patient", "Study": "study", "Series": "series", "Instance": "instance"}
_PASSED_OVER = frozenset(
    {"Normalize", "LocalAet", "Timeout", "Synchronous", "Asynchronous", "Permissive", "Priority", "UserData"}
    | {"Full", "Simplify", "RetrieveMethod"}
)
"""What bodies say of how Orthanc is to ask and to wait: the configuration says it here, of the modality."""
_UIDS = ("StudyInstanceUID", "SeriesInstanceUID", "SOPInstanceUID")


def query(session: Session, modality: str, asked: dict[str, Any], route: str) -> dict[str, str]:
    """Ask a modality; return what names the query in this run. Raises as `host.query`."""
    rest = {name: value for name, value in asked.items() if name not in _PASSED_OVER}
    level, keys = rest.pop("Level", None), rest.pop("Query", {})
    if rest:
        raise ValueError(f"{route}: {', '.join(map(str, sorted(rest)))} cannot be said here")
    if level not in _LEVELS or not isinstance(keys, dict):
        raise ValueError(f"{route}: Level is one of {', '.join(_LEVELS)}, Query an object of keywords and texts")
    for name in keys:  # refuses what is no keyword, such as the name of another argument of `query`
        session.run.world.tag(name)
    kind: Any = _LEVELS[level]
    matches = session.host.query(modality, kind, limit=MOST, **keys)
    session.asked.append(Asked(modality, kind, list(matches)))
    identifier = f"query-{len(session.asked)}"
    return {"ID": identifier, "Path": f"/queries/{identifier}"}


def answers(session: Session, identifier: str) -> list[str]:
    """Return the numbers of the answers."""
    return [str(number) for number in range(len(_asked(session, identifier).matches))]


def answer(session: Session, identifier: str, number: str) -> SimplifiedTags:
    """Return one answer."""
    return SimplifiedTags(session.run, object.__getattribute__(_match(session, identifier, number), "_elements"))


def retrieve(session: Session, identifier: str, number: str | None, body: object, route: str) -> str:
    """Have one answer, or all of them, sent here. Raises `ValueError` for another AE title than hostd's own."""
    asked = _asked(session, identifier)
    _comes_here(session, body, route)
    matches = asked.matches if number is None else [_match(session, identifier, number)]
    for match in matches:
        _have_sent(session, asked.modality, asked.level, {name: match.text(name) for name in _UIDS}, route)
    return "{}"


def move(session: Session, modality: str, asked: dict[str, Any], route: str) -> str:
    """Have what is named sent here. Raises as `retrieve`."""
    level, named = asked.get("Level"), asked.get("Resources", [])
    if level not in _LEVELS or not isinstance(named, (list, tuple)) or not all(isinstance(one, dict) for one in named):
        raise ValueError(f"{route}: Level is one of {', '.join(_LEVELS)}, Resources a list of objects")
    _comes_here(session, asked, route)
    for one in named:
        _have_sent(session, modality, _LEVELS[level], {name: one.get(name, "") for name in _UIDS}, route)
    return "{}"


def _have_sent(session: Session, modality: str, level: str, uids: dict[str, Any], route: str) -> None:
    count = {"study": 1, "series": 2, "instance": 3}.get(level)
    if count is None:
        raise ValueError(f"{route}: patients are not sent whole here: query their studies, and have those sent")
    session.host.retrieve(modality, *[uids[name] for name in _UIDS[:count]])


def _comes_here(session: Session, body: object, route: str) -> None:
    """Raise `ValueError` where something is to be sent elsewhere."""
    target = body.get("TargetAet", "") if isinstance(body, dict) else body
    if isinstance(target, str) and target.startswith("{"):
        raise TypeError(f"{route}: the body is an AE title, or a dict")
    aets = session.run.world.load.aets
    if target not in ("", None) and target not in aets:
        raise ValueError(
            f"{route}: a script has things sent here alone, to {' or '.join(aets) or 'hostd'}, not to {shown(target)}: "
            "forward them when they have come"
        )


def _asked(session: Session, identifier: str) -> Asked:
    number = identifier.removeprefix("query-")
    if not number.isascii() or not number.isdigit() or not 0 < int(number[:6]) <= len(session.asked):
        raise ValueError(f"this run has made no query {shown(identifier)}")
    return session.asked[int(number) - 1]


def _match(session: Session, identifier: str, number: str) -> Tags:
    matches = _asked(session, identifier).matches
    if not number.isascii() or not number.isdigit() or int(number[:6]) >= len(matches):
        raise ValueError(f"the query has no answer {shown(number)}")
    found: Tags = matches[int(number)]
    return found
