"""`POST /instances`: storing a DICOM file, as Orthanc does it."""

from __future__ import annotations

from pathlib import Path

from fastapi import APIRouter, Request
from starlette.responses import Response

from hostd.web.forms import received_form
from hostd.web.responses import JsonResponse
from hostd.web.upload import FileIntake, receive_upload


def upload_routes(intake: FileIntake, folder: Path, *, max_upload_bytes: int, upload_idle_s: float) -> APIRouter:
    """Return the route of uploads; a ZIP lies in `folder` while it comes."""
    router = APIRouter(prefix="/instances", tags=["instances"])

    @router.post(
        "",
        summary="Store a DICOM file, or those in a ZIP",
        description="The body is the file itself, whatever its Content-Type; Content-Encoding may be gzip.",
    )
    async def upload(request: Request) -> Response:
        received = await receive_upload(
            request, intake, folder=folder, max_bytes=max_upload_bytes, idle_s=upload_idle_s
        )
        return JsonResponse(
            [received_form(one) for one in received] if isinstance(received, list) else received_form(received)
        )

    return router
