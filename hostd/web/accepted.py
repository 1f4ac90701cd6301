"""`/tools/accepted-…`: what the DICOM face takes for storage, asked and told otherwise while the node runs."""

from __future__ import annotations

import json

import structlog
from fastapi import APIRouter, Request
from starlette.responses import PlainTextResponse, Response

from hostd.errors import ConfigurationError
from hostd.scp.accepted import Accepted
from hostd.web.errors import BAD_FILE_FORMAT, PARAMETER_OUT_OF_RANGE, WebError
from hostd.web.fields import flag, word
from hostd.web.responses import JsonResponse

_log = structlog.get_logger(__name__)


def accepted_routes(accepted: Accepted) -> APIRouter:
    """Return the routes. What is told here counts for associations that begin after it, until the node ends or `[dicom]` changes."""
    router = APIRouter(prefix="/tools", tags=["tools"])

    @router.get("/accepted-transfer-syntaxes", summary="List the transfer syntaxes that C-STORE may use")
    def syntaxes() -> Response:
        return JsonResponse(accepted.transfer_syntaxes())

    @router.put("/accepted-transfer-syntaxes", summary="Accept these transfer syntaxes, and no others")
    async def other_syntaxes(request: Request) -> Response:
        wanted = _names(await word(request))
        try:
            accepted.accept_transfer_syntaxes(wanted)
        except ConfigurationError as error:
            raise WebError(400, PARAMETER_OUT_OF_RANGE, str(error)) from error
        _log.warning("other transfer syntaxes are accepted", wanted=wanted, username=request.state.username)
        return JsonResponse(accepted.transfer_syntaxes())

    @router.get("/accepted-sop-classes", summary="List the SOP classes that C-STORE may bring")
    def sop_classes() -> Response:
        return JsonResponse(accepted.sop_classes())

    @router.get("/unknown-sop-class-accepted", summary="Tell whether SOP classes are taken that the standard has not")
    def unknown() -> Response:
        return PlainTextResponse("1" if accepted.unknown_sop_classes else "0")

    @router.put("/unknown-sop-class-accepted", summary="Take SOP classes that the standard has not (1), or not (0)")
    async def accept_unknown(request: Request) -> Response:
        wanted = await flag(request)
        accepted.accept_unknown_sop_classes(wanted)
        _log.warning("unknown SOP classes", accepted=wanted, username=request.state.username)
        return PlainTextResponse("")

    return router


def _names(text: str) -> list[str]:
    """Return the names in a body: a list in JSON, or one as it is. Raises `WebError`."""
    try:
        found = json.loads(text)
    except (ValueError, RecursionError):
        found = text
    if isinstance(found, str):
        found = [found]
    if not isinstance(found, list) or not all(isinstance(one, str) for one in found):
        raise WebError(400, BAD_FILE_FORMAT, "a transfer syntax, or a list of them in JSON, is expected")
    return found
