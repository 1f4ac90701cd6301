"""Threads that work on what a topic of the bulletin tells of, turn after turn, until they are asked to stop."""

from __future__ import annotations

import threading
import time
from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from typing import Protocol, TypeVar

from hostd.archive.bulletin import Bulletin


class Turning(ABC):
    """One such thread. It survives whatever a turn raises."""

    def __init__(self, bulletin: Bulletin, topic: str, name: str) -> None:
        self._bulletin = bulletin
        self._topic = topic
        self._closing = threading.Event()
        self._thread = threading.Thread(target=self._serve, name=name, daemon=True)

    @abstractmethod
    def turn(self) -> float | None:
        """Do one thing, if one is due; return for how many seconds there is nothing to do, None for until the topic is rung."""

    @abstractmethod
    def failed(self) -> float:
        """Log the exception that a turn has just raised; return after how many seconds to go on."""

    def start(self) -> None:
        """Begin, with what an earlier node left."""
        self._thread.start()

    def ask_to_stop(self) -> None:
        """Have it end after its turn; the topic must be rung for it to notice."""
        self._closing.set()

    def join(self, seconds: float) -> bool:
        """Wait for it to end; return whether it has."""
        self._thread.join(seconds)
        return not self._thread.is_alive()

    def stop(self) -> None:
        """Have it end after its turn, and wait for that."""
        self.ask_to_stop()
        self._bulletin.ring(self._topic)
        self._thread.join()

    def _serve(self) -> None:
        turn_after_turn(self._bulletin, self._topic, self._closing, self.turn, self.failed)


def turn_after_turn(
    bulletin: Bulletin,
    topic: str,
    closing: threading.Event,
    turn: Callable[[], float | None],
    failed: Callable[[], float],
    is_wanted: Callable[[], bool] = lambda: True,
) -> None:
    """Take turns in this thread until `closing` is set, or between two turns none is wanted any more: for both the topic must be rung.

    `turn` and `failed` are as those of `Turning`.
    """
    while True:
        seen = bulletin.seen(topic)  # before the question: what is rung after it ends the wait below
        if closing.is_set() or not is_wanted():
            return
        try:
            pause = turn()
        except Exception:  # noqa: BLE001 - a thread that must not end; what was under way is done again
            closing.wait(failed())
            continue
        if pause is None or pause > 0:
            bulletin.wait(topic, seen, pause)


class Ending(Protocol):
    """What can be asked to stop, as a `Turning`."""

    def ask_to_stop(self) -> None:
        """Have it end; the topic must be rung for it to notice."""

    def join(self, seconds: float) -> bool:
        """Wait for it to end; return whether it has."""
        ...


_E = TypeVar("_E", bound=Ending)


def stopped(bulletin: Bulletin, topic: str, ending: Sequence[_E], grace_s: float) -> list[_E]:
    """Have all these end, who wait for a topic; return those that have not within `grace_s` seconds."""
    for one in ending:
        one.ask_to_stop()
    bulletin.ring(topic)
    end = time.monotonic() + grace_s
    return [one for one in ending if not one.join(max(0.0, end - time.monotonic()))]
