"""Tells threads that something was committed, so that nobody polls."""

from __future__ import annotations

import threading
from collections import Counter


class Bulletin:
    """Topics and how often each was rung. A waiter names the count that it has seen, so no ring is missed."""

    def __init__(self) -> None:
        self._changed = threading.Condition()
        self._rung: Counter[str] = Counter()

    def ring(self, *topics: str) -> None:
        """Wake whoever waits for one of the topics."""
        with self._changed:
            self._rung.update(topics)
            self._changed.notify_all()

    def seen(self, topic: str) -> int:
        """Return how often the topic was rung."""
        with self._changed:
            return self._rung[topic]

    def wait(self, topic: str, seen: int, timeout: float | None) -> int:
        """Wait until the topic was rung more often than `seen`, or `timeout` seconds; return the count."""
        with self._changed:
            self._changed.wait_for(lambda: self._rung[topic] > seen, timeout)
            return self._rung[topic]
