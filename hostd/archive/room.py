"""Whether there is room to take anything in: hostd refuses in due form while it still can, before the disk is full."""

from __future__ import annotations

import shutil
import threading
import time
from collections.abc import Callable
from pathlib import Path

import structlog

_log = structlog.get_logger(__name__)

_LOOK_S = 1.0
_RECOVERED = 1.25
"""How many times the limit must be free until it is taken in again: a disk at the limit does not flicker."""
_SHARE = 20
"""The limit is never more than this part of a small disk."""


def _usage(folder: Path) -> tuple[int, int]:
    usage = shutil.disk_usage(folder)
    return usage.total, usage.free


class Room:
    """The room of a data folder. Below `refuse_below_mb` (MiB; 0: never) none is left, until there is a quarter more.

    Asking costs nothing: the disk is looked at once a second.
    """

    def __init__(
        self,
        folder: Path,
        refuse_below_mb: int,
        *,
        usage: Callable[[Path], tuple[int, int]] = _usage,
        monotonic: Callable[[], float] = time.monotonic,
    ) -> None:
        self._folder = folder
        self.refuse_below_mb = refuse_below_mb
        """May be changed at any time."""
        self._usage = usage
        self._monotonic = monotonic
        self._lock = threading.Lock()
        self._looked_at: float | None = None
        self._is_left = True

    def is_left(self) -> bool:
        """Tell whether anything more may be taken in."""
        if not self.refuse_below_mb:
            return True
        with self._lock:
            now = self._monotonic()
            if self._looked_at is None or not 0 <= now - self._looked_at < _LOOK_S:
                self._looked_at = now
                self._look()
            return self._is_left

    def _look(self) -> None:
        try:
            total, free = self._usage(self._folder)
        except OSError as error:  # what cannot be looked at shows when it is written to
            _log.warning("the room on the disk is not known", reason=error.strerror)
            return
        limit = min(self.refuse_below_mb << 20, total // _SHARE)
        was_left, self._is_left = self._is_left, free >= limit * (1 if self._is_left else _RECOVERED)
        if was_left and not self._is_left:
            _log.error("nothing more is taken in: the disk of the data folder is nearly full", free_mb=free >> 20)
        elif self._is_left and not was_left:
            _log.info("instances are taken in again: there is room on the disk", free_mb=free >> 20)
