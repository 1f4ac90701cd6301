"""Which SOP classes are accepted, and in which transfer syntaxes."""

from __future__ import annotations

from collections.abc import Sequence

from pynetdicom import AllStoragePresentationContexts, StoragePresentationContexts

from hostd.dicom.commitment import PUSH_MODEL, SYNTAXES
from hostd.dicom.identity import is_uid
from hostd.dicom.syntaxes import BY_UID

VERIFICATION = "1.2.840.10008.1.1"
_STORAGE_ROOT = "1.2.840.10008.5.1.4.1.1."
# The second list has retired classes that the first has not, and that are not all under the root (hardcopy, stored print).
_STORAGE = frozenset(
    str(context.abstract_syntax) for context in (*AllStoragePresentationContexts, *StoragePresentationContexts)
)


def is_storage(sop_class_uid: str) -> bool:
    """Tell whether this is a storage SOP class (PS3.4 §B.5, §B.6), retired, or newer than this program."""
    return sop_class_uid in _STORAGE or (sop_class_uid.startswith(_STORAGE_ROOT) and is_uid(sop_class_uid))


def choose(abstract_syntax: str, proposed: Sequence[str]) -> Sequence[str] | None:
    """Return the acceptable transfer syntaxes in the proposer's order; None when the abstract syntax is not supported.

    Storage takes everything: known syntaxes first, since only of those the header can surely be read, then private ones.
    """
    known = [syntax for syntax in proposed if syntax in BY_UID]
    if abstract_syntax == VERIFICATION:
        return known
    if abstract_syntax == PUSH_MODEL:
        return [syntax for syntax in proposed if syntax in SYNTAXES]
    if is_storage(abstract_syntax):
        return known + [syntax for syntax in proposed if syntax not in BY_UID and is_uid(syntax)]
    return None
