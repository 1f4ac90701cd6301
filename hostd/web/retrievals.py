"""`/retrievals` and `/promises`: what others had sent or got by C-MOVE and C-GET, and what hostd has promised them to keep. hostd's own, in Orthanc's manner."""

from __future__ import annotations

from typing import Any

from fastapi import APIRouter
from starlette.responses import Response

from hostd.archive import promises, retrievals
from hostd.archive.archive import Archive
from hostd.archive.promises import Request
from hostd.archive.retrievals import Retrieval, Sent
from hostd.web.errors import unknown_resource
from hostd.web.parameters import Newest, RowNumber
from hostd.web.responses import JsonResponse, iso_time


def retrieval_routes(archive: Archive) -> APIRouter:
    """Return the routes of retrievals and promises."""
    router = APIRouter(tags=["retrievals"])

    @router.get("/retrievals", summary="List what was asked for by C-MOVE and C-GET, the newest first")
    def listing(limit: Newest = 100) -> Response:
        with archive.read() as connection:
            return JsonResponse([_form(one) for one in retrievals.listing(connection, limit=limit)])

    @router.get("/retrievals/{number}", summary="Describe a retrieval, with what became of each instance")
    def describe(number: RowNumber) -> Response:
        with archive.read() as connection:
            found = retrievals.get(connection, number)
            if found is None:
                raise unknown_resource()
            return JsonResponse(
                {**_form(found), "Instances": list(map(_sent_form, retrievals.sent(connection, number)))}
            )

    @router.get("/promises", summary="List the requests for storage commitment, the newest first")
    def asked(limit: Newest = 100) -> Response:
        with archive.read() as connection:
            return JsonResponse([_request_form(one) for one in promises.listing(connection, limit)])

    return router


def _form(one: Retrieval) -> dict[str, Any]:
    return {
        "ID": one.id,
        "Kind": one.kind,
        "At": iso_time(one.at),
        "CallingAet": one.calling_aet,
        "Ip": one.ip,
        "Association": one.association,
        "Destination": one.destination,
        "Asked": one.asked,
        "Count": one.count,
        "Completed": one.completed,
        "Warnings": one.warnings,
        "Failed": one.failed,
        "State": one.state,
        "Reason": one.reason,
        "EndedAt": iso_time(one.ended_at),
    }


def _sent_form(sent: Sent) -> dict[str, Any]:
    return {
        "ID": sent.instance,
        "SOPInstanceUID": sent.sop_instance_uid,
        "Outcome": sent.outcome,
        "Answer": sent.answer,
        "Status": sent.status,
        "SentSyntax": sent.sent_syntax,
        "At": iso_time(sent.at),
    }


def _request_form(one: Request) -> dict[str, Any]:
    return {
        "ID": one.id,
        "TransactionUID": one.transaction_uid,
        "Modality": one.modality,
        "At": iso_time(one.asked_at),
        "State": one.state,
        "Count": len(one.references),
        "Failed": one.failed,
        "Attempts": one.attempts,
        "LastError": one.last_error,
    }
