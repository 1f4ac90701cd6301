"""Products for whoever retrieves: files of the archive in another transfer syntax, without loss, kept for the next minutes only.

Nothing is decided by them, so that they have no receipt and no row, and are not put on stable storage. What a crash leaves of
them has no row, and the sweep at the next start removes it.
"""

from __future__ import annotations

import threading
import time
from collections import OrderedDict
from collections.abc import Callable, Sequence
from contextlib import ExitStack, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

import structlog

from hostd.archive import occurrences
from hostd.archive.archive import Archive
from hostd.archive.blobs import Vacancy
from hostd.archive.records import Delivery
from hostd.dicom import syntaxes
from hostd.dicom.syntaxes import TransferSyntax
from hostd.errors import InstanceFault, StorageError, TranscodeError
from hostd.locks import KeyedLocks
from hostd.transcoding.messages import MOST_AT_ONCE
from hostd.transcoding.products import Products, Transcodes, transcode_twice
from hostd.transcoding.receipt import Receipt
from hostd.transcoding.sameness import require_same_instance
from hostd.transcoding.stored import Product, Stored
from hostd.transcoding.transform import Transcode, Transform
from hostd.transcoding.used_files import UsedFiles

_KEPT_S = 300.0
"""Seconds for which a product serves who asks for it, from when it was last asked for: long enough that what is made ahead is there when its turn comes, over a slow line."""
_MOST_BYTES = 192 << 20
"""Bytes that all of them have together, at most, but for the newest; little enough that they are written over while they are in memory."""
_NEWEST = 128
"""Those that are on their way now: as many as are made ahead, of four retrievals."""
_NEWEST_BYTES = 1 << 30
"""Bytes that they have together, at most, but for a quarter of them: of what is large less is made ahead."""

_log = structlog.get_logger(__name__)


class MakesSeveral(Protocol):
    """What makes several results in one job: `hostd.transcoding.pool.InPassing`."""

    def transcode_several(self, target: TransferSyntax, pairs: Sequence[tuple[Path, Path]]) -> list[Receipt | None]:
        """Write each result, which must not exist, of the source beside it; None for one that was not. Raises `TranscodeError` or `OSError`."""
        ...


class Passing:
    """Makes them, each once. For any number of threads.

    `pool` makes results that need no receipt, and may write over what is `used` up; `several`, where it is asked before anybody else, makes
    the same in one job. `products` makes whatever is more than a change of the transfer syntax, and stops first.
    """

    def __init__(
        self,
        archive: Archive,
        pool: Transcodes,
        products: Products,
        used: UsedFiles,
        *,
        several: MakesSeveral | None = None,
        now: Callable[[], float] = time.monotonic,
        most_bytes: int = _MOST_BYTES,
        newest: int = _NEWEST,
    ) -> None:
        self._archive = archive
        self._pool = pool
        self._products = products
        self._used = used
        self._several = several
        self._now = now
        self._most_bytes = most_bytes
        self._newest = newest
        self._making = KeyedLocks()
        self._lock = threading.Lock()
        # What follows is for who holds `_lock`.
        self._kept: OrderedDict[tuple[str, str], _Kept] = OrderedDict()
        """By file and transfer syntax, what was asked for last at the end."""
        self._bytes = 0
        self._stopped = False

    def obtain(self, delivery: Delivery, transform: Transform | None = None) -> Product:
        """Do as `Products.obtain` does, and raise likewise."""
        step = _only_step(transform)
        if step is None:
            return self._products.obtain(delivery, transform)
        stored = Stored.of(delivery)
        key = stored.blob, step.to
        if (known := self._known(key)) is not None:
            return known
        source = self._products.source(stored)
        if step.to == source.transfer_syntax:
            return source
        with self._making.holding(key):
            return self._known(key) or self._make(key, stored, source)

    def obtain_ahead(self, asked: Sequence[tuple[Delivery, Transform]]) -> None:
        """Make what will be asked for, as much as can be in one job of a codec. Raises nothing of the instances': `obtain` tells what is wrong with what was not made."""
        if self._several is None:
            return
        by_target: dict[str, list[_Wanted]] = {}
        for delivery, transform in asked:
            step, stored = _only_step(transform), Stored.of(delivery)
            if step is not None:
                by_target.setdefault(step.to, []).append(_Wanted((stored.blob, step.to), stored))
        for target, wanted in by_target.items():
            for start in range(0, len(wanted), MOST_AT_ONCE):
                self._make_several(self._several, target, wanted[start : start + MOST_AT_ONCE])

    def _make_several(self, several: MakesSeveral, target: str, wanted: Sequence[_Wanted]) -> None:
        with ExitStack() as locks:
            # In one order, so that of two who are about the same none waits for the other for ever.
            for key in sorted({one.key for one in wanted}):
                locks.enter_context(self._making.holding(key))
            missing = list({one.key: one for one in wanted if self._known(one.key) is None}.values())
            spares = [self._archive.blobs.vacant(is_product=True) for _ in missing]
            blobs = self._archive.blobs
            pairs = [(blobs.path(one.stored.blob), spare.path) for one, spare in zip(missing, spares, strict=True)]
            try:
                receipts = several.transcode_several(syntaxes.by_uid(target), pairs) if pairs else []
            except (TranscodeError, OSError) as error:
                if self._products.is_stopping():
                    return
                _log.warning("several could not be made at one time; each is made alone", to=target, reason=str(error))
                return
            left = {spare.path for spare, receipt in zip(spares, receipts, strict=True) if receipt is not None}
            try:
                for one, spare, receipt in zip(missing, spares, receipts, strict=True):
                    if receipt is not None and self._take(one, spare, receipt):
                        left.remove(spare.path)
            finally:
                for path in left:
                    with suppress(OSError):  # it is left to the sweep
                        path.unlink(missing_ok=True)

    def _take(self, one: _Wanted, spare: Vacancy, receipt: Receipt) -> bool:
        """Keep one of several, if it is what it should be; tell whether it was."""
        uid = one.stored.sop_instance_uid
        try:
            require_same_instance(spare.path, uid)
            product = Product(spare.path, receipt.result_syntax, spare.name, uid)
            self._keep(one.key, _Kept(product, spare, receipt.bytes_after, self._now() + _KEPT_S))
        except (TranscodeError, StorageError, OSError) as error:
            if not self._products.is_stopping():
                _log.warning("what was made with others is made again alone", sop_instance_uid=uid, reason=str(error))
            return False
        return True

    def source(self, stored: Stored) -> Product:
        """Do as `Products.source` does."""
        return self._products.source(stored)

    def tidy(self) -> None:
        """Remove those that nobody has asked for lately."""
        with self._lock:
            self._drop(lambda oldest: oldest.until <= self._now())
        self._used.clear()

    def stop(self) -> None:
        """Remove all of them; no other is made."""
        with self._lock:
            self._stopped = True
            self._used.close()
            self._drop(lambda _: True)

    def _known(self, key: tuple[str, str]) -> Product | None:
        with self._lock:
            kept = self._kept.get(key)
            if kept is None or not kept.product.path.exists():
                return None
            kept.until = self._now() + _KEPT_S
            self._kept.move_to_end(key)
            return kept.product

    def _make(self, key: tuple[str, str], stored: Stored, source: Product) -> Product:
        target = syntaxes.by_uid(key[1])
        spare = self._archive.blobs.vacant(is_product=True)
        try:
            receipt = transcode_twice(self._pool, source.path, target, spare.path, give_up=self._products.is_stopping)
            require_same_instance(spare.path, stored.sop_instance_uid)
        except TranscodeError as error:
            spare.path.unlink(missing_ok=True)
            if self._products.is_stopping():
                raise
            reason, now = str(error), self._archive.clock.now()
            self._archive.writer.do(
                lambda c: occurrences.product_failed(c, stored.blob, stored.content, reason, now),
                topics=occurrences.TOPICS,
            )
            raise InstanceFault(f"the instance could not be brought to {target}: {reason}") from error
        except BaseException:
            spare.path.unlink(missing_ok=True)
            raise
        product = Product(spare.path, receipt.result_syntax, spare.name, stored.sop_instance_uid)
        self._keep(key, _Kept(product, spare, receipt.bytes_after, self._now() + _KEPT_S))
        return product

    def _keep(self, key: tuple[str, str], kept: _Kept) -> None:
        with self._lock:
            if self._stopped:
                self._archive.blobs.unlink(kept.spare.name)
                raise StorageError("nothing is made any more, as the node stops")
            if (before := self._kept.pop(key, None)) is not None:
                self._bytes -= before.size
            self._kept[key] = kept
            self._bytes += kept.size
            self._drop(lambda oldest: oldest.until <= self._now() or self._is_too_much())

    def _is_too_much(self) -> bool:
        newest = self._newest if self._bytes <= _NEWEST_BYTES else self._newest // 4
        return self._bytes > self._most_bytes and len(self._kept) > newest

    def _drop(self, is_due: Callable[[_Kept], bool]) -> None:
        """Remove the oldest as long as they are due."""
        while self._kept and is_due(oldest := next(iter(self._kept.values()))):
            self._kept.popitem(last=False)
            self._bytes -= oldest.size
            try:
                self._used.give(oldest.product.path, oldest.size)
            except OSError as error:
                _log.warning(
                    "what was made could not be removed; the sweep will", file=oldest.spare.name, reason=str(error)
                )


@dataclass(slots=True)
class _Kept:
    product: Product
    spare: Vacancy
    size: int
    until: float
    """By the monotonic clock."""


@dataclass(frozen=True, slots=True)
class _Wanted:
    key: tuple[str, str]
    stored: Stored


def _only_step(transform: Transform | None) -> Transcode | None:
    """Return the step of a transform that is a change of the transfer syntax without loss, and nothing else."""
    steps = transform.steps if transform is not None else ()
    if len(steps) == 1 and isinstance(steps[0], Transcode) and steps[0].options is None and not steps[0].may_stay:
        return steps[0]
    return None
