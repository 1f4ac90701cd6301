"""`/instances`: uploading, reading and deleting, as Orthanc does it."""

from __future__ import annotations

import structlog
from fastapi import APIRouter, Request
from sqlalchemy import Connection
from starlette.responses import Response

from hostd.archive import instances
from hostd.archive.archive import Archive
from hostd.web.content import existing
from hostd.web.errors import unknown_resource
from hostd.web.forms import instance_form, received_form
from hostd.web.parameters import Expand, Limit, Since, is_set
from hostd.web.responses import JsonResponse
from hostd.web.upload import FileIntake, receive_upload

_log = structlog.get_logger(__name__)


def instance_routes(archive: Archive, intake: FileIntake, *, max_upload_bytes: int, upload_idle_s: float) -> APIRouter:
    """Return the routes of instances."""
    router = APIRouter(prefix="/instances", tags=["instances"])

    @router.get("", summary="List the instances")
    def listing(request: Request, since: Since = 0, limit: Limit = None, expand: Expand = None) -> Response:  # noqa: ARG001 - declared for the documentation
        with archive.read() as connection:
            if is_set(request, "expand"):
                return JsonResponse([instance_form(i) for i in instances.page(connection, since=since, limit=limit)])
            return JsonResponse(instances.ids(connection, since=since, limit=limit))

    @router.post(
        "",
        summary="Store a DICOM file",
        description="The body is the file itself, whatever its Content-Type; Content-Encoding may be gzip.",
    )
    async def upload(request: Request) -> Response:
        received = await receive_upload(request, intake, max_bytes=max_upload_bytes, idle_s=upload_idle_s)
        return JsonResponse(received_form(received))

    @router.get("/{instance_id}", summary="Describe an instance")
    def describe(instance_id: str) -> Response:
        return JsonResponse(instance_form(existing(archive, instance_id)))

    @router.delete("/{instance_id}", summary="Delete an instance")
    def delete(request: Request, instance_id: str) -> Response:
        ancestor = archive.writer.do(
            lambda c: _delete(c, instance_id, archive.clock.now()), topics=("event",), urgent=True
        )
        _log.info("instance deleted", instance=instance_id, username=request.state.username)
        return JsonResponse({"RemainingAncestor": ancestor})

    return router


def _delete(connection: Connection, instance_id: str, at: float) -> dict[str, str] | None:
    """Hide an instance (P4); return the nearest level above that still has instances."""
    instance = instances.get(connection, instance_id)
    if instance is None:
        raise unknown_resource()
    instances.hide(connection, instance_id, at)
    if instances.siblings(connection, "series", instance.series):
        return {"ID": instance.series, "Path": f"/series/{instance.series}", "Type": "Series"}
    if instances.siblings(connection, "study", instance.study):
        return {"ID": instance.study, "Path": f"/studies/{instance.study}", "Type": "Study"}
    if instances.siblings(connection, "patient", instance.patient):
        return {"ID": instance.patient, "Path": f"/patients/{instance.patient}", "Type": "Patient"}
    return None
