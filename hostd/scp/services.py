"""Services that answer one request with many responses: C-FIND, C-MOVE, C-GET, N-ACTION (PS3.7 §9.1.2 to §9.1.4, §10.1.4).

A conversation reads the request and its data set, hands both to the service as an `Exchange`, and sends what it yields, each as soon as it is
yielded. Between two responses it looks at what the peer has sent meanwhile, so that a C-CANCEL-RQ counts at once.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Collection, Generator, Iterable, Sequence
from contextlib import closing
from dataclasses import dataclass
from typing import Protocol

import structlog

from hostd.archive.records import Origin
from hostd.dicom import statuses
from hostd.dimse import commands
from hostd.dimse.association import Association, Context, Message
from hostd.dimse.commands import CommandSet, SubOperations
from hostd.dimse.errors import DimseError, ProtocolError, TimedOutError
from hostd.scp.access import Act

_LOG = structlog.get_logger(__name__)
_LONGEST_DATA_SET = 4 << 20
"""Bytes. An identifier of 50,000 UIDs is smaller."""


class Refusal(Exception):  # noqa: N818 - an answer that is on its way to the peer, not a failure of hostd
    """The request is answered with this status and Error Comment."""

    def __init__(self, status: int, comment: str) -> None:
        super().__init__(comment)
        self.status = status
        self.comment = comment


class Cancelled(Exception):  # noqa: N818 - what the peer wants, not a failure
    """The peer has cancelled what it asked for (C-CANCEL-RQ), or wants to release the association before its end."""


@dataclass(frozen=True, slots=True)
class Response:
    """One response. `data_set` is in the transfer syntax of the exchange's context; a status that is not pending makes it the last."""

    status: int
    data_set: bytes | None = None
    comment: str = ""
    sub_operations: SubOperations | None = None


class Service(Protocol):
    """What answers requests of one command. Called from many threads at once."""

    @property
    def act(self) -> Act:
        """What who asks must be allowed to do."""
        ...

    @property
    def command(self) -> int:
        """The Command Field of its requests."""
        ...

    @property
    def sop_classes(self) -> Collection[str]:
        """The SOP classes that it serves; no other service has them."""
        ...

    @property
    def syntaxes(self) -> Sequence[str]:
        """The transfer syntaxes in which it reads and writes."""
        ...

    def answer(self, exchange: Exchange) -> Generator[Response]:
        """Yield the responses, the last one with a final status; where none has one, success is sent at the end.

        After each yield, and wherever `Exchange.heed` is called, `Cancelled` may be raised: a service that has something to say in its final
        response catches it and yields that. Raises `Refusal`, and whatever goes wrong, which is answered as a failure.
        """
        ...


class Exchange:
    """One request in work: what is asked, by whom, and what else the peer says meanwhile. For the conversation's own thread."""

    def __init__(
        self,
        association: Association,
        message: Message,
        origin: Origin,
        data_set: bytes,
        ready: Callable[[float], bool],
        network_s: float,
    ) -> None:
        """`ready` waits so many seconds for bytes, tells whether there are any, and raises when hostd stops."""
        self.association = association
        """To make sub-operations on (C-GET)."""
        self.context: Context = message.context
        self.command: CommandSet = message.command
        self.origin = origin
        self.data_set = data_set
        self.is_released = False
        """Whether the peer has asked for release."""
        self._is_cancelled = False
        self._ready = ready
        self._network_s = network_s

    def heed(self, wait_s: float = 0.0) -> None:
        """Look at what the peer has sent since, waiting so many seconds for it. Raises `Cancelled`, or what ends the association."""
        if not self._is_cancelled and self._ready(wait_s):
            self._next(None)
        if self._is_cancelled:
            raise Cancelled

    def response_to(self, message_id: int) -> CommandSet:
        """Wait for the peer's response to the request of that Message ID, which was made on the association during this exchange.

        A cancel that comes before it is kept for `heed`.
        """
        ends = time.monotonic() + self._network_s
        while (left := ends - time.monotonic()) > 0 and self._ready(left):
            found = self._next(message_id)
            if found is not None:
                return found
            if self.is_released:
                raise ProtocolError("the peer asked for release before it had answered", source=0, reason=0)
        raise TimedOutError("the peer did not answer a sub-operation in time")

    def _next(self, awaited: int | None) -> CommandSet | None:
        """Receive one message; return it when it is the awaited response, and deal with any other."""
        message = self.association.receive()
        if message is None:
            self.is_released = self._is_cancelled = True
            return None
        self.association.drain()
        command = message.command
        about = command.number(commands.MESSAGE_ID_BEING_RESPONDED_TO)
        if command.command == commands.C_CANCEL_RQ:
            if about == self.command.message_id:
                self._is_cancelled = True
            return None
        if command.command & commands.RESPONSE:
            if awaited is None or about != awaited:
                raise ProtocolError("the peer answered a request that was never made", source=0, reason=0)
            return command
        # One operation at a time was negotiated (PS3.7 §D.3.3.3): no window for others was offered.
        is_same = command.message_id == self.command.message_id
        status = statuses.DUPLICATE_INVOCATION if is_same else statuses.RESOURCE_LIMITATION
        why = "the operation before is still under way: one at a time on an association"
        self.association.send_command(message.context.id, commands.response(command, status, why))
        return None


class Services:
    """The services of a listener, by what they answer."""

    def __init__(self, services: Iterable[Service] = ()) -> None:
        self._by_sop_class = {sop_class: service for service in services for sop_class in service.sop_classes}

    def syntaxes_of(self, abstract_syntax: str) -> Sequence[str] | None:
        """Return the transfer syntaxes in which a SOP class is served; None when it is not."""
        service = self._by_sop_class.get(abstract_syntax)
        return service.syntaxes if service else None

    def brings(self, abstract_syntax: str) -> bool:
        """Tell whether this is a SOP class of C-GET: the peer takes instances on the association on which it asks for them."""
        service = self._by_sop_class.get(abstract_syntax)
        return service is not None and service.command == commands.C_GET_RQ

    def of(self, message: Message) -> Service | None:
        """Return the service for a request; None when there is none."""
        service = self._by_sop_class.get(message.context.abstract_syntax)
        return service if service is not None and service.command == message.command.command else None


def read_data_set(association: Association) -> bytes:
    """Read the data set of the message just received. Raises `ProtocolError` for one that is longer than any should be."""
    data = bytearray()
    for piece in association.data_set():
        data += piece
        if len(data) > _LONGEST_DATA_SET:
            raise ProtocolError("a data set is longer than that of any such message should be", source=0, reason=0)
    return bytes(data)


def respond(service: Service, exchange: Exchange) -> None:
    """Have a service answer, and send its responses as they come, the final one last. Raises a `DimseError` when the association breaks."""
    with closing(_responses(service, exchange)) as responses:
        for response in responses:
            encoded = commands.response(
                exchange.command,
                response.status,
                response.comment,
                has_data_set=response.data_set is not None,
                sub_operations=response.sub_operations,
            )
            exchange.association.send_message(exchange.context.id, encoded, response.data_set)


def _responses(service: Service, exchange: Exchange) -> Generator[Response]:
    """Yield what a service answers up to the final response, which there always is."""
    answers = service.answer(exchange)
    with closing(answers):
        try:
            response = next(answers, _DONE)
            while statuses.category(response.status) == "pending":
                yield response
                response = _following(answers, exchange)
            yield response
        except Cancelled:
            yield Response(statuses.CANCELLED)
        except Refusal as refusal:
            yield Response(refusal.status, comment=refusal.comment)
        except DimseError:
            raise
        except Exception:  # noqa: BLE001 - logged, and the peer is told; the association goes on
            _LOG.exception("a request could not be answered", calling_aet=exchange.origin.calling_aet)
            is_composite = exchange.command.command in {commands.C_FIND_RQ, commands.C_MOVE_RQ, commands.C_GET_RQ}
            status = statuses.CANNOT_UNDERSTAND if is_composite else statuses.PROCESSING_FAILURE
            yield Response(status, comment="an error of hostd; its log says which")


def _following(answers: Generator[Response], exchange: Exchange) -> Response:
    try:
        exchange.heed()
    except Cancelled as cancelled:
        try:
            return answers.throw(cancelled)
        except StopIteration:  # it has caught it, and has nothing to say
            return Response(statuses.CANCELLED)
    return next(answers, _DONE)


_DONE = Response(statuses.SUCCESS)
