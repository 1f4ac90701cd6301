"""What wakes one thread: as `threading.Event` does, without the condition, its lock and the new lock of each wait."""

from __future__ import annotations

import threading
from contextlib import suppress


class Bell:
    """Stays rung until its one waiter has heard it. Anyone may ring."""

    def __init__(self) -> None:
        self._silence = threading.Lock()
        self._silence.acquire()

    def ring(self) -> None:
        """Wake the waiter, now or when it waits next."""
        with suppress(RuntimeError):  # it is rung already
            self._silence.release()

    def hush(self) -> None:
        """Forget that it was rung, if it was."""
        self._silence.acquire(blocking=False)

    def wait(self) -> None:
        """Wait until it is rung, and hush it."""
        self._silence.acquire()
