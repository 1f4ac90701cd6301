"""What a request names to be sent, packed or changed: one identifier, several, or an object that says more."""

from __future__ import annotations

import json
import re
from typing import Any

from fastapi import Request
from sqlalchemy import Connection

from hostd.archive import resources
from hostd.web.body import small_body
from hostd.web.errors import BAD_FILE_FORMAT, WebError, unknown_resource

_LARGEST = 64 << 20
_IDENTIFIER = re.compile(rb"\s*[0-9a-f]{8}(-[0-9a-f]{8}){4}\s*")


async def named_resources(request: Request) -> dict[str, Any]:
    """Return the body as an object with `Resources`: it may be an identifier, as it is or as a text of JSON, a list of them, or that object.

    Raises `WebError` for anything else.
    """
    body = await small_body(request, _LARGEST)
    if _IDENTIFIER.fullmatch(body):
        return {"Resources": [body.decode().strip()]}
    try:
        given = json.loads(body)
    except (ValueError, RecursionError) as error:
        raise wrong("Must provide a JSON value") from error
    if isinstance(given, str):
        given = [given]
    if isinstance(given, list):
        given = {"Resources": given}
    _check(given)
    return dict(given)


def _check(given: Any) -> None:
    if not isinstance(given, dict):
        raise wrong("Must provide an identifier, an array of them, or an object")
    if "Resources" not in given:
        raise wrong('Missing field in JSON: "Resources"')
    if not isinstance(given["Resources"], list):
        raise wrong('JSON field "Resources" must contain an array')
    if not all(isinstance(one, str) for one in given["Resources"]):
        raise wrong("Resources to be exported must be specified as a JSON array of strings")
    for one in given["Resources"]:
        if not _IDENTIFIER.fullmatch(one.encode("utf-8", "replace")):
            raise wrong(f"This string is not a valid Orthanc identifier: {one[:100]}")


def members(connection: Connection, identifiers: list[str]) -> list[str]:
    """Return the instances of all that is named. Raises `WebError` where there is no such thing."""
    found, unknown = resources.members(connection, dict.fromkeys(identifiers))
    if unknown:
        raise unknown_resource(f"Unknown resource: {unknown[0]}")
    return found


def wrong(details: str) -> WebError:
    """Return the error of a body that says something else than it should."""
    return WebError(400, BAD_FILE_FORMAT, details)


def text(given: dict[str, Any], name: str) -> str | None:
    """Return a field that is a text, None where it is absent or empty. Raises `WebError`."""
    found = given.get(name)
    if found is not None and not isinstance(found, str):
        raise wrong(f'"{name}" is no text')
    return found or None


def flag(given: dict[str, Any], name: str, *, default: bool | None = False) -> bool | None:
    """Return a field that is true or false. Raises `WebError`."""
    found = given.get(name, default)
    if found is not default and not isinstance(found, bool):
        raise wrong(f'"{name}" is not true or false')
    return found if found is None else bool(found)


def number(given: dict[str, Any], name: str, lowest: int, highest: int) -> int | None:
    """Return a field that is a whole number, None where it is absent. Raises `WebError`."""
    found = given.get(name)
    if found is None:
        return None
    if isinstance(found, bool) or not isinstance(found, int) or not lowest <= found <= highest:
        raise wrong(f'"{name}" is not a whole number from {lowest} to {highest}')
    return found
