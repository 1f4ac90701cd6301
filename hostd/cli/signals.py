"""Waiting to be told to stop."""

from __future__ import annotations

import os
import signal
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager

_STOP = (signal.SIGTERM, signal.SIGINT)
_NO_SIGNAL = 0


def on_stop_signal(hang_up: Callable[[], None] | None = None) -> Callable[[], None]:
    """Take SIGTERM and Ctrl-C from now on; return what waits for the first of them, also for one that came already.

    With `hang_up`, SIGHUP stops nothing: that is called for it, while it is waited.

    The interpreter's own C handler writes to a pipe. A handler in Python would not do: it runs in the main thread only, which the
    kernel does not wake when it gives the signal to another thread.
    """
    reading, writing = os.pipe()
    os.set_blocking(writing, False)
    signal.set_wakeup_fd(writing, warn_on_full_buffer=False)
    for number in (*_STOP, *((signal.SIGHUP,) if hang_up else ())):
        signal.signal(number, lambda *_: None)

    def wait() -> None:
        while os.read(reading, 1)[0] == signal.SIGHUP and hang_up is not None:
            hang_up()

    return wait


@contextmanager
def calling_on_stop(call: Callable[[], None]) -> Iterator[None]:
    """Within the block SIGTERM and Ctrl-C do not raise: the first of them calls `call`, in a thread of its own."""
    reading, writing = os.pipe()
    os.set_blocking(writing, False)

    def wait() -> None:
        number = None
        while number not in (*_STOP, _NO_SIGNAL):  # others come here too, if somebody handles them
            number = os.read(reading, 1)[0]
        if number != _NO_SIGNAL:
            call()

    waiting = threading.Thread(target=wait, name="stop-signal", daemon=True)
    fd = signal.set_wakeup_fd(writing, warn_on_full_buffer=False)
    handlers = {number: signal.signal(number, lambda *_: None) for number in _STOP}
    waiting.start()
    try:
        yield
    finally:
        for number, handler in handlers.items():
            signal.signal(number, handler)
        signal.set_wakeup_fd(fd)
        os.write(writing, bytes([_NO_SIGNAL]))
        waiting.join()
        os.close(reading)
        os.close(writing)
