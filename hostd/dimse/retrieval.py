"""What is asked of an archive: which of it matches (C-FIND), to send it somewhere (C-MOVE), or here (C-GET); PS3.4 Annex C."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial

from hostd.dicom import statuses
from hostd.dimse import commands
from hostd.dimse.association import Association, Message
from hostd.dimse.commands import CommandSet
from hostd.dimse.errors import ProtocolError
from hostd.dimse.scu import Ended, Requestor

Identifier = Callable[[str], bytes]
"""Encodes what is meant for a transfer syntax (UID)."""
TakeStored = Callable[[Association, Message], tuple[int, str]]
"""Takes the instance of a C-STORE-RQ, reading its data set to the end; returns the status and Error Comment to answer with."""
OnProgress = Callable[["Counts"], None]

_LONGEST_MATCH = 256 << 10
_MOST_MATCHES = 1000
_MOST_BYTES = 8 << 20


def _never() -> bool:
    return False


def _nobody(_counts: Counts) -> None:
    pass


@dataclass(frozen=True, slots=True)
class Found:
    """What came of a C-FIND: the last status, and the identifiers of what matches, in the transfer syntax of that UID.

    `is_whole` is false where there was more than was wanted.
    """

    status: int
    comment: str
    syntax: str
    matches: list[bytes]
    is_whole: bool


@dataclass(frozen=True, slots=True)
class Counts:
    """How many sub-operations of a C-MOVE or C-GET remain, and how those that are done ended. What the peer does not say is 0."""

    remaining: int = 0
    completed: int = 0
    failed: int = 0
    warning: int = 0

    @classmethod
    def of(cls, command: CommandSet) -> Counts:
        """Return what an answer says (PS3.7 §9.1.3.1.6 to §9.1.3.1.9)."""
        return cls(
            command.number(commands.REMAINING_SUB_OPERATIONS) or 0,
            command.number(commands.COMPLETED_SUB_OPERATIONS) or 0,
            command.number(commands.FAILED_SUB_OPERATIONS) or 0,
            command.number(commands.WARNING_SUB_OPERATIONS) or 0,
        )


@dataclass(frozen=True, slots=True)
class Retrieved:
    """What came of a C-MOVE or C-GET: the last status, and what was sent."""

    status: int
    comment: str
    counts: Counts

    @classmethod
    def of(cls, ended: Ended) -> Retrieved:
        """Return what the last answer says."""
        return cls(ended.status, ended.comment, Counts.of(ended.command))


def find(
    association: Requestor,
    sop_class: str,
    identifier: Identifier,
    *,
    most: int = _MOST_MATCHES,
    most_bytes: int = _MOST_BYTES,
    within_s: float | None = None,
    is_cancelled: Callable[[], bool] = _never,
) -> Found:
    """Send C-FIND; return the first `most` that match, of so many bytes in all. Where there are more, the peer is asked to stop.

    Raises as `Requestor.converse`.
    """
    matches: list[bytes] = []
    syntax = ""
    room = most_bytes
    is_whole = True

    def take(message: Message, on: Association) -> bool:
        nonlocal syntax, is_whole, room
        _refuse_requests(message)
        if len(matches) == most or room <= 0:
            on.drain()
            is_whole = False
        elif message.command.has_data_set:
            syntax = message.context.transfer_syntax
            matches.append(association.bounded_data_set(_LONGEST_MATCH))
            room -= len(matches[-1])
        return is_whole

    request = partial(_find_request, sop_class)
    ended = association.converse(sop_class, request, identifier, take, within_s=within_s, is_cancelled=is_cancelled)
    return Found(ended.status, ended.comment, syntax or ended.syntax, matches, is_whole)


def move(
    association: Requestor,
    sop_class: str,
    identifier: Identifier,
    destination: str,
    *,
    on_progress: OnProgress = _nobody,
    is_cancelled: Callable[[], bool] = _never,
) -> Retrieved:
    """Send C-MOVE to the AE title `destination`; return what came of it. Raises as `Requestor.converse`."""

    def take(message: Message, on: Association) -> bool:
        _refuse_requests(message)
        on.drain()
        on_progress(Counts.of(message.command))
        return True

    def request(number: int) -> bytes:
        return commands.move_request(message_id=number, sop_class_uid=sop_class, destination=destination)

    return Retrieved.of(association.converse(sop_class, request, identifier, take, is_cancelled=is_cancelled))


def get(
    association: Requestor,
    sop_class: str,
    identifier: Identifier,
    store: TakeStored,
    *,
    on_progress: OnProgress = _nobody,
    is_cancelled: Callable[[], bool] = _never,
) -> Retrieved:
    """Send C-GET, and have `store` take what comes on the same association; return what came of it. Raises as `Requestor.converse`."""

    def take(message: Message, on: Association) -> bool:
        command = message.command
        if command.command == commands.C_STORE_RQ:
            status, comment = store(on, message)
            on.send_command(message.context.id, commands.response(command, status, comment))
            return True
        _refuse_requests(message)
        on.drain()
        on_progress(Counts.of(command))
        return True

    def request(number: int) -> bytes:
        return commands.get_request(message_id=number, sop_class_uid=sop_class)

    return Retrieved.of(association.converse(sop_class, request, identifier, take, is_cancelled=is_cancelled))


def said(status: int, comment: str) -> str:
    """Say a status in words, with what the peer said besides."""
    described = statuses.describe_of_query(status)
    return f"{described}: {comment}" if comment else described


def _find_request(sop_class: str, number: int) -> bytes:
    return commands.find_request(message_id=number, sop_class_uid=sop_class)


def _refuse_requests(message: Message) -> None:
    if not message.command.command & commands.RESPONSE:
        raise ProtocolError("the peer asked for something while its answer was awaited", source=0, reason=0)
