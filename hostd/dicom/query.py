"""What is asked of an archive (PS3.4 Annex C.4.1): the identifiers of C-FIND, C-MOVE and C-GET, and what a match says."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from io import BytesIO
from typing import Literal

from pydicom import config
from pydicom.datadict import dictionary_VR, tag_for_keyword
from pydicom.dataelem import DataElement
from pydicom.dataset import Dataset

from hostd.dicom import data_sets
from hostd.dicom.element_values import Elements
from hostd.dicom.header import read_elements
from hostd.dicom.identity import Identity
from hostd.errors import HostdError

STUDY_ROOT = "1.2.840.10008.5.1.4.1.2.2.1"
PATIENT_ROOT = "1.2.840.10008.5.1.4.1.2.1.1"
"""SOP classes of C-FIND in the two information models."""
ROOTS = (STUDY_ROOT, PATIENT_ROOT)
SYNTAXES = data_sets.SYNTAXES

Level = Literal["patient", "study", "series", "instance"]
LEVELS: tuple[Level, ...] = ("patient", "study", "series", "instance")
UNIQUE_KEYS: Mapping[Level, str] = {
    "patient": "PatientID", "study": "StudyInstanceUID", "series": "SeriesInstanceUID", "instance": "SOPInstanceUID",
}  # fmt: skip
"""Level → keyword of the key that names one of it (PS3.4 §C.6.1.1, §C.6.2.1)."""
RETURN_KEYS: Mapping[Level, Sequence[str]] = {
    "patient": ("PatientName", "PatientBirthDate", "PatientSex"),
    "study": (
        "PatientID", "PatientName", "PatientBirthDate", "PatientSex", "StudyDate", "StudyTime", "AccessionNumber", "StudyID",
        "StudyDescription", "ReferringPhysicianName", "ModalitiesInStudy", "NumberOfStudyRelatedSeries", "NumberOfStudyRelatedInstances",
    ),
    "series": (
        "Modality", "SeriesNumber", "SeriesDescription", "SeriesDate", "SeriesTime", "BodyPartExamined", "ProtocolName",
        "NumberOfSeriesRelatedInstances",
    ),
    "instance": ("SOPClassUID", "InstanceNumber", "ContentDate", "ContentTime", "NumberOfFrames"),
}  # fmt: skip
"""Level → what is asked for of each match, besides what names it: keys that archives commonly give."""

_LEVEL_NAMES: Mapping[Level, str] = {"patient": "PATIENT", "study": "STUDY", "series": "SERIES", "instance": "IMAGE"}
_OF_ROOTS = {"find": "1", "move": "2", "get": "3"}
_SPECIFIC_CHARACTER_SET = 0x00080005
_LEVEL = 0x00080052
_LONGEST_VALUE = 64 << 10


class QueryError(HostdError):
    """Something cannot be asked of an archive as it is meant; the message says what."""


@dataclass(frozen=True, slots=True)
class Question:
    """What is asked for: a level, and keys by tag with the text that they must have, '' for any.

    Several values are joined by a backslash. In the study root model there are no patients, so that only those are asked for in the other.
    """

    level: Level
    keys: Mapping[int, str] = field(default_factory=dict)

    @classmethod
    def by_keywords(cls, level: Level, keys: Mapping[str, str]) -> Question:
        """Return the question with keys by keyword. Raises `QueryError` for one that the standard does not have."""
        return cls(level, {tag_of(keyword): value for keyword, value in keys.items()})

    def with_keys(self, keywords: Sequence[str]) -> Question:
        """Return the question that asks for the values of these besides."""
        return Question(self.level, dict.fromkeys(map(tag_of, keywords), "") | dict(self.keys))

    def complete(self) -> Question:
        """Return the question with what names a match, at its level and those above."""
        return self.with_keys([UNIQUE_KEYS[level] for level in LEVELS[: LEVELS.index(self.level) + 1]])

    def sop_class(self, of: Literal["find", "move", "get"]) -> str:
        """Return the SOP class to ask by."""
        root = PATIENT_ROOT if self.level == "patient" else STUDY_ROOT
        return root.removesuffix("1") + _OF_ROOTS[of]

    def encode(self, syntax: str) -> bytes:
        """Return the identifier in a transfer syntax. Raises `QueryError` for a value that its attribute cannot have."""
        identifier = Dataset()
        keys = {tag: value for tag, value in self.keys.items() if tag not in (_SPECIFIC_CHARACTER_SET, _LEVEL)}
        if not all(value.isascii() for value in keys.values()):
            identifier.SpecificCharacterSet = "ISO_IR 192"
        identifier.QueryRetrieveLevel = _LEVEL_NAMES[self.level]
        for tag, value in keys.items():
            identifier.add(_element(tag, value))
        try:
            return data_sets.encode(identifier, syntax)
        except Exception as error:  # pydicom raises what it likes for a value that does not fit
            raise QueryError(f"this cannot be asked for: {error}") from error


def tag_of(keyword: str) -> int:
    """Return the tag of a keyword. Raises `QueryError` when the standard has no such."""
    tag = tag_for_keyword(keyword)
    if tag is None:
        raise QueryError(f"no attribute has the keyword {keyword[:64]!r}")
    return tag


def _element(tag: int, value: str) -> DataElement:
    try:
        vr = dictionary_VR(tag)
    except KeyError:
        vr = "LO" if tag >> 16 & 1 else "UN"
    vr = vr.split(" ")[0]
    try:
        if vr == "SQ" or vr in ("OB", "OW", "UN"):
            if value:
                raise QueryError(f"({tag >> 16:04x},{tag & 0xFFFF:04x}) is none that can be compared with a text")
            return DataElement(tag, vr, [] if vr == "SQ" else b"", validation_mode=config.IGNORE)
        given: object = value
        if vr in ("US", "SS", "UL", "SL", "UV", "SV") and value:
            given = int(value)
        return DataElement(tag, vr, given if value else None, validation_mode=config.IGNORE)
    except (ValueError, TypeError, OverflowError) as error:
        raise QueryError(f"({tag >> 16:04x},{tag & 0xFFFF:04x}) cannot be {value[:64]!r}: {error}") from error


def elements_of(match: bytes, syntax: str) -> Elements:
    """Return the elements of a match, without what is too large to be one. Raises `UnparsableError`."""
    elements, _ = read_elements(
        BytesIO(match), offset=0, transfer_syntax=syntax, max_value=_LONGEST_VALUE, max_elements=len(match)
    )
    return elements


def encode_instance(identity: Identity, root: str, syntax: str) -> bytes:
    """Return the identifier that asks for that instance: at IMAGE level, with the unique keys of the levels above (PS3.4 §C.4.1.2.1)."""
    keys = Dataset()
    keys.QueryRetrieveLevel = "IMAGE"
    if root == PATIENT_ROOT:
        if not identity.patient_id.isascii():
            keys.SpecificCharacterSet = "ISO_IR 192"
        keys.PatientID = identity.patient_id
    keys.StudyInstanceUID = identity.study_instance_uid
    keys.SeriesInstanceUID = identity.series_instance_uid
    keys.SOPInstanceUID = identity.sop_instance_uid
    return data_sets.encode(keys, syntax)


def sop_instance_uid(match: bytes, syntax: str) -> str | None:
    """Return the SOP Instance UID of a match, None when it says none."""
    try:
        return str(data_sets.decode(match, syntax).SOPInstanceUID)
    except Exception:  # noqa: BLE001 - pydicom raises what it likes, and what cannot be read says nothing
        return None
