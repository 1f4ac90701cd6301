"""Archives and media: what is stored as a ZIP, streamed as it is packed, or kept by a job to be fetched later."""

from __future__ import annotations

import contextlib
import json
from collections.abc import Iterator
from typing import Annotated, Any, Literal, cast

import msgspec
from fastapi import APIRouter, Query, Request
from sqlalchemy import Connection
from starlette.concurrency import run_in_threadpool
from starlette.responses import Response, StreamingResponse
from starlette.types import Receive, Scope, Send

from hostd.archive import jobs, resources
from hostd.archive.archive import Archive
from hostd.jobs.faults import JobFault
from hostd.jobs.packing import ARCHIVE, MEDIA, OUTPUT, Packed, Packer, Packing, Packs, packed
from hostd.transcoding.transform import Transcode
from hostd.web.asking import flag, members, text
from hostd.web.body import small_body
from hostd.web.errors import BAD_FILE_FORMAT, INEXISTENT_ITEM, PARAMETER_OUT_OF_RANGE, WebError, unknown_resource
from hostd.web.files import disposition, file_response
from hostd.web.jobs import Submitting, is_synchronous, priority
from hostd.web.responses import JsonResponse
from hostd.web.transcoded import lossy_quality, wanted_syntax

Level = Literal["series", "study", "patient"]
Transcoded = Annotated[str | None, Query(alias="transcode", description="The transfer syntax to bring the files to.")]
Quality = Annotated[
    int | None, Query(alias="lossy-quality", description="From 1 to 100, where information may be lost.")
]
Named = Annotated[str | None, Query(description="What the file is called.")]

_LARGEST = 64 << 20
_TABLES = {"series": "series", "study": "studies", "patient": "patients"}


def archive_routes(archive: Archive, submitting: Submitting, packs: Packs, packer: Packer) -> APIRouter:
    """Return the routes."""
    router = APIRouter(tags=["archives"])
    asking = _Asking(archive, submitting, packs, packer)
    for level, table in _TABLES.items():
        for kind, is_media in (("archive", False), ("media", True)):
            _add_level(router, asking, cast("Level", level), f"/{table}/{{{level}_id}}/{kind}", is_media=is_media)
    for path, is_media, extended in (
        ("archive", False, False), ("media", True, False), ("media-extended", True, True),
    ):  # fmt: skip
        _add_many(router, asking, f"/tools/create-{path}", is_media=is_media, extended=extended)
    _add_output(router, asking)
    return router


def _add_level(router: APIRouter, asking: _Asking, level: Level, path: str, *, is_media: bool) -> None:
    parameter = f"{level}_id"
    what = "a medium with its DICOMDIR" if is_media else "an archive"

    @router.get(path, summary=f"Give all of a {level} as {what}: a ZIP")
    async def give(
        request: Request, transcode: Transcoded = None, quality: Quality = None, filename: Named = None
    ) -> Response:
        identifier = request.path_params[parameter]
        extended = is_media and request.query_params.get("extended", "false").lower() not in {"false", "0"}
        asked = Packing(is_media, extended, _transcode(transcode, quality))
        return await asking.stream(asked, await asking.of_level(level, identifier), filename or f"{identifier}.zip")

    @router.post(path, summary=f"Give all of a {level} as {what}, or have a job keep it")
    async def post(request: Request) -> Response:
        identifier = request.path_params[parameter]
        given = await _given(request)
        asked = _packing(given, is_media=is_media, extended=flag(given, "Extended"))
        return await asking.answer(given, asked, await asking.of_level(level, identifier), f"{identifier}.zip")


def _add_many(router: APIRouter, asking: _Asking, path: str, *, is_media: bool, extended: bool) -> None:
    what = "a medium with its DICOMDIR" if is_media else "an archive"

    @router.get(path, summary=f"Give many resources as {what}: a ZIP")
    async def give(
        wanted: Annotated[str, Query(alias="resources", description="Their identifiers, with commas between.")],
        transcode: Transcoded = None,
        quality: Quality = None,
        filename: Named = None,
    ) -> Response:
        ids = await asking.of_many([one.strip() for one in wanted.split(",") if one.strip()])
        asked = Packing(is_media, extended, _transcode(transcode, quality))
        return await asking.stream(asked, ids, filename or "Archive.zip")

    @router.post(path, summary=f"Give many resources as {what}, or have a job keep it")
    async def post(request: Request) -> Response:
        given = await _given(request)
        wanted = given.get("Resources")
        if not isinstance(wanted, list) or not all(isinstance(one, str) for one in wanted):
            raise WebError(400, BAD_FILE_FORMAT, "List of strings expected in field: Resources")
        asked = _packing(given, is_media=is_media, extended=flag(given, "Extended", default=extended))
        return await asking.answer(given, asked, await asking.of_many(wanted), "Archive.zip")


def _add_output(router: APIRouter, asking: _Asking) -> None:
    @router.get("/jobs/{job_id}/{key}", summary="Give the output of a job: the ZIP that it packed")
    def output(job_id: str, key: str) -> Response:
        return asking.output(job_id, key)

    @router.delete("/jobs/{job_id}/{key}", summary="Remove the output of a job")
    def delete(job_id: str, key: str) -> Response:
        return asking.delete_output(job_id, key)


class _Asking:
    """What the routes have in common."""

    def __init__(self, archive: Archive, submitting: Submitting, packs: Packs, packer: Packer) -> None:
        self._archive = archive
        self._submitting = submitting
        self._packs = packs
        self._packer = packer

    async def of_level(self, level: Level, identifier: str) -> list[str]:
        """Return the instances of something. Raises `WebError`."""

        def read() -> list[str]:
            with self._archive.read() as connection:
                return resources.instances_of(connection, level, identifier)

        found = await run_in_threadpool(read)
        if not found:
            raise unknown_resource()
        return found

    async def of_many(self, identifiers: list[str]) -> list[str]:
        """Return the instances of many things. Raises `WebError`."""

        def read() -> list[str]:
            with self._archive.read() as connection:
                return members(connection, identifiers)

        return await run_in_threadpool(read)

    async def answer(self, given: dict[str, Any], asked: Packing, ids: list[str], filename: str) -> Response:
        """Stream a ZIP, or answer with the job that packs it. Raises `WebError`."""
        urgency = priority(given)
        if is_synchronous(given):
            return await self.stream(asked, ids, text(given, "Filename") or filename)
        content: dict[str, Any] = {"Description": "REST API", "InstancesCount": len(ids)}
        if asked.transcode is not None:
            content["Transcode"] = given["Transcode"]
        now = self._archive.clock.now()

        def submit(connection: Connection) -> str:
            return jobs.submit(
                connection, MEDIA if asked.is_media else ARCHIVE, msgspec.to_builtins(asked), now, content=content, items=ids,
                priority=urgency, user_data=given.get("UserData"),
            )  # fmt: skip

        return await self._submitting.answer(submit, is_synchronous=False)

    async def stream(self, asked: Packing, ids: list[str], filename: str) -> Response:
        """Stream a ZIP. Raises `WebError` for what is known before its first byte."""
        try:
            instances = await run_in_threadpool(self._packed, ids)
            pieces = self._packer.pieces(asked, instances)
            first = await run_in_threadpool(next, pieces)
        except JobFault as error:
            raise WebError(404, INEXISTENT_ITEM, str(error)) from error
        return _Zip(first, pieces, filename)

    def _packed(self, ids: list[str]) -> list[Packed]:
        with self._archive.read() as connection:
            return packed(connection, ids)

    def output(self, job_id: str, key: str) -> Response:
        """Give the output of a job. Raises `WebError`."""
        job = self._job(job_id, key)
        try:
            file = self._packs.output(job).open("rb")
        except FileNotFoundError as error:
            elsewhere = job.node not in (None, self._archive.node)
            where = f": the node {job.node} has it" if elsewhere else ""
            raise WebError(404, INEXISTENT_ITEM, f"Job has no such output: {key}{where}") from error
        return file_response(file, media_type="application/zip", headers=disposition("archive.zip"))

    def delete_output(self, job_id: str, key: str) -> Response:
        """Remove it. Raises `WebError`."""
        self._packs.forgotten(self._job(job_id, key))
        return JsonResponse({})

    def _job(self, job_id: str, key: str) -> jobs.Job:
        with self._archive.read() as connection:
            job = jobs.get(connection, job_id)
        if job is None or key != OUTPUT or job.type not in (ARCHIVE, MEDIA):
            raise WebError(404, INEXISTENT_ITEM, f"Job has no such output: {key}")
        return job


class _Zip(StreamingResponse):
    """A ZIP as it is packed; where its client goes away, no more is packed."""

    def __init__(self, first: bytes, pieces: Iterator[bytes], filename: str) -> None:
        self._pieces = pieces
        super().__init__(_after(first, pieces), media_type="application/zip", headers=disposition(filename))

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        try:
            await super().__call__(scope, receive, send)
        finally:
            with contextlib.suppress(ValueError, AttributeError):  # a piece is just being packed: it is the last one
                self._pieces.close()  # type: ignore[attr-defined]  # it is a generator


def _after(first: bytes, pieces: Iterator[bytes]) -> Iterator[bytes]:
    yield first
    yield from pieces


def _transcode(name: str | None, quality: int | None) -> Transcode | None:
    if name is None:
        return None
    syntax = wanted_syntax(name)
    options = lossy_quality(syntax, quality)
    return Transcode(syntax.uid, or_original=options is None, quality=options.quality if options is not None else None)


def _packing(given: dict[str, Any], *, is_media: bool, extended: bool) -> Packing:
    quality = given.get("LossyQuality")
    if quality is not None and (isinstance(quality, bool) or not isinstance(quality, int)):
        raise WebError(400, PARAMETER_OUT_OF_RANGE, '"LossyQuality" is a number from 1 to 100')
    return Packing(is_media, extended, _transcode(text(given, "Transcode"), quality))


async def _given(request: Request) -> dict[str, Any]:
    """Return the body, an object or a list of identifiers. Raises `WebError`."""
    body = await small_body(request, _LARGEST)
    try:
        given = json.loads(body)
    except (ValueError, RecursionError) as error:
        raise WebError(400, BAD_FILE_FORMAT, "The body must contain a JSON object, or an array") from error
    if isinstance(given, list):
        given = {"Resources": given}
    if not isinstance(given, dict):
        raise WebError(400, BAD_FILE_FORMAT, "The body must contain a JSON object, or an array")
    return given
