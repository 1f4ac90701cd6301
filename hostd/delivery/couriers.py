"""All couriers of a node: one for each configured destination."""

from __future__ import annotations

import threading
from collections.abc import Collection, Mapping

import structlog
from sqlalchemy import Connection

from hostd.archive import deliveries
from hostd.archive.archive import Archive
from hostd.archive.tables import OPEN_STATES
from hostd.archive.turning import stopped
from hostd.clock import Clock
from hostd.delivery.courier import TOPIC, AskFilters, Courier, Health, unfiltered
from hostd.delivery.destinations import Destination
from hostd.delivery.retry import Waits
from hostd.delivery.terms import Terms
from hostd.transcoding.products import Products

_log = structlog.get_logger(__name__)


class Couriers:
    """One courier a destination, so that a dead one delays no other. `destinations` and their `terms` are by `kind:name`."""

    def __init__(
        self,
        archive: Archive,
        destinations: Mapping[str, Destination],
        products: Products,
        policy: Waits,
        clock: Clock,
        node_name: str,
        terms: Mapping[str, Terms] | None = None,
        ask_filters: AskFilters = unfiltered,
    ) -> None:
        self._archive = archive
        self._products = products
        self._policy = policy
        self._clock = clock
        self._node_name = node_name
        self._terms = dict(terms or {})
        self._ask_filters = ask_filters
        self._lock = threading.Lock()
        self._destinations = dict(destinations)
        self._couriers: dict[str, Courier] = {}
        self._leaving: list[Courier] = []
        self._is_started = False

    def start(self) -> None:
        """Start the couriers; each first gives back what an earlier run of the node left in the middle of sending."""
        with self._lock:
            self._is_started = True
            self._adjust()

    def use(self, destinations: Mapping[str, Destination], terms: Mapping[str, Terms] | None = None) -> None:
        """Go on with these destinations: new ones get a courier, changed ones are used from the next batch on, others end.

        Deliveries to a destination that is no longer there stay where they are; `unserved` counts them.
        """
        with self._lock:
            self._destinations = dict(destinations)
            self._terms = dict(terms or {})
            if self._is_started:
                self._adjust()

    def stop(self, grace_s: float) -> list[str]:
        """End after the instances now being sent; return the destinations whose couriers had not ended within `grace_s` seconds.

        What those were sending is recorded as possibly sent when the node starts again.
        """
        self._products.stop()
        with self._lock:
            self._is_started = False
            ending = [*self._couriers.values(), *self._leaving]
            self._couriers.clear()
            self._leaving.clear()
        late = [one.destination.name for one in stopped(self._archive.bulletin, TOPIC, ending, grace_s)]
        if late:
            _log.warning("couriers are still sending and are left behind", destinations=late)
        return late

    def destinations(self) -> dict[str, Destination]:
        """Return the destinations as they are now, by `kind:name`."""
        with self._lock:
            return dict(self._destinations)

    def health(self) -> dict[str, Health]:
        """Return how each destination does, by its name."""
        with self._lock:
            return {name: courier.health for name, courier in self._couriers.items()}

    def probe(self, destination: str | None = None) -> None:
        """Try failing destinations (or one) now instead of when their back-off ends: somebody has put them right."""
        with self._lock:
            for name, courier in self._couriers.items():
                if destination in (None, name):
                    courier.probe_now()
        self._archive.bulletin.ring(TOPIC)

    def hurry(self, destination: str) -> None:
        """Try a destination now, should its queue be held because it failed: somebody waits for what is to be sent to it."""
        self.probe(destination)

    def trouble(self, destination: str) -> str | None:
        """Say why the queue of a destination is held, as of its last try; None while it is not, or is to be tried at once."""
        with self._lock:
            courier = self._couriers.get(destination)
        return courier.trouble if courier is not None else None

    def _adjust(self) -> None:
        for name in self._couriers.keys() - self._destinations.keys():
            courier = self._couriers.pop(name)
            courier.retire()
            self._leaving.append(courier)
        for name, destination in self._destinations.items():
            terms = self._terms.get(name, Terms())
            if name not in self._couriers:
                self._couriers[name] = Courier(
                    self._archive, destination, self._products, self._policy, self._clock, self._node_name, terms,
                    self._ask_filters,
                )  # fmt: skip
            courier = self._couriers[name]
            courier.destination, courier.terms = destination, terms
            courier.start()
        self._leaving = [courier for courier in self._leaving if not courier.join(0)]
        self._archive.bulletin.ring(TOPIC)


def unserved(connection: Connection, configured: Collection[str]) -> dict[str, int]:
    """Return the destinations that have open deliveries but no configuration, with how many."""
    found = {}
    for destination, states in deliveries.counts(connection).items():
        waiting = sum(states.get(state, 0) for state in OPEN_STATES)
        if waiting and destination not in configured:
            found[destination] = waiting
    return found
