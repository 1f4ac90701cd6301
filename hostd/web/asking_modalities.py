"""`/tools/dicom-echo` and `/modalities/{name}/find-worklist`: one question to another system, and its answer."""

from __future__ import annotations

import struct
from typing import Any
from uuid import uuid4

from fastapi import APIRouter, Request
from pydicom.dataset import Dataset
from starlette.concurrency import run_in_threadpool
from starlette.responses import Response

from hostd.config.orthanc.put import entry
from hostd.config.sections import Modality as Section
from hostd.delivery.destinations import modality as modalities
from hostd.delivery.remotes import Remotes
from hostd.dicom import data_sets, identifiers, statuses
from hostd.dicom.element_values import Elements
from hostd.dimse import retrieval
from hostd.dimse.errors import DimseError, NoContextError
from hostd.errors import ConfigurationError, DestinationFault, UnparsableError
from hostd.jobs.faults import NETWORK_PROTOCOL
from hostd.web import tags
from hostd.web.errors import BAD_FILE_FORMAT, FIND_UNAVAILABLE, WebError, bad_request
from hostd.web.fields import json_object
from hostd.web.json_data_sets import data_set_of
from hostd.web.remotes import described, modality_of, require_echo_terms
from hostd.web.responses import JsonResponse

_WORKLIST = "1.2.840.10008.5.1.4.31"
"""Modality Worklist Information Model - FIND (PS3.4 Annex K)."""
_MOST = 10_000


def asking_routes(remotes: Remotes) -> APIRouter:
    """Return the routes."""
    router = APIRouter(tags=["modalities and peers"])

    @router.post("/tools/dicom-echo", summary="Ask by C-ECHO whether a system answers that the body describes")
    async def echo(request: Request) -> Response:
        destination = _described(remotes, await described(request))
        try:
            await run_in_threadpool(destination.echo)
        except DestinationFault as fault:
            raise WebError(500, NETWORK_PROTOCOL, str(fault)) from fault
        return JsonResponse({})

    @router.post("/modalities/{name}/find-worklist", summary="Ask a modality for its worklist (C-FIND)")
    async def find_worklist(request: Request, name: str) -> Response:
        destination = modality_of(remotes, name)
        body = await json_object(request, orthanc_status=BAD_FILE_FORMAT)
        keys = body.get("Query", body)
        asked = data_set_of(keys if isinstance(keys, dict) else {})
        form = tags.full if body.get("Full") is True else tags.short if body.get("Short") is True else tags.simplified
        return JsonResponse([form(one) for one in await run_in_threadpool(_worklist, destination, asked)])

    return router


def _described(remotes: Remotes, given: Any) -> modalities.Modality:
    """Return what a body describes as a modality, with what `[delivery]` says for all. Raises `WebError`."""
    name = f"echo-{uuid4().hex}"
    require_echo_terms(given)
    if isinstance(given, dict):
        given = {key: value for key, value in given.items() if key not in {"CheckFind", "Timeout"}} | {
            "Timeout": given.get("Timeout", 0)
        }
    try:
        section = entry("modality", name, given)
    except ConfigurationError as error:
        raise WebError(400, BAD_FILE_FORMAT, str(error)) from error
    assert isinstance(section, Section)
    return modalities.configured(
        name, remotes.settings.with_destinations({"modalities": {name: section}}).modalities[name]
    )


# -- worklists --------------------------------------------------------------------------------------------------------


def _worklist(destination: modalities.Modality, asked: Dataset) -> list[Elements]:
    """Ask; return the matches. Raises `WebError` where there is no answer."""
    try:
        encoded = {syntax: data_sets.encode(asked, syntax) for syntax in data_sets.SYNTAXES}
    except (ValueError, TypeError, AttributeError, OverflowError, OSError, struct.error) as error:
        raise bad_request("the query cannot be written as DICOM: a value does not fit its attribute") from error
    try:
        with destination.call([(_WORKLIST, data_sets.SYNTAXES)]) as association:
            found = retrieval.find(association, _WORKLIST, encoded.__getitem__, most=_MOST)
        if found.is_whole and found.status != statuses.SUCCESS:
            said = retrieval.said(found.status, found.comment)
            raise WebError(500, NETWORK_PROTOCOL, f"the modality answered the query with {said}")
        return [identifiers.decode(match, found.syntax) for match in found.matches]
    except NoContextError as error:
        raise WebError(500, FIND_UNAVAILABLE, str(error)) from error
    except (DestinationFault, DimseError, UnparsableError) as error:
        raise WebError(500, NETWORK_PROTOCOL, str(error)) from error
