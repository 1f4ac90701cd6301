"""Waiting to be told to stop."""

from __future__ import annotations

import os
import signal
from collections.abc import Callable


def on_stop_signal() -> Callable[[], None]:
    """Take SIGTERM and Ctrl-C from now on; return what waits for the first of them, also for one that came already.

    A pipe, because a handler runs in the middle of whatever the main thread does: an event's lock may be held there.
    """
    reading, writing = os.pipe()
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: os.write(writing, b"!"))

    def wait() -> None:
        os.read(reading, 1)

    return wait
