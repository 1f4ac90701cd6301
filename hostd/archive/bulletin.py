"""Tells threads that something was committed, so that nobody polls."""

from __future__ import annotations

import threading
from collections import defaultdict
from collections.abc import Callable


class Bulletin:
    """Topics and how often each was rung. A waiter names the count that it has seen, so no ring is missed, and others' rings do not wake it."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._topics: defaultdict[str, _Topic] = defaultdict(lambda: _Topic(self._lock))

    def ring(self, *topics: str) -> None:
        """Wake whoever waits for one of the topics."""
        with self._lock:
            called: list[Callable[[], None]] = []
            for name in topics:
                topic = self._topics[name]
                topic.rung += 1
                topic.changed.notify_all()
                called += topic.followers
        for follower in called:
            follower()

    def follow(self, topic: str, follower: Callable[[], None]) -> None:
        """Have `follower` called whenever the topic is rung, in the thread that rings, which must not be held up."""
        with self._lock:
            self._topics[topic].followers.append(follower)

    def unfollow(self, topic: str, follower: Callable[[], None]) -> None:
        """Have it called no more. A call that goes on meanwhile may still come."""
        with self._lock:
            self._topics[topic].followers.remove(follower)

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
    """How often a topic was rung, its waiters, and who is called."""

    def __init__(self, lock: threading.Lock) -> None:
        self.rung = 0
        self.changed = threading.Condition(lock)
        self.followers: list[Callable[[], None]] = []
