"""Command sets (PS3.7 §6.3.1 and Annex E): implicit VR little endian, by struct."""

from __future__ import annotations

import struct
from collections.abc import Iterable
from dataclasses import dataclass

from hostd.dimse.errors import SERVICE_USER, ProtocolError

AFFECTED_SOP_CLASS_UID = 0x0002
REQUESTED_SOP_CLASS_UID = 0x0003
COMMAND_FIELD = 0x0100
MESSAGE_ID = 0x0110
MESSAGE_ID_BEING_RESPONDED_TO = 0x0120
MOVE_DESTINATION = 0x0600
PRIORITY = 0x0700
COMMAND_DATA_SET_TYPE = 0x0800
STATUS = 0x0900
ERROR_COMMENT = 0x0902
AFFECTED_SOP_INSTANCE_UID = 0x1000
REQUESTED_SOP_INSTANCE_UID = 0x1001
EVENT_TYPE_ID = 0x1002
ACTION_TYPE_ID = 0x1008
REMAINING_SUB_OPERATIONS = 0x1020
COMPLETED_SUB_OPERATIONS = 0x1021
FAILED_SUB_OPERATIONS = 0x1022
WARNING_SUB_OPERATIONS = 0x1023
MOVE_ORIGINATOR_AET = 0x1030
MOVE_ORIGINATOR_MESSAGE_ID = 0x1031
"""Element numbers of group 0000 (PS3.7 Table E.1-1)."""

C_STORE_RQ = 0x0001
C_GET_RQ = 0x0010
C_FIND_RQ = 0x0020
C_MOVE_RQ = 0x0021
C_ECHO_RQ = 0x0030
N_EVENT_REPORT_RQ = 0x0100
N_ACTION_RQ = 0x0130
C_CANCEL_RQ = 0x0FFF
RESPONSE = 0x8000
"""Command Field; a response is its request with this bit set."""

NO_DATA_SET = 0x0101
WITH_DATA_SET = 0x0001

LIMIT = 64 << 10
"""Bytes. A command set is a few hundred; more is garbage."""

_ELEMENT = struct.Struct("<HHI")
_US = struct.Struct("<H")
_MOST = 0xFFFF
"""What a US can say; where there are more, it is said that there are so many."""


@dataclass(frozen=True, slots=True)
class CommandSet:
    """A decoded command set: element number of group 0000 → value as it stood."""

    elements: dict[int, bytes]

    def number(self, element: int) -> int | None:
        """Return a US value, None when absent. Some senders write it as UL; its low half is taken."""
        value = self.elements.get(element, b"")
        return int(_US.unpack_from(value)[0]) if len(value) >= 2 else None

    def text(self, element: int) -> str:
        """Return a text or UID without padding, '' when absent."""
        return self.elements.get(element, b"").rstrip(b"\0 ").lstrip(b" ").decode("ascii", "replace")

    @property
    def command(self) -> int:
        """Command Field (0000,0100), 0 when absent."""
        return self.number(COMMAND_FIELD) or 0

    @property
    def message_id(self) -> int:
        """Message ID (0000,0110), 0 when absent."""
        return self.number(MESSAGE_ID) or 0

    @property
    def has_data_set(self) -> bool:
        """Whether a data set follows. Where the sender forgot to say, only C-STORE-RQ has one."""
        data_set_type = self.number(COMMAND_DATA_SET_TYPE)
        if data_set_type is None:
            return self.command == C_STORE_RQ
        return data_set_type != NO_DATA_SET


def decode(encoded: bytes | bytearray) -> CommandSet:
    """Decode a command set. Its group length is not believed, the order of elements not checked, other groups are skipped.

    Raises `ProtocolError` when it is cut short or has no Command Field.
    """
    elements: dict[int, bytes] = {}
    position = 0
    while position < len(encoded):
        if len(encoded) - position < _ELEMENT.size:
            raise ProtocolError("a command set ends in the middle of an element", source=SERVICE_USER, reason=0)
        group, element, length = _ELEMENT.unpack_from(encoded, position)
        position += _ELEMENT.size
        if length > len(encoded) - position:
            raise ProtocolError(
                f"a command set claims {length} bytes for element ({group:04X},{element:04X}), more than it has",
                source=SERVICE_USER,
                reason=0,
            )
        if group == 0:
            elements[element] = bytes(encoded[position : position + length])
        position += length
    command = CommandSet(elements)
    if command.number(COMMAND_FIELD) is None:
        raise ProtocolError("a command set has no Command Field (0000,0100)", source=SERVICE_USER, reason=0)
    return command


def encode(elements: Iterable[tuple[int, bytes]]) -> bytes:
    """Encode a command set from elements in ascending order, with its group length."""
    body = b"".join(_ELEMENT.pack(0, element, len(value)) + value for element, value in elements)
    return struct.pack("<HHII", 0, 0, 4, len(body)) + body


def us(value: int) -> bytes:
    """Encode a US value."""
    return _US.pack(value)


def uid(value: str) -> bytes:
    """Encode a UID, padded to even length."""
    return _even(value.encode("ascii", "replace"))


def _even(encoded: bytes) -> bytes:
    return encoded + b"\0" if len(encoded) % 2 else encoded


def comment(text: str) -> bytes:
    """Encode an Error Comment: LO of at most 64 characters of the default repertoire, without backslash (PS3.5 §6.2)."""
    plain = "".join(c if c.isascii() and c.isprintable() and c != "\\" else "?" for c in " ".join(text.split()))[:64]
    encoded = plain.encode("ascii")
    return encoded + b" " if len(encoded) % 2 else encoded


@dataclass(frozen=True, slots=True)
class Originator:
    """Whose C-MOVE a C-STORE is a sub-operation of: AE title and Message ID (PS3.7 §9.1.1.1.11)."""

    aet: str
    message_id: int


def store_request(
    *, message_id: int, sop_class_uid: str, sop_instance_uid: str, priority: int, originator: Originator | None = None
) -> bytes:
    """Encode a C-STORE-RQ (PS3.7 §9.3.1.1)."""
    of_move: tuple[tuple[int, bytes], ...] = ()
    if originator is not None:
        of_move = (
            (MOVE_ORIGINATOR_AET, originator.aet.encode("ascii", "replace").ljust(16)[:16]),
            (MOVE_ORIGINATOR_MESSAGE_ID, us(originator.message_id)),
        )
    return encode(
        (
            (AFFECTED_SOP_CLASS_UID, uid(sop_class_uid)),
            (COMMAND_FIELD, us(C_STORE_RQ)),
            (MESSAGE_ID, us(message_id)),
            (PRIORITY, us(priority)),
            (COMMAND_DATA_SET_TYPE, us(WITH_DATA_SET)),
            (AFFECTED_SOP_INSTANCE_UID, uid(sop_instance_uid)),
            *of_move,
        )
    )


def echo_request(*, message_id: int, sop_class_uid: str) -> bytes:
    """Encode a C-ECHO-RQ (PS3.7 §9.3.5.1)."""
    return encode(
        (
            (AFFECTED_SOP_CLASS_UID, uid(sop_class_uid)),
            (COMMAND_FIELD, us(C_ECHO_RQ)),
            (MESSAGE_ID, us(message_id)),
            (COMMAND_DATA_SET_TYPE, us(NO_DATA_SET)),
        )
    )


def find_request(*, message_id: int, sop_class_uid: str) -> bytes:
    """Encode a C-FIND-RQ of medium priority with its identifier (PS3.7 §9.3.2.1)."""
    return encode(
        (
            (AFFECTED_SOP_CLASS_UID, uid(sop_class_uid)),
            (COMMAND_FIELD, us(C_FIND_RQ)),
            (MESSAGE_ID, us(message_id)),
            (PRIORITY, us(0)),
            (COMMAND_DATA_SET_TYPE, us(WITH_DATA_SET)),
        )
    )


def get_request(*, message_id: int, sop_class_uid: str) -> bytes:
    """Encode a C-GET-RQ of medium priority with its identifier (PS3.7 §9.3.3.1)."""
    return encode(
        (
            (AFFECTED_SOP_CLASS_UID, uid(sop_class_uid)),
            (COMMAND_FIELD, us(C_GET_RQ)),
            (MESSAGE_ID, us(message_id)),
            (PRIORITY, us(0)),
            (COMMAND_DATA_SET_TYPE, us(WITH_DATA_SET)),
        )
    )


def move_request(*, message_id: int, sop_class_uid: str, destination: str) -> bytes:
    """Encode a C-MOVE-RQ of medium priority with its identifier, to the AE of that title (PS3.7 §9.3.4.1)."""
    title = destination.encode("ascii")
    return encode(
        (
            (AFFECTED_SOP_CLASS_UID, uid(sop_class_uid)),
            (COMMAND_FIELD, us(C_MOVE_RQ)),
            (MESSAGE_ID, us(message_id)),
            (MOVE_DESTINATION, title + b" " * (len(title) % 2)),
            (PRIORITY, us(0)),
            (COMMAND_DATA_SET_TYPE, us(WITH_DATA_SET)),
        )
    )


def cancel_request(*, message_id: int) -> bytes:
    """Encode a C-CANCEL-RQ of the request with that number (PS3.7 §9.3.2.3)."""
    return encode(
        (
            (COMMAND_FIELD, us(C_CANCEL_RQ)),
            (MESSAGE_ID_BEING_RESPONDED_TO, us(message_id)),
            (COMMAND_DATA_SET_TYPE, us(NO_DATA_SET)),
        )
    )


def action_request(*, message_id: int, sop_class_uid: str, sop_instance_uid: str, action_type: int) -> bytes:
    """Encode an N-ACTION-RQ with a data set (PS3.7 §10.3.4.1)."""
    return encode(
        (
            (REQUESTED_SOP_CLASS_UID, uid(sop_class_uid)),
            (COMMAND_FIELD, us(N_ACTION_RQ)),
            (MESSAGE_ID, us(message_id)),
            (COMMAND_DATA_SET_TYPE, us(WITH_DATA_SET)),
            (REQUESTED_SOP_INSTANCE_UID, uid(sop_instance_uid)),
            (ACTION_TYPE_ID, us(action_type)),
        )
    )


def event_report_request(*, message_id: int, sop_class_uid: str, sop_instance_uid: str, event_type: int) -> bytes:
    """Encode an N-EVENT-REPORT-RQ with a data set (PS3.7 §10.3.1.1)."""
    return encode(
        (
            (AFFECTED_SOP_CLASS_UID, uid(sop_class_uid)),
            (COMMAND_FIELD, us(N_EVENT_REPORT_RQ)),
            (MESSAGE_ID, us(message_id)),
            (COMMAND_DATA_SET_TYPE, us(WITH_DATA_SET)),
            (AFFECTED_SOP_INSTANCE_UID, uid(sop_instance_uid)),
            (EVENT_TYPE_ID, us(event_type)),
        )
    )


@dataclass(frozen=True, slots=True)
class SubOperations:
    """How far a C-MOVE or C-GET has come, in instances. `remaining` is left out of a final response that is not a cancel's (PS3.7 §9.1.3.1)."""

    completed: int
    failed: int
    warning: int
    remaining: int | None = None


def response(
    request: CommandSet,
    status: int,
    error_comment: str = "",
    *,
    has_data_set: bool = False,
    sub_operations: SubOperations | None = None,
) -> bytes:
    """Encode the response to a request: its command with the response bit, its UIDs as they stood, the status."""
    elements = [
        (COMMAND_FIELD, us(request.command | RESPONSE)),
        (MESSAGE_ID_BEING_RESPONDED_TO, us(request.message_id)),
        (COMMAND_DATA_SET_TYPE, us(WITH_DATA_SET if has_data_set else NO_DATA_SET)),
        (STATUS, us(status)),
    ]
    sop_class = request.elements.get(AFFECTED_SOP_CLASS_UID) or request.elements.get(REQUESTED_SOP_CLASS_UID)
    if sop_class:
        elements.insert(0, (AFFECTED_SOP_CLASS_UID, _even(sop_class)))
    if error_comment:
        elements.append((ERROR_COMMENT, comment(error_comment)))
    instance = request.elements.get(AFFECTED_SOP_INSTANCE_UID) or request.elements.get(REQUESTED_SOP_INSTANCE_UID)
    if instance:
        elements.append((AFFECTED_SOP_INSTANCE_UID, _even(instance)))
    if action := request.elements.get(ACTION_TYPE_ID):  # optional, and yet some want to see it (PS3.7 §10.3.4.2)
        elements.append((ACTION_TYPE_ID, action))
    if sub_operations is not None:
        if sub_operations.remaining is not None:
            elements.append((REMAINING_SUB_OPERATIONS, us(min(sub_operations.remaining, _MOST))))
        elements += [
            (COMPLETED_SUB_OPERATIONS, us(min(sub_operations.completed, _MOST))),
            (FAILED_SUB_OPERATIONS, us(min(sub_operations.failed, _MOST))),
            (WARNING_SUB_OPERATIONS, us(min(sub_operations.warning, _MOST))),
        ]
    return encode(elements)
