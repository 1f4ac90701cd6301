"""`/{level}/{id}/metadata` and `/labels`: what is noted of patients, studies, series and instances."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Callable
from functools import partial

from fastapi import APIRouter, Request
from sqlalchemy import Connection
from starlette.concurrency import run_in_threadpool
from starlette.datastructures import Headers
from starlette.responses import PlainTextResponse, Response

from hostd.archive import labels, levels, marks
from hostd.archive.archive import Archive
from hostd.archive.labels import Subject
from hostd.archive.levels import Change
from hostd.config.sections import Http
from hostd.web.body import small_body
from hostd.web.errors import (
    BAD_REQUEST,
    FORBIDDEN,
    INEXISTENT_ITEM,
    WebError,
    bad_request,
    unknown_resource,
)
from hostd.web.forms import PLURALS, metadata_of, metadata_of_level
from hostd.web.naming import LAST, called, kept_as
from hostd.web.parameters import Expand, is_set
from hostd.web.resources import existing_instance, existing_level, require
from hostd.web.responses import JsonResponse
from hostd.web.revisions import etag, not_modified, require_given, require_meant, require_readable

MAX_VALUE = 4000
"""Characters of one metadata, as for scripts."""
NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.-]{0,63}", re.ASCII)
"""What metadata and labels are called, as by scripts."""
KEPT = frozenset({
    "AnonymizedFrom", "CalledAET", "ExpectedNumberOfInstances", "HttpHost", "HttpUsername", "IndexInSeries",
    "IngestTranscodingFailed", "LastUpdate", "MainDicomSequences", "MainDicomTagsSignature", "ModifiedFrom", "Origin",
    "PatientRecycleOrder", "PixelDataOffset", "PixelDataVR", "ReceptionDate", "RemoteAET", "RemoteIP", "SopClassUid", "TransferSyntax",
})  # fmt: skip
"""Metadata of Orthanc's and hostd's own, which nobody sets."""
_FIRST_FREE = 1024
"""The numbers below are Orthanc's own metadata."""
_OF_ORTHANC = {
    str(number): name
    for number, name in enumerate((
        "IndexInSeries", "ReceptionDate", "RemoteAET", "ExpectedNumberOfInstances", "ModifiedFrom", "AnonymizedFrom", "LastUpdate",
        "Origin", "TransferSyntax", "SopClassUid", "RemoteIP", "CalledAET", "HttpUsername",
    ), start=1)
}  # fmt: skip


def mark_routes(archive: Archive, http: Callable[[], Http]) -> list[APIRouter]:
    """Return the routes of the metadata and labels of each of the four levels; `http` says what metadata are called."""
    found = []
    for subject, plural in PLURALS.items():
        router = APIRouter(prefix=f"/{plural}/{{identifier}}", tags=[plural])
        _add_metadata(archive, router, subject, http)
        _add_labels(archive, router, subject)
        found.append(router)
    return found


def _add_metadata(archive: Archive, router: APIRouter, subject: Subject, http: Callable[[], Http]) -> None:
    metadata = _Metadata(archive, subject, http)

    @router.get("/metadata", summary="List the metadata")
    def listing(request: Request, identifier: str, expand: Expand = None) -> Response:  # noqa: ARG001 - declared for the documentation
        known = metadata.all(identifier)
        return JsonResponse(known if is_set(request, "expand") else list(known))

    @router.get("/metadata/{name}", summary="Read one metadata, as text")
    def one(request: Request, identifier: str, name: str) -> Response:
        value = metadata.one(identifier, name)
        md5 = _md5(value)
        return not_modified(request.headers, md5) or PlainTextResponse(value, headers={"ETag": etag(md5)})

    @router.put("/metadata/{name}", summary="Set one metadata: the body is its text")
    async def set_one(request: Request, identifier: str, name: str) -> Response:
        value = _text(await small_body(request, 4 * MAX_VALUE))
        await run_in_threadpool(metadata.change, identifier, name, value, request.headers)
        return Response(media_type="text/plain", headers={"ETag": etag(_md5(value))})

    @router.delete("/metadata/{name}", summary="Remove one metadata")
    def remove(request: Request, identifier: str, name: str) -> Response:
        metadata.change(identifier, name, None, request.headers)
        return Response(media_type="text/plain")


class _Metadata:
    """The metadata of all patients, studies, series or instances."""

    def __init__(self, archive: Archive, subject: Subject, http: Callable[[], Http]) -> None:
        self._archive = archive
        self._subject = subject
        self._http = http

    def all(self, identifier: str) -> dict[str, str]:
        numbers, known = self._http().metadata_numbers, self._known(identifier)
        return {called(name, numbers): value for name, value in known.items()}

    def _known(self, identifier: str) -> dict[str, str]:
        with self._archive.read() as connection:
            if self._subject == "instance":
                return metadata_of(existing_instance(connection, identifier))
            return metadata_of_level(existing_level(connection, self._subject, identifier))

    def one(self, identifier: str, name: str) -> str:
        known = self.all(identifier)
        name = _OF_ORTHANC.get(name) or called(name, self._http().metadata_numbers)
        if name not in known:
            raise WebError(404, INEXISTENT_ITEM)
        return known[name]

    def change(self, identifier: str, name: str, value: str | None, headers: Headers) -> None:
        """Set one, or remove it (None), where it is still what `If-Match` says."""
        _require_settable(name)
        if value is None and self._http().check_revisions:
            require_given(headers)
        require_readable(headers)
        self._archive.writer.do(
            lambda c: self._change(c, identifier, name, value, headers), topics=("event",), urgent=True
        )

    def _change(self, connection: Connection, identifier: str, name: str, value: str | None, headers: Headers) -> None:
        noted = marks.get(connection, self._subject, identifier)
        if noted is None:
            raise unknown_resource()
        known, http = noted.metadata, self._http()
        name = kept_as(name, known, http.metadata_numbers)
        if value is None and name not in known:
            raise WebError(404, INEXISTENT_ITEM)
        md5 = _md5(known[name]) if name in known else None
        require_meant(headers, md5, is_needed=http.check_revisions)
        if name not in known and len(known) >= marks.MAX_KEYS:
            raise bad_request(f"it has {marks.MAX_KEYS} metadata already, and no more are kept")
        if known.get(name) != value:
            marks.set_metadata(connection, self._subject, identifier, name, value)
            _tell(connection, self._subject, identifier, self._archive.clock.now(), "metadata")


def _add_labels(archive: Archive, router: APIRouter, subject: Subject) -> None:
    def known(identifier: str) -> list[str]:
        with archive.read() as connection:
            require(connection, subject, identifier)
            return labels.of(connection, subject, identifier)

    @router.get("/labels", summary="List the labels")
    def listing(identifier: str) -> Response:
        return JsonResponse(known(identifier))

    @router.get("/labels/{label}", summary="Tell whether it has a label: 404 when not")
    def one(identifier: str, label: str) -> Response:
        if label not in known(identifier):
            raise unknown_resource("it has no such label")
        return Response(media_type="text/plain")

    @router.put("/labels/{label}", summary="Give it a label")
    def give(identifier: str, label: str) -> Response:
        if NAME.fullmatch(label) is None:
            raise bad_request(
                'a label has 1 to 64 letters, digits, "_", "." and "-", and begins with a letter or digit'
            )
        _label(archive, subject, identifier, partial(_give, label=label))
        return Response(media_type="text/plain")

    @router.delete("/labels/{label}", summary="Take a label away")
    def take(identifier: str, label: str) -> Response:
        _label(archive, subject, identifier, partial(labels.remove, labels=[label]))
        return Response(media_type="text/plain")


def _label(
    archive: Archive, subject: Subject, identifier: str, change: Callable[[Connection, Subject, str], list[str]]
) -> None:
    """Change the labels of what is stored, and tell of it where anything changed."""

    def unit(connection: Connection) -> None:
        require(connection, subject, identifier)
        if change(connection, subject, identifier):
            _tell(connection, subject, identifier, archive.clock.now(), "labels")

    archive.writer.do(unit, topics=("event",), urgent=True)


def _give(connection: Connection, subject: Subject, identifier: str, label: str) -> list[str]:
    if len({*labels.of(connection, subject, identifier), label}) > marks.MAX_LABELS:
        raise bad_request(f"it has {marks.MAX_LABELS} labels already, and no more are kept")
    return labels.add(connection, subject, identifier, [label])


def _tell(connection: Connection, subject: Subject, identifier: str, at: float, what: Change) -> None:
    if subject == "instance":
        levels.changed(connection, identifier, at, what)
    else:
        levels.level_changed(connection, subject, identifier, at, what)


def _require_settable(name: str) -> None:
    if NAME.fullmatch(name) is None:
        said = 'a metadata has 1 to 64 letters, digits, "_", "." and "-" as its name'
        raise WebError(404, INEXISTENT_ITEM, said)
    if name in KEPT or (name.isdigit() and not _FIRST_FREE <= int(name) <= LAST):
        raise WebError(403, FORBIDDEN, f"{name} is kept by hostd itself")


def _text(body: bytes) -> str:
    try:
        text = body.decode()
    except UnicodeDecodeError as error:
        raise bad_request("a metadata is a text in UTF-8") from error
    if len(text) > MAX_VALUE:
        raise WebError(413, BAD_REQUEST, f"a metadata has up to {MAX_VALUE} characters")
    if "\0" in text:
        raise bad_request("a metadata is a text, and has no NUL in it")
    return text


def _md5(value: str) -> str:
    return hashlib.md5(value.encode(), usedforsecurity=False).hexdigest()
