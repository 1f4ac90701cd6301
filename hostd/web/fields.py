"""What the small body of a request says: a word, a flag, or an object in JSON and its fields."""

from __future__ import annotations

import json
from typing import Any

from fastapi import Request

from hostd.web.body import small_body
from hostd.web.errors import BAD_FILE_FORMAT, BAD_REQUEST, WebError, bad_request

_LARGEST = 64 << 20
"""Bytes of an object: a list of a million identifiers has 47 MB."""
_WORD = 4096
_FLAGS = {"1": True, "true": True, "0": False, "false": False}


async def word(request: Request) -> str:
    """Return the body as a short text, without space around it. Raises `WebError`."""
    try:
        return (await small_body(request, _WORD)).decode().strip()
    except UnicodeDecodeError as error:
        raise bad_request("the body is no text in UTF-8") from error


async def flag(request: Request) -> bool:
    """Return the body, as Orthanc reads one that is true or false. Raises `WebError`."""
    text = (await word(request)).lower()
    if text not in _FLAGS:
        raise WebError(400, BAD_FILE_FORMAT, "Boolean value expected")
    return _FLAGS[text]


async def json_object(request: Request, *, orthanc_status: int = BAD_REQUEST) -> dict[str, Any]:
    """Return the body, an object in JSON. Raises `WebError` for anything else, with the number that Orthanc gives it on that route."""
    try:
        found = json.loads(await small_body(request, _LARGEST), parse_constant=_no_number)
    except (ValueError, RecursionError) as error:
        raise WebError(400, orthanc_status, "The body must contain a JSON object") from error
    if not isinstance(found, dict):
        raise WebError(400, orthanc_status, "The body must contain a JSON object")
    return found


def strings(fields: dict[str, Any], name: str, *, orthanc_status: int = BAD_FILE_FORMAT) -> list[str]:
    """Return a field that is a list of texts. Raises `WebError` where it is not there, or anything else."""
    found = fields.get(name)
    if not isinstance(found, list) or not all(isinstance(one, str) for one in found):
        raise WebError(400, orthanc_status, f"List of strings expected in field: {name}")
    return found


def _no_number(constant: str) -> float:
    raise ValueError(constant)
