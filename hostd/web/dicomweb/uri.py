"""WADO-URI (PS3.18 §9): one instance, or a picture of it, named by the parameters of `/wado`."""

from __future__ import annotations

from typing import Annotated

from fastapi import APIRouter, Query, Request
from starlette.responses import Response

from hostd.archive import instances
from hostd.archive.archive import Archive
from hostd.archive.records import Instance
from hostd.dicom import syntaxes
from hostd.dicom.media_types import DICOM
from hostd.dicom.syntaxes import EXPLICIT_LE
from hostd.transcoding.messages import Draw
from hostd.web.accepting import preferred
from hostd.web.dicomweb.choosing import can_be_made, not_acceptable
from hostd.web.errors import bad_request, unknown_resource
from hostd.web.files import file_response
from hostd.web.frames import MAX_SIDE, Pictures, window_of
from hostd.web.transcoded import Made

Uid = Annotated[str | None, Query(description="A UID.")]
Number = Annotated[float | None, Query(description="Of the window to show it by.")]


def uri_routes(archive: Archive, made: Made, pictures: Pictures) -> APIRouter:
    """Return the route of WADO-URI."""
    router = APIRouter(tags=["DICOMweb"])

    @router.get("/wado", summary="Fetch one instance, or a picture of it (WADO-URI)")
    def wado(  # the names are the standard's
        request: Request,
        requestType: Annotated[str, Query(description="WADO.")],  # noqa: N803
        objectUID: Uid = None,  # noqa: N803
        studyUID: Uid = None,  # noqa: N803
        seriesUID: Uid = None,  # noqa: N803
        contentType: Annotated[str | None, Query(description="Media types, by preference.")] = None,  # noqa: N803
        transferSyntax: Annotated[str | None, Query(description="UID of the one to have the instance in.")] = None,  # noqa: N803
        frameNumber: Annotated[int, Query(ge=1, description="The frame, counted from 1.")] = 1,  # noqa: N803
        imageQuality: Annotated[int, Query(ge=1, le=100, description="How good a JPEG is to be.")] = 90,  # noqa: N803
        windowCenter: Number = None,  # noqa: N803
        windowWidth: Number = None,  # noqa: N803
        columns: Annotated[int, Query(ge=0, le=MAX_SIDE, description="Pixels that it must fit into.")] = 0,
        rows: Annotated[int, Query(ge=0, le=MAX_SIDE, description="As above.")] = 0,
    ) -> Response:
        if requestType != "WADO" or not objectUID:
            raise bad_request("a request has requestType=WADO and an objectUID")
        instance = _named(archive, objectUID, studyUID, seriesUID)
        asked = contentType or request.headers.get("accept")
        kind = preferred(asked, ("image/jpeg", "image/png", DICOM))
        if kind is None:
            raise not_acceptable(f"an instance is given as {DICOM}, image/jpeg or image/png")
        if kind == DICOM:
            uid = transferSyntax or EXPLICIT_LE.uid
            target = syntaxes.by_uid(uid)
            if not can_be_made(instance.blob.transfer_syntax, target):
                if transferSyntax is not None:
                    raise not_acceptable(f"the instance cannot be brought to {target} without loss")
                target = syntaxes.by_uid(instance.blob.transfer_syntax)
            return file_response(made.open(instance, target), media_type=DICOM)
        if (windowCenter is None) != (windowWidth is None):
            raise bad_request("a window has windowCenter and windowWidth")
        window = None if windowCenter is None else window_of(windowCenter, windowWidth)
        form = "png" if kind == "image/png" else "jpeg"
        job = Draw(frameNumber - 1, "rendered", "png" if form == "png" else "jpeg", imageQuality, window, columns, rows)
        return file_response(pictures.open(instance, job), media_type=kind)

    return router


def _named(archive: Archive, sop: str, study: str | None, series: str | None) -> Instance:
    with archive.read() as connection:
        found = [
            one
            for one in instances.by_sop_instance_uid(connection, sop)
            if study in {None, one.study_instance_uid} and series in {None, one.series_instance_uid}
        ]
    if not found:
        raise unknown_resource("no such instance is stored here")
    return found[0]
