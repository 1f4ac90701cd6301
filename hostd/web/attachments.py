"""`/{level}/{id}/attachments`: of an instance there is one, its DICOM file; of the levels above there is none."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from functools import partial
from typing import Annotated

from fastapi import APIRouter, Query, Request
from starlette.responses import PlainTextResponse, Response

from hostd.archive.archive import Archive
from hostd.archive.digests import Digest
from hostd.archive.levels import LEVELS, Level
from hostd.archive.records import Instance
from hostd.web.errors import CORRUPTED_FILE, FORBIDDEN, INEXISTENT_ITEM, WebError
from hostd.web.files import disposition, file_response, opened
from hostd.web.forms import PLURALS, file_uuid
from hostd.web.parameters import is_set
from hostd.web.resources import existing, existing_level
from hostd.web.responses import JsonResponse

_DICOM, _DICOM_NUMBER = "dicom", 1
"""The only attachment, and its number among Orthanc's."""
_OPERATIONS = [
    "compressed-data", "compressed-md5", "compressed-size", "data", "info", "is-compressed", "md5", "size", "verify-md5",
]  # fmt: skip
_PIECE = 1 << 20
Full = Annotated[str | None, Query(description="Also the numbers that Orthanc has for attachments. A flag.")]


def attachment_routes(archive: Archive) -> list[APIRouter]:
    """Return the routes of each of the four levels."""
    above = [_of_level(archive, subject) for subject in LEVELS]
    return [*above, _of_instances(archive)]


def _of_level(archive: Archive, level: Level) -> APIRouter:
    router = APIRouter(prefix=f"/{PLURALS[level]}/{{identifier}}", tags=[PLURALS[level]])

    @router.get("/attachments", summary="List the attachments: there are none")
    def attachments(request: Request, identifier: str, full: Full = None) -> Response:  # noqa: ARG001 - declared for the documentation
        with archive.read() as connection:
            existing_level(connection, level, identifier)
        return JsonResponse({} if is_set(request, "full") else [])

    return router


def _of_instances(archive: Archive) -> APIRouter:
    router = APIRouter(prefix="/instances/{identifier}/attachments", tags=["instances"])

    @router.get("", summary="List the attachments: the DICOM file")
    def attachments(request: Request, identifier: str, full: Full = None) -> Response:  # noqa: ARG001 - declared for the documentation
        existing(archive, identifier)
        return JsonResponse({_DICOM: _DICOM_NUMBER} if is_set(request, "full") else [_DICOM])

    @router.get("/{name}", summary="List what can be asked of an attachment")
    def operations(identifier: str, name: str) -> Response:
        _attached(archive, identifier, name)
        return JsonResponse(_OPERATIONS)

    @router.get("/{name}/info", summary="Describe an attachment")
    def info(identifier: str, name: str) -> Response:
        instance = _attached(archive, identifier, name)
        digest, size = _md5(archive, instance), instance.blob.size
        return JsonResponse(
            {
                "CompressedMD5": digest, "CompressedSize": size, "ContentType": _DICOM_NUMBER,
                "UncompressedMD5": digest, "UncompressedSize": size, "Uuid": file_uuid(instance),
            }
        )  # fmt: skip

    @router.post("/{name}/verify-md5", summary="See whether the file is what was stored, byte for byte")
    def verify(identifier: str, name: str) -> Response:
        _md5(archive, _attached(archive, identifier, name))
        return JsonResponse({})

    @router.delete("/{name}", summary="Refused: an instance is deleted as a whole")
    def delete(identifier: str, name: str) -> Response:
        _attached(archive, identifier, name)
        raise WebError(403, FORBIDDEN, "a DICOM file is deleted with its instance")

    for stored in ("", "compressed-"):
        _add_text(archive, router, f"{stored}size", "Tell the size in bytes", lambda one: str(one.blob.size))
        _add_text(archive, router, f"{stored}md5", "Tell the MD5 of the file", partial(_md5, archive))
    _add_text(archive, router, "is-compressed", "Tell whether it is stored compressed: 0", lambda _: "0")
    _add_data(archive, router, "data", "Fetch the DICOM file", "application/dicom")
    _add_data(archive, router, "compressed-data", "Fetch the DICOM file as it is stored", "application/octet-stream")
    return router


def _add_text(archive: Archive, router: APIRouter, part: str, summary: str, told: Callable[[Instance], str]) -> None:
    @router.get(f"/{{name}}/{part}", summary=summary, name=f"attachment_{part}")
    def text(identifier: str, name: str) -> Response:
        return PlainTextResponse(told(_attached(archive, identifier, name)))


def _add_data(archive: Archive, router: APIRouter, part: str, summary: str, media_type: str) -> None:
    @router.get(f"/{{name}}/{part}", summary=summary, name=f"attachment_{part}")
    def data(identifier: str, name: str) -> Response:
        instance = _attached(archive, identifier, name)
        headers = disposition(f"{file_uuid(instance)}.dcm")
        return file_response(opened(archive, instance), media_type=media_type, headers=headers)


def _attached(archive: Archive, identifier: str, name: str) -> Instance:
    instance = existing(archive, identifier)
    if name not in {_DICOM, str(_DICOM_NUMBER)}:
        raise WebError(404, INEXISTENT_ITEM, "an instance has one attachment, its DICOM file: dicom")
    return instance


def _md5(archive: Archive, instance: Instance) -> str:
    """Return the MD5 of a file that is what was stored. Raises `WebError` for one that is not."""
    found = _digest(archive, instance)
    if found is None:
        raise WebError(500, CORRUPTED_FILE, "the file is not what was stored: the disk has changed it")
    return found


def _digest(archive: Archive, instance: Instance) -> str | None:
    """Return the MD5 of a file, None when it is not what was stored."""
    md5, digest = hashlib.md5(usedforsecurity=False), Digest(instance.blob.sha256)
    with opened(archive, instance) as file:
        while piece := file.read(_PIECE):
            md5.update(piece)
            digest.update(piece)
    return md5.hexdigest() if digest.text() == instance.blob.sha256 else None
