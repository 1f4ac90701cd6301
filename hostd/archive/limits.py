"""Keeps what is stored within `[storage]`: makes room by recycling patients, or refuses, in the transaction that would go beyond."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager
from functools import partial
from typing import Protocol, TypeVar

import structlog
from sqlalchemy import Connection

from hostd.archive import hierarchy, holding, retention
from hostd.archive.holding import Held
from hostd.archive.writer import Writer
from hostd.clock import Clock
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
        raise LimitReachedError(limit)


class Index(Protocol):
    """What is written and read: `hostd.archive.archive.Archive`, or what a command has in its place."""

    @property
    def writer(self) -> Writer:
        """Its writer."""
        ...

    @property
    def clock(self) -> Clock:
        """The time by which patients are recycled."""
        ...

    def read(self) -> AbstractContextManager[Connection]:
        """Give a connection that reads one consistent state."""
        ...


class Allowance:
    """What may be stored, by a node or an import. `limits` gives what holds now; called from many threads at once.

    Who sends waits for what is recycled for it. Each time one patient goes, and all who wait try again: the check is in their own transaction.
    """

    def __init__(
        self, index: Index, limits: Callable[[], Storage], *, monotonic: Callable[[], float] = time.monotonic
    ) -> None:
        self._index = index
        self._limits = limits
        self._monotonic = monotonic
        self._lock = threading.Lock()
        self.recycled = 0
        """Patients that were recycled: who waited for the lock meanwhile tries again first."""
        self._nobody_until: dict[str, float] = {}
        self._told_at: float | None = None

    def within(self, unit: Callable[[Connection], T]) -> Callable[[Connection], T]:
        """Return a unit that does the same, but raises `LimitReachedError`, so that nothing of it holds, where that goes beyond the limits."""

        def checked(connection: Connection) -> T:
            result = unit(connection)
            require(connection, self._limits())
            return result

        return checked

    def enter(
        self,
        unit: Callable[[Connection], T],
        *,
        size: int,
        patient: str,
        blobs: Sequence[str] = (),
        topics: Sequence[str] = ("event",),
        urgent: bool = True,
    ) -> T:
        """Do a unit that enters what came for a patient, `size` bytes of it; return its result once that is committed.

        It is done again after others were recycled, where it would go beyond the limits. Raises `LimitReachedError` when nobody may go:
        then nothing was entered. The rest is as for `Writer.submit`.
        """
        while True:
            recycled = self.recycled
            try:
                return self._index.writer.do(self.within(unit), blobs=blobs, topics=topics, urgent=urgent)
            except LimitReachedError as full:
                if not self._makes_room(size, patient, recycled):
                    self._refused(full)
                    raise

    def _makes_room(self, size: int, spare: str, recycled: int) -> bool:
        """Recycle one patient, unless another thread has since `recycled` patients; return False when nobody may go, or none of it would help."""
        if self._limits().when_full != "recycle":
            return False
        with self._lock:
            if self.recycled != recycled:
                return True
            now = self._monotonic()
            if now < self._nobody_until.get(spare, now):
                return False
            with self._index.read() as connection:
                is_vain = self._is_too_much(connection, size, spare)
                patient = retention.recyclable(connection, spare=spare) if not is_vain else None
                meant = retention.contents(connection, patient) if patient is not None else []
            if patient is None:
                self._nobody_until = {one: until for one, until in self._nobody_until.items() if until > now}
                self._nobody_until[spare] = now + _NOTHING_S
                return False
            self._recycle(patient, meant)
            self.recycled += 1
            return True

    def _is_too_much(self, connection: Connection, size: int, patient: str) -> bool:
        """Tell whether that much more of a patient would not fit even if nobody else were there."""
        limit = self._limits().max_size_mb << 20
        return 0 < limit < size + hierarchy.size(connection, "patient", patient).size

    def _recycle(self, patient: str, meant: Sequence[tuple[str, str]]) -> None:
        """Delete a whole patient, a few instances at a time, so that the writer stays free; what is left stays when the patient is to stay by then."""
        gone = 0
        for begin in range(0, len(meant), retention.AT_ONCE):
            some, left = dict(meant[begin : begin + retention.AT_ONCE]), len(meant) - begin
            recycle = partial(retention.recycle, patient=patient, meant=some, left=left, now=self._index.clock.now())
            count = self._index.writer.do(recycle, topics=("event",), urgent=True)
            if count is None:
                _log.info("a patient stays who was being recycled to make room", patient=patient, instances=gone)
                return
            gone += count
        if gone:
            self._index.writer.do(lambda c: holding.count(c, "recycled_patients"), urgent=True)
        _log.info("a patient was recycled to make room", patient=patient, instances=gone)

    def _refused(self, full: LimitReachedError) -> None:
        self._index.writer.submit(lambda c: holding.count(c, "refused"), within_s=_COUNTED_WITHIN_S)
        now = self._monotonic()
        if self._told_at is None or now - self._told_at >= _TOLD_S:
            self._told_at = now
            _log.error("what comes is refused, and nobody may go to make room for it", reason=str(full))
