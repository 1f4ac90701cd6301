"""Tells threads that something was committed, so that nobody polls."""

from __future__ import annotations

import threading
from collections import defaultdict


class Bulletin:
    """Topics and how often each was rung. A waiter names the count that it has seen, so no ring is missed, and others' rings do not wake it."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._topics: defaultdict[str, _Topic] = defaultdict(lambda: _Topic(self._lock))

    def ring(self, *topics: str) -> None:
        """Wake whoever waits for one of the topics."""
        with self._lock:
            for name in topics:
                topic = self._topics[name]
                topic.rung += 1
                topic.changed.notify_all()

    def seen(self, topic: str) -> int:
        """Return how often the topic was rung."""
        with self._lock:
            return self._topics[topic].rung

    def wait(self, topic: str, seen: int, timeout: float | None) -> int:
        """Wait until the topic was rung more often than `seen`, or `timeout` seconds; return the count."""
        with self._lock:
            waited = self._topics[topic]
            waited.changed.wait_for(lambda: waited.rung > seen, timeout)
            return waited.rung


class _Topic:
    """How often a topic was rung, and its waiters."""

    def __init__(self, lock: threading.Lock) -> None:
        self.rung = 0
        self.changed = threading.Condition(lock)
