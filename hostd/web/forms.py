"""Instances as Orthanc's JSON has them (reference: its REST API, `/instances/{id}` and below)."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any
from uuid import UUID

from hostd.archive.instances import Statistics
from hostd.archive.records import Instance
from hostd.intake.reception import Received

_ORIGINS = {"dicom": "DicomProtocol", "http": "RestApi", "script": "Plugins", "import": "Unknown"}
_MIB = 1 << 20


def instance_form(instance: Instance) -> dict[str, Any]:
    """Return what `GET /instances/{id}` answers."""
    index = index_in_series(instance)
    return {
        "FileSize": instance.blob.size,
        "FileUuid": file_uuid(instance),
        "ID": instance.id,
        "IndexInSeries": index,
        "Labels": instance.labels,
        "MainDicomTags": instance.attributes["instance"],
        "ParentSeries": instance.series,
        "Type": "Instance",
    }


def file_uuid(instance: Instance) -> str:
    """Return the random name of the current file, in the form of a UUID."""
    return str(UUID(hex=instance.blob.name.rpartition("/")[2]))


def index_in_series(instance: Instance) -> int | None:
    """Return Instance Number (0020,0013), or else Image Index (0054,1330), None when neither is a number."""
    attributes = instance.attributes["instance"]
    try:
        return int(attributes.get("InstanceNumber") or attributes.get("ImageIndex") or "")
    except ValueError:
        return None


def metadata_of(instance: Instance) -> dict[str, str]:
    """Return Orthanc's metadata of an instance, what hostd knows of it, and what scripts have set."""
    origin = instance.origin
    known: dict[str, str | None] = {
        "ReceptionDate": datetime.fromtimestamp(instance.received_at, UTC).strftime("%Y%m%dT%H%M%S"),
        "RemoteAET": origin.calling_aet or "",
        "Origin": _ORIGINS[origin.kind],
        "TransferSyntax": instance.blob.transfer_syntax,
        "SopClassUid": instance.sop_class_uid,
        "RemoteIP": origin.ip,
        "CalledAET": origin.called_aet,
        "HttpUsername": (origin.username or "") if origin.kind == "http" else None,
        "IndexInSeries": None if (index := index_in_series(instance)) is None else str(index),
    }
    return {name: value for name, value in known.items() if value is not None} | instance.metadata


_STATUSES = {"already stored": "AlreadyStored", "filtered out": "FilteredOut"}


def received_form(received: Received) -> dict[str, str]:
    """Return what `POST /instances` answers. Other content under a known identity is news, so it is `Success`."""
    return {
        "ID": received.instance,
        "ParentPatient": received.patient,
        "ParentSeries": received.series,
        "ParentStudy": received.study,
        "Path": f"/instances/{received.instance}",
        "Status": _STATUSES.get(received.outcome, "Success"),
    }


def statistics_form(statistics: Statistics) -> dict[str, int | str]:
    """Return what `GET /statistics` answers: bytes as text, for JavaScript's numbers end at 2⁵³."""
    return {
        "CountInstances": statistics.instances,
        "CountPatients": statistics.patients,
        "CountSeries": statistics.series,
        "CountStudies": statistics.studies,
        "TotalDiskSize": str(statistics.size),
        "TotalDiskSizeMB": statistics.size // _MIB,
        "TotalUncompressedSize": str(statistics.size),
        "TotalUncompressedSizeMB": statistics.size // _MIB,
    }
