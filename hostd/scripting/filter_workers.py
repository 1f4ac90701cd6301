"""The workers of one script's filters: kept warm, one filter at a time in each, replaced when lost."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable

import structlog

from hostd.errors import ScriptError
from hostd.scripting.processes import WorkerLost
from hostd.scripting.runtime import ScriptWorker

_log = structlog.get_logger(__name__)


class WorkersClosedError(ScriptError):
    """This version of the script is asked no more: another has taken over, or its file is gone."""


WAIT_S = 5.0
"""Seconds that something waits for a free worker before it counts as the filter's failure."""
_FIRST_PAUSE_S = 0.2
_LONGEST_PAUSE_S = 10.0


class FilterWorkers:
    """`count` processes that run one version of one script. For any number of threads."""

    def __init__(self, name: str, start: Callable[[], ScriptWorker], count: int) -> None:
        """Start one worker now, the others soon. Raises `ScriptError` when that one cannot be started."""
        self._name = name
        self._start = start
        self._changed = threading.Condition()
        self._idle = [start()]
        self._missing = count - 1
        self._is_closed = False
        self._starter = threading.Thread(target=self._replace, name=f"filters {name}", daemon=True)
        self._starter.start()

    def take(self, wait_s: float = WAIT_S) -> ScriptWorker:
        """Return a worker that is free, to be given back. Raises `WorkerLost` when none is in time, and `WorkersClosedError`."""
        ends = time.monotonic() + wait_s
        with self._changed:
            while not self._idle:
                if self._is_closed:
                    raise WorkersClosedError(f"{self._name} was replaced")
                left = ends - time.monotonic()
                if left <= 0:
                    raise WorkerLost(f"no worker of {self._name} was free within {wait_s:g} s")
                self._changed.wait(left)
            return self._idle.pop()

    def give_back(self, worker: ScriptWorker, *, is_lost: bool) -> None:
        """Return a worker; one that is lost is replaced."""
        with self._changed:
            if is_lost:
                self._missing += 1
            elif not self._is_closed:
                self._idle.append(worker)
            self._changed.notify_all()
            is_done = is_lost or self._is_closed
        if is_done:
            worker.stop()

    def close(self) -> None:
        """End the workers that are free; those that are not end when they are given back."""
        with self._changed:
            self._is_closed = True
            left, self._idle = self._idle, []
            self._changed.notify_all()
        for worker in left:
            worker.stop()
        self._starter.join()

    def _replace(self) -> None:
        pause = _FIRST_PAUSE_S
        while True:
            with self._changed:
                self._changed.wait_for(lambda: self._missing or self._is_closed)
                if self._is_closed:
                    return
            try:
                worker = self._start()
            except ScriptError as error:
                _log.error(
                    "no worker can be started for a filter; hostd tries again", script=self._name, reason=str(error)
                )
                with self._changed:
                    self._changed.wait_for(lambda: self._is_closed, pause)
                pause = min(pause * 2, _LONGEST_PAUSE_S)
                continue
            pause = _FIRST_PAUSE_S
            with self._changed:
                self._missing -= 1
            self.give_back(worker, is_lost=False)
