"""What requests about queries say: levels, keys, whom to send to, and how; and how what was found is named and shown."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from typing import Any, NoReturn

from fastapi import Request
from pydicom.datadict import tag_for_keyword

from hostd.delivery.providers import Provider
from hostd.delivery.retrieve_jobs import GET, MOVE
from hostd.dicom.element_values import Elements
from hostd.dicom.query import LEVELS, UNIQUE_KEYS, Level, Question, tag_of
from hostd.web import tags
from hostd.web.asking import flag, wrong
from hostd.web.body import small_body
from hostd.web.errors import BAD_PARAMETER_TYPE, PARAMETER_OUT_OF_RANGE, WebError
from hostd.web.forms import subject_of
from hostd.web.parameters import is_set

_LARGEST = 4 << 20
_QUERY_LEVEL = 0x00080052
_ACCESSION_NUMBER = 0x00080050
_WIRE_LEVELS: Mapping[Level, str] = {"patient": "PATIENT", "study": "STUDY", "series": "SERIES", "instance": "IMAGE"}
_METHODS = ("SystemDefault", "C-MOVE", "C-GET")


def unique(level: Level, keys: Mapping[int, str]) -> Question:
    """Return the question that names one of that level: by the unique keys of its model alone (PS3.4 §C.4.2.1.4)."""
    first = 0 if level == "patient" else 1
    wanted = [tag_of(UNIQUE_KEYS[one]) for one in LEVELS[first : LEVELS.index(level) + 1]]
    return Question(level, {tag: keys[tag] for tag in wanted if keys.get(tag)})


def completed(question: Question) -> Question:
    """Return the question with what Orthanc asks for besides: what names a match, and the accession number from studies down."""
    complete = question.complete()
    return complete if question.level == "patient" else complete.with_keys(["AccessionNumber"])


def shown_of(level: Level, found: Elements, body: Mapping[str, Any]) -> dict[str, Any]:
    """Return what a job says of one thing that is sent: by number, or by name with `Simplify`, or `Full`."""
    wanted = [tag_of(UNIQUE_KEYS[one]) for one in LEVELS[: LEVELS.index(level) + 1]]
    if level != "patient":
        wanted.append(_ACCESSION_NUMBER)
    kept = {tag: ("", [value_of(found, tag)]) for tag in sorted(wanted) if tag in found}
    elements: Elements = dict(sorted((kept | {_QUERY_LEVEL: ("CS", [_WIRE_LEVELS[level]])}).items()))
    simplify, full = flag(body, "Simplify"), flag(body, "Full")
    return (tags.simplified if simplify else tags.full if full else tags.short)(elements)


def value_of(elements: Elements, tag: int) -> str:
    """Return an element as text, '' when it is absent."""
    values = elements.get(tag, ("", None))[1]
    return "\\".join(map(str, values)) if values else ""


def form_of(request: Request) -> Callable[[Elements], dict[str, Any]]:
    """Return how elements are shown: full, or as the query parameters say."""
    if is_set(request, "simplify"):
        return tags.simplified
    return tags.short if is_set(request, "short") else tags.full


def method_of(body: Mapping[str, Any], provider: Provider, *, has_target: bool) -> str:
    """Return the type of the job: as the request says, or as the modality is had to send; to another AE only C-MOVE can."""
    said = body.get("RetrieveMethod", "SystemDefault")
    if said not in _METHODS:
        raise WebError(400, PARAMETER_OUT_OF_RANGE, f"RetrieveMethod is one of {', '.join(_METHODS)}")
    if said == "SystemDefault":
        return GET if provider.by == "get" and not has_target else MOVE
    return GET if said == "C-GET" else MOVE


def level_of(body: Mapping[str, Any]) -> Level:
    """Return the `Level` of a request. Raises `WebError`."""
    if not isinstance(name := body.get("Level"), str):
        raise wrong("The JSON body must contain field Level")
    level = subject_of(name)
    if level is None:
        raise WebError(400, PARAMETER_OUT_OF_RANGE, "Level is Patient, Study, Series or Instance")
    return level


def keys_of(given: Any) -> dict[int, str]:
    """Return keys by tag, from an object whose names are keywords, or numbers as `0010,0020`. Raises `WebError`."""
    if not isinstance(given, dict) or not all(isinstance(text, str) for text in given.values()):
        raise _wrong_keys()
    return {_tag(name): text for name, text in given.items()}


def _tag(name: str) -> int:
    if name and (tag := tag_for_keyword(name)) is not None:
        return tag
    digits = name.replace(",", "").replace("-", "")
    try:
        if len(digits) == 8:
            return int(digits, 16)
    except ValueError:
        pass
    raise _wrong_keys()


async def target_of(request: Request) -> dict[str, Any]:
    """Return the body of a retrieve as an object: it may be the AE title to send to, as text, or nothing."""
    body = await small_body(request, _LARGEST)
    if body.lstrip().startswith(b"{"):
        return _parsed(body)
    try:
        text = body.decode("ascii").strip()
    except UnicodeDecodeError as error:
        raise wrong("Must provide the AE title to send to, or a JSON object") from error
    try:
        found = json.loads(text)
    except (ValueError, RecursionError):
        found = text
    if not isinstance(found, str):
        raise wrong("Must provide the AE title to send to, or a JSON object")
    return {"TargetAet": found}


async def object_of(request: Request) -> dict[str, Any]:
    """Return the body, an object in JSON. Raises `WebError`."""
    return _parsed(await small_body(request, _LARGEST))


def _parsed(body: bytes) -> dict[str, Any]:
    try:
        found = json.loads(body, parse_constant=_no_number)
    except (ValueError, RecursionError) as error:
        raise wrong("Must provide a JSON object") from error
    if not isinstance(found, dict):
        raise wrong("Must provide a JSON object")
    return found


def _no_number(constant: str) -> NoReturn:
    raise ValueError(constant)


def title_of(body: Mapping[str, Any], name: str, *, orthanc_status: int = BAD_PARAMETER_TYPE) -> str:
    """Return an AE title that a request names, '' when it names none. Raises `WebError`."""
    value = body.get(name, "")
    if not isinstance(value, str):
        raise wrong(f'"{name}" is a text', orthanc_status)
    if len(value.strip()) > 16 or not value.isascii() or "\\" in value:
        raise wrong(f'"{name}" is an AE title: up to 16 characters of ASCII')
    return value.strip()


def seconds_of(body: Mapping[str, Any]) -> float | None:
    """Return the `Timeout` of a request, None for that of the modality. Raises `WebError`."""
    value = body.get("Timeout", 0)
    if value == 0 and not isinstance(value, bool):
        return None
    if isinstance(value, bool) or not isinstance(value, (int, float)) or not 0 < value <= 86_400:
        raise wrong('"Timeout" is a number of seconds, up to a day')
    return float(value)


def _wrong_keys() -> WebError:
    return wrong("Associative array of DICOM tags to strings expected")
