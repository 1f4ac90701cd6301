"""`POST /tools/find`, `/tools/count-resources` and `/tools/lookup`: looking for what is stored by its attributes."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from itertools import islice
from typing import Any, Literal, cast, get_args

from fastapi import APIRouter, Request
from sqlalchemy import Connection
from starlette.concurrency import run_in_threadpool
from starlette.responses import Response

from hostd.archive import answering
from hostd.archive.answering import Asked
from hostd.archive.archive import Archive
from hostd.archive.labels import Subject
from hostd.archive.queries import ORDER, Found, Labelling
from hostd.config.query import Query as Settings
from hostd.dicom.element_values import known_vr
from hostd.web.asking import flag
from hostd.web.body import small_body
from hostd.web.bulk import respelled
from hostd.web.errors import BAD_REQUEST, PARAMETER_OUT_OF_RANGE, WebError, bad_request
from hostd.web.fields import json_object
from hostd.web.forms import ancestor_form, subject_of
from hostd.web.listing import listed
from hostd.web.parameters import LARGEST
from hostd.web.requested import requested_form, tag_of
from hostd.web.resources import described_all, instances_of
from hostd.web.responses import JsonResponse

_LABELLINGS: tuple[Labelling, ...] = get_args(Labelling)
_IDENTIFIER = 1024
"""Bytes."""
_AT_ONCE = 50
"""Results described in one reading of the index."""
_IDENTIFIERS: dict[Subject, str] = {
    "patient": "PatientID",
    "study": "StudyInstanceUID",
    "series": "SeriesInstanceUID",
    "instance": "SOPInstanceUID",
}
_PARENTS: dict[str, Subject] = {"ParentPatient": "patient", "ParentStudy": "study", "ParentSeries": "series"}
"""Fields that name what is searched, by Orthanc's identifier."""
_UNKNOWN = ("MetadataQuery", "OrderBy")
"""Fields of newer Orthancs that say which are found, or which first: who says so must not be given others."""


@dataclass(frozen=True, slots=True)
class _Wanted:
    """A body of `/tools/find`: what is looked for, which of it, and how it is told."""

    asked: Asked
    since: int
    limit: int
    expand: bool
    form: Literal["simple", "short", "full"]
    tags: tuple[int, ...]


def find_routes(archive: Archive, settings: Callable[[], Settings]) -> APIRouter:
    """Return the routes."""
    router = APIRouter(prefix="/tools", tags=["tools"])

    @router.post("/find", summary="Find patients, studies, series or instances by their attributes")
    async def find(request: Request) -> Response:
        wanted = _wanted(await json_object(request), settings())
        return await listed(_told(archive, wanted), JsonResponse.media_type)

    @router.post("/count-resources", summary="Count the patients, studies, series or instances with such attributes")
    async def count(request: Request) -> Response:
        wanted = _wanted(await json_object(request), settings())
        number = await run_in_threadpool(lambda: sum(1 for _ in _found(archive, wanted)))
        return JsonResponse({"Count": number})

    @router.post("/lookup", summary="Find what has a patient ID or a UID")
    async def lookup(request: Request) -> Response:
        try:
            identifier = (await small_body(request, _IDENTIFIER)).decode().strip(" \0\r\n")
        except UnicodeDecodeError as error:
            raise bad_request("the body is no text in UTF-8") from error
        return JsonResponse(await run_in_threadpool(_looked_up, archive, identifier))

    return router


def _looked_up(archive: Archive, identifier: str) -> list[dict[str, str]]:
    if set(identifier) & set("*?"):
        raise WebError(400, PARAMETER_OUT_OF_RANGE, "an identifier is looked up as it is, without wildcards")
    if not identifier:
        return []
    found = []
    for subject, keyword in _IDENTIFIERS.items():
        keys = {tag_of(keyword): ("LT", identifier)}  # so that a backslash is one
        asked = answering.asked(subject, keys, is_exact=lambda _vr: False, files="never")
        found += [ancestor_form(subject, one.found.id) for page in answering.answers(archive, asked) for one in page]
    return found


def _wanted(fields: dict[str, Any], settings: Settings) -> _Wanted:
    level = fields.get("Level")
    if not isinstance(level, str):
        raise bad_request('Field "Level" is missing, or should be a string')
    subject = subject_of(level)
    if subject is None:
        raise WebError(400, PARAMETER_OUT_OF_RANGE, "Level is Patient, Study, Series or Instance")
    query = fields.get("Query")
    if not isinstance(query, dict) or not all(isinstance(text, str) for text in query.values()):
        raise bad_request('Field "Query" is missing, or should be an object of strings')
    is_exact = flag(fields, "CaseSensitive", orthanc_status=BAD_REQUEST)
    labelling = fields.get("LabelsConstraint", "All")
    if labelling not in _LABELLINGS:
        raise WebError(400, PARAMETER_OUT_OF_RANGE, "LabelsConstraint is All, Any or None")
    for name in _UNKNOWN:
        if fields.get(name):
            raise bad_request(f'Field "{name}" is not understood, and would change what is found')
    keys = {(tag := tag_of(name)): (known_vr(tag), text) for name, text in query.items() if text}
    asked = answering.asked(
        subject,
        keys,
        is_exact=lambda _vr: is_exact,
        files=settings.read_files,
        within=_within(fields, subject),
        labels=_texts(fields, "Labels"),
        labelling=cast("Labelling", labelling),
    )
    most = settings.limit_instances if subject == "instance" else settings.limit_results
    limit = _number(fields, "Limit")
    return _Wanted(
        replace(asked, wanted=frozenset()),
        _number(fields, "Since"),
        min(limit, most) if limit and most else limit or most,
        flag(fields, "Expand"),
        "full" if flag(fields, "Full") else "short" if flag(fields, "Short") else "simple",
        tuple(tag_of(name) for name in _texts(fields, "RequestedTags")),
    )


def _within(fields: dict[str, Any], subject: Subject) -> dict[Subject, list[str]]:
    """Return in what is searched, by level. Raises `WebError`."""
    found: dict[Subject, list[str]] = {}
    for name, level in _PARENTS.items():
        if name not in fields:
            continue
        if not isinstance(fields[name], str):
            raise bad_request(f'Field "{name}" should be a string')
        if ORDER.index(level) >= ORDER.index(subject):
            raise WebError(400, PARAMETER_OUT_OF_RANGE, f'Field "{name}" names nothing above the level')
        found[level] = [fields[name]]
    return found


def _texts(fields: dict[str, Any], name: str) -> list[str]:
    found = fields.get(name, [])
    if not isinstance(found, list) or not all(isinstance(one, str) for one in found):
        raise bad_request(f'Field "{name}" should be an array of strings')
    return found


def _number(fields: dict[str, Any], name: str) -> int:
    found = fields.get(name, 0)
    if isinstance(found, bool) or not isinstance(found, int):
        raise bad_request(f'Field "{name}" should be an integer')
    if not 0 <= found <= LARGEST:
        raise WebError(400, PARAMETER_OUT_OF_RANGE, f'Field "{name}" should be a positive integer')
    return found


def _found(archive: Archive, wanted: _Wanted) -> Iterator[Found]:
    every = (one.found for page in answering.answers(archive, wanted.asked) for one in page)
    return islice(every, wanted.since, wanted.since + wanted.limit if wanted.limit else None)


def _told(archive: Archive, wanted: _Wanted) -> Iterator[Any]:
    found = _found(archive, wanted)
    if not wanted.expand:
        yield from (one.id for one in found)
        return
    while some := list(islice(found, _AT_ONCE)):
        forms = []
        with archive.read() if wanted.tags else archive.look() as connection:
            for form in described_all(connection, wanted.asked.query.level, [one.id for one in some]):
                with contextlib.suppress(WebError):  # its file was deleted meanwhile
                    forms.append(_completed(archive, connection, form, wanted))
        yield from forms  # with nothing held over a slow client


def _completed(archive: Archive, connection: Connection, form: dict[str, Any], wanted: _Wanted) -> dict[str, Any]:
    """Return the form of a result with its main tags in the form that is wanted, and with those that are wanted besides."""
    form = respelled(form, wanted.form)
    if wanted.tags:
        level = wanted.asked.query.level
        members = instances_of(connection, level, form["ID"])
        form["RequestedTags"] = requested_form(archive, connection, level, members, wanted.tags)
    return form
