"""The breaker of one destination: while it fails its queue is held, and one instance now and then shows whether it still does (P3)."""

from __future__ import annotations

import random
import threading
from collections.abc import Callable
from dataclasses import dataclass, replace

from hostd.delivery.faults import IN_A_ROW, SCARCE_IN_A_ROW
from hostd.delivery.retry import Waits

_BREAKS_IN_A_ROW = 2


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


@dataclass(frozen=True, slots=True)
class Pass:
    """Leave to try the destination: alone, until it is handed back, and with one instance only where it is a probe."""

    is_alone: bool
    is_probe: bool


class Breaker:
    """Counts what goes wrong with a destination. For all threads that send to it.

    Two things open it: a fault of the destination, which ends as soon as it answers again; and too many instances one after another that it
    does not take, which ends when it takes one.
    """

    def __init__(self, policy: Waits, draw: Callable[[], float] = random.random) -> None:
        self.health = Health()
        self._policy = policy
        self._draw = draw
        self._lock = threading.Lock()
        self._is_known = False
        self._is_taken = False
        self._breaks = 0
        self._refused = 0
        self._scarce: set[int] = set()
        self._must_take_one = False

    # -- who may try --------------------------------------------------------------------------------------------------

    def admit(self, now: float) -> Pass | None:
        """Ask to try the destination; None while nobody may, or another probes it.

        One of which nothing is known yet is tried by one thread only: a dead one holds no more.
        """
        with self._lock:
            if self._is_taken or not self._may_probe(now):
                return None
            self._is_taken = self.health.is_failing or not self._is_known
            return Pass(is_alone=self._is_taken, is_probe=self.health.is_failing)

    def leave(self, taken: Pass) -> None:
        """Hand a pass back."""
        if taken.is_alone:
            with self._lock:
                self._is_taken = False

    def wait_s(self, now: float) -> float | None:
        """Return for how many seconds nobody may try; None while another does."""
        with self._lock:
            if self._is_taken or self.health.next_probe is None:
                return None
            return max(0.0, self.health.next_probe - now)

    def probe_now(self) -> None:
        """Let the next probe be made at once."""
        with self._lock:
            self.health = replace(self.health, next_probe=None)

    def _may_probe(self, now: float) -> bool:
        return self.health.next_probe is None or now >= self.health.next_probe

    # -- what came of it ----------------------------------------------------------------------------------------------

    def next_probe(self, now: float) -> float:
        """Return when to probe it next, were it to fail now."""
        return self._policy.next_attempt(now, self.health.failures + 1, self._draw())

    def failed(self, error: str, now: float, until: float) -> None:
        """Note a fault of the destination; it is probed next at `until`."""
        with self._lock:
            self._open(error, now, until)

    def broke(self, error: str, now: float) -> float | None:
        """Note that a connection broke in the middle of an instance; return when it is probed next, None while the queue is not held.

        A peer that breaks one connection after another must not use up every instance's tries.
        """
        with self._lock:
            self._breaks += 1
            return self._open(error, now) if self._breaks >= _BREAKS_IN_A_ROW or self.health.is_failing else None

    def refused(self, delivery: int, error: str, now: float, *, scarce: bool) -> float | None:
        """Note that the peer answered, and did not take an instance; return as `broke` does. `scarce`: it said it had no room."""
        with self._lock:
            self._answered()
            self._refused += 1
            if scarce:
                self._scarce.add(delivery)
            if self._refused > IN_A_ROW or len(self._scarce) >= SCARCE_IN_A_ROW or self._must_take_one:
                self._must_take_one = True
                return self._open(error, now)
            return None

    def took(self) -> None:
        """Note that the peer took an instance."""
        with self._lock:
            self._refused = 0
            self._scarce.clear()
            self._must_take_one = False
            self._answered()

    def answered(self) -> None:
        """Note that the peer talks, whatever came of the instance."""
        with self._lock:
            self._answered()

    def _answered(self) -> None:
        self._is_known = True
        self._breaks = 0
        if not self._must_take_one:
            self.health = Health()

    def _open(self, error: str, now: float, until: float | None = None) -> float:
        until = self.next_probe(now) if until is None else until
        self.health = Health(self.health.failures + 1, self.health.failing_since or now, until, error)
        return until
