"""`/modalities/{name}/storage-commitment` and `/storage-commitment/{transaction}`: asking another system whether it keeps what it got."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from typing import Any

from fastapi import APIRouter, Request
from pydicom.uid import generate_uid
from sqlalchemy import Connection
from starlette.concurrency import run_in_threadpool
from starlette.responses import Response

from hostd.archive import inquiries, instances
from hostd.archive.archive import Archive
from hostd.archive.inquiries import Asked, Inquiry
from hostd.delivery import commissioner
from hostd.delivery.remotes import Remotes
from hostd.dicom import statuses
from hostd.dicom.commitment import Reference
from hostd.dicom.identity import is_uid
from hostd.errors import DestinationFault
from hostd.jobs.faults import NETWORK_PROTOCOL
from hostd.web.asking import LONGEST_TIMEOUT_S, members, number, wrong
from hostd.web.errors import BAD_FILE_FORMAT, BAD_SEQUENCE_OF_CALLS, FORBIDDEN, INEXISTENT_ITEM, WebError
from hostd.web.fields import json_object, strings
from hostd.web.remotes import modality_of
from hostd.web.responses import JsonResponse

_MOST = 20_000
_AT_ONCE = 10
"""Instances that one unit of the writer deletes, so that it stays free."""


def commitment_routes(archive: Archive, remotes: Remotes) -> APIRouter:
    """Return the routes."""
    router = APIRouter(tags=["storage commitment"])

    @router.post("/modalities/{name}/storage-commitment", summary="Ask a modality whether it commits to keep instances")
    async def ask(request: Request, name: str) -> Response:
        modality_of(remotes, name)
        asked = await run_in_threadpool(_asked, archive, await json_object(request, orthanc_status=BAD_FILE_FORMAT))
        uid = await run_in_threadpool(_ask, archive, remotes, name, asked)
        return JsonResponse({"ID": uid, "Path": f"/storage-commitment/{uid}"})

    @router.get("/storage-commitment/{transaction}", summary="Tell what a modality reported of a request")
    def report(transaction: str) -> Response:
        return JsonResponse(_form(_needed(archive, transaction)))

    @router.post(
        "/storage-commitment/{transaction}/remove", summary="Delete what a modality has committed to keep, all of it"
    )
    def remove(transaction: str) -> Response:
        inquiry = _needed(archive, transaction)
        if inquiry.is_pending or inquiry.failed:
            why = "was not reported on yet" if inquiry.is_pending else "ended with failures"
            raise WebError(409, BAD_SEQUENCE_OF_CALLS, f"nothing is deleted: the storage commitment {why}")
        _remove(archive, inquiry)
        return JsonResponse({})

    return router


def _needed(archive: Archive, transaction: str) -> Inquiry:
    with archive.read() as connection:
        found = inquiries.get(connection, transaction)
    if found is None:
        raise WebError(404, INEXISTENT_ITEM, f"No storage commitment transaction with UID: {transaction}")
    return found


# -- asking -----------------------------------------------------------------------------------------------------------


def _asked(archive: Archive, given: dict[str, Any]) -> list[Asked]:
    """Return what a body names: resources, and instances by UID. Raises `WebError`."""
    if "Resources" not in given and "DicomInstances" not in given:
        raise wrong(
            'Empty storage commitment request, one of these fields is mandatory: "Resources" or "DicomInstances"'
        )
    number(given, "Timeout", 0, LONGEST_TIMEOUT_S)
    with archive.read() as connection:
        found = members(connection, strings(given, "Resources")) if "Resources" in given else []
        asked = _stored(connection, found)
        for reference in _references(given.get("DicomInstances", [])):
            same = [
                one
                for one in instances.by_sop_instance_uid(connection, reference.sop_instance_uid)
                if one.sop_class_uid == reference.sop_class_uid
            ]
            asked += _stored(connection, [one.id for one in same]) or [Asked(reference)]
    if len(asked) > _MOST:
        raise wrong(f"ask for {_MOST} instances at one time, not more")
    return asked


def _stored(connection: Connection, identifiers: Sequence[str]) -> list[Asked]:
    return [
        Asked(Reference(one.sop_class_uid, one.sop_instance_uid), one.id, one.received_sha256)
        for one in instances.get_all(connection, identifiers)
    ]


def _references(given: Any) -> list[Reference]:
    if not isinstance(given, list):
        raise wrong('"DicomInstances" must be an array')
    found = []
    for one in given:
        pair = [one.get("SOPClassUID"), one.get("SOPInstanceUID")] if isinstance(one, dict) else one
        if (
            not isinstance(pair, list)
            or len(pair) != 2
            or not all(isinstance(uid, str) and is_uid(uid) for uid in pair)
        ):
            raise wrong("An instance is named by its SOPClassUID and SOPInstanceUID")
        found.append(Reference(*pair))
    return found


def _ask(archive: Archive, remotes: Remotes, name: str, asked: Sequence[Asked]) -> str:
    """Ask, on record before a report can come; return the transaction's UID. Raises `WebError` where it is not taken."""
    uid, destination = str(generate_uid(prefix=None)), modality_of(remotes, name)
    now = archive.clock.now()
    archive.writer.do(lambda c: inquiries.enter(c, uid, name, destination.aet, asked, now), urgent=True)
    references = list(dict.fromkeys(one.reference for one in asked))
    try:
        destination.ask_commitment(uid, references, partial(commissioner.settle, archive))
    except DestinationFault as fault:
        archive.writer.do(lambda c: inquiries.withdraw(c, uid), urgent=True)
        raise WebError(500, NETWORK_PROTOCOL, str(fault)) from fault
    return uid


# -- what came of it --------------------------------------------------------------------------------------------------


def _form(inquiry: Inquiry) -> dict[str, Any]:
    committed, failed = inquiry.committed or frozenset(), inquiry.failed or {}
    named = {one.reference.sop_instance_uid: one.reference for one in inquiry.asked}
    return {
        "Failures": [
            _named(one)
            | {
                "Description": statuses.describe(failed[uid]).partition(" ")[2].strip("()"),
                "FailureReason": failed[uid],
            }
            for uid, one in named.items()
            if uid in failed
        ],
        "RemoteAET": inquiry.remote_aet,
        "Status": "Pending" if inquiry.is_pending else "Failure" if failed else "Success",
        "Success": [_named(one) for uid, one in named.items() if uid in committed],
    }


def _named(reference: Reference) -> dict[str, Any]:
    return {"SOPClassUID": reference.sop_class_uid, "SOPInstanceUID": reference.sop_instance_uid}


def _remove(archive: Archive, inquiry: Inquiry) -> None:
    """Delete what was committed to, where it is still what was asked about. Raises `WebError` for what hostd has promised another to keep."""
    assert inquiry.committed is not None
    gone = [one for one in inquiry.asked if one.instance and one.reference.sop_instance_uid in inquiry.committed]
    for begin in range(0, len(gone), _AT_ONCE):
        some, now = gone[begin : begin + _AT_ONCE], archive.clock.now()
        if archive.writer.do(partial(_hide, some=some, now=now), topics=("event",), urgent=True):
            raise WebError(409, FORBIDDEN, "hostd has promised another system to keep some of it (storage commitment)")


def _hide(connection: Connection, some: Sequence[Asked], now: float) -> bool:
    """Delete some; return whether any must stay."""
    outcomes = [instances.hide(connection, one.instance or "", now, content=one.content) for one in some]
    return "promised" in outcomes
