"""`/patients/{id}/protected`: who is neither recycled nor deleted by age."""

from __future__ import annotations

from fastapi import APIRouter, Request
from starlette.concurrency import run_in_threadpool
from starlette.responses import PlainTextResponse, Response

from hostd.archive import retention
from hostd.archive.archive import Archive
from hostd.web.errors import unknown_resource
from hostd.web.fields import flag


def protection_routes(archive: Archive) -> APIRouter:
    """Return the routes of who is protected."""
    router = APIRouter(prefix="/patients/{identifier}", tags=["patients"])

    def now_protected(identifier: str) -> bool:
        with archive.read() as connection:
            found = retention.is_protected(connection, identifier)
        if found is None:
            raise unknown_resource()
        return found

    @router.get("/protected", summary="Tell whether a patient is protected from being recycled: 1, or 0")
    def is_protected(identifier: str) -> Response:
        return PlainTextResponse(str(int(now_protected(identifier))))

    @router.put("/protected", summary="Protect a patient from being recycled and deleted by age, or no longer: 1, or 0")
    async def protect(request: Request, identifier: str) -> Response:
        await run_in_threadpool(now_protected, identifier)
        wanted = await flag(request)

        def unit() -> bool:
            now = archive.clock.now()
            return archive.writer.do(lambda c: retention.protect(c, identifier, now, is_protected=wanted), urgent=True)

        if not await run_in_threadpool(unit):
            raise unknown_resource()
        return PlainTextResponse("")

    return router
