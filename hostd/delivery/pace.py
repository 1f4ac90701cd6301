"""The pace at which a destination is sent to: instances and bytes a second, over all its connections."""

from __future__ import annotations

import threading


class Pace:
    """Spaces instances out. For any number of threads; times are seconds since 1970 UTC."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._free_at = 0.0
        self._looked_at = 0.0

    def wait_s(self, now: float) -> float:
        """Return the seconds until the next instance may go."""
        with self._lock:
            return self._wait_s(now)

    def take(self, now: float, instances_per_s: float | None) -> float:
        """Let an instance go, and return 0; or return the seconds until one may."""
        with self._lock:
            wait_s = self._wait_s(now)
            if not wait_s and instances_per_s is not None:
                self._free_at = now + 1 / instances_per_s
            return wait_s

    def sent(self, count: int, now: float, bytes_per_s: float | None) -> None:
        """Note how many bytes went: the next instance waits until they are made up for."""
        if bytes_per_s is not None:
            with self._lock:
                self._free_at = max(self._free_at, now) + count / bytes_per_s

    def _wait_s(self, now: float) -> float:
        if now < self._looked_at:  # the clock was set back
            self._free_at = now
        self._looked_at = now
        return max(0.0, self._free_at - now)
