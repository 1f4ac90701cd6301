"""A-ASSOCIATE-RQ and -AC as values (PS3.8 §9.3.2, §9.3.3).

The walk over the items is hostd's own: it checks every length, bounds their number, and skips what is unknown, as PS3.8 §9.3.1
demands. So is what each association that comes needs: a request of 128 contexts took pynetdicom's items 25 ms to decode and to answer. What
hostd asks for itself, and the answers to that, are pynetdicom's.
"""

from __future__ import annotations

import struct
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, field

from pynetdicom.pdu import A_ASSOCIATE_RQ
from pynetdicom.pdu_items import PresentationContextItemAC
from pynetdicom.pdu_primitives import (
    A_ASSOCIATE,
    ImplementationClassUIDNotification,
    ImplementationVersionNameNotification,
    MaximumLengthNotification,
    SCP_SCU_RoleSelectionNegotiation,
)
from pynetdicom.presentation import build_context

from hostd.dicom.identity import is_uid
from hostd.dicom.part10 import IMPLEMENTATION_CLASS_UID, IMPLEMENTATION_VERSION_NAME
from hostd.dimse.errors import ProtocolError

APPLICATION_CONTEXT = "1.2.840.10008.3.1.1.1"
"""The DICOM application context name (PS3.7 §A.2.1), the only one there is."""
CONTEXTS_LIMIT = 128
"""Odd numbers from 1 to 255 (PS3.8 §9.3.2.2)."""
SYNTAXES_LIMIT = 256
"""Transfer syntaxes in one proposed context; a hostile request could make comparing them slow."""

_FIXED = 68
_ABSTRACT_SYNTAX, _TRANSFER_SYNTAX = 0x30, 0x40
_CAUTIOUS_PDU = 16384
# What pynetdicom raises for an item that it cannot read; it asserts and looks types up in a dictionary.
_MALFORMED = (ValueError, TypeError, KeyError, IndexError, AssertionError, AttributeError, struct.error)


@dataclass(frozen=True, slots=True)
class UserInformation:
    """What the peer says of itself (PS3.7 Annex D.3.3). `max_pdu` 0 means no limit."""

    max_pdu: int = _CAUTIOUS_PDU
    implementation_class_uid: str = ""
    implementation_version_name: str = ""
    proposes_async: bool = False
    roles: dict[str, tuple[bool, bool]] = field(default_factory=dict)
    """SOP class → (requestor as SCU, requestor as SCP)."""
    extended: dict[str, bytes] = field(default_factory=dict)
    """SOP class → its Service-class-application-information (PS3.7 §D.3.3.5)."""


@dataclass(frozen=True, slots=True)
class Proposal:
    """A proposed presentation context; `readable` is false when it is malformed and can only be refused."""

    id: int
    abstract_syntax: str
    transfer_syntaxes: tuple[str, ...]
    readable: bool = True


@dataclass(frozen=True, slots=True)
class Request:
    """An A-ASSOCIATE-RQ. `titles` are the 64 bytes of AE titles and reserved ones, which the answer repeats."""

    protocol_version: int
    called_aet: str
    calling_aet: str
    application_context: str
    proposals: tuple[Proposal, ...]
    user: UserInformation
    titles: bytes


def _items(encoded: bytes) -> Iterator[tuple[int, bytes]]:
    """Yield type and whole bytes of each item. Raises `ProtocolError` when one reaches beyond the end."""
    position = 0
    while position < len(encoded):
        if len(encoded) - position < 4:
            raise ProtocolError("an A-ASSOCIATE PDU ends in the middle of an item's header")
        item_type, length = struct.unpack_from(">BxH", encoded, position)
        end = position + 4 + length
        if end > len(encoded):
            raise ProtocolError(
                f"item 0x{item_type:02X} of an A-ASSOCIATE PDU claims {length} bytes, more than there are"
            )
        yield item_type, encoded[position:end]
        position = end


def _plain(encoded: bytes) -> str:
    return encoded.decode("ascii", "replace").strip(" \0")


def _user_information(item: bytes) -> UserInformation:
    max_pdu, class_uid, version, proposes_async = _CAUTIOUS_PDU, "", "", False
    roles: dict[str, tuple[bool, bool]] = {}
    extended: dict[str, bytes] = {}
    for item_type, sub_item in _items(item[4:]):
        if item_type == 0x51 and len(sub_item) >= 8:
            (max_pdu,) = struct.unpack_from(">I", sub_item, 4)
        elif item_type == 0x52:
            class_uid = _plain(sub_item[4:])[:64]
        elif item_type == 0x53:
            proposes_async = True
        elif item_type == 0x54:
            sop_class, role = _role(sub_item)
            roles[sop_class] = role
        elif item_type == 0x55:
            version = _plain(sub_item[4:])[:16]
        elif item_type == 0x56 and len(sub_item) >= 6:
            end = 6 + int.from_bytes(sub_item[4:6])
            extended[_plain(sub_item[6:end])] = sub_item[end:]
        # User identity (0x58) and common extended negotiation (0x57) may stay unanswered (PS3.7 §D.3.3.6, §D.3.3.7).
    return UserInformation(max_pdu, class_uid, version, proposes_async, roles, extended)


def _role(item: bytes) -> tuple[str, tuple[bool, bool]]:
    """Return the SOP class of a role selection item, and whether the requestor is SCU and SCP of it (PS3.7 Table D.3-9)."""
    length = int.from_bytes(item[4:6])
    end = 6 + length
    if len(item) < end + 2 or max(item[end : end + 2]) > 1:
        raise ProtocolError("a role selection item is malformed")
    return _plain(item[6:end]), (bool(item[end]), bool(item[end + 1]))


def _names(item: bytes) -> list[bytes]:
    """Return the syntax sub-items of a presentation context that name a UID; a name that is none cannot be accepted anyway."""
    kinds = (_ABSTRACT_SYNTAX, _TRANSFER_SYNTAX)
    return [sub for kind, sub in _items(item[8:]) if kind in kinds and is_uid(_plain(sub[4:]))]


def _proposal(item: bytes) -> Proposal:
    if len(item) < 8:
        raise ProtocolError("a presentation context item is shorter than its header")
    context_id = item[4]
    if context_id % 2 == 0:
        raise ProtocolError(f"a presentation context has the number {context_id}, which is not odd")
    names = _names(item)
    if len(names) > SYNTAXES_LIMIT + 1:
        raise ProtocolError(f"presentation context {context_id} proposes more than {SYNTAXES_LIMIT} transfer syntaxes")
    abstract_syntax = next((_plain(sub[4:]) for sub in names if sub[0] == _ABSTRACT_SYNTAX), "")
    syntaxes = tuple(dict.fromkeys(_plain(sub[4:]) for sub in names if sub[0] == _TRANSFER_SYNTAX))
    return Proposal(context_id, abstract_syntax, syntaxes, readable=bool(abstract_syntax and syntaxes))


def decode_request(body: bytes) -> Request:
    """Decode what follows the header of an A-ASSOCIATE-RQ. Raises `ProtocolError` when its structure is wrong."""
    if len(body) < _FIXED:
        raise ProtocolError(f"an A-ASSOCIATE-RQ of {len(body)} bytes is shorter than its fixed fields")
    application_context = ""
    proposals: list[Proposal] = []
    user = UserInformation()
    for item_type, item in _items(body[_FIXED:]):
        if item_type == 0x10:
            application_context = _plain(item[4:])
        elif item_type == 0x20:
            proposals.append(_proposal(item))
        elif item_type == 0x50:
            user = _user_information(item)
    if len(proposals) > CONTEXTS_LIMIT or len({proposal.id for proposal in proposals}) != len(proposals):
        raise ProtocolError("an A-ASSOCIATE-RQ proposes two presentation contexts of the same number")
    return Request(
        protocol_version=struct.unpack_from(">H", body)[0],
        called_aet=_plain(body[4:20]),
        calling_aet=_plain(body[20:36]),
        application_context=application_context,
        proposals=tuple(proposals),
        user=user,
        titles=body[4:_FIXED],
    )


def decode_acceptance(body: bytes) -> tuple[dict[int, tuple[int, str]], UserInformation]:
    """Decode what follows the header of an A-ASSOCIATE-AC: context id → (result, transfer syntax), and the user information.

    Raises `ProtocolError` when its structure is wrong.
    """
    if len(body) < _FIXED:
        raise ProtocolError(f"an A-ASSOCIATE-AC of {len(body)} bytes is shorter than its fixed fields")
    results: dict[int, tuple[int, str]] = {}
    user = UserInformation()
    for item_type, item in _items(body[_FIXED:]):
        if item_type == 0x21:
            decoder = PresentationContextItemAC()
            try:
                decoder.decode(item[:8] + b"".join(_names(item)))
                results[decoder.context_id] = (decoder.result, str(decoder.transfer_syntax or ""))
            except _MALFORMED as error:
                raise ProtocolError(
                    f"a presentation context item of the A-ASSOCIATE-AC is malformed: {error}"
                ) from error
        elif item_type == 0x50:
            user = _user_information(item)
    return results, user


def _user_items(max_pdu: int) -> list[object]:
    length = MaximumLengthNotification()
    length.maximum_length_received = max_pdu
    class_uid = ImplementationClassUIDNotification()
    class_uid.implementation_class_uid = IMPLEMENTATION_CLASS_UID
    version = ImplementationVersionNameNotification()
    version.implementation_version_name = IMPLEMENTATION_VERSION_NAME
    return [length, class_uid, version]


def _served(sop_class: str) -> SCP_SCU_RoleSelectionNegotiation:
    role = SCP_SCU_RoleSelectionNegotiation()
    role.sop_class_uid = sop_class
    role.scu_role, role.scp_role = False, True
    return role


def encode_request(
    *,
    calling_aet: str,
    called_aet: str,
    proposals: Sequence[Proposal],
    max_pdu: int,
    served: Collection[str] = (),
) -> bytes:
    """Encode an A-ASSOCIATE-RQ, which proposes to be the SCP of the SOP classes that are `served` (PS3.7 §D.3.3.4).

    Raises `ValueError` for an AE title or UID that the standard does not allow.
    """
    primitive = A_ASSOCIATE()
    primitive.application_context_name = APPLICATION_CONTEXT
    primitive.calling_ae_title = calling_aet
    primitive.called_ae_title = called_aet
    for proposal in proposals:
        context = build_context(proposal.abstract_syntax, list(proposal.transfer_syntaxes))
        context.context_id = proposal.id
        primitive.presentation_context_definition_list.append(context)
    primitive.user_information = [*_user_items(max_pdu), *map(_served, served)]
    return bytes(A_ASSOCIATE_RQ(primitive).encode())


@dataclass(frozen=True, slots=True)
class Answered:
    """The answer to a proposed presentation context: its result (PS3.8 Table 9-18), and a transfer syntax, which means something when it is 0."""

    id: int
    result: int
    transfer_syntax: str


def encode_acceptance(
    request: Request,
    contexts: Sequence[Answered],
    roles: Mapping[str, tuple[bool, bool]],
    *,
    max_pdu: int,
    extended: Mapping[str, bytes] | None = None,
) -> bytes:
    """Encode the A-ASSOCIATE-AC to a request; `roles` are SOP class → (requestor as SCU, requestor as SCP), `extended` what is agreed on of SOP classes.

    An asynchronous operations window that was proposed is answered with one operation either way, which is none (PS3.7 §D.3.3.3).
    """
    user = [
        _item(0x51, struct.pack(">I", max_pdu)),
        _item(0x52, IMPLEMENTATION_CLASS_UID.encode()),
        _item(0x53, struct.pack(">HH", 1, 1)) if request.user.proposes_async else b"",
        *(_item(0x54, _lengthy(sop_class) + bytes(role)) for sop_class, role in roles.items()),
        _item(0x55, IMPLEMENTATION_VERSION_NAME.encode()),
        *(_item(0x56, _lengthy(sop_class) + agreed) for sop_class, agreed in (extended or {}).items()),
    ]
    answers = (
        _item(0x21, bytes((one.id, 0, one.result, 0)) + _item(_TRANSFER_SYNTAX, one.transfer_syntax.encode()))
        for one in contexts
    )
    # The titles are sent as they were received, whatever they are (PS3.8 Table 9-17).
    body = b"".join(
        (struct.pack(">HH", 1, 0), request.titles, _item(0x10, APPLICATION_CONTEXT.encode()), *answers)
    ) + _item(0x50, b"".join(user))
    return struct.pack(">BxI", 2, len(body)) + body


def _item(kind: int, content: bytes) -> bytes:
    return struct.pack(">BxH", kind, len(content)) + content


def _lengthy(text: str) -> bytes:
    return struct.pack(">H", len(text)) + text.encode("ascii", "replace")
