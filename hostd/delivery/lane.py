"""A lane: one thread that carries deliveries to one destination over one connection at a time, beside others of the same courier."""

from __future__ import annotations

import threading
import time
from collections import deque
from collections.abc import Callable, Sequence
from concurrent.futures import Future
from typing import Protocol

import structlog

from hostd.archive.archive import Archive
from hostd.archive.leases import LOOK_S
from hostd.archive.records import Delivery
from hostd.archive.turning import turn_after_turn
from hostd.clock import Clock
from hostd.delivery import faults
from hostd.delivery.breaker import Breaker, Pass
from hostd.delivery.destinations import Answer, Destination, Outgoing, Session
from hostd.delivery.ledger import TOPIC, LeaseLostError, Ledger, Sent
from hostd.delivery.pace import Pace
from hostd.delivery.presence import found_there
from hostd.delivery.terms import Terms
from hostd.delivery.windows import opens_in_s
from hostd.detail import DETAIL
from hostd.errors import DestinationFault, InstanceFault, NoCommonSyntaxError, TranscodeError
from hostd.intake.filtering import Judgement
from hostd.transcoding.products import Products
from hostd.transcoding.stored import Stored
from hostd.transcoding.transform import Transform

_LONGEST_WAIT_S = 3600.0
"""Seconds after which a wait is worked out anew: the machine's clock may have been set, or the machine have slept."""
_LOOK_FOR_OLD_S = 60.0
_CLAIM = 20
_IDLE_S = 2.0
"""Seconds for which a connection is kept open without anything being sent, where the pace says so."""
_AHEAD = 2
"""How many deliveries may be on their way, as noted: the one that is sent while the answer to the one before is being recorded."""
_FAST_S = 0.02
_FAST_AHEAD = 16
"""The same where the peer answers within `_FAST_S` seconds: so many answers are recorded together."""

_log = structlog.get_logger(__name__)

AskFilters = Callable[[Delivery], Judgement | None]
"""Says whether an instance may be sent; None where nothing filters."""


class Shared(Protocol):
    """What the lanes of a courier have in common."""

    destination: Destination
    terms: Terms
    archive: Archive
    products: Products
    clock: Clock
    breaker: Breaker
    ledger: Ledger
    pace: Pace
    ask_filters: AskFilters
    closing: threading.Event
    last_delivered_at: float | None
    retry_s: float
    """Seconds to wait after a failure of hostd's own."""

    def prepare(self) -> None:
        """Do what was asked for from outside, as a probe."""
        ...

    def is_wanted(self, lane: int) -> bool:
        """Tell whether the terms allow for so many lanes (from 0)."""
        ...


class _Claims:
    """What a lane has claimed under one token, until each is settled."""

    def __init__(self, ledger: Ledger) -> None:
        self.token = ledger.token
        self.ahead = _AHEAD
        self.untried: dict[int, Delivery] = {}
        self.recording: deque[tuple[int, Future[set[int]]]] = deque()
        self._ledger = ledger
        self._noted: dict[int, Future[set[int]] | None] = {}

    def add(self, batch: Sequence[Delivery]) -> None:
        """Take what was claimed; its first ones are noted as on their way."""
        self.untried.update((delivery.id, delivery) for delivery in batch)
        self._noted.update((delivery.id, None) for delivery in batch[:_AHEAD])

    def await_records(self, but: int) -> None:
        """Wait until all but so many of the answers are recorded. Raises `LeaseLostError` when one could only be recorded as stray."""
        while len(self.recording) > but:
            number, recorded = self.recording[0]
            if number not in self._result(recorded):
                raise LeaseLostError
            self.recording.popleft()

    def await_note(self, number: int) -> bool:
        """Wait until it is recorded that this delivery may be on its way; False where it may not, since it was given up meanwhile.

        Raises `LeaseLostError` when another node has it by now.
        """
        if number not in self._noted:
            held = self._ledger.note(self.token, [number])
        elif (noted := self._noted.pop(number)) is not None:
            held = self._result(noted)
        else:
            return True  # as it was claimed
        if number in held:
            return True
        if not self._ledger.is_mine(self.token):
            raise LeaseLostError
        del self.untried[number]
        return False

    def settled(self, sent: Sent, following: Sequence[int]) -> None:
        """Hand over the record of an answer, and the note that these may be on their way after it."""
        on_wire = [number for number in following if number not in self._noted]
        recorded = self._ledger.settle(self.token, sent, on_wire)
        del self.untried[sent.delivery.id]
        self.recording.append((sent.delivery.id, recorded))
        self._noted.update((number, recorded) for number in on_wire)
        self.ahead = _FAST_AHEAD if sent.seconds < _FAST_S else _AHEAD

    def _result(self, recorded: Future[set[int]]) -> set[int]:
        if not recorded.done():
            self._ledger.hurry()
        return recorded.result()


class Lane:
    """Claims, sends and records until the courier closes."""

    def __init__(self, shared: Shared, number: int) -> None:
        self._shared = shared
        self._ledger = shared.ledger
        self._breaker = shared.breaker
        self._number = number
        self._stranded: list[int] = []
        self._looked_for_old_at: float | None = None
        self._log = _log.bind(destination=shared.destination.name)

    def serve(self) -> None:
        """Carry deliveries until the courier closes."""
        shared = self._shared
        turn_after_turn(shared.archive.bulletin, TOPIC, shared.closing, self._turn, self._failed, self._is_wanted)

    def _is_wanted(self) -> bool:
        return bool(self._stranded) or self._shared.is_wanted(self._number)

    def _failed(self) -> float:
        """Log it; what was under way is recovered."""
        self._log.exception("the courier failed; unless the node is stopping it goes on after a pause")
        return self._shared.retry_s

    def _turn(self) -> float | None:
        """Carry what is due; return for how many seconds there is nothing to do, None for until it is rung."""
        shared = self._shared
        if not self._ledger.own():
            return LOOK_S
        self._abandon_stranded()
        shared.prepare()
        longest = self._give_up_old()
        now = shared.clock.now()
        due = self._ledger.next_due()
        if due is None:
            return longest
        if due > now:
            return min(due - now, longest or _LONGEST_WAIT_S, _LONGEST_WAIT_S)
        closed_s = max(opens_in_s(shared.terms.windows, now), shared.pace.wait_s(now))
        if closed_s:
            return min(closed_s, longest or _LONGEST_WAIT_S, _LONGEST_WAIT_S)
        taken = self._breaker.admit(now)
        if taken is None:
            wait_s = self._breaker.wait_s(now)
            return min(_LONGEST_WAIT_S if wait_s is None else wait_s, longest or _LONGEST_WAIT_S)
        claims = _Claims(self._ledger)
        try:
            self._claim_and_carry(claims, taken)
        except LeaseLostError:
            self._ledger.disown(claims.token)
        return 0

    def _give_up_old(self) -> float | None:
        """Fail what is too old, now and then; return the seconds until it is to be looked at again, None for never."""
        max_age_s = self._shared.terms.max_age_s
        if max_age_s is None or self._number:
            return None
        now = self._shared.clock.now()
        looked_at = self._looked_for_old_at
        if looked_at is None or not 0 <= now - looked_at < _LOOK_FOR_OLD_S:
            self._ledger.give_up_old(max_age_s, self._shared.terms.alternate)
            self._looked_for_old_at = looked_at = now
        return _LOOK_FOR_OLD_S - (now - looked_at)

    def _abandon_stranded(self) -> None:
        if self._stranded:
            self._ledger.abandon(self._ledger.token, self._stranded)
            self._stranded = []

    # -- one connection -----------------------------------------------------------------------------------------------

    def _claim_and_carry(self, claims: _Claims, taken: Pass) -> None:
        try:
            try:
                batch = self._claim(claims, taken)
                if batch:
                    self._carry(claims, batch, taken)
                claims.await_records(0)
            finally:
                self._breaker.leave(taken)
            if claims.untried:
                self._ledger.give_back(claims.token, list(claims.untried))
        except LeaseLostError:
            raise
        except BaseException:
            # What is not recorded now cannot be told from what is; it is given back when the index can be written again.
            self._stranded = [*claims.untried, *(number for number, _ in claims.recording)]
            raise
        if taken.is_alone and batch:
            self._shared.archive.bulletin.ring(TOPIC)

    def _claim(self, claims: _Claims, taken: Pass) -> list[Delivery]:
        if taken.is_probe:
            batch = self._ledger.claim_probe(claims.token, self._breaker.health.failures % _CLAIM)
        else:
            batch = self._ledger.claim(claims.token, min(_CLAIM, self._shared.terms.batch), _AHEAD)
        claims.add(batch)
        return batch

    def _carry(self, claims: _Claims, batch: Sequence[Delivery], taken: Pass) -> None:
        """Send a batch over one connection, and what is claimed meanwhile, up to what a connection may carry."""
        sendable = self._sendable(claims, batch)
        if not sendable:
            return
        began = time.monotonic()
        try:
            session = self._shared.destination.connect(sendable)
        except DestinationFault as fault:
            self._destination_failed(claims, Answer("destination", str(fault)), sendable[0].delivery, began)
            return
        except Exception as error:  # noqa: BLE001 - a defect of one kind of destination must not end its courier
            self._log.exception("connecting failed in a way that it should not")
            unexpected = Answer("destination", f"hostd failed while connecting: {_described(error)}")
            self._destination_failed(claims, unexpected, sendable[0].delivery, began)
            return
        with session:
            self._ledger.remember(self._shared.destination)
            left = self._shared.terms.batch
            not_again: set[int] = set()
            while sendable and self._send_all(claims, session, sendable, not_again):
                left -= len(sendable)
                sendable = [] if taken.is_probe or left <= 0 else self._more(claims, session, left, not_again)

    def _more(self, claims: _Claims, session: Session, limit: int, not_again: set[int]) -> list[Outgoing]:
        """Claim what goes over the same connection, waiting a little for it; what does not is given back."""
        shared, bulletin = self._shared, self._shared.archive.bulletin
        end = time.monotonic() + shared.terms.linger_s
        while not shared.closing.is_set():
            seen = bulletin.seen(TOPIC)
            due = self._ledger.next_due()
            if due is not None and due <= shared.clock.now():
                batch = self._ledger.claim(claims.token, min(_CLAIM, limit), _AHEAD)
                claims.add(batch)
                sendable = self._sendable(claims, batch)
                if batch:
                    fits = [o for o in sendable if o.delivery.id not in not_again and session.takes(o)]
                    return fits if len(fits) == len(sendable) else []
            left = end - time.monotonic()
            if left <= 0:
                break
            claims.await_records(0)
            bulletin.wait(TOPIC, seen, left)
        return []

    def _sendable(self, claims: _Claims, batch: Sequence[Delivery]) -> list[Outgoing]:
        """Look at the files; what has none, cannot be understood or is filtered out fails here, without bothering the peer."""
        shared = self._shared
        sendable = []
        for delivery in batch:
            began = time.monotonic()
            try:
                own_syntax = shared.products.source(Stored.of(delivery)).transfer_syntax
                transform = Transform.parse(delivery.transform)
            except (InstanceFault, TranscodeError) as error:
                self._settle(claims, delivery, Answer("instance", str(error)), began)
                continue
            kept_back = faults.of_filters(shared.ask_filters(delivery))
            if kept_back is not None:
                self._settle(claims, delivery, Answer(*kept_back), began)
                continue
            sendable.append(Outgoing(delivery, own_syntax, transform, shared.products))
        return sendable

    def _send_all(self, claims: _Claims, session: Session, sendable: Sequence[Outgoing], not_again: set[int]) -> bool:
        """Send one after another; return whether the connection and the destination are good for more."""
        for place, outgoing in enumerate(sendable):
            if not self._is_time():
                return False
            delivery = outgoing.delivery
            claims.await_records(claims.ahead - 1)
            self._ledger.require(claims.token)
            if not claims.await_note(delivery.id):
                continue
            began = time.monotonic()
            answer = self._send(session, outgoing)
            self._shared.pace.sent(outgoing.bytes_made, self._shared.clock.now(), self._shared.terms.bytes_per_s)
            if answer.verdict == "unnegotiated":
                not_again.add(delivery.id)
            if answer.verdict == "destination" and not self._is_alone_in_failing(delivery):
                self._destination_failed(claims, answer, delivery, began)
                return False
            following = sendable[place + 1 : place + 1 + claims.ahead]
            self._settle(claims, delivery, answer, began, [o.delivery.id for o in following])
            if answer.verdict != "delivered":
                claims.await_records(0)  # whoever sees that the queue is held sees why
            self._judge(delivery, answer, session)
            if self._breaker.health.is_failing or not session.is_open:
                return False
        return True

    def _is_time(self) -> bool:
        """Wait for the pace that is set, if that takes no longer than a connection may idle; return whether an instance may go now."""
        shared, bulletin = self._shared, self._shared.archive.bulletin
        while not shared.closing.is_set():
            seen = bulletin.seen(TOPIC)
            now = shared.clock.now()
            if opens_in_s(shared.terms.windows, now):
                return False
            wait_s = shared.pace.take(now, shared.terms.instances_per_s)
            if not wait_s:
                return True
            if wait_s > _IDLE_S:
                return False
            bulletin.wait(TOPIC, seen, wait_s)
        return False

    def _send(self, session: Session, outgoing: Outgoing) -> Answer:
        try:
            found = found_there(session, outgoing) if self._shared.terms.skips_present else None
            return found or session.send(outgoing)
        except NoCommonSyntaxError as fault:
            return Answer("unnegotiated", str(fault))
        except InstanceFault as fault:
            return Answer("instance", str(fault))
        except DestinationFault as fault:
            return Answer("destination", str(fault))
        except Exception as error:  # noqa: BLE001 - whatever it is, it is recorded, and the others go on
            self._log.exception("sending failed in a way that it should not", delivery=outgoing.delivery.id)
            return Answer("later", f"hostd failed while sending: {_described(error)}")

    def _is_alone_in_failing(self, delivery: Delivery) -> bool:
        return faults.is_alone_in_failing(self._ledger.attempts(delivery.id), self._shared.last_delivered_at)

    # -- what came of it ----------------------------------------------------------------------------------------------

    def _settle(
        self, claims: _Claims, delivery: Delivery, answer: Answer, began: float, following: Sequence[int] = ()
    ) -> None:
        """Hand over the record of an answer; it is committed while the next instance is sent."""
        sent = Sent(
            delivery,
            answer,
            time.monotonic() - began,
            counts=not self._breaker.health.is_failing,
            warnings_suffice=self._shared.terms.accept_warnings,
            alternate=self._shared.terms.alternate,
            commits=self._shared.terms.commit_timeout_s is not None,
            is_original=_is_original(delivery, answer),
        )
        self._detail(delivery, answer, sent.seconds)
        claims.settled(sent, following)
        if answer.verdict in ("delivered", "warning"):
            self._shared.last_delivered_at = self._shared.clock.now()

    def _detail(self, delivery: Delivery, answer: Answer, seconds: float) -> None:
        if DETAIL.is_told:
            self._log.debug(
                "a delivery was tried", delivery=delivery.id, sop_instance_uid=delivery.sop_instance_uid, verdict=answer.verdict,
                status=answer.status, ms=round(seconds * 1000),
            )  # fmt: skip

    def _judge(self, delivery: Delivery, answer: Answer, session: Session) -> None:
        """Tell the breaker what the peer did, and people when that opens or closes it."""
        now, was_failing = self._shared.clock.now(), self._breaker.health.is_failing
        until: float | None = None
        if answer.verdict in ("delivered", "warning"):
            self._breaker.took()
        elif answer.verdict == "present":
            self._breaker.answered()
        elif answer.status is not None or answer.verdict == "unnegotiated":
            until = self._breaker.refused(delivery.id, answer.text, now, scarce=faults.is_scarce(answer.status))
        elif answer.verdict == "instance":
            self._breaker.answered()
        elif not session.is_open:
            until = self._breaker.broke(answer.text, now)
        else:
            return
        self._tell(was_failing, answer.text if until is not None else None)

    def _tell(self, was_failing: bool, error: str | None) -> None:
        if self._breaker.health.is_failing:
            if not was_failing and error is not None:
                self._log.warning("the destination fails; its queue is held", error=error)
                self._ledger.tell_down(error)
            return
        if was_failing:
            self._log.info("the destination answers again")
        self._ledger.tell_up()

    def _destination_failed(self, claims: _Claims, answer: Answer, met_by: Delivery, began: float) -> None:
        """Hold the queue. The fault is recorded with the instance that met it, and counts against none."""
        if not self._breaker.health.is_failing:
            self._log.warning("the destination fails; its queue is held", error=answer.text)
        now = self._shared.clock.now()
        until = self._breaker.next_probe(now)
        self._detail(met_by, answer, time.monotonic() - began)
        others = [number for number in claims.untried if number != met_by.id]
        self._ledger.destination_failed(claims.token, answer, met_by, time.monotonic() - began, others, until)
        claims.untried.clear()
        self._breaker.failed(answer.text, now, until)


def _described(error: Exception) -> str:
    return f"{type(error).__name__}: {error}"


def _is_original(delivery: Delivery, answer: Answer) -> bool | None:
    """Tell whether the peer has the instance itself, without loss; None when it has nothing."""
    if answer.verdict not in ("delivered", "warning", "present"):
        return None
    is_same = answer.sent_sop_instance_uid in (None, delivery.sop_instance_uid)
    return is_same and Transform.parse(delivery.transform).is_lossless
