"""`/system` and `/statistics`: who this is, and how much it holds."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from importlib.metadata import version

from fastapi import APIRouter, Request
from starlette.responses import Response

from hostd.archive import attachments, instances
from hostd.archive.archive import Archive
from hostd.archive.database import SCHEMA
from hostd.config.sections import Http
from hostd.config.storage import Storage
from hostd.dicom.main_tags import main_keywords
from hostd.web.forms import statistics_form
from hostd.web.responses import JsonResponse

API_VERSION = 16
"""The version of Orthanc's REST API that the routes here follow (that of Orthanc 1.10)."""

_VERSION = version("hostd")
_LEVELS = ("Instance", "Patient", "Series", "Study")
_MAIN_TAGS = {
    level: ";".join(f"{tag >> 16:04x},{tag & 0xFFFF:04x}" for tag in sorted(main_keywords(level.lower()).values()))
    for level in _LEVELS
}


@dataclass(frozen=True, slots=True)
class Named:
    """What the node is called, and where its DICOM face listens (None: it has none).

    `overwrites`: other content under a known identity takes the place of what was there; `ingest` is the UID of the transfer syntax that
    what arrives is brought to, '' where that is not done.
    """

    name: str
    dicom_aet: str
    dicom_port: int | None
    overwrites: bool
    ingest: str


def system_routes(
    archive: Archive,
    named: Named,
    layers: Callable[[], Mapping[str, int]],
    limits: Callable[[], Storage],
    http: Callable[[], Http],
) -> APIRouter:
    """Return the routes about the node itself; `layers` are those that isolate its scripts, `limits` says how much may be stored."""
    router = APIRouter(tags=["system"])

    @router.get("/system", summary="Describe the node")
    def system(request: Request) -> Response:
        server = request.scope.get("server")
        storage, serving = limits(), http()
        return JsonResponse(
            {
                "ApiVersion": API_VERSION,
                "Capabilities": {"HasExtendedChanges": False, "HasExtendedFind": False},
                "CheckRevisions": serving.check_revisions,
                "DatabaseBackendPlugin": None,
                "DatabaseVersion": int(SCHEMA),
                "DicomAet": named.dicom_aet,
                "DicomPort": named.dicom_port,
                "HasLabels": True,
                "HostdIsolation": dict(layers()),
                "HttpPort": server[1] if server else None,
                "IngestTranscoding": named.ingest,
                "IsHttpServerSecure": True,  # Orthanc's word: not open to others without a password
                "MainDicomTags": _MAIN_TAGS,
                "MaximumPatientCount": storage.max_patients,
                "MaximumStorageMode": "Recycle" if storage.when_full == "recycle" else "Reject",
                "MaximumStorageSize": storage.max_size_mb,
                "Name": named.name,
                "OverwriteInstances": named.overwrites,
                "PluginsEnabled": False,
                "ReadOnly": False,
                "Software": "hostd",
                "StorageAreaPlugin": None,
                "StorageCompression": False,
                "UserMetadata": serving.metadata_numbers,
                "Version": _VERSION,
            }
        )

    @router.get("/statistics", summary="Count what is stored")
    def statistics() -> Response:
        with archive.read() as connection:
            return JsonResponse(statistics_form(instances.statistics(connection), attachments.room(connection)))

    return router
