"""Whether a destination has an instance already, for those whose `if_present` is "skip".

What it says it has may be other content under the same UIDs: nothing is compared. So this is no delivery, and releases no delete (P4).
"""

from __future__ import annotations

from hostd.delivery.destinations import Answer, Looks, Outgoing, Session
from hostd.dicom import part10
from hostd.dicom.header import read_header
from hostd.dicom.identity import Identity
from hostd.errors import UnparsableError


def found_there(session: Session, outgoing: Outgoing) -> Answer | None:
    """Ask the destination for the instance as it would be sent; return what came of that where it has it, else None: it is to be sent.

    Raises `DestinationFault`, and `InstanceFault` where the instance could not be made.
    """
    if not isinstance(session, Looks):
        return None
    identity = _identity(outgoing)
    if identity is None or not session.has(identity):
        return None
    said = f"it says that it has the instance {identity.sop_instance_uid} already, so nothing was sent; content was not compared"
    return Answer("present", said)


def _identity(outgoing: Outgoing) -> Identity | None:
    """Return who the instance is when it is sent; None where its file does not say."""
    keeps = outgoing.transform.is_lossless
    product = outgoing.stored() if keeps else outgoing.as_wanted()
    try:
        with product.path.open("rb") as file:
            start = part10.data_set_offset(file)
            size = file.seek(0, 2)
            return read_header(file, offset=start.offset, transfer_syntax=start.transfer_syntax_uid, size=size).identity
    except UnparsableError:
        return None
