"""`/tools`: what Orthanc has beside its resources, and what those who may can tell the node."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime
from typing import Annotated
from uuid import uuid4

import structlog
from fastapi import APIRouter, Query, Request
from pydicom.uid import UID, generate_uid
from starlette.responses import PlainTextResponse, Response

from hostd.archive import labels
from hostd.archive.archive import Archive
from hostd.control import Control
from hostd.scp.accepted import Accepted
from hostd.scp.sop_classes import VERIFICATION
from hostd.web.errors import FORBIDDEN, NOT_IMPLEMENTED, PARAMETER_OUT_OF_RANGE, WebError, unknown_resource
from hostd.web.fields import word
from hostd.web.responses import JsonResponse

_log = structlog.get_logger(__name__)

_ENCODING = "Latin1"
_ENCODINGS = frozenset(
    {"Ascii", "Utf8", "Latin1", "Latin2", "Latin3", "Latin4", "Latin5", "Windows1251", "Cyrillic", "Arabic", "Greek"}
    | {"Hebrew", "Japanese", "Thai", "JapaneseKanji", "Korean", "SimplifiedChinese", "Chinese"}
)
"""Orthanc's names of character sets."""

_LUA = (
    "Lua is not run by hostd: write it as a script in Python. docs/from-orthanc.md says what takes the place of which callback and function, "
    "`hostd deploy` puts a script in place, `hostd try` shows what it would do"
)


def tool_routes(archive: Archive, control: Control, accepted: Accepted) -> APIRouter:
    """Return the routes of tools that are about no resource."""
    router = APIRouter(prefix="/tools", tags=["tools"])
    _add_words(router, archive, accepted)
    _add_encoding(router)
    _add_orders(router, control)

    @router.get("", summary="List the tools")
    def listing(request: Request) -> Response:
        paths = request.app.openapi()["paths"]
        found = {path.split("/")[2] for path in paths if path.startswith("/tools/")}
        return JsonResponse(sorted(found))

    @router.post("/execute-script", summary="Say how to do without Lua, which is not run here")
    def execute_script() -> Response:
        raise WebError(403, FORBIDDEN, _LUA)

    return router


def _add_words(router: APIRouter, archive: Archive, accepted: Accepted) -> None:
    """Add what answers a question in a word or a text."""

    @router.get("/generate-uid", summary="Make a new UID")
    def new_uid(
        level: Annotated[str, Query(description="`study`, `series` or `instance`; `patient` gives a patient ID.")] = "",
    ) -> Response:
        match level:
            case "patient":
                return PlainTextResponse(str(uuid4()))
            case "study" | "series" | "instance":
                return PlainTextResponse(generate_uid(prefix=None))
            case _:
                raise unknown_resource("level is patient, study, series or instance")

    @router.get("/now", summary="Tell the time, in UTC")
    def now() -> Response:
        return _time(datetime.fromtimestamp(archive.clock.now(), UTC))

    @router.get("/now-local", summary="Tell the time, where hostd is")
    def now_local() -> Response:
        return _time(datetime.fromtimestamp(archive.clock.now(), UTC).astimezone())

    @router.get("/labels", summary="List all labels that anything has")
    def all_labels() -> Response:
        with archive.read() as connection:
            return JsonResponse(labels.known(connection))

    @router.get("/dicom-conformance", summary="Tell what the DICOM face understands")
    def conformance() -> Response:
        return PlainTextResponse(_conformance(accepted))


def _add_encoding(router: APIRouter) -> None:
    @router.get("/default-encoding", summary="Tell the character set of what does not say its own")
    def default_encoding() -> Response:
        return PlainTextResponse(_ENCODING)

    @router.put("/default-encoding", summary="Take Latin1, which is the character set of what does not say its own")
    async def other_encoding(request: Request) -> Response:
        wanted = await word(request)
        if wanted not in _ENCODINGS:
            raise WebError(400, PARAMETER_OUT_OF_RANGE, "there is no such character set")
        if wanted not in {_ENCODING, "Ascii"}:
            raise WebError(501, NOT_IMPLEMENTED, f"what does not say its character set is read as {_ENCODING}, always")
        return PlainTextResponse(_ENCODING)


def _add_orders(router: APIRouter, control: Control) -> None:
    """Add what tells the node to be otherwise."""

    def order(request: Request, what: str, act: Callable[[], None] | None) -> Response:
        if act is None:
            raise _not_mine(what)
        _log.warning(what, username=request.state.username)
        act()
        return JsonResponse({})

    @router.post("/reset", summary="Read the configuration again")
    def reset(request: Request) -> Response:
        return order(request, "reset", control.reload)

    @router.post("/shutdown", summary="End the node in order")
    def shutdown(request: Request) -> Response:
        return order(request, "shutdown", control.shut_down)


def _not_mine(what: str) -> WebError:
    return WebError(501, NOT_IMPLEMENTED, f"whoever runs this node has not said how to do that: {what}")


def _time(at: datetime) -> Response:
    return PlainTextResponse(at.strftime("%Y%m%dT%H%M%S"))


def _conformance(accepted: Accepted) -> str:
    """Return the SOP classes of the DICOM face as text, in Orthanc's manner."""
    parts = [
        ("DICOM Conformance Statement of hostd", []),
        ("Echo SCP", [VERIFICATION]),
        ("Store SCP", sorted(accepted.sop_classes(), key=lambda uid: UID(uid).keyword or uid)),
    ]
    lines = []
    for title, classes in parts:
        lines += [title, "-" * len(title), ""]
        lines += [f"  {UID(uid).keyword or uid:<64} | {uid}" for uid in classes] + [""] * bool(classes)
    return "\n".join(lines)
