"""An association that hostd asked for: verify, store, ask and be told, release."""

from __future__ import annotations

import contextlib
import io
import select
import time
from collections.abc import Callable
from dataclasses import dataclass
from types import TracebackType
from typing import BinaryIO, NoReturn, Self

import structlog

from hostd.dicom import statuses
from hostd.dimse import commands
from hostd.dimse.association import Association, Message, read_abort
from hostd.dimse.commands import CommandSet, Originator
from hostd.dimse.data_sets import DataSetReader
from hostd.dimse.errors import (
    UNEXPECTED_PDU,
    BrokenError,
    DimseError,
    NoContextError,
    ProtocolError,
    TimedOutError,
)
from hostd.dimse.pdu import RELEASE_RP, RELEASE_RQ, PduType, name

VERIFICATION = "1.2.840.10008.1.1"
PRIORITY_MEDIUM, PRIORITY_HIGH, PRIORITY_LOW = 0, 1, 2
"""Priority (0000,0700)."""

OnEvent = Callable[[CommandSet, str, bytes], int]
"""(N-EVENT-REPORT-RQ, transfer syntax UID, data set) → the status to answer with."""

_LOG = structlog.get_logger(__name__)
_RELEASE_WAIT_S = 10.0
_LONGEST_REPORT = 4 << 20
_LONGEST_DATA_SET = 4 << 20
_CANCEL_WAIT_S = 10.0
_LOOK_S = 0.25


@dataclass(frozen=True, slots=True)
class StoreAnswer:
    """The peer's answer to a C-STORE: its status, and its Error Comment, '' when there is none."""

    status: int
    comment: str


@dataclass(frozen=True, slots=True)
class Ended:
    """The last answer to a request that has several: its command set, and what comes with it, in the transfer syntax of that UID."""

    command: CommandSet
    syntax: str
    data_set: bytes

    @property
    def status(self) -> int:
        """Status (0000,0900)."""
        return self.command.number(commands.STATUS) or 0

    @property
    def comment(self) -> str:
        """Error Comment (0000,0902), '' when there is none."""
        return self.command.text(commands.ERROR_COMMENT)


def _never() -> bool:
    return False


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
        originator: Originator | None = None,
    ) -> StoreAnswer:
        """Send one instance by C-STORE, read from `data` as it is sent; return the answer.

        `data` stands at the beginning of the data set (behind the file meta information), encoded in `syntax`; `length` is how
        many bytes it has, None for up to the end of the file. `originator` names the C-MOVE that asked for it.

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
            originator=originator,
        )
        try:
            reader = DataSetReader(data, length, sop_instance_uid)
            self._association.send_data_set(context_id, reader.readinto, command=request)
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

    def event_report(
        self, sop_class: str, sop_instance_uid: str, event_type: int, data_set: Callable[[str], bytes]
    ) -> StoreAnswer:
        """Send N-EVENT-REPORT with the data set that is encoded for a transfer syntax (UID); return the answer. Raises as `store` does."""
        syntax, context_id = self._accepted_for(sop_class)
        request = commands.event_report_request(
            message_id=self._next_message_id(),
            sop_class_uid=sop_class,
            sop_instance_uid=sop_instance_uid,
            event_type=event_type,
        )
        self._send(context_id, request, data_set(syntax))
        return self._answer(commands.N_EVENT_REPORT_RQ)

    def converse(
        self,
        sop_class: str,
        request: Callable[[int], bytes],
        identifier: Callable[[str], bytes],
        take: Callable[[Message, Association], bool],
        *,
        within_s: float | None = None,
        is_cancelled: Callable[[], bool] = _never,
    ) -> Ended:
        """Send a request that has several answers, and serve what comes until its last one, which is returned.

        `request` is encoded for a message number, `identifier` for a transfer syntax (UID). `take` gets each message before the last: an
        answer that is pending, or what the peer asks in between. It reads the data set, and returns false to have the request cancelled; so does
        `is_cancelled`, which is asked between messages and while nothing comes. A peer that was asked to cancel has 10 seconds for it.

        Raises `NoContextError`, `TimedOutError` also where it is not over in `within_s` seconds, and the other kinds of `DimseError`.
        """
        syntax, context_id = self._accepted_for(sop_class)
        encoded = request(self._next_message_id())
        command = commands.decode(encoded).command
        ends = time.monotonic() + within_s if within_s is not None else None
        has_cancelled = False
        self._send(context_id, encoded, identifier(syntax))
        try:
            while True:
                if not has_cancelled and self._wait(ends, is_cancelled):
                    has_cancelled, ends = True, self._cancel(context_id)
                message = self._received()
                if not _is_between(message.command, command):
                    return Ended(self._check(message, command), syntax, self.bounded_data_set(_LONGEST_DATA_SET))
                if not take(message, self._association) and not has_cancelled:
                    has_cancelled, ends = True, self._cancel(context_id)
                if ends is not None and time.monotonic() > ends:
                    raise TimedOutError("the peer did not come to an end in time")
        except DimseError as error:
            self._fail(error, answer_lost=True)
        except BaseException:
            self.abort()  # the rest of the conversation cannot be made sense of
            raise

    def _wait(self, ends: float | None, is_cancelled: Callable[[], bool]) -> bool:
        """Wait until a message comes; return whether the request is to be cancelled. Raises `TimedOutError` after `ends`."""
        self._connection.limit(None)
        silent_until = time.monotonic() + self._connection.timeout_s
        poll = select.poll()
        poll.register(self._connection.fileno(), select.POLLIN)
        while not is_cancelled():
            if self._connection.has_unread or poll.poll(_LOOK_S * 1000):
                return False
            now = time.monotonic()
            if now > silent_until or (ends is not None and now > ends):
                raise TimedOutError("the peer was silent or too slow for longer than is waited")
        return True

    def _cancel(self, context_id: int) -> float:
        """Ask the peer to give the request up; return until when it has time for that."""
        self._association.send_command(context_id, commands.cancel_request(message_id=self._message_id))
        return time.monotonic() + _CANCEL_WAIT_S

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
        status = on_event(message.command, message.context.transfer_syntax, self.bounded_data_set(_LONGEST_REPORT))
        self._association.send_command(message.context.id, commands.response(message.command, status))

    def bounded_data_set(self, limit: int) -> bytes:
        """Return the data set of the message that was received. Raises `ProtocolError` when it has more than `limit` bytes."""
        data = bytearray()
        for piece in self._association.data_set():
            data += piece
            if len(data) > limit:
                raise ProtocolError("a data set is longer than any such should be", source=0, reason=0)
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
        command = self._check(message, request)
        self._association.drain()
        return StoreAnswer(command.number(commands.STATUS) or 0, command.text(commands.ERROR_COMMENT))

    def _check(self, message: Message, request: int) -> CommandSet:
        """Return the command set of an answer. Raises `ProtocolError` when it is none to that request."""
        command = message.command
        answered = command.number(commands.MESSAGE_ID_BEING_RESPONDED_TO)
        status = command.number(commands.STATUS)
        if command.command != request | commands.RESPONSE or answered != self._message_id or status is None:
            raise ProtocolError(
                f"the peer sent command 0x{command.command:04X} for message {answered} with status {status}, "
                f"which does not answer 0x{request:04X}, message {self._message_id}",
                source=0, reason=0,
            )  # fmt: skip
        return command

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


def _is_between(command: CommandSet, request: int) -> bool:
    """Tell whether a message is none that ends a request: it is pending, or asks something itself."""
    if not command.command & commands.RESPONSE:
        return True
    is_of_it = command.command == request | commands.RESPONSE
    return is_of_it and statuses.category(command.number(commands.STATUS) or 0) == "pending"
