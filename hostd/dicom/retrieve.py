"""What is asked for by C-MOVE and C-GET (PS3.4 §C.4.2, §C.4.3): the identifier as a value, and the one of a response."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any, Literal

from pydicom.dataset import Dataset

from hostd.dicom import data_sets
from hostd.dicom.identifiers import IdentifierError
from hostd.dicom.identity import is_uid
from hostd.dicom.syntaxes import EXPLICIT_LE
from hostd.errors import UnparsableError

Level = Literal["PATIENT", "STUDY", "SERIES", "IMAGE"]

PATIENT_ROOT_MOVE = "1.2.840.10008.5.1.4.1.2.1.2"
PATIENT_ROOT_GET = "1.2.840.10008.5.1.4.1.2.1.3"
STUDY_ROOT_MOVE = "1.2.840.10008.5.1.4.1.2.2.2"
STUDY_ROOT_GET = "1.2.840.10008.5.1.4.1.2.2.3"
"""SOP classes of C-MOVE and C-GET in the two information models."""
MOVES = (STUDY_ROOT_MOVE, PATIENT_ROOT_MOVE)
GETS = (STUDY_ROOT_GET, PATIENT_ROOT_GET)

_OF_PATIENT_ROOT = (PATIENT_ROOT_MOVE, PATIENT_ROOT_GET)
_LEVELS: tuple[Level, ...] = ("PATIENT", "STUDY", "SERIES", "IMAGE")
_UID_KEYS = {"STUDY": "StudyInstanceUID", "SERIES": "SeriesInstanceUID", "IMAGE": "SOPInstanceUID"}
_LONGEST_EXPLICIT = 0xFFFE
"""Bytes of a value of VR UI in explicit VR: its length has two bytes (PS3.5 §7.1.2)."""


@dataclass(frozen=True, slots=True)
class Wanted:
    """What is to be sent: all below `level` of these. What says nothing, None or empty, restricts nothing."""

    level: Level
    patient_id: str | None = None
    studies: tuple[str, ...] = ()
    series: tuple[str, ...] = ()
    instances: tuple[str, ...] = ()

    def in_words(self) -> dict[str, Any]:
        """Return level and keys, for a record; long lists are shortened."""
        keys = {
            "PatientID": self.patient_id,
            "StudyInstanceUID": _some(self.studies),
            "SeriesInstanceUID": _some(self.series),
            "SOPInstanceUID": _some(self.instances),
        }
        return {"QueryRetrieveLevel": self.level} | {name: value for name, value in keys.items() if value}


def _some(uids: tuple[str, ...], most: int = 20) -> list[str]:
    return [*uids[:most], *([f"and {len(uids) - most} more"] if len(uids) > most else [])]


def decode(encoded: bytes, syntax: str, sop_class: str) -> Wanted:
    """Return what an identifier asks for, in a transfer syntax (UID), of that SOP class.

    The unique key of the level must be there; those of the levels above restrict where they are given, as for relational
    retrieval (PS3.4 §C.4.2.2.1), which is offered without being negotiated. Raises `IdentifierError`, or `UnparsableError` for what is no data set.
    """
    try:
        data_set = data_sets.decode(encoded, syntax)
        level = str(data_set.get("QueryRetrieveLevel", "")).strip().upper()
        patient = _patient(data_set)
        uids = {name: _uids(data_set, keyword) for name, keyword in _UID_KEYS.items()}
    except IdentifierError:
        raise
    except Exception as error:
        raise UnparsableError(f"the identifier cannot be read: {error}") from error
    allowed = _LEVELS if sop_class in _OF_PATIENT_ROOT else _LEVELS[1:]
    known = next((one for one in allowed if one == level), None)
    if known is None:
        raise IdentifierError(f"the level is {level[:16]!r}, not one of {', '.join(allowed)}")
    if not (patient if known == "PATIENT" else uids[known]):
        raise IdentifierError(f"{_UID_KEYS.get(known, 'PatientID')} says not what to send")
    # Keys of lower levels have no meaning, and must not narrow what is sent.
    depth = _LEVELS.index(known)
    return Wanted(
        known,
        patient,
        uids["STUDY"] if depth >= 1 else (),
        uids["SERIES"] if depth >= 2 else (),
        uids["IMAGE"] if depth >= 3 else (),
    )


def _patient(data_set: Dataset) -> str | None:
    value = data_set.get("PatientID")
    if value is None:
        return None
    texts = [value] if isinstance(value, str) else value
    if not isinstance(texts, Iterable) or not all(isinstance(text, str) for text in texts):
        raise IdentifierError("PatientID is not one text")
    return "\\".join(text.strip(" \0") for text in texts) or None


def _uids(data_set: Dataset, keyword: str) -> tuple[str, ...]:
    value = data_set.get(keyword)
    listed = [value] if isinstance(value, str) else list(value or ())
    found = tuple(dict.fromkeys(uid for uid in (str(one).strip(" \0") for one in listed) if uid))
    for uid in found:
        if not is_uid(uid):
            raise IdentifierError(f"{keyword} has {uid[:32]!r}, which is no UID")
    return found


def encode_failed(uids: list[str], syntax: str) -> bytes:
    """Return the identifier of a final response: the instances that were not sent (0008,0058), as many of them as it can hold."""
    if syntax == EXPLICIT_LE.uid:
        size, held = 0, 0
        for uid in uids:
            size += len(uid) + 1
            if size > _LONGEST_EXPLICIT:
                break
            held += 1
        uids = uids[:held]
    data_set = Dataset()
    data_set.FailedSOPInstanceUIDList = uids
    return data_sets.encode(data_set, syntax)
