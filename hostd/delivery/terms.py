"""On what terms a destination is sent to: what its owner set, as plain values."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Self

from hostd.config.forwarding import Forwarding
from hostd.config.windows import Window

_HOUR_S = 3600.0
_MB = 1 << 20


@dataclass(frozen=True, slots=True)
class Terms:
    """How much at one time, how fast, when, for how long, and what counts as delivered; None is no limit.

    A connection carries at most `batch` instances, and waits up to `linger_s` seconds for more to come. There are at most `connections`
    of them. What is older than `max_age_s` seconds is given up. With `accept_warnings` what the peer took with a warning is delivered.
    What fails goes to `alternate` (`kind:name`) instead. With `commit_timeout_s` it is asked for storage commitment, and again after
    so many seconds without a report. With `skips_present` it is first asked what it has, and not sent that.
    """

    batch: int = 20
    linger_s: float = 0.0
    connections: int = 1
    instances_per_s: float | None = None
    bytes_per_s: float | None = None
    windows: tuple[Window, ...] = ()
    max_age_s: float | None = None
    accept_warnings: bool = False
    alternate: str | None = None
    commit_timeout_s: float | None = None
    skips_present: bool = False

    @classmethod
    def of(cls, destination: Forwarding, batch: int, linger_s: float, alternate: str | None = None) -> Self:
        """Return what the configuration says of a destination; `batch` and `linger_s` where it says nothing; `alternate` with its kind."""
        return cls(
            batch=destination.batch or batch,
            linger_s=linger_s if destination.linger_s is None else destination.linger_s,
            connections=destination.connections,
            instances_per_s=destination.instances_per_s,
            bytes_per_s=None if destination.mb_per_s is None else destination.mb_per_s * _MB,
            windows=destination.window,
            max_age_s=None if destination.max_age_h is None else destination.max_age_h * _HOUR_S,
            accept_warnings=destination.accept_warnings,
            alternate=alternate,
            commit_timeout_s=destination.commitment_wait_s,
            skips_present=destination.skips_present,
        )
