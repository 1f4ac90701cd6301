"""The app: routes, and the layers around them."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping
from importlib.metadata import version
from typing import Protocol

from fastapi import APIRouter, FastAPI
from starlette.types import ASGIApp, Receive, Scope, Send

from hostd.archive.archive import Archive
from hostd.config.query import Query
from hostd.config.sections import Http
from hostd.config.settings import Settings
from hostd.config.storage import Storage
from hostd.control import Control
from hostd.delivery.remotes import Remotes
from hostd.editing.making import Maker
from hostd.jobs.packing import Packer, Packs
from hostd.jobs.running import Runner
from hostd.scp.accepted import Accepted
from hostd.web import errors
from hostd.web.accepted import accepted_routes
from hostd.web.actions import action_routes
from hostd.web.answering import Answering
from hostd.web.archives import archive_routes
from hostd.web.arrays import array_routes
from hostd.web.asking_modalities import asking_routes
from hostd.web.attachments import attachment_routes
from hostd.web.bulk import bulk_routes
from hostd.web.capacity import Capacity
from hostd.web.changes import change_routes
from hostd.web.commitment import commitment_routes
from hostd.web.content import content_routes, tag_routes
from hostd.web.creation import Reads, creation_routes
from hostd.web.delivery_orders import delivery_order_routes
from hostd.web.destinations import Destinations, destination_routes
from hostd.web.dicomweb.resources import ROOT as DICOMWEB
from hostd.web.dicomweb.retrieve import retrieve_routes
from hostd.web.dicomweb.search import search_routes
from hostd.web.dicomweb.store import stow_routes
from hostd.web.dicomweb.uri import uri_routes
from hostd.web.direct import Direct
from hostd.web.docs_page import docs_routes
from hostd.web.documents import document_routes
from hostd.web.explain import explain_routes
from hostd.web.finding import find_routes
from hostd.web.frames import Draws, Pictures, frame_routes
from hostd.web.guard import Guard, RequestFilters, Users
from hostd.web.instances import upload_routes
from hostd.web.jobs import NEVER, Submitting, job_routes
from hostd.web.levels import level_routes
from hostd.web.log_levels import log_level_routes
from hostd.web.marks import mark_routes
from hostd.web.metrics import metric_routes
from hostd.web.modifications import modification_routes
from hostd.web.plugins import plugin_routes
from hostd.web.protection import protection_routes
from hostd.web.queries import query_routes
from hostd.web.query_desk import Desk, Providers, Queries
from hostd.web.reconstruction import reconstruction_routes
from hostd.web.records import association_routes, delivery_routes
from hostd.web.remotes import remote_routes
from hostd.web.restructuring import restructuring_routes
from hostd.web.retrievals import retrieval_routes
from hostd.web.slices import slice_routes
from hostd.web.stores import store_routes
from hostd.web.system import Named, system_routes
from hostd.web.tools import tool_routes
from hostd.web.transcoded import Made, Transcodes
from hostd.web.upload import FileIntake


class Artist(Draws, Reads, Protocol):
    """What draws pictures, and reads them (`hostd.transcoding.pool.CodecPool`)."""


class Face(FastAPI):
    """FastAPI behind hostd's own layers."""

    layers: ASGIApp

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer by the layers."""
        await self.layers(scope, receive, send)

    async def itself(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer by FastAPI's own routing."""
        await super().__call__(scope, receive, send)


def create_app(
    archive: Archive,
    intake: FileIntake,
    *,
    name: str,
    dicom_aet: str,
    dicom_port: int | None,
    max_upload_bytes: int,
    users: Users,
    hosts: Collection[str] = (),
    upload_idle_s: float = 60.0,
    max_requests: int = 500,
    layers: Callable[[], Mapping[str, int]] = dict,
    filters: RequestFilters | None = None,
    destinations: Destinations = dict,
    runner: Runner | None = None,
    remotes: Remotes | None = None,
    overwrites: bool = True,
    ingest: str = "",
    control: Control | None = None,
    accepted: Accepted | None = None,
    transcoder: Transcodes | None = None,
    maker: Maker | None = None,
    packs: tuple[Packs, Packer] | None = None,
    providers: Providers = dict,
    queries: int = 100,
    synchronous_limit_s: float = 600.0,
    artist: Artist | None = None,
    query: Callable[[], Query] = Query,
    limits: Callable[[], Storage] = Storage,
    http: Callable[[], Http] = Http,
) -> Face:
    """Return the HTTP face of a node.

    `users` is asked at each request, so that a reloaded configuration counts at once; without users only this machine is answered,
    under the names of loopback and those in `hosts` (see `guard`). `dicom_port` is what `/system` tells, None without a DICOM face.
    `layers` tells how scripts are isolated (`hostd.sandbox.jail.enter`), nothing when none run.
    An upload may have `max_upload_bytes` (after decompression), and may be silent for `upload_idle_s` seconds.
    `max_requests` are worked on at one time.
    `filters` are asked about every request. `destinations` gives those of the configuration.
    `runner` works on jobs; without one those that are asked for wait. `remotes` are the modalities and peers.
    `overwrites` and `ingest` (UID of a transfer syntax) are what `/system` tells of it. `control` is what may be done to the node.
    `providers` gives the modalities of the configuration as archives, of which so many `queries` are remembered. A request waits
    `synchronous_limit_s` seconds for its job.
    `transcoder` makes files in other transfer syntaxes; without one none are given. `artist` draws pictures, and reads them.
    `maker` makes modified ones, `packs` archives.
    `accepted` is what the DICOM face takes for storage. `query` is how what is stored is looked for, `limits` how much
    may be, `http` what is noted and attached is called, and whether it is changed only by who knows its state.
    """
    accepted = accepted or Accepted()
    app = Face(
        title="hostd",
        version=version("hostd"),
        docs_url=None,  # they load scripts from foreign hosts
        redoc_url=None,
        swagger_ui_oauth2_redirect_url=None,
        redirect_slashes=False,
    )
    errors.install(app)
    made = Made(archive, transcoder)
    pictures = Pictures(archive, artist)
    included: list[tuple[str, APIRouter]] = []

    def include(router: APIRouter, prefix: str = "") -> None:
        app.include_router(router, prefix=prefix)
        included.append((prefix, router))

    include(retrieve_routes(archive, made, pictures), prefix=DICOMWEB)
    include(content_routes(archive, made))
    include(frame_routes(archive, pictures))
    include(system_routes(archive, Named(name, dicom_aet, dicom_port, overwrites, ingest), layers, limits, http))
    include(upload_routes(intake, archive.data, max_upload_bytes=max_upload_bytes, upload_idle_s=upload_idle_s))
    for routers in (level_routes(archive), tag_routes(archive), mark_routes(archive, http)):
        for router in routers:
            include(router)
    for router in attachment_routes(
        archive, limits, http, max_upload_bytes=max_upload_bytes, upload_idle_s=upload_idle_s
    ):
        include(router)
    for router in (
        protection_routes(archive),
        document_routes(archive),
        slice_routes(archive),
        creation_routes(archive, intake, artist),
        array_routes(archive, pictures),
        reconstruction_routes(archive),
    ):
        include(router)
    include(stow_routes(intake, max_upload_bytes=max_upload_bytes, upload_idle_s=upload_idle_s), prefix=DICOMWEB)
    include(uri_routes(archive, made, pictures))
    include(delivery_routes(archive))
    include(delivery_order_routes(archive, lambda: destinations().keys()))
    include(action_routes(archive))
    include(destination_routes(archive, destinations))
    include(metric_routes(archive, lambda: destinations().keys()))
    include(association_routes(archive))
    include(retrieval_routes(archive))
    include(explain_routes(archive))
    runner = runner or Runner(archive, {}, NEVER, at_once=1)
    include(job_routes(archive, runner))
    submitting = Submitting(archive, runner, synchronous_limit_s)
    include(query_routes(Desk(archive, providers, Queries(queries), submitting, dicom_aet)))
    remotes = remotes or Remotes(archive, Settings())
    for router in (
        remote_routes(remotes),
        asking_routes(remotes),
        commitment_routes(archive, remotes),
        modification_routes(archive, submitting, maker),
        restructuring_routes(archive, submitting),
    ):
        include(router)
    include(archive_routes(archive, submitting, *(packs or _packs_of(archive))))
    include(store_routes(archive, remotes, submitting, max_upload_bytes=max_upload_bytes, upload_idle_s=upload_idle_s))
    include(change_routes(archive))
    control = control or Control()
    for router in (tool_routes(archive, control, accepted), log_level_routes(control), accepted_routes(accepted)):
        include(router)
    include(bulk_routes(archive))
    include(find_routes(archive, query))
    include(search_routes(archive, query), prefix=DICOMWEB)
    include(plugin_routes())
    include(docs_routes())
    direct = Direct(app, app.itself, included=included, promptly=not archive.is_shared)
    app.layers = Answering(
        Capacity(
            Guard(direct, users=users, hosts=hosts, filters=filters),
            requests=max_requests,
        )
    )
    return app


def _packs_of(archive: Archive) -> tuple[Packs, Packer]:
    """Return what packs files as they are stored."""
    packer = Packer(archive, None)
    return Packs(archive, packer), packer
