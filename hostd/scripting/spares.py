"""Script workers that are started before a script takes them: where a node has many scripts, several start at one time."""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Callable, Iterable, Sequence

import msgspec

from hostd.sandbox import frames
from hostd.scripting import processes
from hostd.scripting.processes import AHEAD, WorkerLost, WorkerProcess
from hostd.scripting.runtime import Isolation, ScriptWorker


class Spares:
    """Gives scripts their workers, spare ones first. `frame_of` says what the worker of a script may use. For any thread.

    `started` are processes that were started already, for the first scripts that are expected.
    """

    def __init__(
        self, frame_of: Callable[[str], frames.Load], isolation: Isolation, started: Sequence[WorkerProcess] = ()
    ) -> None:
        self._frame_of = frame_of
        self._isolation = isolation
        self._lock = threading.Lock()
        self._expected: deque[str] = deque()
        self.waiting = [self._of(process) for process in started]
        """Workers without a script, the oldest first."""

    def try_out(self, load: frames.Load) -> dict[str, int]:
        """Return the layers that the first one is isolated by. Raises `WorkerLost` where it is not isolated as required."""
        if self.waiting:
            self.waiting[0].await_jail(self._isolation)
        else:
            self.waiting.append(ScriptWorker.spare(load, isolation=self._isolation))
        return self.waiting[0].layers

    def expect(self, scripts: Iterable[str]) -> None:
        """Start workers ahead for scripts that are about to be loaded, in this order, until all are or `expect_no_more`."""
        with self._lock:
            self._expected = deque(scripts)
            for _ in self.waiting:
                if self._expected:
                    self._expected.popleft()
            self._go_ahead()

    def expect_no_more(self) -> None:
        """End what was started for scripts that did not take it."""
        self._expected.clear()
        self.stop()

    def load(self, load: frames.Load) -> ScriptWorker:
        """Return a worker that has loaded a script; raises as `ScriptWorker.start`."""
        with self._lock:
            spare = next((one for one in self.waiting if one.can_take(load)), None)
            if spare is not None:
                self.waiting.remove(spare)
            useless = [] if spare is not None or self._expected else self.waiting
            if useless:
                self.waiting = []
            self._go_ahead()
        for one in useless:  # dead, or of another size
            one.stop()
        if spare is None:
            return ScriptWorker.start(load, isolation=self._isolation)
        return spare.take(load, isolation=self._isolation)

    def stop(self) -> None:
        """End those that no script took."""
        with self._lock:
            waiting, self.waiting = self.waiting, []
        for one in waiting:
            one.stop()

    def _go_ahead(self) -> None:
        while self._expected and len(self.waiting) < AHEAD:
            load = self._frame_of(self._expected.popleft())
            try:
                self.waiting.append(ScriptWorker(load, processes.start(load.name, load.memory_bytes)))
            except WorkerLost:  # whoever loads that script meets the same, and tells it
                self._expected.clear()

    def _of(self, process: WorkerProcess) -> ScriptWorker:
        load = self._frame_of("(started ahead)")
        return ScriptWorker(msgspec.structs.replace(load, memory_bytes=process.memory_bytes), process)
