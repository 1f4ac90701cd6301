"""`/{level}/{id}/reconstruct` and `/tools/reconstruct`: what the index says of instances, written anew from their files."""

from __future__ import annotations

import json
from typing import Any

from fastapi import APIRouter, Request
from starlette.concurrency import run_in_threadpool
from starlette.responses import PlainTextResponse, Response

from hostd.archive.archive import Archive
from hostd.archive.labels import Subject
from hostd.archive.redescribing import redescribe
from hostd.web.body import small_body
from hostd.web.errors import CORRUPTED_FILE, NOT_IMPLEMENTED, WebError
from hostd.web.forms import PLURALS
from hostd.web.resources import require

_BODY = 4096


def reconstruction_routes(archive: Archive) -> APIRouter:
    """Return the routes."""
    router = APIRouter()
    for subject, plural in PLURALS.items():
        _add(archive, router, subject, plural)

    @router.post("/tools/reconstruct", summary="Describe all instances anew, as their files have them", tags=["tools"])
    async def everything(request: Request) -> Response:
        await _refuse_files(request)
        return await run_in_threadpool(_redescribed, archive)

    return router


def _add(archive: Archive, router: APIRouter, subject: Subject, plural: str) -> None:
    @router.post(
        f"/{plural}/{{identifier}}/reconstruct",
        summary="Describe it and its instances anew, as their files have them",
        name=f"reconstruct_{subject}",
        tags=[plural],
    )
    async def one(request: Request, identifier: str) -> Response:
        await _refuse_files(request)
        return await run_in_threadpool(_redescribed_one, archive, subject, identifier)


async def _refuse_files(request: Request) -> None:
    """Raise `WebError` for a body that asks for other files: Orthanc's older versions take no notice of a body."""
    if _fields(await small_body(request, _BODY)).get("ReconstructFiles") is True:
        raise WebError(501, NOT_IMPLEMENTED, "files are not made anew (ReconstructFiles): they stay as they are stored")


def _fields(body: bytes) -> dict[str, Any]:
    try:
        found = json.loads(body)
    except (ValueError, RecursionError):
        return {}
    return found if isinstance(found, dict) else {}


def _redescribed_one(archive: Archive, subject: Subject, identifier: str) -> Response:
    with archive.read() as connection:
        require(connection, subject, identifier)
    return _redescribed(archive, subject, identifier)


def _redescribed(archive: Archive, subject: Subject | None = None, identifier: str = "") -> Response:
    done = redescribe(archive, subject, identifier)
    if done.unreadable:
        first, why = next(iter(done.unreadable.items()))
        more = f" and {len(done.unreadable) - 1} others" if len(done.unreadable) > 1 else ""
        raise WebError(500, CORRUPTED_FILE, f"the file of {first}{more} cannot be read: {why}")
    return PlainTextResponse("")
