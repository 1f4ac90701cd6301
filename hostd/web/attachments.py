"""`/{level}/{id}/attachments`: the DICOM file of an instance, and what clients attach to any of the four levels."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from typing import Annotated

from fastapi import APIRouter, Query, Request
from starlette.responses import PlainTextResponse, Response

from hostd.archive.archive import Archive
from hostd.archive.attachments import Attachment
from hostd.archive.digests import Digest
from hostd.archive.labels import Subject
from hostd.archive.records import Instance
from hostd.config.sections import Http
from hostd.config.storage import Storage
from hostd.web.attaching import Attaching, content_of
from hostd.web.errors import CORRUPTED_FILE, FORBIDDEN, INEXISTENT_ITEM, WebError
from hostd.web.files import disposition, file_response, open_response, opened
from hostd.web.forms import PLURALS, file_uuid
from hostd.web.marks import NAME
from hostd.web.parameters import is_set
from hostd.web.resources import existing
from hostd.web.responses import JsonResponse
from hostd.web.revisions import etag, not_modified

_DICOM, _DICOM_NUMBER = "dicom", 1
_OTHERS_OF_ORTHANC = frozenset({"dicom-as-json", "dicom-until-pixel-data"})
_FIRST_FREE, _LAST = 1024, 65535
"""The numbers that attachments of clients may have for names."""
_OPERATIONS = [
    "compress", "compressed-data", "compressed-md5", "compressed-size", "data", "info", "is-compressed", "md5", "size",
    "uncompress", "verify-md5",
]  # fmt: skip
_PIECE = 1 << 20
_OCTETS = "application/octet-stream"
Full = Annotated[str | None, Query(description="Also the numbers that Orthanc has for attachments. A flag.")]


def attachment_routes(
    archive: Archive,
    limits: Callable[[], Storage],
    http: Callable[[], Http],
    *,
    max_upload_bytes: int,
    upload_idle_s: float,
) -> list[APIRouter]:
    """Return the routes of each of the four levels.

    An attachment may have `max_upload_bytes`; `limits` says how much may be stored, `http` what it is called.
    """
    found = []
    for subject in PLURALS:
        attaching = Attaching(archive, subject, limits, http, max_bytes=max_upload_bytes, idle_s=upload_idle_s)
        router = APIRouter(prefix=f"/{PLURALS[subject]}/{{identifier}}/attachments", tags=[PLURALS[subject]])
        _add_changes(router, subject, attaching)
        _add_questions(archive, router, subject, attaching)
        found.append(router)
    return found


def _add_changes(router: APIRouter, subject: Subject, attaching: Attaching) -> None:
    @router.get("", summary="List the attachments")
    def attachments(request: Request, identifier: str, full: Full = None) -> Response:  # noqa: ARG001 - declared for the documentation
        found = ([_DICOM] if subject == "instance" else []) + attaching.names(identifier)
        return JsonResponse({name: _number(attaching, name) for name in found} if is_set(request, "full") else found)

    @router.put("/{name}", summary="Attach the body, in the place of what has that name")
    async def attach(request: Request, identifier: str, name: str) -> Response:
        _require_free(subject, name)
        made = await attaching.receive(request, identifier, name)
        return JsonResponse({}, headers={"ETag": etag(made.md5)})

    @router.delete("/{name}", summary="Take an attachment away")
    def delete(request: Request, identifier: str, name: str) -> Response:
        _require_free(subject, name)
        attaching.remove(identifier, name, request.headers)
        return PlainTextResponse("")

    for verb in ("compress", "uncompress"):
        _add_storing(router, subject, attaching, verb)


def _add_storing(router: APIRouter, subject: Subject, attaching: Attaching, verb: str) -> None:
    summary = f"Have the file of an attachment stored {'compressed' if verb == 'compress' else 'as it is'}"

    @router.post(f"/{{name}}/{verb}", summary=summary, name=f"{verb}_{subject}")
    def store(identifier: str, name: str) -> Response:
        _refuse_dicom(subject, name)
        attaching.store_as(identifier, name, compressed=verb == "compress")
        return JsonResponse({})


def _refuse_dicom(subject: Subject, name: str) -> None:
    """Raise `WebError` for the file of an instance."""
    if subject == "instance" and name in {_DICOM, str(_DICOM_NUMBER)}:
        raise WebError(403, FORBIDDEN, "a DICOM file is stored, and deleted, with its instance")


def _require_free(subject: Subject, name: str) -> None:
    """Raise `WebError` for a name that is hostd's or Orthanc's own, or none."""
    _refuse_dicom(subject, name)
    if NAME.fullmatch(name) is None:
        said = 'an attachment has 1 to 64 letters, digits, "_", "." and "-" as its name'
        raise WebError(404, INEXISTENT_ITEM, said)
    if name in _OTHERS_OF_ORTHANC or name == _DICOM or (name.isdecimal() and not _FIRST_FREE <= int(name) <= _LAST):
        raise WebError(403, FORBIDDEN, f"{name} is no name that an attachment may have")


def _number(attaching: Attaching, name: str) -> int:
    return _DICOM_NUMBER if name == _DICOM else attaching.number(name)


def _add_questions(archive: Archive, router: APIRouter, subject: Subject, attaching: Attaching) -> None:
    held = _Held(archive, subject, attaching)

    @router.get("/{name}", summary="List what can be asked of an attachment")
    def operations(request: Request, identifier: str, name: str) -> Response:
        return held.answer(request, identifier, name, lambda one: JsonResponse(_OPERATIONS, headers=one.headers))

    @router.get("/{name}/info", summary="Describe an attachment")
    def info(request: Request, identifier: str, name: str) -> Response:
        return held.answer(request, identifier, name, described)

    def described(one: _DicomFile | _Attached) -> Response:
        md5 = one.md5()
        told = {
            "CompressedMD5": one.stored_md5(md5), "CompressedSize": one.stored_size,
            "ContentType": _number(attaching, one.name), "UncompressedMD5": md5, "UncompressedSize": one.size,
            "Uuid": one.uuid,
        }  # fmt: skip
        return JsonResponse(told, headers=one.headers)

    @router.post("/{name}/verify-md5", summary="See whether the file is what was stored, byte for byte")
    def verify(identifier: str, name: str) -> Response:
        held.one(identifier, name).verify()
        return JsonResponse({})

    @router.get("/{name}/data", summary="Fetch an attachment")
    def data(request: Request, identifier: str, name: str) -> Response:
        return held.answer(request, identifier, name, lambda one: one.data())

    @router.get("/{name}/compressed-data", summary="Fetch an attachment as it is stored")
    def stored_data(request: Request, identifier: str, name: str) -> Response:
        return held.answer(request, identifier, name, lambda one: one.stored_data())

    def add_text(part: str, summary: str, told: Callable[[_DicomFile | _Attached], str]) -> None:
        @router.get(f"/{{name}}/{part}", summary=summary, name=f"attachment_{part}")
        def text(request: Request, identifier: str, name: str) -> Response:
            return held.answer(request, identifier, name, lambda one: PlainTextResponse(told(one), headers=one.headers))

    add_text("size", "Tell the size in bytes", lambda one: str(one.size))
    add_text("compressed-size", "Tell the size in bytes as it is stored", lambda one: str(one.stored_size))
    add_text("md5", "Tell the MD5", lambda one: one.md5())
    add_text("compressed-md5", "Tell the MD5 of the file as it is stored", lambda one: one.stored_md5())
    add_text("is-compressed", "Tell whether it is stored compressed: 1, or 0", lambda one: str(int(one.is_compressed)))


class _Held:
    """What there is under the names of attachments."""

    def __init__(self, archive: Archive, subject: Subject, attaching: Attaching) -> None:
        self._archive = archive
        self._subject = subject
        self._attaching = attaching

    def one(self, identifier: str, name: str) -> _DicomFile | _Attached:
        """Return what has that name. Raises `WebError`."""
        if self._subject == "instance" and name in {_DICOM, str(_DICOM_NUMBER)}:
            return _DicomFile(self._archive, existing(self._archive, identifier))
        return _Attached(self._attaching, self._attaching.get(identifier, name))

    def answer(
        self, request: Request, identifier: str, name: str, made: Callable[[_DicomFile | _Attached], Response]
    ) -> Response:
        """Return the answer that is made of it, but to who has it already. Raises `WebError`."""
        one = self.one(identifier, name)
        known = not_modified(request.headers, one.digest) if isinstance(one, _Attached) else None
        return known or made(one)


class _Attached:
    """What a client attached."""

    def __init__(self, attaching: Attaching, attached: Attachment) -> None:
        self._attaching = attaching
        self._attached = attached
        self.name, self.size, self.stored_size = attached.name, attached.size, attached.stored_size
        self.is_compressed = attached.is_compressed
        self.uuid = file_uuid(attached.blob)
        self.digest = attached.md5
        self.headers = {"ETag": etag(attached.md5)}

    def md5(self) -> str:
        return self._attached.md5

    def stored_md5(self, md5: str = "") -> str:  # noqa: ARG002 - as of a DICOM file
        return self._attached.stored_md5

    def verify(self) -> None:
        self._attaching.verify(self._attached)

    def data(self) -> Response:
        file = self._attaching.open(self._attached)
        headers = {**self.headers, "Content-Length": str(self.size)}
        media_type = self._attaching.media_type(self.name)
        return open_response(file, content_of(file, self._attached), media_type=media_type, headers=headers)

    def stored_data(self) -> Response:
        return file_response(self._attaching.open(self._attached), media_type=_OCTETS, headers=self.headers)


class _DicomFile:
    """The file of an instance."""

    name, is_compressed = _DICOM, False

    def __init__(self, archive: Archive, instance: Instance) -> None:
        self._archive = archive
        self._instance = instance
        self.size = self.stored_size = instance.blob.size
        self.uuid = file_uuid(instance.blob.name)
        self.headers: dict[str, str] = {}

    def md5(self) -> str:
        """Return the MD5 of the file. Raises `WebError` for one that is not what was stored."""
        md5, digest = hashlib.md5(usedforsecurity=False), Digest(self._instance.blob.sha256)
        with opened(self._archive, self._instance) as file:
            while piece := file.read(_PIECE):
                md5.update(piece)
                digest.update(piece)
        if digest.text() != self._instance.blob.sha256:
            raise WebError(500, CORRUPTED_FILE, "the file is not what was stored: the disk has changed it")
        return md5.hexdigest()

    def stored_md5(self, md5: str = "") -> str:
        return md5 or self.md5()

    def verify(self) -> None:
        self.md5()

    def data(self) -> Response:
        return self._response("application/dicom")

    def stored_data(self) -> Response:
        return self._response(_OCTETS)

    def _response(self, media_type: str) -> Response:
        headers = disposition(f"{self.uuid}.dcm")
        return file_response(opened(self._archive, self._instance), media_type=media_type, headers=headers)
