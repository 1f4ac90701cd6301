"""One association from its connection to its row: negotiate, serve, end."""

from __future__ import annotations

import select
import threading
from collections.abc import Callable, Collection
from dataclasses import dataclass

import structlog

from hostd.archive.records import Origin
from hostd.clock import Clock
from hostd.detail import DETAIL
from hostd.dicom import statuses
from hostd.dicom.commitment import PUSH_MODEL, Report
from hostd.dimse import acceptor, commands, rejection
from hostd.dimse.associate import Request
from hostd.dimse.association import Association, Message
from hostd.dimse.errors import (
    AbortedError,
    DimseError,
    InterruptedAssociationError,
    ProtocolError,
    TimedOutError,
)
from hostd.dimse.pdu import Connection
from hostd.dimse.reports import report_status
from hostd.errors import HostdError
from hostd.scp.accepted import Accepted
from hostd.scp.access import Act, Caller, Callers
from hostd.scp.limits import Limits
from hostd.scp.log import AssociationClosed, AssociationLog, AssociationOpened, ContextFact, Ending
from hostd.scp.negotiating import Negotiator
from hostd.scp.services import Exchange, Services, read_data_set, respond
from hostd.scp.storage import StoreService, store

_LOG = structlog.get_logger(__name__)
_STOPPING = "hostd is stopping"


@dataclass(frozen=True, slots=True)
class House:
    """What all conversations of a listener share."""

    aets: Collection[str]
    check_called_aet: bool
    store: StoreService
    on_report: Callable[[Report], bool]
    """Takes the report of a storage commitment; false when its transaction is unknown."""
    services: Services
    associations: AssociationLog
    limits: Limits
    clock: Clock
    wake_fd: int
    """Becomes readable when the listener stops."""
    stopping: threading.Event
    admit: Callable[[], bool]
    """Take one of the places for associations; false when all are taken."""
    leave: Callable[[], None]
    """Give the place back."""
    has_room: Callable[[], bool]
    """Whether instances can be taken in."""
    accepted: Accepted
    callers: Callers

    def is_called(self, called_aet: str) -> bool:
        """Tell whether a called AE title is answered to."""
        return not self.check_called_aet or self.callers.is_called(called_aet, self.aets)


class Conversation:
    """One association, in a thread of its own. Only `interrupt` is called by another thread."""

    def __init__(self, house: House, connection: Connection, ip: str, port: int) -> None:
        self._house = house
        self._connection = connection
        self._ip = ip
        self._port = port
        self._id: int | None = None
        self._association: Association | None = None
        self._received = 0
        self._stored = 0
        self._poll: select.poll | None = None
        self.is_busy = False
        """Whether it holds one of the listener's places: an association was accepted and has not ended."""

    def interrupt(self) -> None:
        """Cut the association off where it stands."""
        self._connection.interrupt()

    def run(self) -> None:
        """Hold the conversation to its end. Raises nothing; however it ends, its row says so."""
        ended: Ending
        try:
            ended, reason = self._converse()
        except AbortedError as error:
            ended, reason = "aborted by peer", str(error)
        except ProtocolError as error:
            self._connection.abort(error.abort_source, error.abort_reason)
            ended, reason = "aborted by hostd", str(error)
        except InterruptedAssociationError as error:
            self._connection.abort()
            ended, reason = "aborted by hostd", str(error)
        except TimedOutError as error:
            self._connection.abort()
            ended, reason = "timed out", str(error)
        except DimseError as error:
            ended, reason = "lost", str(error)
        except Exception:  # noqa: BLE001 - logged, and the row says so; the listener goes on
            _LOG.exception("an association ended by an error of hostd", ip=self._ip, association=self._id)
            self._connection.abort()
            ended, reason = "aborted by hostd", "an error of hostd; its log says which"
        self._write_ending(ended, reason)
        if self.is_busy:
            self.is_busy = False
            self._house.leave()
        self._connection.finish(self._house.limits.linger_s)

    # -- the beginning ------------------------------------------------------------------------------------------------

    def _converse(self) -> tuple[Ending, str]:
        limits = self._house.limits
        request = acceptor.read_request(self._connection, artim_s=limits.artim_s)
        why = acceptor.judge(request, is_called=self._house.is_called)
        caller = self._house.callers.caller(request.calling_aet, self._ip)
        negotiator = Negotiator(request, caller, self._house.accepted, self._house.services)
        if why is None and not self._house.has_room() and negotiator.brings_instances:
            why = rejection.TEMPORARY_CONGESTION
        if why is None:
            self.is_busy = not self._house.stopping.is_set() and self._house.admit()
            why = None if self.is_busy else rejection.LOCAL_LIMIT_EXCEEDED
        negotiation = negotiator.negotiate() if why is None else None
        if negotiator.is_stranger:
            why = rejection.CALLING_AET_NOT_RECOGNISED
        facts = self._facts(request, negotiation, caller)
        try:
            self._id = self._house.associations.opened(facts)
        except Exception:  # noqa: BLE001 - logged, and the sender is told
            # Without its row the association is not begun; the sender is asked to come back.
            _LOG.exception("an association could not be written down", ip=self._ip, calling_aet=request.calling_aet)
            why = why or rejection.TEMPORARY_CONGESTION
        if DETAIL.is_told:
            _LOG.debug(
                "an association was asked for", ip=self._ip, association=self._id, calling_aet=facts.calling_aet,
                called_aet=facts.called_aet, modality=facts.modality, contexts=len(facts.contexts),
                accepted=sum(context.refused is None for context in facts.contexts),
            )  # fmt: skip
        if why is not None or negotiation is None:
            why = why or rejection.NO_REASON
            acceptor.reject(self._connection, why)
            return "rejected", why.words
        self._association = acceptor.accept(self._connection, request, negotiation, max_pdu=limits.max_pdu)
        origin = Origin(
            kind="dicom",
            calling_aet=request.calling_aet,
            called_aet=request.called_aet,
            ip=self._ip,
            association=self._id,
        )
        return self._serve(self._association, origin)

    def _facts(
        self,
        request: Request | None = None,
        negotiation: acceptor.Negotiation | None = None,
        caller: Caller | None = None,
    ) -> AssociationOpened:
        now = self._house.clock.now()
        if request is None:
            return AssociationOpened(at=now, ip=self._ip, port=self._port)
        return AssociationOpened(
            at=now,
            ip=self._ip,
            port=self._port,
            calling_aet=request.calling_aet,
            called_aet=request.called_aet,
            contexts=tuple(
                ContextFact(outcome.abstract_syntax, outcome.transfer_syntax, outcome.refused)
                for outcome in (negotiation.outcomes if negotiation else ())
            ),
            max_pdu=request.user.max_pdu,
            implementation_class_uid=request.user.implementation_class_uid,
            implementation_version_name=request.user.implementation_version_name,
            modality=caller.modality if caller else None,
        )

    # -- the middle ---------------------------------------------------------------------------------------------------

    def _serve(self, association: Association, origin: Origin) -> tuple[Ending, str]:
        while True:
            if not self._ready(self._house.limits.idle_s):
                raise TimedOutError("the peer was idle for longer than allowed")
            message = association.receive()
            if message is None or self._answer(association, message, origin):
                association.confirm_release()
                return "released", ""

    def _ready(self, wait_s: float) -> bool:
        """Wait so many seconds for something to read; return whether there is. Raises `InterruptedAssociationError` when hostd stops."""
        if self._house.stopping.is_set():
            raise InterruptedAssociationError(_STOPPING)
        if self._connection.has_unread:
            return True
        self._poll = self._poll or self._made_poll()
        ready = self._poll.poll(wait_s * 1000)
        if self._house.stopping.is_set():
            raise InterruptedAssociationError(_STOPPING)
        return bool(ready)

    def _made_poll(self) -> select.poll:
        poll = select.poll()
        poll.register(self._connection.fileno(), select.POLLIN)
        poll.register(self._house.wake_fd, select.POLLIN)
        return poll

    def _answer(self, association: Association, message: Message, origin: Origin) -> bool:
        """Answer a request; return whether the peer asked for release meanwhile."""
        command = message.command
        if command.command & commands.RESPONSE:
            raise ProtocolError("the peer answered a request that was never made", source=0, reason=0)
        status, comment = statuses.SUCCESS, ""
        if command.command == commands.C_STORE_RQ:
            self._received += 1
            refusal = store(association, message, self._house.store, origin)
            if refusal is None:
                self._stored += 1
            else:
                status, comment = refusal.status, refusal.comment
        elif (service := self._house.services.of(message)) is not None:
            data_set = read_data_set(association)
            why = self._refusal(service.act, origin)
            if why is None:
                exchange = Exchange(association, message, origin, data_set, self._ready, self._house.limits.network_s)
                respond(service, exchange)
                return exchange.is_released
            status, comment = statuses.NOT_AUTHORIZED, why
        elif command.command == commands.N_EVENT_REPORT_RQ and message.context.abstract_syntax == PUSH_MODEL:
            status = self._take_report(association, message)
        else:
            association.drain()
            if command.command == commands.C_CANCEL_RQ:
                return False  # It has no response (PS3.7 §9.3.2.3), and there is nothing to cancel.
            if command.command != commands.C_ECHO_RQ:
                status, comment = statuses.UNRECOGNIZED_OPERATION, "hostd does not offer this operation here"
            elif (why := self._refusal("echo", origin)) is not None:
                status, comment = statuses.NOT_AUTHORIZED, why
        association.send_command(message.context.id, commands.response(command, status, comment))
        return False

    def _refusal(self, act: Act, origin: Origin) -> str | None:
        """Say why the caller may not do something, in the log too; None when it may."""
        why = self._house.callers.caller(origin.calling_aet or "", self._ip).refusal(act)
        if why is not None:
            _LOG.warning("a request was refused", calling_aet=origin.calling_aet, ip=origin.ip, reason=why)
        return why

    def _take_report(self, association: Association, message: Message) -> int:
        data_set = read_data_set(association)
        try:
            return report_status(message.command, message.context.transfer_syntax, data_set, self._house.on_report)
        except HostdError:
            _LOG.exception("the report of a storage commitment could not be recorded", association=self._id)
            return statuses.PROCESSING_FAILURE

    # -- the end ------------------------------------------------------------------------------------------------------

    def _write_ending(self, ended: Ending, reason: str) -> None:
        log = self._house.associations
        closed = AssociationClosed(
            ended_at=self._house.clock.now(),
            ended=ended,
            reason=reason,
            received=self._received,
            stored=self._stored,
            failed=self._received - self._stored,
            bytes=self._association.bytes_received if self._association else 0,
        )
        try:
            if self._id is None:
                self._id = log.opened(self._facts())
            log.closed(self._id, closed)
        except Exception:  # noqa: BLE001 - logged with all its facts; there is nobody else to tell
            _LOG.exception("the end of an association could not be written down", ip=self._ip, facts=closed)
        if DETAIL.is_told:
            _LOG.debug(
                "an association ended", ip=self._ip, association=self._id, ended=ended, reason=reason, received=closed.received,
                stored=closed.stored, failed=closed.failed, bytes=closed.bytes,
            )  # fmt: skip
