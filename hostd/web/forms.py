"""Patients, studies, series and instances as Orthanc's JSON has them (reference: its REST API)."""

from __future__ import annotations

from typing import Any

from hostd.archive.attachments import Room
from hostd.archive.blobs import ATTACHED, PRODUCT
from hostd.archive.hierarchy import Size, Stored
from hostd.archive.instances import Statistics
from hostd.archive.labels import Subject
from hostd.archive.records import Instance
from hostd.intake.reception import Received
from hostd.web.responses import orthanc_seconds

_ORIGINS = {"dicom": "DicomProtocol", "http": "RestApi", "script": "Plugins", "import": "Unknown"}
_MIB = 1 << 20
PLURALS: dict[Subject, str] = {
    "patient": "patients", "study": "studies", "series": "series", "instance": "instances",
}  # fmt: skip
"""The four levels as they stand in paths."""
TYPES: dict[Subject, str] = {"patient": "Patient", "study": "Study", "series": "Series", "instance": "Instance"}
_NAMES: dict[str, Subject] = {
    name: subject for subject, plural in PLURALS.items() for name in (subject, plural)
} | {"image": "instance", "images": "instance"}  # fmt: skip


def subject_of(name: str) -> Subject | None:
    """Return which of the four levels is called so in a request, in any case; None for what is none."""
    return _NAMES.get(name.lower())


def instance_form(instance: Instance) -> dict[str, Any]:
    """Return what `GET /instances/{id}` answers."""
    index = index_in_series(instance)
    return {
        "FileSize": instance.blob.size,
        "FileUuid": file_uuid(instance.blob.name),
        "ID": instance.id,
        "IndexInSeries": index,
        "Labels": instance.labels,
        "MainDicomTags": instance.attributes["instance"],
        "ParentSeries": instance.series,
        "Type": "Instance",
    }


def level_form(stored: Stored, indexes: list[int | None] | None = None) -> dict[str, Any]:
    """Return what `GET` answers of a patient, study or series; `indexes` are those of a series' instances (`index_in_series`)."""
    form: dict[str, Any] = {
        "ID": stored.id,
        "IsStable": stored.is_stable,
        "Labels": stored.labels,
        "LastUpdate": orthanc_seconds(stored.updated_at),
        "MainDicomTags": stored.attributes[stored.level],
        "Type": TYPES[stored.level],
    }
    match stored.level:
        case "patient":
            return form | {"Studies": stored.children}
        case "study":
            return form | {
                "ParentPatient": stored.parent,
                "PatientMainDicomTags": stored.attributes["patient"],
                "Series": stored.children,
            }
        case "series":
            expected = expected_instances(stored)
            return form | {
                "ExpectedNumberOfInstances": expected,
                "Instances": stored.children,
                "ParentStudy": stored.parent,
                "Status": _series_status(expected, indexes or []),
            }


def ancestor_form(level: Subject, identifier: str) -> dict[str, str]:
    """Return how a level is named where it is what remains above something that was deleted."""
    return {"ID": identifier, "Path": f"/{PLURALS[level]}/{identifier}", "Type": TYPES[level]}


def expected_instances(stored: Stored) -> int | None:
    """Return how many instances a series says that it has, None where it does not."""
    attributes = stored.attributes["series"]

    def number(keyword: str) -> int | None:
        text = attributes.get(keyword, "")
        return int(text) if text.isascii() and text.isdigit() else None

    for one, other in (("ImagesInAcquisition", "NumberOfTemporalPositions"), ("NumberOfSlices", "NumberOfTimeSlices")):
        first, second = number(one), number(other)
        if first is not None and second is not None:
            return first * second
    return number("CardiacNumberOfImages")


def _series_status(expected: int | None, indexes: list[int | None]) -> str:
    if expected is None:
        return "Unknown"
    numbers = [index for index in indexes if index is not None]  # as Orthanc: one that has none is not counted
    if len(set(numbers)) != len(numbers) or any(not 0 < number <= expected for number in numbers):
        return "Inconsistent"
    return "Complete" if len(numbers) == expected else "Missing"


def size_form(size: Size, attached: Room, subject: Subject) -> dict[str, int | str]:
    """Return what `GET …/statistics` answers of one of the four levels."""
    counts: dict[str, int | str] = {
        "CountStudies": size.studies,
        "CountSeries": size.series,
        "CountInstances": size.instances,
    }
    levels = ("patient", "study", "series", "instance")
    form: dict[str, int | str] = dict(list(counts.items())[levels.index(subject) :])
    for kind, more in _attached(attached).items():
        form |= _in_bytes(f"Dicom{kind}", size.size) | _in_bytes(kind, size.size + more)
    return form


def _attached(room: Room) -> dict[str, int]:
    return {"DiskSize": room.stored, "UncompressedSize": room.attached}


def _in_bytes(name: str, size: int) -> dict[str, int | str]:
    """Return a size as text, for JavaScript's numbers end at 2⁵³, and in MiB."""
    return {name: str(size), f"{name}MB": size // _MIB}


def file_uuid(name: str) -> str:
    """Return the random name of a file in the form of a UUID."""
    own = name.rpartition("/")[2].removesuffix(ATTACHED).removesuffix(PRODUCT)
    return f"{own[:8]}-{own[8:12]}-{own[12:16]}-{own[16:20]}-{own[20:]}"


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
        "ReceptionDate": orthanc_seconds(instance.received_at),
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


def metadata_of_level(stored: Stored) -> dict[str, str]:
    """Return Orthanc's metadata of a patient, study or series, and what was set of it."""
    known = {}
    if stored.level == "series":
        known["RemoteAET"] = stored.calling_aet or ""
        expected = expected_instances(stored)
        if expected is not None:
            known["ExpectedNumberOfInstances"] = str(expected)
    known["LastUpdate"] = orthanc_seconds(stored.updated_at)
    return known | stored.metadata


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


def statistics_form(statistics: Statistics, attached: Room) -> dict[str, int | str]:
    """Return what `GET /statistics` answers."""
    form: dict[str, int | str] = {
        "CountInstances": statistics.instances,
        "CountPatients": statistics.patients,
        "CountSeries": statistics.series,
        "CountStudies": statistics.studies,
    }
    for kind, more in _attached(attached).items():
        form |= _in_bytes(f"Total{kind}", statistics.size + more)
    return form
