"""`/modalities/{name}/store` and `/peers/{name}/store`, and their kin that send the body itself: by deliveries, as a job."""

from __future__ import annotations

import tempfile
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from functools import partial
from pathlib import Path
from typing import Any

from fastapi import APIRouter, Request
from sqlalchemy import Connection
from starlette.concurrency import run_in_threadpool
from starlette.responses import Response

from hostd.archive import deliveries, jobs, sendings
from hostd.archive.archive import Archive
from hostd.archive.deliveries import PRIORITIES
from hostd.archive.jobs import Job
from hostd.archive.manners import Manner
from hostd.archive.remotes import Kind
from hostd.archive.sendings import Way
from hostd.config.sections import Modality, Peer
from hostd.delivery import sending
from hostd.delivery.remotes import Remotes
from hostd.dicom import loss
from hostd.dicom.syntaxes import UnknownSyntaxError, lookup
from hostd.jobs.sending import MODALITY, PEER, Sending
from hostd.transcoding.transform import Transcode, Transform
from hostd.web.asking import LONGEST_TIMEOUT_S, flag, members, named_resources, number, text, wrong
from hostd.web.errors import BAD_PARAMETER_TYPE, PARAMETER_OUT_OF_RANGE
from hostd.web.jobs import Submitting, is_synchronous, priority
from hostd.web.remotes import unknown
from hostd.web.responses import JsonResponse
from hostd.web.upload import spool

_ELSEWHERE = ("CalledAet", "Host", "Port")
_DESCRIPTION = "REST API"
_TYPES: dict[Kind, str] = {"modality": MODALITY, "peer": PEER}


def store_routes(
    archive: Archive, remotes: Remotes, submitting: Submitting, *, max_upload_bytes: int, upload_idle_s: float
) -> APIRouter:
    """Return the routes."""
    router = APIRouter(tags=["modalities and peers"])
    stores = _Stores(archive, remotes, submitting, max_upload_bytes, upload_idle_s)

    @router.post("/modalities/{name}/store", summary="Send instances, series, studies or patients to a modality")
    async def store_to_modality(request: Request, name: str) -> Response:
        section = stores.modality(name)
        given = await named_resources(request)
        return await stores.store("modality", name, given, *_to_modality(given, section))

    @router.post("/peers/{name}/store", summary="Send instances, series, studies or patients to a peer")
    async def store_to_peer(request: Request, name: str) -> Response:
        section = stores.peer(name)
        given = await named_resources(request)
        return await stores.store("peer", name, given, *_to_peer(given, section))

    @router.post("/modalities/{name}/store-straight", summary="Send the DICOM file that is the body to a modality")
    async def straight_to_modality(request: Request, name: str) -> Response:
        _, content = _to_modality({}, stores.modality(name))
        async with stores.taken(request) as prepared:
            await stores.send("modality", name, prepared, content)
        header = prepared.header
        return JsonResponse({"SOPClassUID": header.sop_class_uid, "SOPInstanceUID": header.sop_instance_uid})

    @router.post("/peers/{name}/store-straight", summary="Send the DICOM file that is the body to a peer")
    async def straight_to_peer(request: Request, name: str) -> Response:
        _, content = _to_peer({}, stores.peer(name))
        async with stores.taken(request) as prepared:
            job = await stores.send("peer", name, prepared, content)
        said = await run_in_threadpool(_answer_of, archive, job)
        identity = prepared.header.identity
        return JsonResponse(
            {
                "ID": identity.instance,
                "ParentPatient": identity.patient,
                "ParentSeries": identity.series,
                "ParentStudy": identity.study,
                "Path": f"/instances/{identity.instance}",
                "Status": "AlreadyStored" if "already stored" in said else "Success",
            }
        )

    return router


class _Stores:
    """What the routes have in common."""

    def __init__(
        self, archive: Archive, remotes: Remotes, submitting: Submitting, max_upload_bytes: int, upload_idle_s: float
    ) -> None:
        self._archive = archive
        self._remotes = remotes
        self._submitting = submitting
        self._max_upload_bytes = max_upload_bytes
        self._upload_idle_s = upload_idle_s

    def modality(self, name: str) -> Modality:
        """Return a modality. Raises `WebError` where there is none."""
        found = self._remotes.settings.modalities.get(name)
        if found is None:
            raise unknown("modality", name)
        return found

    def peer(self, name: str) -> Peer:
        """Return a peer. Raises `WebError` where there is none."""
        found = self._remotes.settings.peers.get(name)
        if found is None:
            raise unknown("peer", name)
        return found

    async def store(
        self, kind: Kind, name: str, given: dict[str, Any], manner: Manner, content: dict[str, Any]
    ) -> Response:
        """Send what is named, and answer as it was asked. Raises `WebError`."""
        is_waited_for, urgency = is_synchronous(given), priority(given)
        transform, is_in = _transform(given)
        way = Way(f"{kind}:{name}", transform, is_in, manner.canonical(), _urgency(urgency))
        asked = Sending(way, permissive=flag(given, "Permissive")).to_json()
        items = await run_in_threadpool(self._members, given["Resources"])
        shown = content | {"Description": _DESCRIPTION, "FailedInstancesCount": 0, "InstancesCount": len(items)}
        if given["Resources"]:
            shown["ParentResources"] = given["Resources"]
        submit = partial(
            jobs.submit, kind=_TYPES[kind], asked=asked, now=self._archive.clock.now(), content=shown, items=items,
            priority=urgency, user_data=given.get("UserData"),
        )  # fmt: skip
        return await self._submitting.answer(submit, is_synchronous=is_waited_for)

    def _members(self, identifiers: list[str]) -> list[str]:
        with self._archive.read() as connection:
            return members(connection, identifiers)

    @asynccontextmanager
    async def taken(self, request: Request) -> AsyncIterator[sending.Prepared]:
        """Take in the file that is the body, which is in no archive. Raises `WebError` and `UnparsableError`."""
        with tempfile.NamedTemporaryFile(dir=self._archive.data, prefix="straight-") as file:
            await spool(request, file.file, max_bytes=self._max_upload_bytes, idle_s=self._upload_idle_s)
            yield await run_in_threadpool(sending.prepare, self._archive.place, Path(file.name))

    async def send(self, kind: Kind, name: str, prepared: sending.Prepared, content: dict[str, Any]) -> Job:
        """Send a file; return its job, which has succeeded. Raises `WebError`."""
        way = Way(f"{kind}:{name}", "", None, "", PRIORITIES["high"])
        shown = content | {"Description": _DESCRIPTION, "FailedInstancesCount": 0, "InstancesCount": 1}

        def submit(connection: Connection) -> str:
            now = self._archive.clock.now()
            delivery = sending.ask_for_file(connection, prepared, way.destination, way.priority, now)
            asked = Sending(way, asked=True).to_json()
            instance = prepared.header.identity.instance
            job = jobs.submit(connection, _TYPES[kind], asked, now, content=shown, items=[instance])
            sendings.note(connection, job, 0, *delivery)
            return job

        return await self._submitting.ended(submit)


def _answer_of(archive: Archive, job: Job) -> str:
    """Return what the peer said to the one delivery of a job."""
    with archive.read() as connection:
        (item,) = jobs.items(connection, job)
        assert item.delivery is not None
        said = deliveries.attempts(connection, item.delivery)
    return said[-1].answer if said else ""


def _to_modality(given: dict[str, Any], section: Modality) -> tuple[Manner, dict[str, Any]]:
    """Return how to send to a modality, and what is shown of it. Raises `WebError`."""
    if elsewhere := [name for name in _ELSEWHERE if name in given]:
        raise wrong(f'"{elsewhere[0]}" would send elsewhere than the modality is: PUT /modalities/NAME first')
    if flag(given, "StorageCommitment") and section.commitment_wait_s is None:
        raise wrong('"StorageCommitment" needs `commitment = true` of this modality in the configuration of hostd')
    local = text(given, "LocalAet", orthanc_status=BAD_PARAMETER_TYPE)
    if local is not None and not (
        1 <= len(local) <= 16 and local.isascii() and local.isprintable() and "\\" not in local
    ):
        raise wrong('"LocalAet" is no AE title (PS3.5 §6.2)')
    originator = text(given, "MoveOriginatorAet", orthanc_status=BAD_PARAMETER_TYPE)
    message = number(
        given, "MoveOriginatorID", 0, 0xFFFF, type_status=BAD_PARAMETER_TYPE, range_status=PARAMETER_OUT_OF_RANGE
    )
    if originator is not None and not (len(originator) <= 16 and originator.isascii() and originator.isprintable()):
        raise wrong('"MoveOriginatorAet" is no AE title (PS3.5 §6.2)')
    manner = Manner(
        calling_aet=local,
        move_originator=(originator, message or 0) if originator is not None else None,
        timeout_s=number(given, "Timeout", 0, LONGEST_TIMEOUT_S) or None,
    )
    return manner, {"LocalAet": local or section.calling_aet, "RemoteAet": section.aet}


def _to_peer(given: dict[str, Any], section: Peer) -> tuple[Manner, dict[str, Any]]:
    """Return how to send to a peer, and what is shown of it. Raises `WebError`."""
    compress = flag(given, "Compress") if "Compress" in given else None
    manner = Manner(compress=compress)
    peer = [section.url, section.username, ""] if section.username is not None else [section.url]
    content = {"Compress": section.compress if compress is None else compress, "Peer": peer, "Size": "0", "SizeMB": 0}
    return manner, content | ({"Transcode": given["Transcode"]} if "Transcode" in given else {})


def _transform(given: dict[str, Any]) -> tuple[str, str | None]:
    """Return the transform that `Transcode` asks for, and the UID of the transfer syntax in which it is not needed. Raises `WebError`."""
    name = text(given, "Transcode")
    if name is None:
        return "", None
    try:
        syntax = lookup(name)
    except UnknownSyntaxError as error:
        raise wrong(f"Unknown transfer syntax UID: {name}") from error
    quality = number(given, "LossyQuality", 1, 100) or loss.DEFAULT_QUALITY
    step = Transcode(syntax.uid, or_original=False, quality=quality if syntax.is_lossy else None)
    return Transform().then(step).canonical(), syntax.uid


def _urgency(wanted: int) -> int:
    """Return with what priority the deliveries of a job go: before those of scripts, for somebody waits for them."""
    return PRIORITIES["high"] if wanted >= 0 else PRIORITIES["low"]
