"""STOW-RS (PS3.18 §10.5): instances as parts of one body, each streamed to its file and stored, or not, for itself."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from functools import partial
from typing import Any

import structlog
from fastapi import APIRouter, Request
from starlette.concurrency import run_in_threadpool
from starlette.requests import ClientDisconnect
from starlette.responses import Response

from hostd.archive.records import Origin
from hostd.dicom import statuses
from hostd.dicom.header import Header
from hostd.dicom.media_types import DICOM, DICOM_JSON
from hostd.errors import (
    ConflictError,
    FilterRefusedError,
    MismatchError,
    ReceptionError,
    StorageError,
)
from hostd.web.accepting import accepted
from hostd.web.dicomweb.choosing import MULTIPART, not_acceptable
from hostd.web.dicomweb.multipart import Begin, Data, End, MultipartError, Reader, boundary_of
from hostd.web.dicomweb.resources import STUDY, root_url
from hostd.web.errors import BAD_REQUEST, WebError, bad_request
from hostd.web.guard import client_ip
from hostd.web.responses import JsonResponse
from hostd.web.upload import (
    FileIntake,
    Gzip,
    Plain,
    Reception,
    body_pieces,
    decoder_of,
    refuse_too_large,
    too_large,
)

_log = structlog.get_logger(__name__)

_STUDIES = STUDY.rpartition("/")[0]
MAX_PARTS = 100_000
"""Instances that one request may bring."""
_REFERENCED, _FAILED, _OTHERS = "00081199", "00081198", "0008119A"
_SOP_CLASS, _SOP_INSTANCE, _RETRIEVE_URL = "00081150", "00081155", "00081190"
_FAILURE_REASON = "00081197"


def stow_routes(intake: FileIntake, *, max_upload_bytes: int, upload_idle_s: float) -> APIRouter:
    """Return the routes of STOW-RS, without their root."""
    router = APIRouter(tags=["DICOMweb"])

    @router.post(_STUDIES, summary="Store instances")
    async def store(request: Request) -> Response:
        return await _store(request, intake, None, max_upload_bytes, upload_idle_s)

    @router.post(STUDY, summary="Store instances of a study")
    async def store_study(request: Request, study: str) -> Response:
        return await _store(request, intake, study, max_upload_bytes, upload_idle_s)

    return router


@dataclass(slots=True)
class _Stored:
    """What became of the parts."""

    root: str
    referenced: list[dict[str, Any]] = field(default_factory=list)
    failed: list[dict[str, Any]] = field(default_factory=list)
    others: list[dict[str, Any]] = field(default_factory=list)
    studies: set[str] = field(default_factory=set)

    @property
    def count(self) -> int:
        return len(self.referenced) + len(self.failed) + len(self.others)

    def add(self, header: Header | None, status: int) -> None:
        """Note how one part ended: `status` is one of C-STORE, 0 for success."""
        reason = {_FAILURE_REASON: _element("US", status)}
        if header is None:
            self.others.append(reason)
            return
        item = {
            _SOP_CLASS: _element("UI", header.sop_class_uid),
            _SOP_INSTANCE: _element("UI", header.sop_instance_uid),
        }
        if status:
            self.failed.append(item | reason)
            return
        self.studies.add(header.study_instance_uid)
        url = (
            f"{self.root}/studies/{header.study_instance_uid}/series/{header.series_instance_uid}"
            f"/instances/{header.sop_instance_uid}"
        )
        self.referenced.append(item | {_RETRIEVE_URL: _element("UR", url)})

    def response(self) -> Response:
        """Return the answer (PS3.18 §10.5.3): 200 all is stored, 202 some is, 409 none."""
        content: dict[str, Any] = {}
        if len(self.studies) == 1:
            content[_RETRIEVE_URL] = _element("UR", f"{self.root}/studies/{next(iter(self.studies))}")
        for tag, items in ((_REFERENCED, self.referenced), (_FAILED, self.failed), (_OTHERS, self.others)):
            if items:
                content[tag] = {"vr": "SQ", "Value": items}
        is_well = not self.failed and not self.others
        status = 200 if is_well else 202 if self.referenced else 409
        return JsonResponse(content, status_code=status, media_type=DICOM_JSON)


def _element(vr: str, value: Any) -> dict[str, Any]:
    return {"vr": vr, "Value": [value]}


async def _store(request: Request, intake: FileIntake, study: str | None, max_bytes: int, idle_s: float) -> Response:
    if accepted(request, (DICOM_JSON, "application/json")) is None:
        raise not_acceptable(f"the answer is given as {DICOM_JSON}")
    try:
        media_type, parameters, boundary = boundary_of(request.headers.get("content-type", ""))
    except MultipartError as error:
        raise bad_request(str(error)) from error
    part_type = parameters.get("type", DICOM).lower() if media_type == MULTIPART else media_type
    if media_type not in {MULTIPART, DICOM} or part_type != DICOM:
        raise WebError(
            415, BAD_REQUEST, f'instances are taken as {MULTIPART}; type="{DICOM}", or one of them as {DICOM}'
        )
    refuse_too_large(request, max_bytes)
    decoder = decoder_of(request)
    origin = Origin(kind="http", ip=client_ip(request), username=request.state.username)
    parts = _Parts(intake, origin, study, Reader(boundary) if boundary else None, _Stored(root_url(request)), max_bytes)
    try:
        async for piece in body_pieces(request, idle_s):
            await run_in_threadpool(parts.take, decoder, piece)
        return await run_in_threadpool(parts.finish, decoder)
    except ClientDisconnect as error:
        raise bad_request("the connection was closed before all instances had arrived") from error
    except MultipartError as error:
        raise bad_request(
            f"{error}; what came before it is stored: {len(parts.stored.referenced)} instances"
        ) from error
    finally:
        parts.abandon()


class _Parts:
    """The parts of one request on their way to their files, one at a time."""

    def __init__(
        self,
        intake: FileIntake,
        origin: Origin,
        study: str | None,
        reader: Reader | None,
        stored: _Stored,
        max_bytes: int,
    ) -> None:
        self._receive = partial(intake.receive_file, origin=origin, look=self._look)
        self._study = study
        self._reader = reader
        self._max_bytes = max_bytes
        self._taken = 0
        self._reception: Reception | None = None
        self._header: Header | None = None
        self._status: int | None = None
        self.stored = stored

    def take(self, decoder: Plain | Gzip, piece: bytes) -> None:
        """Take the next piece of the body. Raises `WebError`, or `MultipartError`."""
        for decoded in decoder.decode(piece):
            self._taken += len(decoded)
            if self._taken > self._max_bytes:
                raise too_large(self._max_bytes)
            for what in self._read(decoded):
                self._follow(what)

    def _read(self, decoded: bytes) -> Iterator[Begin | Data | End]:
        if self._reader is not None:
            yield from self._reader.feed(decoded)
            return
        if self._reception is None and self._status is None:
            yield Begin({"content-type": DICOM})
        yield Data(decoded)

    def finish(self, decoder: Plain | Gzip) -> Response:
        """Return the answer, once the body has ended."""
        decoder.end()
        if self._reader is not None:
            self._reader.end()
        elif self._reception is not None or self._status is not None:
            self._follow(End())
        if not self.stored.count:
            raise bad_request("there is no instance in the body")
        return self.stored.response()

    def abandon(self) -> None:
        """Give up the part that has not ended: nothing of it stays."""
        if self._reception is not None:
            self._reception.abandon()
            self._reception = None

    def _follow(self, what: Begin | Data | End) -> None:
        match what:
            case Begin():
                self._begin(what.headers)
            case Data():
                self._attempt(lambda reception: reception.write(what.piece))
            case End():
                self._end()

    def _begin(self, headers: dict[str, str]) -> None:
        if self.stored.count >= MAX_PARTS:
            raise MultipartError(f"there are more than {MAX_PARTS} parts")
        self._header = None
        media_type = headers.get("content-type", DICOM).partition(";")[0].strip().lower()
        self._status = None if media_type == DICOM else statuses.CANNOT_UNDERSTAND
        if self._status is None:
            try:
                self._reception = self._receive()
            except StorageError as error:
                self._refuse(error)

    def _attempt(self, act: Any) -> None:
        """Do something with the part, unless it is refused already."""
        if self._reception is None:
            return
        try:
            act(self._reception)
        except ReceptionError as error:
            self._reception.abandon()
            self._refuse(error)

    def _end(self) -> None:
        # From here on a row may speak of the file, so that only the intake may remove it.
        reception, self._reception = self._reception, None
        if reception is not None:
            try:
                reception.finish()
            except ReceptionError as error:
                self._refuse(error)
        self.stored.add(self._header, self._status or statuses.SUCCESS)
        self._status = None

    def _refuse(self, error: ReceptionError) -> None:
        self._reception = None
        self._status = _status_of(error)
        _log.warning("an instance of a STOW-RS request was not stored", reason=str(error), status=hex(self._status))

    def _look(self, header: Header) -> None:
        self._header = header
        if self._study is not None and header.study_instance_uid != self._study:
            raise MismatchError("the instance is of another study than the request")


def _status_of(error: ReceptionError) -> int:
    """Return the failure reason of an instance (PS3.18 Table 10.5.3-2): the status that C-STORE would have."""
    match error:
        case FilterRefusedError():
            return error.status
        case StorageError():
            return statuses.OUT_OF_RESOURCES
        case ConflictError():
            return statuses.DUPLICATE_SOP_INSTANCE
        case MismatchError():
            return statuses.DATA_SET_DOES_NOT_MATCH
        case _:
            return statuses.CANNOT_UNDERSTAND
