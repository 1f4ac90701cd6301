"""What the REST API of Orthanc says of an instance, a series, a study and a patient, as far as the event at hand knows it."""

from __future__ import annotations

from typing import Any, Literal

from hostd.sandbox import frames
from hostd.sandbox.levels import Level
from hostd.sandbox.orthanc.session import Session, orthanc_id
from hostd.sandbox.orthanc.tables import Metadata, SimplifiedTags, metadata_of, metadata_of_level, plain, tags_of
from hostd.sandbox.views import Instance

Kind = Literal["patient", "study", "series", "instance"]
KINDS: dict[str, Kind] = {"patients": "patient", "studies": "study", "series": "series", "instances": "instance"}
"""The first word of a route → what it is about."""
_ORDER: tuple[Kind, ...] = ("patient", "study", "series", "instance")
_PLURAL: dict[Kind, str] = {"study": "Studies", "series": "Series", "instance": "Instances"}
MAIN_TAGS: dict[Kind, tuple[str, ...]] = {
    "patient": ("PatientName", "PatientID", "PatientBirthDate", "PatientSex", "OtherPatientIDs"),
    "study": (
        "StudyDate", "StudyTime", "StudyID", "StudyDescription", "AccessionNumber", "StudyInstanceUID",
        "RequestedProcedureDescription", "InstitutionName", "RequestingPhysician", "ReferringPhysicianName",
    ),
    "series": (
        "SeriesDate", "SeriesTime", "Modality", "Manufacturer", "StationName", "SeriesDescription", "BodyPartExamined",
        "SequenceName", "ProtocolName", "SeriesNumber", "CardiacNumberOfImages", "ImagesInAcquisition",
        "NumberOfTemporalPositions", "NumberOfSlices", "NumberOfTimeSlices", "SeriesInstanceUID",
        "ImageOrientationPatient", "SeriesType", "OperatorsName", "PerformedProcedureStepDescription",
        "AcquisitionDeviceProcessingDescription", "ContrastBolusAgent",
    ),
    "instance": (
        "InstanceCreationDate", "InstanceCreationTime", "AcquisitionNumber", "ImageIndex", "InstanceNumber",
        "NumberOfFrames", "TemporalPositionIdentifier", "SOPInstanceUID", "ImagePositionPatient", "ImageComments",
        "ImageOrientationPatient",
    ),
}  # fmt: skip
"""The main DICOM tags of Orthanc's levels."""


class Resources:
    """Answers what a script asks of the API, from what its event is about."""

    def __init__(self, session: Session) -> None:
        self._session = session

    def described(self, kind: Kind, identifier: str) -> dict[str, Any]:
        """Return what `GET /series/{id}` and its like say. Raises `ValueError` for what the event is not about.

        Of a level above the event's own, which of its parts there are is not known, and is left out.
        """
        subject, member = self._session.subject, self._member(kind, identifier)
        tags = self._tags(kind, identifier, member)
        ids = _ids(member) if member is not None else self._own_ids()
        said: dict[str, Any] = {"ID": identifier, "Type": kind.capitalize(), "MainDicomTags": _chosen(tags, kind)}
        place = _ORDER.index(kind)
        if place > 0:
            above = _ORDER[place - 1]
            said[f"Parent{above.capitalize()}"] = ids[above]
        if kind == "study":
            said["PatientMainDicomTags"] = _chosen(tags, "patient")
        if kind != "instance" and subject is not None and place >= _ORDER.index(_kind_of(subject)):
            below = _ORDER[place + 1]
            said[_PLURAL[below]] = self._parts(kind, identifier, below)
        return said

    def parts(self, kind: Kind, identifier: str, below: Kind) -> list[dict[str, Any]]:
        """Return what `GET /studies/{id}/series` says: each of them. Raises `ValueError` where the event does not know them all."""
        self._member(kind, identifier)
        subject = self._session.subject
        if subject is None or _ORDER.index(kind) < _ORDER.index(_kind_of(subject)):
            raise ValueError(
                f"this event does not know what else there is of the {kind}: handle it when it is complete, "
                f"in OnStable{kind.capitalize()}"
            )
        return [self.described(below, one) for one in self._parts(kind, identifier, below)]

    def above(self, kind: Kind, identifier: str, above: Kind) -> dict[str, Any]:
        """Return what `GET /instances/{id}/study` and its like say."""
        member = self._member(kind, identifier)
        return self.described(above, (_ids(member) if member is not None else self._own_ids())[above])

    def tags(self, identifier: str) -> SimplifiedTags:
        """Return the tags of an instance."""
        instance = self._instance(identifier)
        own = self._session.event.instance
        is_own = own is not None and own.id == identifier
        return tags_of(self._session.run, instance, "" if is_own else identifier)

    def metadata(self, kind: Kind, identifier: str) -> Metadata:
        """Return the metadata of an instance, or of the event's level."""
        if kind == "instance":
            return metadata_of(self._session.run, self._instance(identifier), self._session.event.now)
        if self._session.subject is None or self._session.subject.id != identifier:
            raise ValueError(f"this event does not know the metadata of that {kind}")
        return metadata_of_level(self._session.run, identifier, self._session.event.now)

    # -- parts

    def _instance(self, identifier: str) -> frames.Instance:
        member = self._member("instance", identifier)
        if member is None:
            raise ValueError("this event has no instance")
        return _wire(member)

    def _member(self, kind: Kind, identifier: str) -> Instance | None:
        """Return an instance of what is asked about; None for the event's own level, of which none is left."""
        subject = self._session.subject
        found = next(iter(self._members_of(kind, identifier)), None)
        if found is None and not (subject is not None and subject.id == identifier and _kind_of(subject) == kind):
            about = "no instance" if subject is None else f"the {_kind_of(subject)} {subject.id}"
            raise ValueError(f"there is no {kind} {identifier[:64]!r} in what this event is about: {about}")
        return found

    def _members_of(self, kind: Kind, identifier: str) -> list[Instance]:
        return [one for one in self._session.members().values() if _ids(one)[kind] == identifier]

    def _parts(self, kind: Kind, identifier: str, below: Kind) -> list[str]:
        return list(dict.fromkeys(_ids(one)[below] for one in self._members_of(kind, identifier)))

    def _own_ids(self) -> dict[Kind, str]:
        level = self._session.event.level
        assert level is not None, "only a level can be known without an instance"
        study, series = level.study_instance_uid, level.series_instance_uid
        return _identifiers(level.patient_id, study, series, "") | {level.level: level.id}

    def _tags(self, kind: Kind, identifier: str, member: Instance | None) -> SimplifiedTags:
        subject, level = self._session.subject, self._session.event.level
        if level is not None and subject is not None and (member is None or subject.id == identifier):
            return SimplifiedTags(self._session.run, level.tags)
        assert member is not None, f"a {kind} that is not the event's own has an instance"
        return self.tags(member.id)


def _chosen(tags: SimplifiedTags, kind: Kind) -> dict[str, str]:
    found = {keyword: tags[keyword] for keyword in MAIN_TAGS[kind]}
    return {keyword: value for keyword, value in found.items() if isinstance(value, str)}


def _kind_of(subject: Instance | Level) -> Kind:
    return "instance" if isinstance(subject, Instance) else _level_of(subject)


def _level_of(level: Level) -> Kind:
    name: Kind = object.__getattribute__(level, "_level").level
    return name


def _wire(instance: Instance) -> frames.Instance:
    wire: frames.Instance = object.__getattribute__(instance, "_instance")
    return wire


def _ids(instance: Instance) -> dict[Kind, str]:
    wire = _wire(instance)
    above = _identifiers(wire.patient_id, wire.study_instance_uid, wire.series_instance_uid, "")
    return above | {"instance": wire.id}


def _identifiers(patient: str, study: str, series: str, instance: str) -> dict[Kind, str]:
    return {
        "patient": orthanc_id(patient),
        "study": orthanc_id(patient, study),
        "series": orthanc_id(patient, study, series),
        "instance": instance,
    }


def full(session: Session, tags: SimplifiedTags, *, short: bool = False) -> dict[str, Any]:
    """Return tags as `GET /instances/{id}/tags` gives them: by `gggg,eeee`, with name and type, or with the value alone."""
    said: dict[str, Any] = {}
    for keyword, value in tags.items():
        tag = session.run.world.tag(keyword)
        name = f"{tag >> 16:04x},{tag & 0xFFFF:04x}"
        is_sequence = isinstance(value, tuple)
        inner = [full(session, one, short=short) for one in value] if is_sequence else value
        kind = "Sequence" if is_sequence else "String"
        said[name] = inner if short else {"Name": keyword, "Type": kind, "Value": inner}
    return said


def simplified(tags: SimplifiedTags) -> dict[str, Any]:
    """Return tags as `GET /instances/{id}/simplified-tags` gives them."""
    found: dict[str, Any] = plain(tags)
    return found
