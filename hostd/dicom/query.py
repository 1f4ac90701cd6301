"""C-FIND for one instance by its UIDs (PS3.4 Annex C.4.1): what is asked, and what a match says."""

from __future__ import annotations

from pydicom.dataset import Dataset

from hostd.dicom import data_sets
from hostd.dicom.identity import Identity

STUDY_ROOT = "1.2.840.10008.5.1.4.1.2.2.1"
PATIENT_ROOT = "1.2.840.10008.5.1.4.1.2.1.1"
"""SOP classes of C-FIND in the two information models."""
ROOTS = (STUDY_ROOT, PATIENT_ROOT)
SYNTAXES = data_sets.SYNTAXES


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
