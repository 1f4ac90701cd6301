"""The requesting side of an association: connect, verify, store, release."""

from __future__ import annotations

import contextlib
import io
import select
import socket
import ssl
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from types import TracebackType
from typing import BinaryIO, NoReturn, Self

import structlog

from hostd.dicom import statuses
from hostd.dimse import commands
from hostd.dimse.associate import CONTEXTS_LIMIT, Proposal, decode_acceptance, encode_request
from hostd.dimse.association import MAX_PDU, Association, Context, Message, read_abort
from hostd.dimse.commands import CommandSet
from hostd.dimse.errors import (
    UNEXPECTED_PDU,
    BrokenError,
    CouldNotConnectError,
    DimseError,
    NoContextError,
    ProtocolError,
    RejectedError,
    ShortDataSetError,
)
from hostd.dimse.pdu import RELEASE_RP, RELEASE_RQ, Connection, PduType, name
from hostd.dimse.rejection import Rejection
from hostd.dimse.tls import Tls
from hostd.errors import ConfigurationError

VERIFICATION = "1.2.840.10008.1.1"
PRIORITY_MEDIUM, PRIORITY_HIGH, PRIORITY_LOW = 0, 1, 2
"""Priority (0000,0700)."""

OnEvent = Callable[[CommandSet, str, bytes], int]
"""(N-EVENT-REPORT-RQ, transfer syntax UID, data set) → the status to answer with."""

_LOG = structlog.get_logger(__name__)
_RELEASE_WAIT_S = 10.0
_LONGEST_REPORT = 4 << 20
_LONGEST_MATCH = 64 << 10
_MOST_MATCHES = 1000


@dataclass(frozen=True, slots=True)
class StoreAnswer:
    """The peer's answer to a C-STORE: its status, and its Error Comment, '' when there is none."""

    status: int
    comment: str


@dataclass(frozen=True, slots=True)
class Found:
    """The peer's answer to a C-FIND: its last status, and the identifiers of what matches, in the transfer syntax of that UID."""

    status: int
    syntax: str
    matches: list[bytes]


def connect(
    host: str,
    port: int,
    *,
    calling_aet: str,
    called_aet: str,
    contexts: Sequence[tuple[str, Sequence[str]]],
    connect_timeout_s: float = 10,
    timeout_s: float = 30,
    max_pdu: int = MAX_PDU,
    tls: Tls | None = None,
) -> Requestor:
    """Make an association with the peer.

    Each of `contexts` is (SOP class, transfer syntaxes, best first) and is proposed as one presentation context; the peer
    chooses one of its syntaxes. `timeout_s` limits every wait for the peer, answers included. With `tls` the line is encrypted.

    Raises `ConfigurationError` for a title or UID that the standard does not allow, `CouldNotConnectError`, `RejectedError`,
    and the other kinds of `DimseError`.
    """
    if not 1 <= len(contexts) <= CONTEXTS_LIMIT:
        raise ConfigurationError(f"an association has 1 to {CONTEXTS_LIMIT} presentation contexts, not {len(contexts)}")
    proposals = [
        Proposal(2 * index + 1, sop_class, tuple(syntaxes)) for index, (sop_class, syntaxes) in enumerate(contexts)
    ]
    try:
        request = encode_request(calling_aet=calling_aet, called_aet=called_aet, proposals=proposals, max_pdu=max_pdu)
    except ValueError as error:
        raise ConfigurationError(f"cannot ask {called_aet!r} at {host}:{port} for an association: {error}") from error
    try:
        sock = socket.create_connection((host, port), timeout=connect_timeout_s)
    except OSError as error:
        why = "no answer in time" if isinstance(error, TimeoutError) else error.strerror or str(error)
        raise CouldNotConnectError(f"could not connect to {called_aet!r} at {host}:{port}: {why}") from error
    if tls is not None:
        sock = _encrypted(sock, tls, host, connect_timeout_s, f"{called_aet!r} at {host}:{port}")
    connection = Connection(sock, timeout_s=timeout_s)
    try:
        return Requestor(_open(connection, request, proposals, called_aet, timeout_s))
    except BaseException as error:
        if isinstance(error, ProtocolError):
            connection.abort(error.abort_source, error.abort_reason)
        connection.close()
        raise


def _encrypted(sock: socket.socket, tls: Tls, host: str, timeout_s: float, peer: str) -> ssl.SSLSocket:
    """Speak TLS on a new connection. Raises `ConfigurationError` and `CouldNotConnectError`; the connection is closed then."""
    try:
        sock.settimeout(timeout_s)
        return tls.context().wrap_socket(sock, server_hostname=tls.name or host)
    except OSError as error:
        sock.close()
        why = "no answer in time" if isinstance(error, TimeoutError) else _tls_reason(error)
        raise CouldNotConnectError(f"no TLS with {peer}: {why}") from error
    except BaseException:
        sock.close()
        raise


def _tls_reason(error: OSError) -> str:
    if isinstance(error, ssl.SSLCertVerificationError):
        return f"its certificate is not trusted: {error.verify_message}"
    if isinstance(error, ssl.SSLError):
        return (error.reason or str(error)).replace("_", " ").lower()
    return error.strerror or str(error) or "the peer closed the connection"


def _open(
    connection: Connection, request: bytes, proposals: Sequence[Proposal], called_aet: str, timeout_s: float
) -> Association:
    connection.limit(timeout_s)
    connection.send(request)
    pdu_type, length = connection.header()
    if pdu_type == PduType.A_ABORT:
        raise read_abort(connection, length)
    body = connection.take(length)
    if pdu_type == PduType.A_ASSOCIATE_RJ and length >= 4:
        why = Rejection(result=body[1], source=body[2], reason=body[3])
        lasting = "transient" if why.result == 2 else "permanent"
        raise RejectedError(
            f"{called_aet!r} rejected the association: {why.words} ({lasting})",
            result=why.result, source=why.source, reason=why.reason,
        )  # fmt: skip
    if pdu_type != PduType.A_ASSOCIATE_AC:
        raise ProtocolError(f"{called_aet!r} answered A-ASSOCIATE-RQ with {name(pdu_type)}", reason=UNEXPECTED_PDU)
    results, user = decode_acceptance(body)
    connection.limit(None)
    contexts = {}
    for proposal in proposals:
        result, syntax = results.get(proposal.id, (2, ""))
        # An acceptance of what was not proposed is no acceptance.
        if result == 0 and syntax in proposal.transfer_syntaxes:
            contexts[proposal.id] = Context(proposal.id, proposal.abstract_syntax, syntax)
    return Association(connection, contexts, peer_max_pdu=user.max_pdu)


class Requestor:
    """An association that hostd asked for. Leaving its `with` releases it, or aborts it when an error leaves with it.

    After any `DimseError` but `NoContextError` the association is over and its connection closed.
    """

    def __init__(self, association: Association) -> None:
        self._association = association
        self._connection = association.connection
        self._message_id = 0
        self._is_open = True
        self.accepted: dict[tuple[str, str], int] = {}
        """(SOP class, transfer syntax) → presentation context id."""
        for context in association.contexts.values():
            self.accepted.setdefault((context.abstract_syntax, context.transfer_syntax), context.id)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        if kind is None:
            self.release()
        else:
            self.abort()

    @property
    def is_open(self) -> bool:
        """Whether requests can still be sent."""
        return self._is_open

    def echo(self) -> int:
        """Send C-ECHO; return the status. Raises `NoContextError` when the peer did not accept Verification."""
        context_id = next((id_ for (sop_class, _), id_ in self.accepted.items() if sop_class == VERIFICATION), None)
        if context_id is None:
            raise NoContextError("the peer accepted no presentation context for Verification")
        request = commands.echo_request(message_id=self._next_message_id(), sop_class_uid=VERIFICATION)
        try:
            self._association.send_command(context_id, request)
        except DimseError as error:
            self._fail(error, answer_lost=False)
        return self._answer(commands.C_ECHO_RQ).status

    def store(
        self,
        sop_class: str,
        sop_instance_uid: str,
        syntax: str,
        data: BinaryIO,
        length: int | None,
        *,
        priority: int = PRIORITY_MEDIUM,
    ) -> StoreAnswer:
        """Send one instance by C-STORE, read from `data` as it is sent; return the answer.

        `data` stands at the beginning of the data set (behind the file meta information), encoded in `syntax`; `length` is how
        many bytes it has, None for up to the end of the file.

        Raises `NoContextError`, `ShortDataSetError` when the file ends early, or another `DimseError`: its `answer_lost` says
        whether the peer may have stored the instance all the same.
        """
        context_id = self.accepted.get((sop_class, syntax))
        if context_id is None:
            raise NoContextError(f"the peer accepted no presentation context for SOP class {sop_class} in {syntax}")
        request = commands.store_request(
            message_id=self._next_message_id(),
            sop_class_uid=sop_class,
            sop_instance_uid=sop_instance_uid,
            priority=priority,
        )
        try:
            self._association.send_command(context_id, request)
            self._association.send_data_set(context_id, _Reader(data, length, sop_instance_uid).readinto)
        except DimseError as error:
            self._fail(self._reason_of(error), answer_lost=False)
        except BaseException:
            # The message cannot be finished, and half of it must not be taken for all.
            self.abort()
            raise
        return self._answer(commands.C_STORE_RQ)

    def action(
        self,
        sop_class: str,
        sop_instance_uid: str,
        action_type: int,
        data_set: Callable[[str], bytes],
        on_event: OnEvent,
    ) -> int:
        """Send N-ACTION with the data set that is encoded for a transfer syntax (UID); return the status.

        What the peer reports before it answers goes to `on_event`. Raises as `store` does.
        """
        syntax, context_id = self._accepted_for(sop_class)
        request = commands.action_request(
            message_id=self._next_message_id(),
            sop_class_uid=sop_class,
            sop_instance_uid=sop_instance_uid,
            action_type=action_type,
        )
        self._send(context_id, request, data_set(syntax))
        return self._answer(commands.N_ACTION_RQ, on_event).status

    def find(self, sop_class: str, identifier: Callable[[str], bytes]) -> Found:
        """Send C-FIND with the identifier that is encoded for a transfer syntax (UID); return what matches. Raises as `action` does.

        More than 1000 matches, or one of more than 64 KiB, are a `ProtocolError`: this is for asking after one instance.
        """
        syntax, context_id = self._accepted_for(sop_class)
        request = commands.find_request(message_id=self._next_message_id(), sop_class_uid=sop_class)
        self._send(context_id, request, identifier(syntax))
        matches: list[bytes] = []
        try:
            self._connection.limit(None)
            while True:
                message = self._received()
                if not _is_pending(message.command):
                    return Found(self._checked(message, commands.C_FIND_RQ).status, syntax, matches)
                if len(matches) == _MOST_MATCHES:
                    raise ProtocolError("more matches than any such query can have", source=0, reason=0)
                matches.append(self._bounded_data_set(_LONGEST_MATCH))
        except DimseError as error:
            self._fail(error, answer_lost=False)

    def _accepted_for(self, sop_class: str) -> tuple[str, int]:
        for (abstract, syntax), context_id in self.accepted.items():
            if abstract == sop_class:
                return syntax, context_id
        raise NoContextError(f"the peer accepted no presentation context for SOP class {sop_class}")

    def _send(self, context_id: int, request: bytes, data_set: bytes) -> None:
        try:
            self._association.send_command(context_id, request)
            self._association.send_data_set(context_id, io.BytesIO(data_set).readinto)
        except DimseError as error:
            self._fail(self._reason_of(error), answer_lost=False)

    def listen(self, seconds: float, on_event: OnEvent) -> bool:
        """Wait up to so many seconds for one N-EVENT-REPORT; return whether one came. Raises `DimseError`."""
        if not self._connection.has_unread and not select.select([self._connection.fileno()], [], [], seconds)[0]:
            return False
        try:
            message = self._received()
            if message.command.command != commands.N_EVENT_REPORT_RQ:
                raise ProtocolError("the peer sent what was not asked for", source=0, reason=0)
            self._report(message, on_event)
        except DimseError as error:
            self._fail(error, answer_lost=False)
        return True

    def _report(self, message: Message, on_event: OnEvent) -> None:
        status = on_event(message.command, message.context.transfer_syntax, self._bounded_data_set(_LONGEST_REPORT))
        self._association.send_command(message.context.id, commands.response(message.command, status))

    def _bounded_data_set(self, limit: int) -> bytes:
        data = bytearray()
        for piece in self._association.data_set():
            data += piece
            if len(data) > limit:
                raise ProtocolError("what the peer reports is longer than any such should be", source=0, reason=0)
        return bytes(data)

    def release(self) -> bool:
        """Release the association; return whether the peer confirmed it.

        Never raises for what the peer does: all answers have been had, so nothing is lost if it breaks here.
        """
        if not self._is_open:
            return False
        self._is_open = False
        try:
            self._connection.limit(_RELEASE_WAIT_S)
            self._connection.send(RELEASE_RQ)
            self._await_release()
        except DimseError as error:
            _LOG.info("an association was not released properly", reason=str(error))
            if isinstance(error, ProtocolError):
                self._connection.abort(error.abort_source, error.abort_reason)
            return False
        else:
            return True
        finally:
            self._connection.close()

    def abort(self) -> None:
        """Abort the association (A-ABORT of the service-user)."""
        if self._is_open:
            self._is_open = False
            self._connection.abort()
            self._connection.close()

    def _await_release(self) -> None:
        while True:
            pdu_type, length = self._connection.header()
            if pdu_type == PduType.A_ABORT:
                raise read_abort(self._connection, length)
            for _ in self._connection.pieces(length):
                pass
            if pdu_type == PduType.A_RELEASE_RP:
                return
            if pdu_type == PduType.A_RELEASE_RQ:
                # Both asked at once: the requestor answers first and then waits for its own answer (PS3.8 §7.2.2.7).
                self._connection.send(RELEASE_RP)
            elif pdu_type != PduType.P_DATA_TF:
                raise ProtocolError(f"{name(pdu_type)} arrived while release was awaited", reason=UNEXPECTED_PDU)

    def _next_message_id(self) -> int:
        if not self._is_open:
            raise BrokenError("the association has ended; make another")
        self._message_id = self._message_id % 0xFFFF + 1
        return self._message_id

    def _received(self) -> Message:
        message = self._association.receive()
        if message is None:
            self._association.confirm_release()
            raise BrokenError("the peer released the association while an answer was awaited")
        return message

    def _answer(self, request: int, on_event: OnEvent | None = None) -> StoreAnswer:
        try:
            self._connection.limit(None)
            while True:
                message = self._received()
                if on_event is None or message.command.command != commands.N_EVENT_REPORT_RQ:
                    return self._checked(message, request)
                self._report(message, on_event)
        except DimseError as error:
            self._fail(error, answer_lost=True)

    def _checked(self, message: Message, request: int) -> StoreAnswer:
        command = message.command
        answered = command.number(commands.MESSAGE_ID_BEING_RESPONDED_TO)
        status = command.number(commands.STATUS)
        if command.command != request | commands.RESPONSE or answered != self._message_id or status is None:
            raise ProtocolError(
                f"the peer sent command 0x{command.command:04X} for message {answered} with status {status}, "
                f"which does not answer 0x{request:04X}, message {self._message_id}",
                source=0, reason=0,
            )  # fmt: skip
        self._association.drain()
        return StoreAnswer(status, command.text(commands.ERROR_COMMENT))

    def _reason_of(self, error: DimseError) -> DimseError:
        """Return the A-ABORT that made the connection break while sending, if it can still be read."""
        if isinstance(error, BrokenError):
            with contextlib.suppress(DimseError):
                self._connection.limit(1)
                pdu_type, length = self._connection.header()
                if pdu_type == PduType.A_ABORT:
                    return read_abort(self._connection, length)
        return error

    def _fail(self, error: DimseError, *, answer_lost: bool) -> NoReturn:
        """End the association and raise the error that ended it."""
        error.answer_lost = answer_lost
        if self._is_open:
            self._is_open = False
            if isinstance(error, ProtocolError):
                self._connection.abort(error.abort_source, error.abort_reason)
            elif not isinstance(error, BrokenError):
                self._connection.abort()
            self._connection.close()
        raise error


def _is_pending(command: CommandSet) -> bool:
    is_of_find = command.command == commands.C_FIND_RQ | commands.RESPONSE and command.has_data_set
    return is_of_find and statuses.category(command.number(commands.STATUS) or 0) == "pending"


class _Reader:
    """The data set in the file, bounded by its length."""

    def __init__(self, data: BinaryIO, length: int | None, sop_instance_uid: str) -> None:
        self._data = data
        self._left = length
        self._sop_instance_uid = sop_instance_uid

    def readinto(self, view: memoryview) -> int:
        """Read into the view; return how many bytes, 0 at the end of the data set."""
        if self._left is not None:
            view = view[: self._left]
            if not view:
                return 0
        count = _readinto(self._data, view)
        if self._left is not None:
            if not count:
                raise ShortDataSetError(
                    f"the file of instance {self._sop_instance_uid} ends {self._left} bytes before its data set does"
                )
            self._left -= count
        return count


def _readinto(data: BinaryIO, view: memoryview) -> int:
    readinto = getattr(data, "readinto", None)
    if readinto is not None:
        return int(readinto(view) or 0)
    piece = data.read(len(view))
    view[: len(piece)] = piece
    return len(piece)
