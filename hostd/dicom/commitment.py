"""Storage commitment (PS3.4 Annex J): what is asked for, and what is reported, as values."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from pydicom.dataset import Dataset
from pydicom.uid import UID

from hostd.dicom import data_sets
from hostd.dicom.identity import is_uid
from hostd.errors import UnparsableError

PUSH_MODEL = "1.2.840.10008.1.20.1"
"""Storage Commitment Push Model SOP Class."""
INSTANCE = "1.2.840.10008.1.20.1.1"
"""Its well-known SOP Instance."""
SYNTAXES = data_sets.SYNTAXES

REQUEST = 1
"""Action Type ID of a request (PS3.4 §J.3.2.1)."""
SUCCESSFUL, WITH_FAILURES = 1, 2
"""Event Type IDs of a report (PS3.4 §J.3.3.1)."""


@dataclass(frozen=True, slots=True)
class Reference:
    """An instance, by SOP class and SOP Instance UID."""

    sop_class_uid: str
    sop_instance_uid: str


@dataclass(frozen=True, slots=True)
class Report:
    """What a peer says of a transaction: the SOP Instance UIDs that it has committed, and those it has not, with the reason's number."""

    transaction: str
    committed: frozenset[str]
    failed: dict[str, int]


def encode_request(transaction: str, references: Sequence[Reference], syntax: str) -> bytes:
    """Return the data set of the N-ACTION in that transfer syntax (UID; one of `SYNTAXES`)."""
    data_set = Dataset()
    data_set.TransactionUID = transaction
    data_set.ReferencedSOPSequence = [_item(reference) for reference in references]
    return data_sets.encode(data_set, syntax)


def decode_request(data: bytes, syntax: str) -> tuple[str, list[Reference]]:
    """Return transaction and references of the data set of an N-ACTION (PS3.4 §J.3.2.1). Raises `UnparsableError`."""
    try:
        data_set = data_sets.decode(data, syntax)
        transaction = str(data_set.TransactionUID)
        references = [
            Reference(str(item.ReferencedSOPClassUID), str(item.ReferencedSOPInstanceUID))
            for item in data_set.ReferencedSOPSequence
        ]
    except Exception as error:
        raise UnparsableError(f"the request for storage commitment cannot be read: {error}") from error
    uids = [transaction, *(uid for one in references for uid in (one.sop_class_uid, one.sop_instance_uid))]
    if wrong := next((uid for uid in uids if not is_uid(uid)), None):
        raise UnparsableError(f"the request for storage commitment names {wrong[:64]!r}, which is no UID")
    return transaction, list(dict.fromkeys(references))


def encode_report(
    transaction: str, committed: Sequence[Reference], failed: Sequence[tuple[Reference, int]], syntax: str
) -> bytes:
    """Return the data set of the N-EVENT-REPORT in that transfer syntax (UID; one of `SYNTAXES`); `failed` with their reasons."""
    data_set = Dataset()
    data_set.TransactionUID = transaction
    if committed:
        data_set.ReferencedSOPSequence = [_item(reference) for reference in committed]
    if failed:
        data_set.FailedSOPSequence = []
        for reference, reason in failed:
            item = _item(reference)
            item.FailureReason = reason
            data_set.FailedSOPSequence.append(item)
    return data_sets.encode(data_set, syntax)


def decode_report(data: bytes, syntax: str) -> Report:
    """Return what the data set of an N-EVENT-REPORT says (PS3.4 §J.3.3.1). Raises `UnparsableError`."""
    try:
        data_set = data_sets.decode(data, syntax)
        committed = frozenset(str(item.ReferencedSOPInstanceUID) for item in data_set.get("ReferencedSOPSequence", ()))
        failed = {
            str(item.ReferencedSOPInstanceUID): int(item.get("FailureReason", None) or 0)
            for item in data_set.get("FailedSOPSequence", ())
        }
        # One that stands in both lists is not committed.
        return Report(str(data_set.TransactionUID), committed - failed.keys(), failed)
    except Exception as error:
        raise UnparsableError(f"the report of a storage commitment cannot be read: {error}") from error


def _item(reference: Reference) -> Dataset:
    item = Dataset()
    item.ReferencedSOPClassUID = UID(reference.sop_class_uid)
    item.ReferencedSOPInstanceUID = UID(reference.sop_instance_uid)
    return item
