"""`/changes` and `/exports`: the event log as Orthanc tells it."""

from __future__ import annotations

from collections.abc import Callable
from typing import Annotated, Any, TypeVar

from fastapi import APIRouter, Query, Request
from starlette.responses import PlainTextResponse, Response

from hostd.archive import changes
from hostd.archive.archive import Archive
from hostd.archive.changes import Change, Export, Level, Log, Page
from hostd.dicom.header import Header
from hostd.web.parameters import LARGEST, is_set
from hostd.web.responses import JsonResponse, orthanc_seconds

Entry = TypeVar("Entry")

_PATHS: dict[Level, str] = {"patient": "patients", "study": "studies", "series": "series", "instance": "instances"}

_Since = Annotated[int, Query(ge=0, le=LARGEST, description="The number after which to begin, as `Last` gives it.")]
_Limit = Annotated[int, Query(ge=0, le=10_000, description="How many to return at most.")]
_Last = Annotated[str | None, Query(description="Only the newest. A flag: it needs no value.")]


def change_routes(archive: Archive) -> APIRouter:
    """Return the routes."""
    router = APIRouter(tags=["changes"])

    @router.get("/changes", summary="Tell what became of what is stored, the oldest first")
    def list_changes(request: Request, since: _Since = 0, limit: _Limit = 100, last: _Last = None) -> Response:  # noqa: ARG001 - declared for the documentation
        with archive.read() as connection:
            newest = is_set(request, "last")
            found = changes.last_change(connection) if newest else changes.changes(connection, since=since, limit=limit)
        return _page("Changes", found, _change_form)

    @router.get("/exports", summary="Tell what was sent to where, the oldest first")
    def list_exports(request: Request, since: _Since = 0, limit: _Limit = 100, last: _Last = None) -> Response:  # noqa: ARG001 - declared for the documentation
        with archive.read() as connection:
            newest = is_set(request, "last")
            found = changes.last_export(connection) if newest else changes.exports(connection, since=since, limit=limit)
        return _page("Exports", found, _export_form)

    def forget(log: Log) -> Response:
        archive.writer.do(lambda connection: changes.forget(connection, log))
        return PlainTextResponse("")

    @router.delete("/changes", summary="Show none of the changes until now any more")
    def forget_changes() -> Response:
        return forget("changes")

    @router.delete("/exports", summary="Show nothing any more of what was sent until now")
    def forget_exports() -> Response:
        return forget("exports")

    return router


def _page(name: str, page: Page[Entry], form: Callable[[Entry], dict[str, Any]]) -> Response:
    return JsonResponse({name: [form(entry) for entry in page.entries], "Done": page.done, "Last": page.last})


def _change_form(change: Change) -> dict[str, Any]:
    return {
        "ChangeType": change.type,
        "Date": orthanc_seconds(change.at),
        "ID": change.id,
        "Path": f"/{_PATHS[change.level]}/{change.id}",
        "ResourceType": change.level.capitalize(),
        "Seq": change.number,
    }


def _export_form(export: Export) -> dict[str, Any]:
    header = Header.decode(export.event.header) if export.event.header is not None else None
    return {
        "Date": orthanc_seconds(export.event.at),
        "ID": export.event.subject,
        "Path": f"/instances/{export.event.subject}",
        "PatientID": header.identity.patient_id if header else "",
        "RemoteModality": export.destination.partition(":")[2],
        "ResourceType": "Instance",
        "SOPInstanceUID": header.sop_instance_uid if header else "",
        "Seq": export.number,
        "SeriesInstanceUID": header.series_instance_uid if header else "",
        "StudyInstanceUID": header.study_instance_uid if header else "",
    }
