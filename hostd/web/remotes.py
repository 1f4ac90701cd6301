"""`/modalities` and `/peers`: which there are, those of the configuration and those that are put here, and whether they answer."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import requests
from fastapi import APIRouter, Request
from starlette.concurrency import run_in_threadpool
from starlette.responses import PlainTextResponse, Response

from hostd.archive.remotes import Kind
from hostd.config.orthanc.options import MODALITY_RIGHTS
from hostd.config.sections import Modality, Peer
from hostd.delivery.destinations import modality as modalities
from hostd.delivery.destinations import peer as peers
from hostd.delivery.http import why
from hostd.delivery.remotes import NamedByFileError, Remotes
from hostd.errors import ConfigurationError, DestinationFault, NotFoundError
from hostd.jobs.faults import NETWORK_PROTOCOL
from hostd.web.asking import LONGEST_TIMEOUT_S, flag, number, wrong
from hostd.web.body import small_body
from hostd.web.errors import BAD_FILE_FORMAT, DUPLICATE_RESOURCE, INEXISTENT_ITEM, UNKNOWN_RESOURCE, WebError
from hostd.web.parameters import Expand, is_set
from hostd.web.responses import JsonResponse

_LARGEST = 64 << 10
_TABLES: dict[Kind, str] = {"modality": "modalities", "peer": "peers"}


def remote_routes(remotes: Remotes) -> APIRouter:
    """Return the routes of both."""
    router = APIRouter(tags=["modalities and peers"])
    _add(router, remotes, "modality", modality_form)
    _add(router, remotes, "peer", peer_form)
    _add_changes(router, remotes, "modality")
    _add_changes(router, remotes, "peer")
    _add_echo(router, remotes)
    _add_system(router, remotes)
    return router


def _add(router: APIRouter, remotes: Remotes, kind: Kind, form: Callable[[Any, Remotes], dict[str, Any]]) -> None:
    table = _TABLES[kind]

    def needed(name: str) -> Any:
        found = remotes.settings.destinations()[kind].get(name)
        if found is None:
            raise unknown(kind, name)
        return found

    @router.get(f"/{table}", summary=f"List the {table}")
    def listing(request: Request, expand: Expand = None) -> Response:
        del expand
        found: dict[str, Any] = dict(remotes.settings.destinations()[kind])
        if not is_set(request, "expand"):
            return JsonResponse(sorted(found))
        return JsonResponse({name: form(found[name], remotes) for name in sorted(found)})

    @router.get(f"/{table}/{{name}}", summary=f"List what can be done with a {kind}")
    def operations(request: Request, name: str) -> Response:
        needed(name)
        paths = (path.split("/") for path in request.app.openapi()["paths"])
        return JsonResponse(sorted({path[3] for path in paths if len(path) == 4 and path[1] == table}))

    @router.get(f"/{table}/{{name}}/configuration", summary=f"Show how a {kind} is reached; passwords are not shown")
    def configuration(name: str) -> Response:
        return JsonResponse(form(needed(name), remotes))


def _add_changes(router: APIRouter, remotes: Remotes, kind: Kind) -> None:
    table = _TABLES[kind]

    @router.put(f"/{table}/{{name}}", summary=f"Keep a {kind}, in the place of what was put under that name")
    async def put(request: Request, name: str) -> Response:
        given = await described(request)
        try:
            await run_in_threadpool(remotes.put, kind, name, given, request.state.username or "this machine")
        except NamedByFileError as refused:
            raise WebError(409, DUPLICATE_RESOURCE, str(refused)) from refused
        except ConfigurationError as error:
            raise WebError(400, BAD_FILE_FORMAT, str(error)) from error
        return PlainTextResponse("")

    @router.delete(f"/{table}/{{name}}", summary=f"Forget a {kind} that was put")
    def delete(name: str) -> Response:
        try:
            remotes.delete(kind, name)
        except NamedByFileError as refused:
            raise WebError(409, DUPLICATE_RESOURCE, str(refused)) from refused
        except NotFoundError as error:
            raise WebError(404, INEXISTENT_ITEM, str(error)) from error
        return PlainTextResponse("")


def _add_echo(router: APIRouter, remotes: Remotes) -> None:
    @router.post("/modalities/{name}/echo", summary="Ask a modality by C-ECHO whether it answers")
    async def echo(request: Request, name: str) -> Response:
        body = await small_body(request, _LARGEST)
        destination = modality_of(remotes, name)
        if body:
            require_echo_terms(parsed(body))
        try:
            await run_in_threadpool(destination.echo)
        except DestinationFault as fault:
            raise WebError(500, NETWORK_PROTOCOL, str(fault)) from fault
        return JsonResponse({})


def _add_system(router: APIRouter, remotes: Remotes) -> None:
    @router.get("/peers/{name}/system", summary="Ask a peer who it is")
    def system(name: str) -> Response:
        section = remotes.settings.peers.get(name)
        if section is None:
            raise unknown("peer", name)
        try:
            with peers.PeerSession(peers.configured(name, section)) as session:
                said = session.asked()
        except DestinationFault as fault:
            raise WebError(500, NETWORK_PROTOCOL, str(fault)) from fault
        except requests.RequestException as error:
            raise WebError(500, NETWORK_PROTOCOL, why(error)) from error
        found = said.json() if said.is_good else None
        if not isinstance(found, dict):
            raise WebError(
                500,
                NETWORK_PROTOCOL,
                f"{section.url}system answered {said.in_words()}, which is not what an Orthanc answers",
            )
        return JsonResponse(found)


def modality_of(remotes: Remotes, name: str) -> modalities.Modality:
    """Return the modality of that name as a destination. Raises `WebError` where there is none."""
    section = remotes.settings.modalities.get(name)
    if section is None:
        raise unknown("modality", name)
    return modalities.configured(name, section)


def unknown(kind: Kind, name: str) -> WebError:
    """Return the error of one that is not there, with Orthanc's number."""
    number = INEXISTENT_ITEM if kind == "modality" else UNKNOWN_RESOURCE
    return WebError(404, number, f"No {kind} with symbolic name: {name}")


def modality_form(entry: Modality, remotes: Remotes) -> dict[str, Any]:
    """Return how a modality is reached, in Orthanc's form."""
    rights = {option: getattr(entry, setting) for option, setting in MODALITY_RIGHTS.items()}
    default = remotes.settings.delivery
    return {
        "AET": entry.aet,
        **rights,
        "AllowEventReport": True,
        "AllowFindWorklist": False,
        "AllowTranscoding": entry.allow_transcoding,
        "Host": entry.host,
        "LocalAet": entry.calling_aet if entry.calling_aet not in (None, default.calling_aet) else "",
        "Manufacturer": "Generic",
        "Port": entry.port,
        "Timeout": 0 if entry.timeout_s == default.timeout_s else round(entry.timeout_s),
        "UseDicomTls": entry.tls,
    }


def peer_form(entry: Peer, remotes: Remotes) -> dict[str, Any]:
    """Return how a peer is reached, in Orthanc's form: names of headers, and no password."""
    signed_in = {"Password": None, "Username": entry.username} if entry.username is not None else {}
    return {
        "HttpHeaders": sorted(entry.headers),
        "Pkcs11": False,
        "Timeout": 0 if entry.timeout_s == remotes.settings.delivery.timeout_s else round(entry.timeout_s),
        "Url": entry.url,
        **signed_in,
    }


async def described(request: Request) -> Any:
    """Return the body that describes a modality or a peer: JSON. Raises `WebError`."""
    return parsed(await small_body(request, _LARGEST))


def parsed(body: bytes) -> Any:
    """Return what a body says in JSON. Raises `WebError`."""
    try:
        return json.loads(body)
    except (ValueError, RecursionError) as error:
        raise wrong("The body must contain a JSON object, or an array") from error


def require_echo_terms(given: Any) -> None:
    """Raise `WebError` where a body says how to ask by C-ECHO, and says it wrongly."""
    if isinstance(given, dict):
        number(given, "Timeout", 0, LONGEST_TIMEOUT_S)
        flag(given, "CheckFind")
