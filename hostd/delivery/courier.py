"""A courier: one thread that carries deliveries to one destination, and records every answer (P3)."""

from __future__ import annotations

import random
import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

import structlog
from sqlalchemy import Connection

from hostd.archive import deliveries, leases, occurrences
from hostd.archive.archive import Archive
from hostd.archive.records import Attempt, Delivery
from hostd.clock import Clock
from hostd.delivery import faults
from hostd.delivery.destinations import Answer, Destination, Outgoing, Session
from hostd.delivery.retry import RetryPolicy
from hostd.errors import DestinationFault, InstanceFault, TranscodeError
from hostd.intake.filtering import Judgement
from hostd.transcoding.products import Products, Stored
from hostd.transcoding.transform import Transform

TOPIC = "delivery"
LEASE_S = 300.0
"""Seconds that a courier owns its destination without renewing. It renews with every answer that it records."""
_LONGEST_WAIT_S = 3600.0
"""Seconds after which a wait is worked out anew: the machine's clock may have been set, or the machine have slept."""

_log = structlog.get_logger(__name__)


@dataclass(frozen=True, slots=True)
class Health:
    """How a destination does. While it fails its queue is held; `failing_since` and `next_probe` are seconds since 1970 UTC."""

    failures: int = 0
    failing_since: float | None = None
    next_probe: float | None = None
    last_error: str | None = None

    @property
    def is_failing(self) -> bool:
        """Whether the last thing that was heard of the destination was a fault of its own."""
        return self.failures > 0


AskFilters = Callable[[Delivery], Judgement | None]
"""Says whether an instance may be sent; None where nothing filters."""


def unfiltered(_delivery: Delivery) -> None:
    """Let everything go."""
    return


class LeaseLostError(Exception):
    """Another node carries this destination's deliveries now."""


class Courier:
    """Carries deliveries to `destination`, at most `batch` over one connection, until `stop`."""

    def __init__(
        self,
        archive: Archive,
        destination: Destination,
        products: Products,
        policy: RetryPolicy,
        clock: Clock,
        node_name: str,
        batch: int,
        ask_filters: AskFilters = unfiltered,
    ) -> None:
        self.destination = destination
        """May be replaced by another of the same name; it is looked at once a batch."""
        self.health = Health()
        self._archive = archive
        self._name = destination.name
        self._products = products
        self._policy = policy
        self._clock = clock
        self._node_name = node_name
        self._batch = batch
        self._ask_filters = ask_filters
        self._lease = f"destination:{self._name}"
        self._token: int | None = None
        self._last_delivered_at: float | None = None
        self._breaks = 0
        self._is_told_down = False
        self._held_back: set[int] = set()
        self._probe_asked = threading.Event()
        self._closing = threading.Event()
        self._thread = threading.Thread(target=self._serve, name=f"courier {self._name}", daemon=True)
        self._log = _log.bind(destination=self._name)

    def start(self) -> None:
        """Begin."""
        self._thread.start()

    def ask_to_stop(self) -> None:
        """Have the courier end after the instance that it is sending; whoever waits on the bulletin must be rung for it to notice."""
        self._closing.set()

    def join(self, seconds: float) -> bool:
        """Wait for the courier to end; return whether it has."""
        self._thread.join(seconds)
        return not self._thread.is_alive()

    def probe_now(self) -> None:
        """Do not wait any longer with trying a destination that fails; the bulletin must be rung for the courier to notice."""
        self._probe_asked.set()

    # -- the loop -----------------------------------------------------------------------------------------------------

    def _serve(self) -> None:
        while not self._closing.is_set():
            seen = self._archive.bulletin.seen(TOPIC)
            try:
                pause = self._turn()
            except Exception:  # noqa: BLE001 - whatever it is, the deliveries must go on; what was under way is recovered
                self._log.exception("the courier failed; unless the node is stopping it goes on after a pause")
                self._token = None  # so that what it left in state "sending" is recovered as possibly sent
                self._closing.wait(self._policy.first_s)
                continue
            if pause is None or pause > 0:
                self._archive.bulletin.wait(TOPIC, seen, pause)

    def _turn(self) -> float | None:
        """Carry one batch if one is due; return for how many seconds there is nothing to do, None for until it is rung."""
        if self._token is None and not self._own():
            return LEASE_S
        if self._probe_asked.is_set():
            self._end_hold()
        now = self._clock.now()
        if self.health.next_probe is not None and now < self.health.next_probe:
            return min(self.health.next_probe - now, _LONGEST_WAIT_S)
        with self._archive.read() as connection:
            due = deliveries.next_due(connection, self._name)
        if due is None:
            return None
        if due > now:
            return min(due - now, _LONGEST_WAIT_S)
        try:
            if batch := self._claim():
                self._carry(batch)
        except LeaseLostError:
            self._log.warning("another node has taken over this destination")
            self._token = None
        return 0

    def _own(self) -> bool:
        """Take the lease, and give back what an earlier holder left in the middle of sending."""

        def take(connection: Connection) -> tuple[int | None, int]:
            now = self._clock.now()
            self._is_told_down = occurrences.is_down(connection, self._name)
            token = leases.acquire(connection, self._lease, self._node_name, now, LEASE_S)
            return token, deliveries.recover(connection, self._name, token, now) if token is not None else 0

        self._token, recovered = self._archive.writer.do(take, topics=(TOPIC,))
        if recovered:
            self._log.warning(
                "deliveries were interrupted and are sent again: the peer may get them twice", count=recovered
            )
        return self._token is not None

    def _claim(self) -> list[Delivery]:
        """Claim a batch; one only while the destination fails, and each time another, lest one instance block the rest."""
        token = self._owned()
        failures = self.health.failures

        def claim(connection: Connection) -> list[Delivery]:
            now = self._clock.now()
            self._renew(connection, token, now)
            if not failures:
                return deliveries.claim(connection, self._name, token, now, self._batch)
            taken = deliveries.claim(connection, self._name, token, now, 1 + failures % self._batch)
            deliveries.give_back(connection, [d.id for d in taken[:-1]], token, now, None)
            return taken[-1:]

        return self._archive.writer.do(claim)

    def _renew(self, connection: Connection, token: int, now: float) -> None:
        if not leases.renew(connection, self._lease, token, now, LEASE_S):
            raise LeaseLostError(self._lease)

    def _owned(self) -> int:
        assert self._token is not None
        return self._token

    # -- one batch ----------------------------------------------------------------------------------------------------

    def _carry(self, batch: Sequence[Delivery]) -> None:
        """Send a batch over one connection. Whatever was claimed and not tried is given back."""
        untried = {delivery.id: delivery for delivery in batch}
        try:
            sendable = self._sendable(batch, untried)
            if not sendable:
                return
            began = time.monotonic()
            try:
                session = self.destination.connect(sendable)
            except DestinationFault as fault:
                self._destination_failed(Answer("destination", str(fault)), sendable[0].delivery, began, untried)
                return
            except Exception as error:  # noqa: BLE001 - a defect of one kind of destination must not end its courier
                self._log.exception("connecting failed in a way that it should not")
                unexpected = Answer("destination", f"hostd failed while connecting: {_described(error)}")
                self._destination_failed(unexpected, sendable[0].delivery, began, untried)
                return
            self._send_all(session, sendable, untried)
        finally:
            if untried and self._token is not None:
                token, now = self._token, self._clock.now()
                self._archive.writer.do(
                    lambda c: deliveries.give_back(c, list(untried), token, now, None), topics=(TOPIC,)
                )

    def _sendable(self, batch: Sequence[Delivery], untried: dict[int, Delivery]) -> list[Outgoing]:
        """Look at the files; what has none, cannot be understood or is filtered out fails here, without bothering the peer."""
        sendable = []
        for delivery in batch:
            began = time.monotonic()
            try:
                own_syntax = self._products.source(Stored.of(delivery)).transfer_syntax
                transform = Transform.parse(delivery.transform)
            except (InstanceFault, TranscodeError) as error:
                del untried[delivery.id]
                self._settle(delivery, Answer("instance", str(error)), began)
                continue
            kept_back = faults.of_filters(self._ask_filters(delivery))
            if kept_back is not None:
                del untried[delivery.id]
                self._settle(delivery, Answer(*kept_back), began)
                continue
            sendable.append(Outgoing(delivery, own_syntax, transform, self._products))
        return sendable

    def _send_all(self, session: Session, sendable: Sequence[Outgoing], untried: dict[int, Delivery]) -> None:
        with session:
            for outgoing in sendable:
                if self._closing.is_set():
                    return
                delivery = outgoing.delivery
                began = time.monotonic()
                answer = self._send(session, outgoing)
                if answer.verdict == "destination" and not self._is_alone_in_failing(delivery):
                    self._destination_failed(answer, delivery, began, untried)
                    return
                del untried[delivery.id]
                self._settle(delivery, answer, began)
                if answer.status is not None or answer.verdict in ("delivered", "instance"):
                    self._destination_answered()
                elif not session.is_open:
                    self._connection_broke(answer)
                if not session.is_open:
                    return

    def _send(self, session: Session, outgoing: Outgoing) -> Answer:
        try:
            return session.send(outgoing)
        except InstanceFault as fault:
            return Answer("instance", str(fault))
        except DestinationFault as fault:
            return Answer("destination", str(fault))
        except Exception as error:  # noqa: BLE001 - whatever it is, it is recorded, and the others go on
            self._log.exception("sending failed in a way that it should not", delivery=outgoing.delivery.id)
            return Answer("later", f"hostd failed while sending: {_described(error)}")

    def _is_alone_in_failing(self, delivery: Delivery) -> bool:
        with self._archive.read() as connection:
            attempts = deliveries.attempts(connection, delivery.id)
        return faults.is_alone_in_failing(attempts, self._last_delivered_at)

    # -- recording ----------------------------------------------------------------------------------------------------

    def _settle(self, delivery: Delivery, answer: Answer, began: float) -> None:
        """Record the answer of an instance: final, or to be tried again. Raises `LeaseLostError` when it could only be recorded as stray."""
        token = self._owned()
        seconds = time.monotonic() - began
        jitter = _jitter()

        def record(connection: Connection) -> bool:
            now = self._clock.now()
            if answer.verdict in ("delivered", "warning"):
                return deliveries.finish(connection, _attempt(delivery, answer, answer.verdict, now, seconds), token)
            tried = 1 + faults.tries(deliveries.attempts(connection, delivery.id))
            if answer.verdict == "instance" or tried >= faults.MAX_TRIES:
                final = answer if answer.verdict == "instance" else _given_up(answer, tried)
                return deliveries.finish(connection, _attempt(delivery, final, "failed", now, seconds), token)
            outcome = "lost" if answer.lost else "waiting"
            until = self._policy.next_attempt(now, tried, jitter)
            return deliveries.put_off(connection, _attempt(delivery, answer, outcome, now, seconds), token, until)

        def record_and_renew(connection: Connection) -> bool:
            leases.renew(connection, self._lease, token, self._clock.now(), LEASE_S)
            return record(connection)

        if not self._archive.writer.do(record_and_renew, topics=(TOPIC, *occurrences.TOPICS)):
            raise LeaseLostError(self._lease)
        if answer.verdict in ("delivered", "warning"):
            self._last_delivered_at = self._clock.now()
        else:
            self._log.warning(
                "an instance was not delivered",
                delivery=delivery.id, sop_instance_uid=delivery.sop_instance_uid, verdict=answer.verdict, answer=answer.text,
            )  # fmt: skip

    def _destination_failed(self, answer: Answer, tried: Delivery, began: float, untried: dict[int, Delivery]) -> None:
        """Hold the queue. The fault is recorded with the instance that met it, and counts against none."""
        token = self._owned()
        now = self._clock.now()
        until = self._next_probe(now)
        attempt = _attempt(tried, answer, faults.UNREACHED, now, time.monotonic() - began)
        others = [number for number in untried if number != tried.id]

        def record(connection: Connection) -> None:
            deliveries.put_off(connection, attempt, token, until)
            deliveries.give_back(connection, others, token, until, answer.text)
            occurrences.destination_down(connection, self._name, answer.text, now)

        self._archive.writer.do(record, topics=(TOPIC, *occurrences.TOPICS))
        self._is_told_down = True
        self._held_back.update(untried)
        untried.clear()
        self._hold(answer.text, now, until)

    def _connection_broke(self, answer: Answer) -> None:
        """Hold the queue when connections break one after another: a peer that takes none must not use up every instance's tries."""
        self._breaks += 1
        if self._breaks > 1:
            now = self._clock.now()
            self._archive.writer.do(
                lambda c: occurrences.destination_down(c, self._name, answer.text, now), topics=occurrences.TOPICS
            )
            self._is_told_down = True
            self._hold(answer.text, now, self._next_probe(now))

    def _next_probe(self, now: float) -> float:
        return self._policy.next_attempt(now, self.health.failures + 1, _jitter())

    def _hold(self, error: str, now: float, until: float) -> None:
        if not self.health.is_failing:
            self._log.warning("the destination fails; its queue is held", error=error)
        self.health = Health(self.health.failures + 1, self.health.failing_since or now, until, error)

    def _end_hold(self) -> None:
        """Have what the destination's fault put off tried now."""
        self._probe_asked.clear()

        def make_due(connection: Connection) -> None:
            now = self._clock.now()
            held = [deliveries.get(connection, number) for number in self._held_back]
            late = [d.id for d in held if d is not None and d.state in deliveries.DUE and d.next_attempt_at > now]
            deliveries.retry(connection, late, now)

        self._archive.writer.do(make_due, topics=(TOPIC,))
        self.health = replace(self.health, next_probe=None)

    def _destination_answered(self) -> None:
        self._breaks = 0
        if self._is_told_down:
            now = self._clock.now()
            self._archive.writer.do(lambda c: occurrences.destination_up(c, self._name, now), topics=occurrences.TOPICS)
            self._is_told_down = False
        if self.health.is_failing:
            self._log.info("the destination answers again", failures=self.health.failures)
            self.health = Health()
            self._held_back.clear()


def _jitter() -> float:
    return random.random()  # noqa: S311 - it spreads retries and keeps no secret


def _attempt(delivery: Delivery, answer: Answer, outcome: str, at: float, seconds: float) -> Attempt:
    return Attempt(
        delivery.id,
        delivery.attempts,
        at,
        outcome,
        answer.text,
        answer.status,
        round(seconds, 3),
        answer.sent_syntax,
        answer.sent_sop_instance_uid,
    )


def _given_up(answer: Answer, tried: int) -> Answer:
    return replace(answer, text=f"given up after {tried} tries; the last answer was: {answer.text}")


def _described(error: Exception) -> str:
    return f"{type(error).__name__}: {error}"
