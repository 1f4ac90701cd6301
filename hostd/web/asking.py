"""What a request names to be sent, packed or changed: one identifier, several, or an object that says more."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from typing import Any

from fastapi import Request
from sqlalchemy import Connection

from hostd.archive import resources
from hostd.web.body import small_body
from hostd.web.errors import BAD_FILE_FORMAT, WebError, unknown_resource

LONGEST_TIMEOUT_S = 86_400
"""What a request may give a modality at most to answer in."""
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


def wrong(details: str, orthanc_status: int = BAD_FILE_FORMAT) -> WebError:
    """Return the error of a body that says something else than it should."""
    return WebError(400, orthanc_status, details)


def text(given: Mapping[str, Any], name: str, *, orthanc_status: int = BAD_FILE_FORMAT) -> str | None:
    """Return a field that is a text, None where it is absent. Raises `WebError`."""
    if name not in given:
        return None
    if not isinstance(found := given[name], str):
        raise wrong(f'"{name}" is no text', orthanc_status)
    return found


def flag(given: Mapping[str, Any], name: str, *, default: bool = False, orthanc_status: int = BAD_FILE_FORMAT) -> bool:
    """Return a field that is true or false. Raises `WebError` for anything else."""
    found = given.get(name, default)
    if not isinstance(found, bool):
        raise wrong(f'"{name}" is not true or false', orthanc_status)
    return found


def number(
    given: Mapping[str, Any],
    name: str,
    lowest: int,
    highest: int,
    *,
    type_status: int = BAD_FILE_FORMAT,
    range_status: int = BAD_FILE_FORMAT,
) -> int | None:
    """Return a field that is a whole number, None where it is absent. Raises `WebError`."""
    if name not in given:
        return None
    found = given[name]
    if isinstance(found, bool) or not isinstance(found, int):
        raise wrong(f'"{name}" is not a whole number', type_status)
    if not lowest <= found <= highest:
        raise wrong(f'"{name}" is not a whole number from {lowest} to {highest}', range_status)
    return found
