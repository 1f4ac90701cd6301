"""Which SOP classes are for storage."""

from __future__ import annotations

from pynetdicom import AllStoragePresentationContexts, StoragePresentationContexts

from hostd.dicom.identity import is_uid
from hostd.dicom.patterns import STANDARD_UIDS

VERIFICATION = "1.2.840.10008.1.1"
_STORAGE_ROOT = "1.2.840.10008.5.1.4.1.1."
# The second list has retired classes that the first has not, and that are not all under the root (hardcopy, stored print).
STORAGE_CLASSES = frozenset(
    str(context.abstract_syntax) for context in (*AllStoragePresentationContexts, *StoragePresentationContexts)
)


def is_storage(sop_class_uid: str) -> bool:
    """Tell whether this is a storage SOP class (PS3.4 §B.5, §B.6), retired, or newer than this program."""
    return sop_class_uid in STORAGE_CLASSES or (sop_class_uid.startswith(_STORAGE_ROOT) and is_uid(sop_class_uid))


def is_unknown(uid: str) -> bool:
    """Tell whether the standard says nothing of this UID: as a SOP class it may be a private one for storage."""
    return is_uid(uid) and uid not in STANDARD_UIDS and not uid.startswith(_STORAGE_ROOT)


def may_be_storage(uid: str) -> bool:
    """Tell whether a presentation context of this SOP class, once it was accepted, is for storage."""
    return is_storage(uid) or is_unknown(uid)
