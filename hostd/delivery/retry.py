"""When to try again."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Protocol


class Waits(Protocol):
    """How long to wait before something is tried again."""

    @property
    def first_s(self) -> float:
        """The wait after the first failure, in seconds, at the most."""
        ...

    def longest_wait(self, attempts: int) -> float:
        """Return the longest wait, in seconds, after so many failed tries (at least 1)."""
        ...

    def next_attempt(self, now: float, attempts: int, random: float) -> float:
        """Return the time of the next try after `attempts` failed ones; `random` is a number from 0 to 1, drawn by the caller."""
        ...


@dataclass(frozen=True, slots=True)
class RetryPolicy:
    """Waits that grow by `factor` with each try, up to `max_s`, with full jitter: many that failed together do not come back together.

    `first_s` and `max_s` are seconds.
    """

    first_s: float = 5.0
    max_s: float = 3600.0
    factor: float = 2.0

    def __post_init__(self) -> None:
        if not (0 < self.first_s <= self.max_s and self.factor >= 1):
            raise ValueError("a retry policy needs 0 < first_s <= max_s and factor >= 1")

    def longest_wait(self, attempts: int) -> float:
        """Return the longest wait, in seconds, after so many failed tries (at least 1)."""
        if self.factor == 1 or attempts <= 1:
            return self.first_s
        # Worked out by logarithm, since a power would overflow for a peer that has been dead for a year.
        reached = (attempts - 1) * math.log(self.factor) >= math.log(self.max_s / self.first_s)
        return self.max_s if reached else min(self.max_s, self.first_s * self.factor ** (attempts - 1))

    def next_attempt(self, now: float, attempts: int, random: float) -> float:
        """Return the time of the next try after `attempts` failed ones; `random` is a number from 0 to 1, drawn by the caller."""
        return now + random * self.longest_wait(attempts)


class NewestPolicy:
    """The policy of a node, which may be replaced while it runs: every wait is reckoned by the newest."""

    def __init__(self, policy: RetryPolicy) -> None:
        self._policy = policy

    def use(self, policy: RetryPolicy) -> None:
        """Go on by another one; what waits already waits as long as it was told to."""
        self._policy = policy

    @property
    def first_s(self) -> float:
        """The wait after the first failure, in seconds, at the most."""
        return self._policy.first_s

    def longest_wait(self, attempts: int) -> float:
        """Return the longest wait, in seconds, after so many failed tries (at least 1)."""
        return self._policy.longest_wait(attempts)

    def next_attempt(self, now: float, attempts: int, random: float) -> float:
        """Return the time of the next try after `attempts` failed ones; `random` is a number from 0 to 1, drawn by the caller."""
        return self._policy.next_attempt(now, attempts, random)
