"""`/tools/dicom-echo` and `/modalities/{name}/find-worklist`: one question to another system, and its answer."""

from __future__ import annotations

import json
from typing import Any
from uuid import uuid4

from fastapi import APIRouter, Request
from pydicom.datadict import dictionary_VR, tag_for_keyword
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
from hostd.dimse.errors import DimseError
from hostd.errors import ConfigurationError, DestinationFault, UnparsableError
from hostd.jobs.faults import NETWORK_PROTOCOL
from hostd.web import tags
from hostd.web.body import small_body
from hostd.web.errors import BAD_FILE_FORMAT, WebError
from hostd.web.fields import json_object
from hostd.web.query_bodies import wrong
from hostd.web.remotes import modality_of
from hostd.web.responses import JsonResponse

_LARGEST = 64 << 10
_WORKLIST = "1.2.840.10008.5.1.4.31"
"""Modality Worklist Information Model - FIND (PS3.4 Annex K)."""
_MOST = 10_000
_DEEPEST = 8


def asking_routes(remotes: Remotes) -> APIRouter:
    """Return the routes."""
    router = APIRouter(tags=["modalities and peers"])

    @router.post("/tools/dicom-echo", summary="Ask by C-ECHO whether a system answers that the body describes")
    async def echo(request: Request) -> Response:
        destination = _described(remotes, await _given(request))
        try:
            await run_in_threadpool(destination.echo)
        except DestinationFault as fault:
            raise WebError(500, NETWORK_PROTOCOL, str(fault)) from fault
        return JsonResponse({})

    @router.post("/modalities/{name}/find-worklist", summary="Ask a modality for its worklist (C-FIND)")
    async def find_worklist(request: Request, name: str) -> Response:
        destination = modality_of(remotes, name)
        body = await json_object(request)
        keys = body.get("Query", body)
        asked = _data_set(keys if isinstance(keys, dict) else {}, depth=0)
        form = tags.full if body.get("Full") is True else tags.short if body.get("Short") is True else tags.simplified
        return JsonResponse([form(one) for one in await run_in_threadpool(_worklist, destination, asked)])

    return router


async def _given(request: Request) -> Any:
    try:
        return json.loads(await small_body(request, _LARGEST))
    except (ValueError, RecursionError) as error:
        raise WebError(400, BAD_FILE_FORMAT, "The body must contain a JSON object, or an array") from error


def _described(remotes: Remotes, given: Any) -> modalities.Modality:
    """Return what a body describes as a modality, with what `[delivery]` says for all. Raises `WebError`."""
    name = f"echo-{uuid4().hex}"
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


def _data_set(keys: dict[str, Any], *, depth: int) -> Dataset:
    """Return keys in JSON, sequences as lists of objects, as a data set. Raises `WebError`."""
    if depth > _DEEPEST:
        raise wrong("The query is nested too deep")
    made = Dataset()
    made.SpecificCharacterSet = "ISO_IR 192"
    for name, value in keys.items():
        tag = tag_for_keyword(name) or _number(name)
        if tag is None:
            raise wrong(f"There is no attribute {name[:64]}")
        try:
            vr = dictionary_VR(tag).split(" ")[0]
            if isinstance(value, list):
                items = [_data_set(one, depth=depth + 1) for one in value if isinstance(one, dict)]
                if vr != "SQ" or len(items) != len(value):
                    raise wrong(f"{name[:64]} is no sequence of objects")
                for item in items:
                    del item.SpecificCharacterSet
                made.add_new(tag, "SQ", items)
            elif isinstance(value, str):
                made.add_new(tag, vr, [] if vr == "SQ" else value)
            else:
                raise wrong("Associative array of DICOM tags to strings, or arrays of such, expected")
        except (KeyError, ValueError, TypeError) as error:
            raise wrong(f"{name[:64]} cannot be asked for so") from error
    return made


def _number(name: str) -> int | None:
    digits = name.replace(",", "").replace("-", "")
    try:
        return int(digits, 16) if len(digits) == 8 else None
    except ValueError:
        return None


def _worklist(destination: modalities.Modality, asked: Dataset) -> list[Elements]:
    """Ask; return the matches. Raises `WebError` where there is no answer."""
    try:
        with destination.call([(_WORKLIST, data_sets.SYNTAXES)]) as association:
            found = retrieval.find(association, _WORKLIST, lambda syntax: data_sets.encode(asked, syntax), most=_MOST)
        if found.is_whole and found.status != statuses.SUCCESS:
            said = retrieval.said(found.status, found.comment)
            raise WebError(500, NETWORK_PROTOCOL, f"the modality answered the query with {said}")
        return [identifiers.decode(match, found.syntax) for match in found.matches]
    except (DestinationFault, DimseError, UnparsableError) as error:
        raise WebError(500, NETWORK_PROTOCOL, str(error)) from error
