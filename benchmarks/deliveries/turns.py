"""One round: each way of sending takes its turn, with the same instances."""

from __future__ import annotations

import time
from collections.abc import Mapping
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path

import requests

from benchmarks.deliveries import servers
from benchmarks.deliveries.couriers import Archived
from benchmarks.deliveries.servers import PATIENCE_S, Running, Scp
from hostd.config.sections import Peer as PeerSettings
from hostd.config.settings import Settings
from hostd.delivery.configured import destinations_of
from hostd.delivery.destinations.modality import Modality

HOSTD_ROUTES = "hostd: received, given to a script, forwarded"
LUA_ROUTES = "Orthanc: received, given to Lua, forwarded"


@dataclass(frozen=True, slots=True)
class Turn:
    """How long it took by the clock, and of the sender's processors; both in seconds."""

    wall: float
    cpu: float


def taken(files: list[bytes], folder: Path, *, is_reversed: bool = False) -> dict[str, Turn]:
    """Have each way of sending take its turn, in a folder that is made; return what each took. Where it `is_reversed` the last comes first."""
    folder.mkdir()
    turns: dict[str, Turn] = {}
    with ExitStack() as stack:
        scps = {
            "scp": stack.enter_context(servers.storescp(folder / "scp", at_once=True)),
            "plain": stack.enter_context(servers.storescp(folder / "plain", at_once=False)),
        }
        ways = (_hostd_sends, _orthanc_sends, _hostd_routes, _orthanc_routes)
        for way in reversed(ways) if is_reversed else ways:
            turns |= way(files, folder, scps)
    return turns


def _hostd_sends(files: list[bytes], folder: Path, scps: Mapping[str, Scp]) -> dict[str, Turn]:
    turns = {}
    archived = Archived(folder / "archived", files)
    try:
        for name, scp in scps.items():
            for connections in (1, 4) if name == "scp" else (1,):
                modality = Modality(f"{name}{connections}", aet="ANY", host="127.0.0.1", port=scp.port, calling_aet="B")
                way = f"hostd: C-STORE to {_said(name)}, {connections} connection{'s' if connections > 1 else ''}"
                turns[way] = Turn(*archived.send(modality, connections))
        with servers.orthanc(folder / "target", {}) as target:
            peer = destinations_of(Settings(peers={"peer": PeerSettings(url=target.url)}))["peer:peer"]
            turns["hostd: to an Orthanc peer, 1 connection"] = Turn(*archived.send(peer, 1))
    finally:
        archived.close()
    return turns


def _orthanc_sends(files: list[bytes], folder: Path, scps: Mapping[str, Scp]) -> dict[str, Turn]:
    with (
        servers.orthanc(folder / "target2", {}) as target,
        servers.orthanc(folder / "source", scps, target) as source,
    ):
        ids = [source.post(file) for file in files]
        turns = {
            f"Orthanc: `/modalities/{{id}}/store` to {_said(name)}": _store(source, f"modalities/{name}", ids)
            for name in scps
        }
        return turns | {"Orthanc: `/peers/{id}/store`": _store(source, "peers/peer", ids)}


def _hostd_routes(files: list[bytes], folder: Path, scps: Mapping[str, Scp]) -> dict[str, Turn]:
    with servers.node(folder / "node", scps["scp"]) as node:
        return {HOSTD_ROUTES: _route(node, scps["scp"], files)}


def _orthanc_routes(files: list[bytes], folder: Path, scps: Mapping[str, Scp]) -> dict[str, Turn]:
    with servers.orthanc(folder / "router", scps, routes=True) as router:
        return {LUA_ROUTES: _route(router, scps["scp"], files)}


def _said(name: str) -> str:
    return "storescp with TCP_NODELAY=1" if name == "scp" else "storescp"


def _store(source: Running, what: str, ids: list[str]) -> Turn:
    began, cpu = time.monotonic(), source.cpu_s()
    asked = {"Resources": ids, "Synchronous": True}
    requests.post(f"{source.url}{what}/store", json=asked, timeout=PATIENCE_S).raise_for_status()
    return Turn(time.monotonic() - began, source.cpu_s() - cpu)


def _route(router: Running, scp: Scp, files: list[bytes]) -> Turn:
    """Upload one after another, and wait until all have been forwarded."""
    before, began, cpu = scp.count(), time.monotonic(), router.cpu_s()
    for file in files:
        router.post(file)
    while scp.count() < before + len(files):
        if time.monotonic() > began + PATIENCE_S:
            raise RuntimeError("what was uploaded is not forwarded")
        time.sleep(0.02)
    return Turn(time.monotonic() - began, router.cpu_s() - cpu)
