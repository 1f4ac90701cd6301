"""SOP Class Extended Negotiation of queries and retrievals (PS3.4 §C.5.1.1, §C.5.2.1, §C.5.3.1): what hostd can of what a caller proposes."""

from __future__ import annotations

from hostd.dicom.query import ROOTS
from hostd.dicom.retrieve import GETS, MOVES

_COMBINED = 1
"""Byte of the Service-class-application-information that is of combined matching of dates and times (PS3.4 §C.5.1.1); before it is that of relational queries."""
_OFFERED = {**dict.fromkeys(ROOTS, bytes((1, 1, 0, 0, 0))), **dict.fromkeys((*MOVES, *GETS), bytes((1, 0)))}
"""What hostd can of what may be negotiated; fuzzy matching of names, other time zones and conversion of images it can not."""


def agreed(sop_class: str, proposed: bytes) -> bytes:
    """Return what is agreed on of what a caller proposes for a SOP class of query or retrieval, b"" for any other (PS3.7 §D.3.3.5)."""
    return bytes(
        int(wanted == 1 and offered == 1)
        for wanted, offered in zip(proposed, _OFFERED.get(sop_class, b""), strict=False)
    )


def is_combined(agreed: bytes) -> bool:
    """Tell whether it was agreed on that a range of dates and one of times that belong together are one range (PS3.4 §C.2.2.2.5)."""
    return agreed[_COMBINED : _COMBINED + 1] == b"\1"
