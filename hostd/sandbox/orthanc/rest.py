"""`RestApiGet` and its kin: which route a request means.

`check` reads the same table, so that a route that nothing answers is known before the script runs.
"""

from __future__ import annotations

from typing import Any

from hostd.sandbox.granted import shown
from hostd.sandbox.orthanc.routes import INSTEAD, ROUTES, Request, Route
from hostd.sandbox.orthanc.session import Session

UNKNOWN = "\0"
"""Stands in a route that is read from a script's text for what is only known when the script runs."""


def request(session: Session, method: str, uri: object, body: object = None) -> Any:
    """Do what a route does. Raises `ValueError` for one that is not answered."""
    if not isinstance(uri, str):
        raise TypeError(f"a route is a text, not {shown(uri)}")
    text = str.__str__(uri)
    path, _, query = text.partition("?")
    found = match(method, path)
    if found is None:
        raise ValueError(unanswered(method, path))
    route, parts = found
    return route.answer(Request(session, f"{method} {route.pattern.replace('{}', '…')}", parts, query, body))


def match(method: str, path: str) -> tuple[Route, tuple[str, ...]] | None:
    """Return the route of a path, and what stands in its open parts."""
    given = path.strip("/").split("/")
    for route in ROUTES:
        pattern = route.pattern.strip("/").split("/")
        if route.method == method and len(pattern) == len(given) and all(map(_fits, pattern, given)):
            return route, tuple(part for part, one in zip(given, pattern, strict=True) if one == "{}")
    return None


def _fits(pattern: str, part: str) -> bool:
    return (pattern == "{}" and part != "") or pattern == part or UNKNOWN in part


def may_be_answered(method: str, path: str) -> bool:
    """Tell whether there is a route of a path that is known as far as it stands in a script's text; what is `UNKNOWN` may be anything."""
    given = path.strip("/").split("/")
    if UNKNOWN in given[0]:
        return True
    patterns = [route.pattern.strip("/").split("/") for route in ROUTES if route.method == method]
    if given[-1].endswith(UNKNOWN):
        patterns = [pattern[: len(given)] for pattern in patterns]
    return any(len(pattern) == len(given) and all(map(_fits, pattern, given)) for pattern in patterns)


def unanswered(method: str, path: str) -> str:
    """Say that nothing answers a route, and what to do instead."""
    said = path.replace(UNKNOWN, "…")[:100]
    instead = next(
        (why for start, why in INSTEAD.items() if path.startswith(start)),
        "docs/orthanc-spelling.md lists those that there are",
    )
    return f"{method} {said} is not answered to scripts: {instead}"


def rest_api_get(session: Session, uri: str, builtin: bool = False, headers: object = None) -> Any:  # noqa: ARG001 - as in Lua
    """Answer a route from what the event is about, as the text of JSON; what it does not know fails the run."""
    return request(session, "GET", uri)


def rest_api_post(session: Session, uri: str, body: object = "", builtin: bool = False, headers: object = None) -> Any:  # noqa: ARG001 - as in Lua
    """Ask for what a route does. The answer of a store route is `"{}"`: nothing is sent yet, and what became of it is told later."""
    return request(session, "POST", uri, body)


def rest_api_put(session: Session, uri: str, body: object = "", builtin: bool = False, headers: object = None) -> Any:  # noqa: ARG001 - as in Lua
    """Note metadata or a label of what the event is about, by their routes."""
    return request(session, "PUT", uri, body)


def rest_api_delete(session: Session, uri: str, builtin: bool = False, headers: object = None) -> Any:  # noqa: ARG001 - as in Lua
    """Delete what a route names, as `Delete` does, or metadata or a label of it; return True."""
    return request(session, "DELETE", uri)
