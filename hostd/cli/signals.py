"""Waiting to be told to stop."""

from __future__ import annotations

import os
import signal
from collections.abc import Callable


def on_stop_signal() -> Callable[[], None]:
    """Take SIGTERM and Ctrl-C from now on; return what waits for the first of them, also for one that came already.

    The interpreter's own C handler writes to a pipe. A handler in Python would not do: it runs in the main thread only, which the
    kernel does not wake when it gives the signal to another thread.
    """
    reading, writing = os.pipe()
    os.set_blocking(writing, False)
    signal.set_wakeup_fd(writing, warn_on_full_buffer=False)
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: None)

    def wait() -> None:
        os.read(reading, 1)

    return wait
