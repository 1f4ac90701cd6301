"""Threads that work on what a topic of the bulletin tells of, turn after turn, until they are asked to stop."""

from __future__ import annotations

import threading
import time
from abc import ABC, abstractmethod
from collections.abc import Sequence
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

    def _serve(self) -> None:
        while not self._closing.is_set():
            seen = self._bulletin.seen(self._topic)
            try:
                pause = self.turn()
            except Exception:  # noqa: BLE001 - a thread that must not end; what was under way is done again
                self._closing.wait(self.failed())
                continue
            # It may have been asked before `seen`: then nothing rings any more.
            if (pause is None or pause > 0) and not self._closing.is_set():
                self._bulletin.wait(self._topic, seen, pause)


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
