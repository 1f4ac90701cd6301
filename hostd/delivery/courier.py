"""A courier: carries deliveries to one destination, in as many lanes as its terms allow (P3)."""

from __future__ import annotations

import contextlib
import threading
import time
from collections.abc import Callable
from functools import partial

from hostd.archive.archive import Archive
from hostd.archive.records import Delivery
from hostd.clock import Clock
from hostd.delivery.breaker import Breaker, Health
from hostd.delivery.commissioner import Commissioner, Commits
from hostd.delivery.destinations import Destination
from hostd.delivery.lane import AskFilters, Lane
from hostd.delivery.ledger import TOPIC, Ledger
from hostd.delivery.pace import Pace
from hostd.delivery.retry import Waits
from hostd.delivery.terms import Terms
from hostd.errors import StorageError
from hostd.transcoding.products import Products

__all__ = ["TOPIC", "AskFilters", "Courier", "Health", "unfiltered"]


def unfiltered(_delivery: Delivery) -> None:
    """Ask no filter about a delivery: it may go."""
    return


class Courier:
    """Carries deliveries to `destination` on its `terms`, until it is asked to stop.

    Both may be replaced, the destination by another of the same name; they are looked at once a batch.
    """

    def __init__(
        self,
        archive: Archive,
        destination: Destination,
        products: Products,
        policy: Waits,
        clock: Clock,
        node_name: str,
        terms: Terms,
        ask_filters: AskFilters = unfiltered,
    ) -> None:
        self.destination = destination
        self.terms = terms
        self.archive = archive
        self.products = products
        self.clock = clock
        self.ask_filters = ask_filters
        self.breaker = Breaker(policy)
        self.ledger = Ledger(archive, destination.name, policy, clock, node_name)
        self.pace = Pace()
        self.closing = threading.Event()
        self.last_delivered_at: float | None = None
        self.retry_s = policy.first_s
        self._probe_asked = threading.Event()
        self._lanes: dict[int, threading.Thread] = {}
        self._lock = threading.Lock()
        self._serving: set[int] = set()
        self._is_retiring = False
        self._commissioner: Commissioner | None = None
        self._policy = policy

    @property
    def health(self) -> Health:
        """How the destination does."""
        return self.breaker.health

    def start(self) -> None:
        """Begin, or, when the terms have changed, go on with as many lanes as they say."""
        for number in range(self.terms.connections):
            lane = self._lanes.get(number)
            if lane is None or not lane.is_alive():
                name = f"courier {self.destination.name}" + (f" {number + 1}" if number else "")
                self._begin(number, name, Lane(self, number).serve)

        self._commission()

    def _commission(self) -> None:
        """Ask for storage commitment where the terms say so."""
        destination = self.destination
        if self._commissioner is None and self.terms.commit_timeout_s is not None and isinstance(destination, Commits):
            name = destination.name
            made = Commissioner(self.archive, destination, name, self._policy, self.clock, self.ledger.own)
            self._commissioner = made
            made.timeout_s = self.terms.commit_timeout_s
            self._begin(-1, f"commitment {name}", partial(made.serve, self.closing))
        elif self._commissioner is not None and isinstance(destination, Commits):
            self._commissioner.destination, self._commissioner.timeout_s = destination, self.terms.commit_timeout_s

    def _begin(self, number: int, name: str, serve: Callable[[], None]) -> None:
        def run() -> None:
            try:
                serve()
            finally:
                self._ended(number)

        with self._lock:
            self._serving.add(number)
        self._lanes[number] = threading.Thread(target=run, name=name, daemon=True)
        self._lanes[number].start()

    def _ended(self, number: int) -> None:
        with self._lock:
            self._serving.discard(number)
            is_last = self._is_retiring and not self._serving
        if is_last:
            with contextlib.suppress(
                StorageError
            ):  # the index is closed already: a node that stops lets go of all leases
                self.ledger.give_up()

    def retire(self) -> None:
        """Have the courier end as `ask_to_stop` does, for good: then it lets go of the destination."""
        with self._lock:
            self._is_retiring = True
        self.ask_to_stop()

    def ask_to_stop(self) -> None:
        """Have the courier end after the instances that it is sending; whoever waits on the bulletin must be rung for it to notice."""
        self.closing.set()

    def join(self, seconds: float) -> bool:
        """Wait for the courier to end; return whether it has."""
        end = time.monotonic() + seconds
        for lane in self._lanes.values():
            lane.join(max(0.0, end - time.monotonic()))
        return not any(lane.is_alive() for lane in self._lanes.values())

    def probe_now(self) -> None:
        """Do not wait any longer with trying a destination that fails; the bulletin must be rung for the courier to notice."""
        self._probe_asked.set()

    @property
    def trouble(self) -> str | None:
        """Why the queue is held, None while it is not or is to be tried at once."""
        health = self.breaker.health
        is_tried = self._probe_asked.is_set() or health.next_probe is None
        return None if is_tried or not health.is_failing else health.last_error

    def prepare(self) -> None:
        """Do what was asked for from outside, in a thread that holds the lease."""
        if self._probe_asked.is_set():
            self.ledger.end_hold()
            self.breaker.probe_now()
            self._probe_asked.clear()  # last: until then it is to be tried still

    def is_wanted(self, lane: int) -> bool:
        """Tell whether the terms allow for so many lanes (from 0)."""
        return lane < self.terms.connections
