"""`/actions`: what scripts asked for that is done after their runs. hostd's own, in Orthanc's manner."""

from __future__ import annotations

from collections.abc import Callable
from typing import Annotated, Any

from fastapi import APIRouter, Query, Request
from sqlalchemy import Connection
from starlette.responses import Response

from hostd.archive import tasks
from hostd.archive.archive import Archive
from hostd.archive.tasks import Task
from hostd.errors import NotFoundError
from hostd.web.delivery_orders import Reason
from hostd.web.errors import DUPLICATE_RESOURCE, WebError, unknown_resource
from hostd.web.parameters import Newest, RowNumber
from hostd.web.responses import JsonResponse, iso_time


def action_routes(archive: Archive) -> APIRouter:
    """Return the routes."""
    router = APIRouter(prefix="/actions", tags=["actions"])

    def decide(number: int, decision: Callable[[Connection], None]) -> Response:
        def unit(connection: Connection) -> Task:
            _needed(connection, number)
            decision(connection)
            return _needed(connection, number)

        try:
            return JsonResponse(action_form(archive.writer.do(unit, topics=(tasks.TOPIC, "event"), urgent=True)))
        except NotFoundError as refused:
            raise WebError(409, DUPLICATE_RESOURCE, str(refused)) from refused

    @router.get("", summary="List what scripts asked for that is done after their runs, the newest first")
    def listing(
        state: Annotated[list[str] | None, Query(description="Only those in one of these states.")] = None,
        limit: Newest = 100,
    ) -> Response:
        with archive.read() as connection:
            found = tasks.listing(connection, states=state or (), limit=limit)
        return JsonResponse([action_form(task) for task in found])

    @router.get("/{number}", summary="Show what a script asked for")
    def describe(number: RowNumber) -> Response:
        with archive.read() as connection:
            return JsonResponse(action_form(_needed(connection, number)))

    @router.post("/{number}/retry", summary="Try again, at once, what failed or waits")
    def retry(number: RowNumber) -> Response:
        return decide(number, lambda c: tasks.retry(c, number, archive.clock.now()))

    @router.post("/{number}/discard", summary="Give up what failed or waits: it is never done")
    def discard(request: Request, number: RowNumber, why: Reason) -> Response:
        by = request.state.username or "this machine"
        return decide(number, lambda c: tasks.discard(c, number, by, why, archive.clock.now()))

    return router


def action_form(task: Task) -> dict[str, Any]:
    """Return what a script asked for in Orthanc's manner."""
    return {
        "ID": task.id,
        "Verb": task.verb,
        "Queue": task.queue,
        "Script": task.script,
        "Instance": task.instance,
        "SOPInstanceUID": task.sop_instance_uid,
        "State": task.state,
        "Attempts": task.attempts,
        "Result": task.result,
        "LastError": task.last_error,
        "CreationTime": iso_time(task.created_at),
        "NextAttempt": iso_time(task.next_attempt_at) if task.state == "waiting" else None,
        "CompletionTime": iso_time(task.finished_at),
    }


def _needed(connection: Connection, number: int) -> Task:
    task = tasks.get(connection, number)
    if task is None:
        raise unknown_resource()
    return task
