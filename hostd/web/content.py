"""`/instances/{id}/…`: the file, its tags and its metadata."""

from __future__ import annotations

import os
from functools import partial
from typing import BinaryIO

from fastapi import APIRouter, Request
from starlette.responses import PlainTextResponse, Response, StreamingResponse
from starlette.types import Receive, Scope, Send

from hostd.archive import instances
from hostd.archive.archive import Archive
from hostd.archive.records import Instance
from hostd.dicom.element_values import Elements
from hostd.web import tags
from hostd.web.errors import INEXISTENT_FILE, INEXISTENT_ITEM, NOT_IMPLEMENTED, WebError, unknown_resource
from hostd.web.forms import file_uuid, metadata_of
from hostd.web.parameters import Expand, is_set
from hostd.web.responses import JsonResponse

_PIECE = 1 << 18


def content_routes(archive: Archive) -> APIRouter:
    """Return the routes below an instance."""
    router = APIRouter(prefix="/instances/{instance_id}", tags=["instances"])

    @router.get("/file", summary="Fetch the DICOM file")
    def file(request: Request, instance_id: str) -> Response:
        if "transcode" in request.query_params:
            raise WebError(501, NOT_IMPLEMENTED, "hostd gives the file as it is stored: leave ?transcode out")
        instance = existing(archive, instance_id)
        opened = _open(archive, instance)
        return _FileResponse(opened, f"{file_uuid(instance)}.dcm")

    @router.get("/tags", summary="Show the tags: full, ?short by number, ?simplify by name")
    def all_tags(request: Request, instance_id: str) -> Response:
        elements = _elements(archive, instance_id)
        if is_set(request, "simplify"):
            return JsonResponse(tags.simplified(elements))
        return JsonResponse((tags.short if is_set(request, "short") else tags.full)(elements))

    @router.get("/simplified-tags", summary="Show the tags by name")
    def simplified_tags(instance_id: str) -> Response:
        return JsonResponse(tags.simplified(_elements(archive, instance_id)))

    @router.get("/metadata", summary="List the metadata")
    def metadata(request: Request, instance_id: str, expand: Expand = None) -> Response:  # noqa: ARG001 - declared for the documentation
        known = metadata_of(existing(archive, instance_id))
        return JsonResponse(known if is_set(request, "expand") else list(known))

    @router.get("/metadata/{name}", summary="Read one metadata, as text")
    def one_metadata(instance_id: str, name: str) -> Response:
        known = metadata_of(existing(archive, instance_id))
        if name not in known:
            raise WebError(404, INEXISTENT_ITEM)
        return PlainTextResponse(known[name])

    return router


def existing(archive: Archive, instance_id: str) -> Instance:
    """Return the instance. Raises `WebError` when there is none."""
    with archive.read() as connection:
        instance = instances.get(connection, instance_id)
    if instance is None:
        raise unknown_resource()
    return instance


def _open(archive: Archive, instance: Instance) -> BinaryIO:
    try:
        return archive.blobs.path(instance.blob.name).open("rb")
    except FileNotFoundError as error:
        existing(archive, instance.id)  # deleted meanwhile: that is no fault
        raise WebError(500, INEXISTENT_FILE, "the file of this instance is missing from the archive") from error


class _FileResponse(StreamingResponse):
    """An open file, streamed, and closed whether or not the client stays to the end."""

    def __init__(self, file: BinaryIO, filename: str) -> None:
        self._file = file
        super().__init__(
            iter(partial(file.read, _PIECE), b""),
            media_type="application/dicom",
            headers={
                "Content-Disposition": f'filename="{filename}"',
                "Content-Length": str(os.fstat(file.fileno()).st_size),
            },
        )

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        try:
            await super().__call__(scope, receive, send)
        finally:
            self._file.close()


def _elements(archive: Archive, instance_id: str) -> Elements:
    with _open(archive, existing(archive, instance_id)) as file:
        return tags.read_elements(file)
