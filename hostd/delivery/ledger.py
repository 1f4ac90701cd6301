"""What the couriers of one destination write: claims, notes and answers, all under the token of its lease (P3)."""

from __future__ import annotations

import random
import threading
from collections.abc import Callable, Sequence
from concurrent.futures import Future
from dataclasses import dataclass, field, replace
from functools import partial

import structlog
from sqlalchemy import Connection

from hostd.archive import acceptance, deliveries, leases, occurrences, sendings
from hostd.archive import tables as t
from hostd.archive.archive import Archive
from hostd.archive.endings import Ending
from hostd.archive.records import Attempt, Delivery
from hostd.clock import Clock
from hostd.delivery import faults
from hostd.delivery.destinations import Answer, Destination
from hostd.delivery.learning import Learns
from hostd.delivery.retry import Waits
from hostd.errors import StorageError

TOPIC = "delivery"
LEASE_S = leases.SECONDS
"""Seconds that a courier owns its destination without renewing. The node renews it, and so does every answer that is recorded."""

_TOPICS = (TOPIC, *occurrences.TOPICS)
_TOGETHER_S = 0.005
"""Seconds within which answers are recorded together, unless somebody waits for them."""
_OLD_AT_ONCE = 50
"""How many deliveries one unit of the writer gives up, so that it stays free."""

_log = structlog.get_logger(__name__)


class LeaseLostError(Exception):
    """Another node carries this destination's deliveries now."""


@dataclass(frozen=True, slots=True)
class Sent:
    """One try: what was answered, and how many seconds it took.

    While the queue is held the try `counts` for nothing, unless it was the last. `warnings_suffice`: what was taken with a warning is delivered.
    `alternate`: the destination that gets it where it failed. `commits`: the peer is asked for storage commitment; `is_original`: what was
    sent is the same instance, without loss.
    """

    delivery: Delivery
    answer: Answer
    seconds: float
    counts: bool = True
    warnings_suffice: bool = False
    alternate: str | None = None
    commits: bool = False
    is_original: bool | None = None

    @property
    def is_taken(self) -> bool:
        """Whether the peer said that it has it."""
        return self.answer.verdict in ("delivered", "warning", "present")


@dataclass(slots=True)
class _Page:
    """Answers that are recorded together, each with its draw of jitter, and what may be on its way after them."""

    token: int
    answers: list[tuple[Sent, float]] = field(default_factory=list)
    on_wire: list[int] = field(default_factory=list)
    topics: set[str] = field(default_factory=set)
    is_closed: bool = False
    recorded: Future[set[int]] = field(default_factory=Future)

    def add(self, sent: Sent, on_wire: Sequence[int]) -> None:
        """Write an answer. Other lanes are woken only where something may have come to wait."""
        self.answers.append((sent, _jitter()))
        self.on_wire += on_wire
        self.topics |= {"event"} if sent.is_taken and not sent.commits else set(_TOPICS)


class Ledger:
    """The rows of one destination, for all threads that send to it."""

    def __init__(self, archive: Archive, destination: str, policy: Waits, clock: Clock, node_name: str) -> None:
        self._archive = archive
        self._name = destination
        self._policy = policy
        self._clock = clock
        self._node_name = node_name
        self._lease = f"destination:{destination}"
        self._lock = threading.Lock()
        self._gathering = threading.Lock()
        self._page: _Page | None = None
        self._token: int | None = None
        self._is_given_up = False
        self._is_told_down = False
        self._held_back: set[int] = set()
        self._log = _log.bind(destination=destination)

    # -- the lease ----------------------------------------------------------------------------------------------------

    def own(self) -> bool:
        """Take the lease, unless it is held already, and give back what an earlier holder left in the middle of sending."""
        with self._lock:
            if self._is_given_up:
                return False
            if self._token is None:
                self._token, recovered = self._archive.writer.do(self._take, topics=(TOPIC,))
                if recovered:
                    self._warn_of_doubles(recovered)
            return self._token is not None

    def _take(self, connection: Connection) -> tuple[int | None, int]:
        now = self._clock.now()
        self._is_told_down = occurrences.is_down(connection, self._name)
        token = leases.acquire(connection, self._lease, self._node_name, now, LEASE_S)
        if token is None:
            return None, 0
        recovered = deliveries.recover(connection, self._name, token, now)
        sendings.give_up_left(connection, t.delivery.c.destination == self._name, now)
        return token, recovered

    def disown(self, token: int) -> None:
        """Note that the lease with that token is lost."""
        with self._lock:
            if self._token == token:
                self._token = None
                self._log.warning("another node has taken over this destination")

    def give_up(self) -> None:
        """Let go of the lease for good, so that a node that still has the destination need not wait for its end."""
        with self._lock:
            self._is_given_up = True
            token, self._token = self._token, None
        if token is not None:
            self._archive.writer.do(lambda c: leases.release(c, self._lease, token), topics=(TOPIC,))

    def require(self, token: int) -> None:
        """Raise `LeaseLostError` where another node may be carrying this destination's deliveries already."""
        if self._archive.is_shared:
            with self._archive.read() as connection:
                if not leases.is_held(connection, self._lease, token, self._clock.now()):
                    raise LeaseLostError(self._lease)

    @property
    def token(self) -> int:
        """The token of the lease. Raises `LeaseLostError` when it is not held."""
        token = self._token
        if token is None:
            raise LeaseLostError(self._lease)
        return token

    def _renew(self, connection: Connection, token: int) -> None:
        if not leases.renew(connection, self._lease, token, self._clock.now(), LEASE_S):
            raise LeaseLostError(self._lease)

    def _warn_of_doubles(self, count: int) -> None:
        self._log.warning("deliveries were interrupted and are sent again: the peer may get them twice", count=count)

    # -- claiming -----------------------------------------------------------------------------------------------------

    def next_due(self) -> float | None:
        """Return when the next delivery is due, None when none waits."""
        with self._archive.read() as connection:
            return deliveries.next_due(connection, self._name)

    def claim(self, token: int, limit: int, on_wire: int) -> list[Delivery]:
        """Claim what is due, up to `limit`, and note the first `on_wire` as on their way."""

        def claim(connection: Connection) -> list[Delivery]:
            self._renew(connection, token)
            return deliveries.claim(connection, self._name, token, self._clock.now(), limit, on_wire=on_wire)

        return self._claimed(claim, token)

    def claim_probe(self, token: int, skip: int) -> list[Delivery]:
        """Claim the one that is due after `skip` others, or the last: one instance must not stand before all others for ever."""

        def claim(connection: Connection) -> list[Delivery]:
            self._renew(connection, token)
            now = self._clock.now()
            taken = deliveries.claim(connection, self._name, token, now, 1 + skip)
            deliveries.give_back(connection, [delivery.id for delivery in taken[:-1]], token, now, None)
            deliveries.note(connection, [delivery.id for delivery in taken[-1:]], token)
            return taken[-1:]

        return self._claimed(claim, token)

    def _claimed(self, claim: Callable[[Connection], list[Delivery]], token: int) -> list[Delivery]:
        try:
            return self._archive.writer.do(claim)
        except StorageError:
            # A server may have committed what it could not say any more. Nobody knows then what is claimed: the lease, taken anew, gives it back.
            if self._archive.is_shared:
                with self._lock:
                    self._token = None if self._token == token else self._token
            raise

    def note(self, token: int, claimed: Sequence[int]) -> set[int]:
        """Note claimed deliveries as on their way; return those whose lease is still held."""
        return self._archive.writer.do(lambda c: deliveries.note(c, claimed, token))

    def is_mine(self, token: int) -> bool:
        """Tell whether nobody has taken the lease since: what could not be noted was given up then, by whoever asked for it."""
        with self._archive.read() as connection:
            return leases.is_token(connection, self._lease, token)

    def give_back(self, token: int, claimed: Sequence[int]) -> None:
        """Return what was claimed and not tried."""
        now = self._clock.now()

        def give_back(connection: Connection) -> None:
            deliveries.give_back(connection, claimed, token, now, None)
            sendings.give_up_left(connection, t.delivery.c.id.in_(claimed), now)

        self._archive.writer.do(give_back, topics=_TOPICS)

    def abandon(self, token: int, claimed: Sequence[int]) -> None:
        """Return what was claimed, and of which no record could be written."""
        now = self._clock.now()

        def abandon(connection: Connection) -> int:
            doubtful = deliveries.abandon(connection, claimed, token, now)
            sendings.give_up_left(connection, t.delivery.c.id.in_(claimed), now)
            return doubtful

        doubtful = self._archive.writer.do(abandon, topics=_TOPICS)
        if doubtful:
            self._warn_of_doubles(doubtful)

    def give_up_old(self, max_age_s: float, alternate: str | None) -> None:
        """Fail what was asked for so long ago and still waits."""
        now = self._clock.now()
        while self._archive.writer.do(
            lambda c: deliveries.give_up_old(c, self._name, now - max_age_s, now, _OLD_AT_ONCE, alternate),
            topics=_TOPICS,
        ):
            pass

    # -- recording ----------------------------------------------------------------------------------------------------

    def settle(self, token: int, sent: Sent, on_wire: Sequence[int]) -> Future[set[int]]:
        """Record what came of a try, and note what is sent after it; the future holds each of them whose lease was still held.

        Answers of a few milliseconds are recorded together.
        """
        if not sent.is_taken:
            self._log.warning(
                "an instance was not delivered",
                delivery=sent.delivery.id, sop_instance_uid=sent.delivery.sop_instance_uid,
                verdict=sent.answer.verdict, answer=sent.answer.text,
            )  # fmt: skip
        with self._gathering:
            page = self._page
            if page is None or page.is_closed or page.recorded.done() or page.token != token:
                self._page = page = _Page(token)
                page.add(sent, on_wire)
                page.recorded = self._archive.writer.submit(
                    partial(self._record, page), topics=page.topics, within_s=_TOGETHER_S
                )
            else:
                page.add(sent, on_wire)
            return page.recorded

    def hurry(self) -> None:
        """Have what was settled recorded now: somebody waits for it."""
        self._archive.writer.hurry()

    def _record(self, page: _Page, connection: Connection) -> set[int]:
        """Record all answers and notes of a page; return the deliveries whose lease was still held."""
        with self._gathering:
            page.is_closed = True
        token, now = page.token, self._clock.now()
        leases.renew(connection, self._lease, token, now, LEASE_S)
        held = deliveries.note(connection, page.on_wire, token) if page.on_wire else set()
        endings = []
        for sent, draw in page.answers:
            ending, count = self._judged(connection, sent, now)
            if ending.attempt.outcome in faults.FINAL:
                endings.append(ending)
                continue
            until = self._policy.next_attempt(now, count, draw)
            if deliveries.put_off(connection, ending.attempt, token, until):
                held.add(sent.delivery.id)
                sendings.give_up_left(connection, t.delivery.c.id == sent.delivery.id, now)
        return held | deliveries.finish_all(connection, endings, token) if endings else held

    def _judged(self, connection: Connection, sent: Sent, now: float) -> tuple[Ending, int]:
        """Return what becomes of an instance after a try, and how many were held against it."""
        delivery, answer = sent.delivery, sent.answer
        earlier = [] if sent.is_taken else deliveries.attempts(connection, delivery.id)
        tried = faults.Tried(answer.verdict, answer.status, answer.lost, sent.counts)
        outcome = faults.outcome(tried, earlier, now)
        count = 1 + faults.tries(earlier)
        if outcome == "failed" and answer.verdict == "later":
            answer = replace(answer, text=f"given up after {count} tries; the last answer was: {answer.text}")
        suffices = outcome == "warning" and sent.warnings_suffice
        attempt = _attempt(delivery, answer, outcome, now, sent.seconds)
        return Ending(attempt, suffices, sent.alternate, sent.commits, sent.is_original), count

    def destination_failed(
        self, token: int, answer: Answer, met_by: Delivery, seconds: float, untried: Sequence[int], until: float
    ) -> None:
        """Record a fault of the destination with the delivery that met it, and put off what was claimed with it: it counts against none."""
        now = self._clock.now()
        attempt = _attempt(met_by, answer, faults.UNREACHED, now, seconds)

        def record(connection: Connection) -> None:
            deliveries.put_off(connection, attempt, token, until)
            deliveries.give_back(connection, untried, token, until, answer.text)
            sendings.give_up_left(connection, t.delivery.c.id.in_([met_by.id, *untried]), now)
            occurrences.destination_down(connection, self._name, answer.text, now)

        self._archive.writer.do(record, topics=_TOPICS)
        with self._lock:
            self._is_told_down = True
            self._held_back.update([met_by.id, *untried])

    def tell_down(self, reason: str) -> None:
        """Tell that the destination fails, once until it is told to work again."""
        now = self._clock.now()
        self._archive.writer.do(
            lambda c: occurrences.destination_down(c, self._name, reason, now), topics=occurrences.TOPICS
        )
        self._is_told_down = True

    def tell_up(self) -> None:
        """Tell that the destination works again, where it was told to fail."""
        with self._lock:
            was_told, self._is_told_down = self._is_told_down, False
            self._held_back.clear()
        if was_told:
            now = self._clock.now()
            self._archive.writer.do(lambda c: occurrences.destination_up(c, self._name, now), topics=occurrences.TOPICS)

    def end_hold(self) -> None:
        """Have what the destination's fault put off tried now."""
        with self._lock:
            held_back = list(self._held_back)

        now = self._clock.now()
        self._archive.writer.do(lambda c: deliveries.hasten(c, held_back, now), topics=(TOPIC,))

    def remember(self, destination: Destination) -> None:
        """Note what a destination accepts, where it is learnt and that is news."""
        if isinstance(destination, Learns) and (news := destination.learnt.news()):
            now = self._clock.now()
            self._archive.writer.do(lambda c: acceptance.remember(c, self._name, news, now))

    def attempts(self, delivery: int) -> list[Attempt]:
        """Return all attempts of a delivery."""
        with self._archive.read() as connection:
            return deliveries.attempts(connection, delivery)


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
