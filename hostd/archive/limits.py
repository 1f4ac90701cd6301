"""Keeps what is stored within `[storage]`: makes room by recycling patients, or refuses, in the transaction that would go beyond."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Sequence
from typing import TypeVar

import structlog
from sqlalchemy import Connection

from hostd.archive import hierarchy, holding, retention
from hostd.archive.archive import Archive
from hostd.archive.holding import Held
from hostd.config.storage import Storage
from hostd.errors import LimitReachedError

_log = structlog.get_logger(__name__)

T = TypeVar("T")

_NOTHING_S = 1.0
"""Seconds for which it is believed that nobody may go, so that a full archive is not looked through for each instance that comes."""
_TOLD_S = 60.0
"""Seconds between two lines of the log that say that what comes is refused."""
_COUNTED_WITHIN_S = 1.0


def beyond(held: Held, limits: Storage) -> str | None:
    """Say which limit that is beyond, None when it is within them."""
    if limits.max_size_mb and held.size > limits.max_size_mb << 20:
        return f"storage.max_size_mb is {limits.max_size_mb}"
    if limits.max_patients and held.patients > limits.max_patients:
        return f"storage.max_patients is {limits.max_patients}"
    return None


def require(connection: Connection, limits: Storage) -> None:
    """Raise `LimitReachedError` when, with what this transaction has entered, more is stored than may be."""
    if (limits.max_size_mb or limits.max_patients) and (limit := beyond(holding.held(connection), limits)):
        raise LimitReachedError(f"the archive is full ({limit}); nothing was stored")


class Allowance:
    """What a node may store. `limits` gives what holds now; called from many threads at once.

    Who sends waits for what is recycled for it. Each time one patient goes, and all who wait try again: the check is in their own transaction.
    """

    def __init__(
        self, archive: Archive, limits: Callable[[], Storage], *, monotonic: Callable[[], float] = time.monotonic
    ) -> None:
        self._archive = archive
        self._limits = limits
        self._monotonic = monotonic
        self._lock = threading.Lock()
        self._recycled = 0
        """Patients that were recycled: who waited for the lock meanwhile tries again first."""
        self._nobody_until: dict[str, float] = {}
        self._told_at: float | None = None

    def enter(self, unit: Callable[[Connection], T], *, size: int, patient: str, blobs: Sequence[str] = ()) -> T:
        """Do a unit that enters what came for a patient, `size` bytes of it, with its new files; return its result once that is committed.

        It is done again after others were recycled, where it would go beyond the limits. Raises `LimitReachedError` when nobody may go:
        then nothing was entered.
        """

        def within(connection: Connection) -> T:
            result = unit(connection)
            require(connection, self._limits())
            return result

        while True:
            recycled = self._recycled
            try:
                return self._archive.writer.do(within, blobs=blobs, topics=("event",), urgent=True)
            except LimitReachedError as full:
                if not self._makes_room(size, patient, recycled):
                    self._refused(full)
                    raise

    def make_room(self, size: int, *, patient: str) -> None:
        """Recycle until there is room for a file of a patient, before it is entered. Raises `LimitReachedError`.

        Of several that come at one time each is judged for itself: they may go beyond the limits together, until something else comes.
        """
        while True:
            recycled = self._recycled
            with self._archive.read() as connection:
                held = holding.held(connection)
                is_new = retention.is_protected(connection, patient) is None
            limit = beyond(Held(held.size + size, held.patients + is_new), self._limits())
            if limit is None:
                return
            if not self._makes_room(size, patient, recycled):
                full = LimitReachedError(f"the archive is full ({limit}); nothing was stored")
                self._refused(full)
                raise full

    def _makes_room(self, size: int, spare: str, recycled: int) -> bool:
        """Recycle one patient, unless another thread has since `recycled` patients; return False when nobody may go, or none of it would help."""
        if self._limits().when_full != "recycle":
            return False
        with self._lock:
            if self._recycled != recycled:
                return True
            now = self._monotonic()
            if now < self._nobody_until.get(spare, now):
                return False
            with self._archive.read() as connection:
                is_vain = self._is_too_much(connection, size, spare)
                patient = retention.recyclable(connection, spare=spare) if not is_vain else None
            if patient is None:
                self._nobody_until = {one: until for one, until in self._nobody_until.items() if until > now}
                self._nobody_until[spare] = now + _NOTHING_S
                return False
            self._recycle(patient)
            self._recycled += 1
            return True

    def _is_too_much(self, connection: Connection, size: int, patient: str) -> bool:
        """Tell whether that much more of a patient would not fit even if nobody else were there."""
        limit = self._limits().max_size_mb << 20
        return 0 < limit < size + hierarchy.size(connection, "patient", patient).size

    def _recycle(self, patient: str) -> None:
        """Delete a whole patient, a few instances at a time, so that the writer stays free."""
        gone = 0
        while count := self._archive.writer.do(
            lambda c: retention.recycle(c, patient, self._archive.clock.now()), topics=("event",), urgent=True
        ):
            gone += count
        if gone:
            self._archive.writer.do(lambda c: holding.count(c, "recycled_patients"), urgent=True)
        _log.info("a patient was recycled to make room", patient=patient, instances=gone)

    def _refused(self, full: LimitReachedError) -> None:
        self._archive.writer.submit(lambda c: holding.count(c, "refused"), within_s=_COUNTED_WITHIN_S)
        now = self._monotonic()
        if self._told_at is None or now - self._told_at >= _TOLD_S:
            self._told_at = now
            _log.error("what comes is refused, and nobody may go to make room for it", reason=str(full))
