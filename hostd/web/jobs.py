"""`/jobs`: what was asked for that takes a while, how far it is, and how it ended, in Orthanc's form."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import anyio
import anyio.to_thread
from fastapi import APIRouter, Request
from sqlalchemy import Connection
from starlette.responses import Response

from hostd.archive import jobs
from hostd.archive.archive import Archive
from hostd.archive.jobs import Job, Verb
from hostd.errors import NotFoundError
from hostd.jobs import faults
from hostd.jobs.running import NotEndedError, Runner
from hostd.web.errors import BAD_REQUEST, DUPLICATE_RESOURCE, INEXISTENT_ITEM, TIMEOUT, WebError
from hostd.web.parameters import Expand, is_set
from hostd.web.responses import JsonResponse, orthanc_microseconds

_BEGUN = 0.01
"""The progress from which on it is told when a job will have ended."""
_TAKEN_UP_S = 5.0
"""Seconds that a cancel or a pause is waited for: it is taken up between two steps of the job."""
_WAITING = 100
"""How many requests may wait for their jobs at one time; more wait for those."""

_STATES = {
    "pending": "Pending",
    "running": "Running",
    "retry": "Retry",
    "paused": "Paused",
    "success": "Success",
    "failure": "Failure",
}

_BAD_REQUESTS = frozenset(
    {faults.PARAMETER_OUT_OF_RANGE, faults.BAD_FILE_FORMAT, 5, BAD_REQUEST}  # 5: a bad type of a parameter
)
_NOT_THERE = frozenset({faults.INEXISTENT_ITEM, faults.UNKNOWN_RESOURCE})


class _Never:
    """Waits of a runner that works on nothing."""

    def next_attempt(self, now: float, attempts: int, random: float) -> float:
        """Return the time of the next try."""
        del attempts, random
        return now


NEVER = _Never()


def job_routes(archive: Archive, runner: Runner) -> APIRouter:
    """Return the routes."""
    router = APIRouter(prefix="/jobs", tags=["jobs"])

    @router.get("", summary="List jobs, in the order in which they were asked for")
    def listing(request: Request, expand: Expand = None) -> Response:
        del expand
        now = archive.clock.now()
        with archive.read() as connection:
            if not is_set(request, "expand"):
                return JsonResponse(jobs.identifiers(connection))
            return JsonResponse([job_form(job, now) for job in jobs.page(connection, limit=None)])

    @router.get("/{job_id}", summary="Show a job: how far it is, what came of it, and why it failed")
    def describe(job_id: str) -> Response:
        return JsonResponse(job_form(_needed(archive, job_id), archive.clock.now()))

    @router.delete("/{job_id}", summary="Forget a job that has ended, with its output")
    def delete(job_id: str) -> Response:
        _needed(archive, job_id)
        try:
            runner.delete(job_id)
        except NotFoundError as refused:
            raise WebError(409, DUPLICATE_RESOURCE, str(refused)) from refused
        return JsonResponse({})

    _add_decisions(router, archive, runner)
    return router


def _add_decisions(router: APIRouter, archive: Archive, runner: Runner) -> None:
    def decide(identifier: str, verb: Verb) -> Response:
        _needed(archive, identifier)
        try:
            job = archive.writer.do(
                lambda c: jobs.decide(c, identifier, verb, archive.clock.now()), topics=jobs.TOPICS, urgent=True
            )
        except NotFoundError as refused:
            raise WebError(400, BAD_REQUEST, str(refused)) from refused
        if job.wanted is not None:
            runner.await_taken_up(identifier, seconds=_TAKEN_UP_S)
        return JsonResponse({})

    @router.post(
        "/{job_id}/cancel", summary="End a job that has not ended; what it began ends as failed, with that reason"
    )
    def cancel(job_id: str) -> Response:
        return decide(job_id, "cancel")

    @router.post("/{job_id}/pause", summary="Have a job rest until it is resumed")
    def pause(job_id: str) -> Response:
        return decide(job_id, "pause")

    @router.post("/{job_id}/resume", summary="Have a paused job go on")
    def resume(job_id: str) -> Response:
        return decide(job_id, "resume")

    @router.post("/{job_id}/resubmit", summary="Do a job again that has failed")
    def resubmit(job_id: str) -> Response:
        return decide(job_id, "resubmit")


def job_form(job: Job, now: float) -> dict[str, Any]:
    """Return a job as Orthanc shows it."""
    runtime = job.runtime_at(now)
    form: dict[str, Any] = {
        "Content": job.content,
        "CreationTime": orthanc_microseconds(job.created_at),
        "EffectiveRuntime": round(runtime, 3),
        "ErrorCode": job.error_code,
        "ErrorDescription": faults.MEANINGS.get(job.error_code, "Internal error"),
        "ErrorDetails": job.error_details,
        "ID": job.id,
        "Priority": job.priority,
        "Progress": int(job.progress * 100),
        "State": _STATES[job.state],
        "Timestamp": orthanc_microseconds(now),
        "Type": job.type,
    }
    if job.finished_at is not None:
        form["CompletionTime"] = orthanc_microseconds(job.finished_at)
    if job.state == "running" and job.progress > _BEGUN and runtime > 0:
        form["EstimatedTimeOfArrival"] = orthanc_microseconds(now + runtime * (1 - job.progress) / job.progress)
    if job.user_data is not None:
        form["UserData"] = job.user_data
    if job.error_payload is not None:
        form["ErrorPayload"] = job.error_payload
    return form


class Submitting:
    """Answers requests that are carried out as jobs: with the job where they are asynchronous, else with what came of it."""

    def __init__(self, archive: Archive, runner: Runner, limit_s: float) -> None:
        self._archive = archive
        self._runner = runner
        self._limit_s = limit_s
        # Those who wait for jobs wait for each other, not for the threads that other requests use.
        self._waiting = anyio.CapacityLimiter(_WAITING)

    async def answer(self, submit: Callable[[Connection], str], *, is_synchronous: bool) -> Response:
        """Submit a job and answer as Orthanc does: its content, or `ID` and `Path`. Raises `WebError` for one that failed."""
        if not is_synchronous:
            identifier = await anyio.to_thread.run_sync(self._submit, submit)
            return JsonResponse({"ID": identifier, "Path": f"/jobs/{identifier}"})
        return JsonResponse((await self.ended(submit)).content)

    async def ended(self, submit: Callable[[Connection], str]) -> Job:
        """Submit a job and return it once it has succeeded. Raises `WebError` for one that failed."""
        try:
            job = await anyio.to_thread.run_sync(
                lambda: self._runner.run(submit, seconds=self._limit_s), limiter=self._waiting
            )
        except NotEndedError as late:
            raise WebError(504, TIMEOUT, str(late)) from late
        if job.state != jobs.SUCCESS:
            raise failed(job)
        return job

    def _submit(self, submit: Callable[[Connection], str]) -> str:
        return self._archive.writer.do(submit, topics=jobs.TOPICS, urgent=True)


def failed(job: Job) -> WebError:
    """Return the answer to whoever waited for a job that failed: Orthanc's number, and HTTP's status for it."""
    status = 404 if job.error_code in _NOT_THERE else 400 if job.error_code in _BAD_REQUESTS else 500
    if job.error_code == faults.FULL_STORAGE:
        status = 507
    return WebError(status, job.error_code, job.error_details or None, job.error_payload)


def is_synchronous(body: dict[str, Any], *, default: bool = True) -> bool:
    """Tell how a request wants to be answered, by `Synchronous`, or else `Asynchronous`. Raises `WebError` where one is no boolean."""
    found = default
    for name, means in (("Asynchronous", False), ("Synchronous", True)):
        if name in body:
            if not isinstance(body[name], bool):
                raise WebError(400, faults.BAD_FILE_FORMAT, f'"{name}" is not true or false')
            found = body[name] is means
    return found


def priority(body: dict[str, Any]) -> int:
    """Return the `Priority` that a request gives its job. Raises `WebError` where it is no whole number."""
    given = body.get("Priority", 0)
    if isinstance(given, bool) or not isinstance(given, int) or not -(2**31) <= given < 2**31:
        raise WebError(400, faults.BAD_FILE_FORMAT, '"Priority" is not a whole number')
    return given


def _needed(archive: Archive, identifier: str) -> Job:
    with archive.read() as connection:
        job = jobs.get(connection, identifier)
    if job is None:
        raise WebError(404, INEXISTENT_ITEM, f"there is no job {identifier}")
    return job
