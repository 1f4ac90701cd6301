"""`/plugins`: Orthanc's clients ask what is loaded. hostd loads nothing: codecs, DICOMweb and scripts are its own."""

from __future__ import annotations

from fastapi import APIRouter
from starlette.responses import Response

from hostd.web.errors import unknown_resource
from hostd.web.responses import JsonResponse

_EXPLORER = "explorer.js"


def plugin_routes() -> APIRouter:
    """Return the routes."""
    router = APIRouter(prefix="/plugins", tags=["system"])

    @router.get("", summary="List the plug-ins: there are none")
    def listing() -> Response:
        return JsonResponse([_EXPLORER])  # as Orthanc does where none are loaded

    @router.get(f"/{_EXPLORER}", summary="Give the JavaScript of plug-ins: there is none")
    def explorer() -> Response:
        return Response("// hostd loads no plug-ins\n", media_type="application/javascript")

    @router.get("/{name}", summary="Describe a plug-in: there is none")
    def describe(name: str) -> Response:
        raise unknown_resource(f"hostd loads no plug-ins, {name} neither")

    return router
