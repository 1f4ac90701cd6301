"""What the pixels of stored files come to, worked out once while it may be asked for again."""

from __future__ import annotations

import threading
from collections import OrderedDict
from collections.abc import Callable
from concurrent.futures import Future
from pathlib import Path

from hostd.sandbox.frames import PixelFacts

Measure = Callable[[Path], PixelFacts]
"""Works out the facts of a file; raises `HostdError` with the reason why it cannot, and `OSError`."""

_MOST = 256


class Measurements:
    """The facts of the `most` files last asked for. For any number of threads: those that ask for one file at one time cost one decode.

    A file is what its path was when it was first asked for, as it is with those of the archive. What failed is tried again.
    """

    def __init__(self, measure: Measure, most: int = _MOST) -> None:
        self._measure = measure
        self._most = most
        self._lock = threading.Lock()
        self._known: OrderedDict[Path, Future[PixelFacts]] = OrderedDict()

    def __call__(self, file: Path) -> PixelFacts:
        """Return the facts of a file. Raises as what measures does."""
        with self._lock:
            known = self._known.get(file)
            facts: Future[PixelFacts] = known or Future()
            self._known[file] = facts
            self._known.move_to_end(file)
            if len(self._known) > self._most:
                self._known.popitem(last=False)
        if known is None:
            self._work_out(file, facts)
        return facts.result()

    def _work_out(self, file: Path, facts: Future[PixelFacts]) -> None:
        try:
            facts.set_result(self._measure(file))
        except BaseException as error:  # noqa: BLE001 - whoever waits for it gets it, and so does the one who asked first
            with self._lock:
                if self._known.get(file) is facts:
                    del self._known[file]
            facts.set_exception(error)
