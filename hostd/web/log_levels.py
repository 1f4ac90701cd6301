"""`/tools/log-level` and its like for each category of Orthanc's log: hostd has one level, for all of them."""

from __future__ import annotations

import structlog
from fastapi import APIRouter, Request
from starlette.responses import PlainTextResponse, Response

from hostd.control import VERBOSITIES, Control
from hostd.web.errors import NOT_IMPLEMENTED, PARAMETER_OUT_OF_RANGE, WebError
from hostd.web.fields import word

_log = structlog.get_logger(__name__)

CATEGORIES = ("dicom", "generic", "http", "jobs", "lua", "plugins", "sqlite")


def log_level_routes(control: Control) -> APIRouter:
    """Return the routes."""
    router = APIRouter(prefix="/tools", tags=["tools"])
    _add(router, control, "log-level", "how much is logged")
    for category in CATEGORIES:
        _add(router, control, f"log-level-{category}", "how much is logged, of whatever it is")
    return router


def _add(router: APIRouter, control: Control, path: str, what: str) -> None:
    @router.get(f"/{path}", summary=f"Tell {what}", name=path)
    def level() -> Response:
        return PlainTextResponse(control.verbosity)

    @router.put(
        f"/{path}", summary="Log as the configuration has it (default), or more (verbose, trace)", name=f"set_{path}"
    )
    async def other_level(request: Request) -> Response:
        wanted = await word(request)
        if wanted not in VERBOSITIES:
            raise WebError(400, PARAMETER_OUT_OF_RANGE, f"how much is logged is one of {', '.join(VERBOSITIES)}")
        if control.set_verbosity is None:
            raise WebError(501, NOT_IMPLEMENTED, "whoever runs this node has not said how to do that: log-level")
        control.speak(wanted)
        _log.info("log level changed", verbosity=wanted, username=request.state.username)
        return PlainTextResponse("")
