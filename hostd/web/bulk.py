"""`/tools/bulk-delete` and `/tools/bulk-content`: many patients, studies, series and instances in one request."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Sequence
from itertools import islice
from typing import Any, cast

import structlog
from fastapi import APIRouter, Request
from sqlalchemy import Connection
from starlette.concurrency import run_in_threadpool
from starlette.responses import PlainTextResponse, Response

from hostd.archive import hierarchy, instances
from hostd.archive.archive import Archive
from hostd.archive.labels import Subject
from hostd.archive.levels import LEVELS, Level
from hostd.dicom.element_values import Elements
from hostd.dicom.main_tags import main_keywords
from hostd.web import tags
from hostd.web.asking import flag, text, wrong
from hostd.web.deletion import delete_resource
from hostd.web.errors import PARAMETER_OUT_OF_RANGE, UNKNOWN_RESOURCE, WebError
from hostd.web.fields import json_object, strings
from hostd.web.forms import TYPES, metadata_of, metadata_of_level, subject_of
from hostd.web.resources import above, described, existing_instance, existing_level
from hostd.web.responses import JsonResponse, PiecesResponse, encoded

_log = structlog.get_logger(__name__)

_AT_ONCE = 50
"""Resources that are read at one time."""
_HEIGHT: dict[Subject, int] = {"patient": 3, "study": 2, "series": 1, "instance": 0}
_MAIN = {keyword: tag for subject in TYPES for keyword, tag in main_keywords(subject).items()}


def bulk_routes(archive: Archive) -> APIRouter:
    """Return the routes."""
    router = APIRouter(prefix="/tools", tags=["tools"])

    @router.post("/bulk-delete", summary="Delete many patients, studies, series and instances")
    async def bulk_delete(request: Request) -> Response:
        wanted = strings(await json_object(request), "Resources")
        deleted = await run_in_threadpool(_delete, archive, wanted)
        _log.info("resources deleted", asked=len(wanted), deleted=deleted, username=request.state.username)
        return PlainTextResponse("")

    @router.post("/bulk-content", summary="Describe many patients, studies, series and instances")
    async def bulk_content(request: Request) -> Response:
        asked = await json_object(request)
        wanted = strings(asked, "Resources")
        name = text(asked, "Level")
        level = None if name is None else subject_of(name)
        if name is not None and level is None:
            raise wrong("Level is Patient, Study, Series or Instance", PARAMETER_OUT_OF_RANGE)
        form = "full" if flag(asked, "Full") else "short" if flag(asked, "Short") else "simple"
        described = _described(archive, wanted, level, form, metadata=flag(asked, "Metadata", default=True))
        return PiecesResponse(json_list(described), media_type=JsonResponse.media_type)

    return router


def _delete(archive: Archive, wanted: Sequence[str]) -> int:
    """Delete what there is of these, one after the other; return of how many there was something."""
    deleted = 0
    for identifier in wanted:
        with archive.read() as connection:
            subject = _subject(connection, identifier)
        if subject is None:
            continue
        try:
            delete_resource(archive, subject, identifier)
        except WebError as error:
            if error.problem.orthanc_status != UNKNOWN_RESOURCE:  # somebody else was quicker
                raise
        else:
            deleted += 1
    return deleted


def _subject(connection: Connection, identifier: str) -> Subject | None:
    """Return what an identifier is of, None when there is nothing of it."""
    if instances.get(connection, identifier) is not None:
        return "instance"
    return next((level for level in LEVELS if hierarchy.get(connection, level, identifier) is not None), None)


def json_list(described: Iterator[Any]) -> Iterator[bytes]:
    """Yield a list in JSON, in pieces."""
    yield b"["
    for number, one in enumerate(described):
        yield (b"," if number else b"") + encoded(one)
    yield b"]"


def _described(
    archive: Archive, wanted: Sequence[str], level: Subject | None, form: str, *, metadata: bool
) -> Iterator[dict[str, Any]]:
    """Yield the forms of these, or of what is above or below them on that level, each once; what is not there is left out."""
    names = _distinct(_on_level(archive, wanted, level))
    while some := list(islice(names, _AT_ONCE)):
        found = []
        with archive.read() as connection:
            for subject, identifier in some:
                with contextlib.suppress(WebError):  # deleted meanwhile
                    found.append(_form(connection, subject, identifier, form, metadata=metadata))
        yield from found


def _distinct(names: Iterator[tuple[Subject, str]]) -> Iterator[tuple[Subject, str]]:
    done: set[str] = set()
    for subject, identifier in names:
        if identifier not in done:
            done.add(identifier)
            yield subject, identifier


def _on_level(archive: Archive, wanted: Sequence[str], level: Subject | None) -> Iterator[tuple[Subject, str]]:
    for identifier in wanted:
        with archive.read() as connection:
            subject = _subject(connection, identifier)
            found = [] if subject is None else _moved(connection, subject, identifier, level or subject)
        yield from found


def _moved(connection: Connection, subject: Subject, identifier: str, level: Subject) -> Sequence[tuple[Subject, str]]:
    """Return what is on that level: above, below, or the resource itself."""
    if level == subject:
        return [(subject, identifier)]
    if _HEIGHT[level] > _HEIGHT[subject]:
        return [(level, above(connection, subject, identifier, cast("Level", level)))]
    below = hierarchy.descendants(connection, cast("Level", subject), identifier, level)
    return [(level, one) for one in below]


def _form(connection: Connection, subject: Subject, identifier: str, form: str, *, metadata: bool) -> dict[str, Any]:
    shown: dict[str, Any] = described(connection, subject, identifier)
    shown = respelled(shown, form)
    if metadata:
        shown["Metadata"] = (
            metadata_of(existing_instance(connection, identifier))
            if subject == "instance"
            else metadata_of_level(existing_level(connection, subject, identifier))
        )
    return shown


def respelled(shown: dict[str, Any], form: str) -> dict[str, Any]:
    """Return what one of the four levels tells of itself, with its main tags by keyword, by number, or in full."""
    if form == "simple":
        return shown
    names = [name for name in ("MainDicomTags", "PatientMainDicomTags") if name in shown]
    return shown | {name: _spelled(shown[name], form) for name in names}


def _spelled(known: dict[str, str], form: str) -> dict[str, Any]:
    elements: Elements = {_MAIN[keyword]: ("LO", [text]) for keyword, text in known.items()}
    return (tags.full if form == "full" else tags.short)(elements)
