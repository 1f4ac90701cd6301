"""Work that nobody waits for: a thread of a codec worker that has a processor only while nothing else wants one.

A process that lowers its own scheduling policy cannot raise it again without a privilege, but each thread has one of its own. The
worker makes the thread inside its jail, where it cannot change a policy; the host, which can, does it from outside.
"""

from __future__ import annotations

import os
import queue
import threading
from collections.abc import Callable
from pathlib import Path
from typing import TypeVar

T = TypeVar("T")


class Leisure:
    """The worker's side: a thread that does one thing after another for the thread that asks."""

    def __init__(self) -> None:
        self._asked: queue.SimpleQueue[Callable[[], None]] = queue.SimpleQueue()
        self._thread = threading.Thread(target=self._serve, name="leisure", daemon=True)
        self._thread.start()

    @property
    def thread(self) -> int:
        """The thread's number, as the kernel has it."""
        assert self._thread.native_id is not None, "it is started"
        return self._thread.native_id

    def do(self, work: Callable[[], T]) -> T:
        """Return what `work`, which raises nothing, returns, done at leisure."""
        done: queue.SimpleQueue[T] = queue.SimpleQueue()
        self._asked.put(lambda: done.put(work()))
        return done.get()

    def _serve(self) -> None:
        while True:
            self._asked.get()()


def put_last(process: int, thread: int) -> bool:
    """Give a thread of another process, and those that it makes, a processor only while nothing else wants one; tell whether that is so.

    It is not where the system knows no such policy or does not allow it, or where the process has no such thread.
    """
    if not hasattr(os, "SCHED_IDLE") or not Path(f"/proc/{process}/task/{thread}").exists():
        return False
    try:
        os.sched_setscheduler(thread, os.SCHED_IDLE, os.sched_param(0))
    except OSError:
        return False
    return True
