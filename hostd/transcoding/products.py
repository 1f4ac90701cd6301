"""Products: what transforms make of stored files, made once for each (file, transform), however many couriers ask."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Protocol, TypeVar

import msgspec
import structlog
from sqlalchemy import Connection

from hostd.archive import deliveries, occurrences, receipts, tasks
from hostd.archive.archive import Archive
from hostd.archive.receipts import StoredReceipt
from hostd.archive.records import Blob, Delivery
from hostd.archive.tasks import Task
from hostd.dicom import part10, syntaxes
from hostd.dicom.identity import is_uid
from hostd.dicom.syntaxes import TransferSyntax
from hostd.errors import (
    CannotEditError,
    CodecCrashedError,
    InstanceFault,
    StorageError,
    ToolError,
    TranscodeError,
    UnlikeReceiptError,
    UnparsableError,
)
from hostd.locks import KeyedLocks
from hostd.transcoding.edits import Edit, impossible
from hostd.transcoding.options import EncodeOptions
from hostd.transcoding.receipt import Receipt
from hostd.transcoding.sameness import identified, require_own_identity, require_same, require_same_instance
from hostd.transcoding.stored import Product, Stored
from hostd.transcoding.together import Together
from hostd.transcoding.tools import Tools
from hostd.transcoding.transform import RunTool, Step, Transcode, Transform, told

MADE = "made"
KEPT_ORIGINAL = "kept original"

_log = structlog.get_logger(__name__)

T = TypeVar("T")


class Transcodes(Protocol):
    """What makes results: `hostd.transcoding.pool.CodecPool`."""

    def transcode(
        self, source: Path, target: TransferSyntax, result: Path, options: EncodeOptions | None = None
    ) -> Receipt:
        """Write `result`, which must not exist, and return its receipt. Raises `TranscodeError` or `OSError`."""
        ...


class Edits(Protocol):
    """What modifies, de-identifies and redacts: `hostd.editing.editor.Editor`."""

    def edit(self, step: Edit, source: Path, result: Path) -> Receipt:
        """Write `result`, which must not exist, and return its receipt, which names the instance that it is. Raises `TranscodeError` or `OSError`."""
        ...


def transcode_twice(
    pool: Transcodes,
    source: Path,
    target: TransferSyntax,
    result: Path,
    options: EncodeOptions | None = None,
    *,
    give_up: Callable[[], bool],
    again: Transcodes | None = None,
) -> Receipt:
    """Transcode; a codec process that died is given one more try, by `again` where that is another, since it may have died of something else.

    Not when `give_up` says so: a node that stops ends its codecs itself. Raises as `Transcodes.transcode` does.
    """
    ask, once_more = (partial(one.transcode, source, target, result, options) for one in (pool, again or pool))
    return _twice(ask, f"transcode to {target.keyword}", source, give_up, once_more)


def _twice(
    make: Callable[[], Receipt],
    what: str,
    source: Path,
    give_up: Callable[[], bool],
    again: Callable[[], Receipt] | None = None,
) -> Receipt:
    try:
        return make()
    except CodecCrashedError as error:
        if give_up():
            raise
        _log.warning("a codec process died, trying once more", file=source.name, work=what, error=str(error))
        return (again or make)()


class Products:
    """Makes what deliveries ask for, and remembers it by receipts. For any number of threads."""

    def __init__(
        self, archive: Archive, pool: Transcodes, tools: Tools | None = None, editor: Edits | None = None
    ) -> None:
        self._archive = archive
        self._pool = pool
        self._tools = tools
        self._editor = editor
        self._locks = KeyedLocks()
        self._together = Together(self.bring)
        self._stopping = False

    def stop(self) -> None:
        """Note that the node is stopping: from now on a codec that ends abruptly says nothing about its file."""
        self._stopping = True

    def is_stopping(self) -> bool:
        """Tell whether the node is stopping."""
        return self._stopping

    def obtain(self, delivery: Delivery, transform: Transform | None = None) -> Product:
        """Return what the delivery asks for, or its instance after another transform, making it if need be.

        Raises `InstanceFault` when there is no file, when it cannot be transformed and must not go as it is, or when one that it was asked
        for together with cannot be de-identified. `OSError` and `StorageError` say that this machine could not do its part now.
        """
        if transform is None:
            transform = _parsed(delivery.transform)
        product = self.bring(Stored.of(delivery), transform)
        if delivery.action is not None:
            asked = delivery.action, delivery.destination
            self._together.require(transform, asked, lambda: self._others(deliveries.asked_together, delivery))
        return product

    def obtain_for(self, task: Task) -> Product:
        """Return what the task asks for. Raises as `obtain` does."""
        assert task.blob is not None
        transform = _parsed(task.transform)
        product = self.bring(Stored(task.blob, task.sop_instance_uid or "", task.content or ""), transform)
        asked = task.action, task.queue
        self._together.require(transform, asked, lambda: self._others(tasks.asked_together, task))
        return product

    def _others(self, asked_together: Callable[[Connection, T], list[tuple[str, str, str]]], one: T) -> list[Stored]:
        with self._archive.read() as connection:
            return [Stored(*other) for other in asked_together(connection, one)]

    def bring(self, stored: Stored, transform: Transform) -> Product:
        """Return the stored file after that transform. Raises as `obtain` does."""
        product = self.source(stored)
        for count, step in enumerate(transform.steps, 1):
            if isinstance(step, Transcode) and step.options is None and step.to == product.transfer_syntax:
                continue
            work = _Work(stored, Transform(transform.steps[:count]), step, product)
            with self._locks.holding(work.key):
                receipt = self._receipt(work)
                product = self._known(work, receipt) or self._make(work, receipt)
        return product

    def source(self, stored: Stored) -> Product:
        """Return the stored file as it is. Raises `InstanceFault` when it is missing or is no DICOM file."""
        blob = stored.blob
        path = self._archive.blobs.path(blob)
        try:
            uid = part10.start_at(path).transfer_syntax_uid
        except FileNotFoundError as error:
            raise InstanceFault(f"the file {blob} of the instance is missing from the archive") from error
        except UnparsableError as error:
            raise InstanceFault(f"the file {blob} of the instance cannot be read: {error}") from error
        if not is_uid(uid):
            raise InstanceFault(f"the file {blob} of the instance names a transfer syntax that is no UID: {uid[:64]!r}")
        return Product(path, uid, blob, stored.sop_instance_uid)

    def _known(self, work: _Work, receipt: StoredReceipt | None) -> Product | None:
        """Return what was made earlier, of which the receipt tells, None when nothing was or it was let go meanwhile."""
        if receipt is None:
            return None
        if receipt.outcome == KEPT_ORIGINAL:
            return _kept(work.source, str(receipt.facts.get("reason", "")))
        if receipt.result is None or self._is_outdated(work.step, receipt):
            return None
        path = self._archive.blobs.path(receipt.result.name)
        if not path.exists():
            return None
        uid = str(receipt.facts.get("sop_instance_uid", "")) or work.source.sop_instance_uid
        return Product(path, receipt.result.transfer_syntax, receipt.result.name, uid)

    def _receipt(self, work: _Work) -> StoredReceipt | None:
        with self._archive.look() as connection:
            return receipts.find(connection, *work.key)

    def _is_outdated(self, step: Step, receipt: StoredReceipt) -> bool:
        """Tell whether a tool made this that is another by now."""
        tool = self._tools.all.get(step.name) if self._tools and isinstance(step, RunTool) else None
        return tool is not None and receipt.facts.get("codec_version") != tool.version()

    def _make(self, work: _Work, earlier: StoredReceipt | None) -> Product:
        spare = self._archive.blobs.vacant(is_product=True)
        try:
            receipt = self._carry_out(work, spare.path)
        except TranscodeError as error:
            if self._stopping:
                raise
            return self._keep_original(work, earlier, str(error))
        try:
            if earlier is not None and earlier.outcome == MADE and isinstance(work.step, Transcode):
                require_same(work.stored.sop_instance_uid, Receipt.from_dict(earlier.facts), receipt)
        except UnlikeReceiptError as error:
            spare.path.unlink(missing_ok=True)
            _log.error("what was made again differs from its receipt", transform=told(work.key[1]), reason=str(error))
            raise
        result = Blob(spare.name, receipt.bytes_after, receipt.result_sha256, receipt.result_syntax)
        stored = StoredReceipt(*work.key, MADE, receipt.to_dict(), result)
        try:
            self._archive.writer.do(lambda c: receipts.keep(c, stored, self._archive.clock.now()), blobs=[spare.name])
        except StorageError:
            raise  # the row may have been committed: its file is the sweep's to judge
        except BaseException:
            spare.path.unlink(missing_ok=True)
            raise
        uid = receipt.sop_instance_uid or work.source.sop_instance_uid
        return Product(spare.path, receipt.result_syntax, spare.name, uid)

    def _carry_out(self, work: _Work, result: Path) -> Receipt:
        """Do one step. Raises `TranscodeError` when it cannot be done to this file."""
        if isinstance(work.step, RunTool):
            if self._tools is None:
                raise ToolError("no external tools can be run here")
            receipt = self._tools.run(work.step.name, work.step.args, work.source.path, result)
            return msgspec.structs.replace(receipt, sop_instance_uid=_named_in(result))
        if isinstance(work.step, Edit):
            if self._editor is None:
                raise CannotEditError("nothing here modifies instances")
            ask = partial(self._editor.edit, work.step, work.source.path, result)
            return _twice(ask, "edit", work.source.path, lambda: self._stopping)
        target = syntaxes.by_uid(work.step.to)
        options = work.options(self._archive.secret)
        source = work.source.path
        receipt = transcode_twice(self._pool, source, target, result, options, give_up=lambda: self._stopping)
        try:
            if options is not None:
                require_own_identity(result, receipt, work.source.sop_instance_uid)
            else:
                require_same_instance(result, work.source.sop_instance_uid)
        except BaseException:
            result.unlink(missing_ok=True)
            raise
        return receipt

    def _keep_original(self, work: _Work, earlier: StoredReceipt | None, reason: str) -> Product:
        source = work.source
        if isinstance(work.step, RunTool) or not work.step.may_stay:
            self._archive.writer.do(lambda c: self._tell_failed(c, work, reason), topics=occurrences.TOPICS)
        if isinstance(work.step, RunTool):
            raise InstanceFault(f"what {work.step.name} was to make of the instance could not be made: {reason}")
        if isinstance(work.step, Edit):
            raise InstanceFault(f"{impossible(work.step)}, so nothing of it is sent: {reason}")
        if not work.step.may_stay:
            target = syntaxes.by_uid(work.step.to)
            raise InstanceFault(f"the instance could not be brought to {target}: {reason}")
        if earlier is not None:
            _log.warning(
                "what was made before could not be made again; the source is sent", blob=work.key[0], reason=reason
            )
            return _kept(source, reason)  # the receipt of what was made, and perhaps sent, stands
        with source.path.open("rb") as file:
            digest = hashlib.file_digest(file, "sha256").hexdigest()
            size = file.seek(0, 2)
        receipt = Receipt.kept_original(reason=reason, sha256=digest, syntax=source.transfer_syntax, size=size)
        stored = StoredReceipt(*work.key, KEPT_ORIGINAL, receipt.to_dict(), None)

        def keep(connection: Connection) -> None:
            receipts.keep(connection, stored, self._archive.clock.now())
            self._tell_failed(connection, work, reason)

        self._archive.writer.do(keep, topics=occurrences.TOPICS)
        return _kept(source, reason)

    def _tell_failed(self, connection: Connection, work: _Work, reason: str) -> None:
        now = self._archive.clock.now()
        occurrences.product_failed(connection, work.stored.blob, work.stored.content, reason, now)


@dataclass(frozen=True, slots=True)
class _Work:
    """The last step of `transform`, a transform of a stored file, to be done to `source`, what the steps before it made."""

    stored: Stored
    transform: Transform
    step: Step
    source: Product

    @property
    def key(self) -> tuple[str, str]:
        return self.stored.blob, self.transform.canonical()

    def options(self, secret: bytes) -> EncodeOptions | None:
        """Return how lossy the result may be, with the key of its identity; None: not at all."""
        if not isinstance(self.step, Transcode):
            return None
        before = Transform(self.transform.steps[:-1]).canonical()
        source = self.source
        return identified(
            self.step, secret, source.sop_instance_uid, self.stored.content, source.transfer_syntax, before
        )


def _parsed(text: str) -> Transform:
    try:
        return Transform.parse(text)
    except TranscodeError as error:
        raise InstanceFault(str(error)) from error


def _kept(source: Product, reason: str) -> Product:
    return replace(source, kept_original=True, reason=reason)


def _named_in(file: Path) -> str:
    """Return the SOP Instance UID that a file's meta information names."""
    return part10.start_at(file).meta.get(part10.META_INSTANCE, "")
