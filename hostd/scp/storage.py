"""The storage service (PS3.4 Annex B): C-STORE, answered only when the instance is safe (DESIGN P1)."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

import structlog

from hostd.archive.records import Origin
from hostd.dicom import statuses
from hostd.dicom.identity import is_uid
from hostd.dimse.association import Association, Message
from hostd.dimse.commands import AFFECTED_SOP_CLASS_UID, AFFECTED_SOP_INSTANCE_UID
from hostd.errors import (
    ConflictError,
    FilterRefusedError,
    MismatchError,
    NoRoomError,
    ReceptionError,
    StorageError,
    UnparsableError,
)
from hostd.scp.services import Refusal
from hostd.scp.sop_classes import may_be_storage

_LOG = structlog.get_logger(__name__)

_STATUS_OF: tuple[tuple[type[ReceptionError], int], ...] = (
    (UnparsableError, statuses.CANNOT_UNDERSTAND),
    (MismatchError, statuses.DATA_SET_DOES_NOT_MATCH),
    (ConflictError, statuses.DUPLICATE_SOP_INSTANCE),
    (NoRoomError, statuses.OUT_OF_RESOURCES),
    (StorageError, statuses.OUT_OF_RESOURCES),
)


class Reception(Protocol):
    """One instance on its way in."""

    def write(self, *fragments: memoryview | bytes) -> None:
        """Take the next bytes of the data set, in several fragments; they are good only during the call. Raises `StorageError` when the disk is full."""
        ...

    def finish(self) -> object:
        """Block until file, row and event are on stable storage. Raises a `ReceptionError`; then nothing remains."""
        ...

    def abandon(self) -> None:
        """Forget the instance: the rest will not come, or `write` failed. Nothing may remain."""
        ...


class StoreService(Protocol):
    """The door that instances come in by. Called from many threads at once."""

    def receive(self, *, sop_class_uid: str, sop_instance_uid: str, transfer_syntax: str, origin: Origin) -> Reception:
        """Begin the reception of an instance. Raises a `ReceptionError` to refuse it."""
        ...


def store(association: Association, message: Message, service: StoreService, origin: Origin) -> Refusal | None:
    """Take the instance of a C-STORE-RQ; return None when it is safe, else the refusal to answer with.

    The data set is read to its end in either case. Raises a `DimseError` when the association breaks first; then the reception
    has been abandoned.
    """
    try:
        _take(association, message, service, origin)
    except Refusal as refusal:
        association.drain()
        return refusal
    return None


def taken(service: StoreService, association: Association, message: Message, origin: Origin) -> tuple[int, str]:
    """Take an instance as `store` does; return the status and Error Comment to answer with."""
    refusal = store(association, message, service, origin)
    return (statuses.SUCCESS, "") if refusal is None else (refusal.status, refusal.comment)


def _take(association: Association, message: Message, service: StoreService, origin: Origin) -> None:
    sop_class_uid, sop_instance_uid = _identify(message)
    try:
        reception = service.receive(
            sop_class_uid=sop_class_uid,
            sop_instance_uid=sop_instance_uid,
            transfer_syntax=message.context.transfer_syntax,
            origin=origin,
        )
    except Exception as error:
        raise _refusal(error, sop_instance_uid) from error

    def write(pieces: Sequence[memoryview]) -> None:
        try:
            reception.write(*pieces)
        except Exception as error:
            raise _refusal(error, sop_instance_uid) from error

    complete = False
    try:
        association.hand_over(write)
        complete = True
    finally:
        if not complete:
            _abandon(reception, sop_instance_uid)
    try:
        reception.finish()
    except Exception as error:
        raise _refusal(error, sop_instance_uid) from error


def _identify(message: Message) -> tuple[str, str]:
    """Return SOP class and instance of the command, or refuse it (PS3.7 §9.3.1.1, PS3.4 §B.2.3)."""
    command = message.command
    sop_class_uid = command.text(AFFECTED_SOP_CLASS_UID)
    sop_instance_uid = command.text(AFFECTED_SOP_INSTANCE_UID)
    if not sop_class_uid or not sop_instance_uid:
        missing = "SOP class" if not sop_class_uid else "SOP instance"
        raise Refusal(statuses.CANNOT_UNDERSTAND, f"the command has no affected {missing} UID")
    if not is_uid(sop_instance_uid):
        raise Refusal(statuses.INVALID_ATTRIBUTE_VALUE, "the affected SOP instance UID is not a UID")
    if not may_be_storage(sop_class_uid) or not may_be_storage(message.context.abstract_syntax):
        raise Refusal(statuses.SOP_CLASS_NOT_SUPPORTED, "not a storage SOP class")
    if not message.context.peer_uses:
        raise Refusal(statuses.NOT_AUTHORIZED, "hostd takes nothing on this presentation context, it only sends on it")
    if sop_class_uid != message.context.abstract_syntax:
        raise Refusal(statuses.DATA_SET_DOES_NOT_MATCH, "SOP class is not that of the presentation context")
    if not command.has_data_set:
        raise Refusal(statuses.CANNOT_UNDERSTAND, "the C-STORE request has no data set")
    return sop_class_uid, sop_instance_uid


def _refusal(error: Exception, sop_instance_uid: str) -> Refusal:
    if isinstance(error, FilterRefusedError):  # the intake has said so in the log
        return Refusal(error.status, str(error))
    for kind, status in _STATUS_OF:
        if isinstance(error, kind):
            _LOG.warning(
                "an instance was not taken",
                sop_instance_uid=sop_instance_uid,
                status=statuses.describe(status),
                reason=str(error),
                exc_info=error if kind is StorageError else None,
            )
            return Refusal(status, str(error))
    _LOG.error("receiving an instance failed unexpectedly", sop_instance_uid=sop_instance_uid, exc_info=error)
    return Refusal(statuses.OUT_OF_RESOURCES, "hostd could not store the instance; its log says why")


def _abandon(reception: Reception, sop_instance_uid: str) -> None:
    try:
        reception.abandon()
    except Exception:  # noqa: BLE001 - logged; the association has its own reason to end
        _LOG.exception("abandoning a reception failed", sop_instance_uid=sop_instance_uid)
