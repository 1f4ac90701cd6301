"""`/deliveries` and `/associations`: what became of what was to be sent, and who called. hostd's own, in Orthanc's manner."""

from __future__ import annotations

from typing import Annotated, Any

from fastapi import APIRouter, Query
from sqlalchemy import Connection
from starlette.responses import Response

from hostd.archive import associations, commitments, deliveries
from hostd.archive.archive import Archive
from hostd.archive.associations import AssociationRow
from hostd.archive.records import Attempt, Delivery
from hostd.transcoding.transform import told
from hostd.web.errors import unknown_resource
from hostd.web.parameters import Newest, RowNumber
from hostd.web.responses import JsonResponse, iso_time


def delivery_routes(archive: Archive) -> APIRouter:
    """Return the routes of deliveries."""
    router = APIRouter(prefix="/deliveries", tags=["deliveries"])

    @router.get("", summary="List deliveries, the newest first")
    def listing(
        state: Annotated[list[str] | None, Query(description="Only those in one of these states.")] = None,
        destination: Annotated[str | None, Query(description="Only those to it, as `modality:x` or `peer:x`.")] = None,
        study: Annotated[str | None, Query(description="Only those of this Study Instance UID.")] = None,
        instance: Annotated[str | None, Query(description="Only those of this instance, by Orthanc's id.")] = None,
        limit: Newest = 100,
    ) -> Response:
        with archive.read() as connection:
            found = deliveries.listing(
                connection, states=state or (), destination=destination, study=study, instance=instance, limit=limit
            )
        return JsonResponse([delivery_form(delivery) for delivery in found])

    @router.get("/{number}", summary="Show a delivery with all its attempts")
    def describe(number: RowNumber) -> Response:
        with archive.read() as connection:
            return JsonResponse(with_history(connection, number))

    return router


def association_routes(archive: Archive) -> APIRouter:
    """Return the routes of associations."""
    router = APIRouter(prefix="/associations", tags=["associations"])

    @router.get("", summary="List associations, the newest first")
    def listing(
        failed: Annotated[
            bool, Query(description="Only those that ended badly or had an instance not stored.")
        ] = False,
        calling: Annotated[str | None, Query(description="Only those of this calling AE title.")] = None,
        limit: Newest = 100,
    ) -> Response:
        with archive.read() as connection:
            found = associations.listing(connection, failed=failed, calling_aet=calling, limit=limit)
        return JsonResponse([association_form(row) for row in found])

    return router


def with_history(connection: Connection, number: int) -> dict[str, Any]:
    """Return a delivery with all its attempts and what was decided of it. Raises `WebError` when there is none."""
    delivery = deliveries.get(connection, number)
    if delivery is None:
        raise unknown_resource()
    stand_in = deliveries.stand_in_of(connection, number)
    return {
        **delivery_form(delivery),
        "CommitmentReported": iso_time(commitments.reported_at(connection, delivery.commitment_uid)),
        "StandIn": stand_in.id if stand_in is not None else None,
        "History": [attempt_form(attempt) for attempt in deliveries.attempts(connection, number)],
    }


def delivery_form(delivery: Delivery) -> dict[str, Any]:
    """Return a delivery in Orthanc's manner; the number of tries is `Attempts`, each of them is in `History`."""
    return {
        "ID": delivery.id,
        "Instance": delivery.instance,
        "SOPInstanceUID": delivery.sop_instance_uid,
        "SOPClassUID": delivery.sop_class_uid,
        "Destination": delivery.destination,
        "Transform": told(delivery.transform),
        "Script": delivery.script,
        "Priority": delivery.priority,
        "State": delivery.state,
        "Attempts": delivery.attempts,
        "PossibleDoubles": delivery.possible_doubles,
        "LastError": delivery.last_error,
        "CreationTime": iso_time(delivery.created_at),
        "NotBefore": iso_time(delivery.not_before or None),
        "NextAttempt": None if delivery.finished_at else iso_time(delivery.next_attempt_at),
        "CompletionTime": iso_time(delivery.finished_at),
        "StandsInFor": delivery.alternate_of,
        "Commitment": delivery.commitment,
        "CommitmentTransaction": delivery.commitment_uid,
        "CommitmentAsked": iso_time(delivery.commitment_asked_at),
    }


def attempt_form(attempt: Attempt) -> dict[str, Any]:
    """Return one try in Orthanc's manner; `Status` is DIMSE's or HTTP's."""
    return {
        "Number": attempt.number,
        "Time": iso_time(attempt.at),
        "Outcome": attempt.outcome,
        "Answer": attempt.answer,
        "Status": attempt.status,
        "Seconds": attempt.seconds,
        "TransferSyntax": attempt.sent_syntax,
        "SentSOPInstanceUID": attempt.sent_sop_instance_uid,
    }


def association_form(row: AssociationRow) -> dict[str, Any]:
    """Return an association in Orthanc's manner; `Ended` is null while it lasts."""
    return {
        "ID": row.id,
        "CallingAet": row.calling_aet,
        "CalledAet": row.called_aet,
        "RemoteIp": row.ip,
        "RemotePort": row.port,
        "BeginTime": iso_time(row.at),
        "EndTime": iso_time(row.ended_at),
        "Ended": row.ended,
        "Reason": row.reason,
        "Received": row.received,
        "Stored": row.stored,
        "Failed": row.failed,
        "Bytes": row.bytes,
        "Facts": row.facts,
    }
