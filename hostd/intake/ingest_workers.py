"""The threads that transcode what has arrived: a sender waits a while for its own, the others are rows.

Everything goes in the order of arrival. A sender waits only while nothing that came before it waits as a row; otherwise it would
wait in vain. The number of threads is the number of codec processes that ingest may use at one time, so that however much has piled
up, deliveries find the others free. What a sender waits for and is soon done may have those too, by threads of its own: one more than
there are processes, so that they go on while a result is synced.
"""

from __future__ import annotations

import threading
import time
from collections import deque
from collections.abc import Callable
from concurrent.futures import Future
from dataclasses import dataclass, field
from typing import Self

import msgspec
import structlog
from sqlalchemy import Connection

from hostd.archive import ingests, leases, pending
from hostd.archive.archive import Archive
from hostd.archive.ingests import Ended, Kept, Made
from hostd.archive.limits import Allowance
from hostd.archive.pending import Pending
from hostd.archive.records import Blob
from hostd.config.storage import Storage
from hostd.dicom import syntaxes
from hostd.dicom.header import Header, read_file_header
from hostd.dicom.loss import EncodeOptions
from hostd.dicom.recalled_header import Memory
from hostd.errors import HostdError, LimitReachedError, StorageError, TranscodeError, WrongPixelsError
from hostd.intake.ingest import Aim
from hostd.transcoding.products import Transcodes, transcode_twice
from hostd.transcoding.receipt import Receipt
from hostd.transcoding.sameness import identified, require_own_identity

_log = structlog.get_logger(__name__)

_AGAIN_S = 5.0
"""Seconds before what could not be entered is tried again."""


_SOON_DONE = 4 << 20
"""Bytes of a file that is transcoded in half a second or so: as long as a delivery may be kept waiting."""


@dataclass(frozen=True, slots=True)
class Share:
    """How many threads transcode whatever has come, and how many besides only what a sender waits for and is soon done."""

    threads: int
    quick: int = 0

    @classmethod
    def of(cls, workers: int) -> Self:
        """Return what ingest may use of so many codec processes."""
        threads = max(1, workers - 1)
        return cls(threads, workers + 1 - threads)


@dataclass(eq=False, slots=True)
class Job:
    """One transcode, of the instance with Orthanc's identifier `instance`, whose data set as received has the SHA-256 `content`.

    `outcome` has how it ended; None when the node stops first, so that nothing is known. `is_row`: no sender waits for it.
    """

    original: Blob
    content: str
    aim: Aim
    instance: str
    sop_instance_uid: str
    outcome: Future[Ended | None] = field(default_factory=Future)
    is_row: bool = False

    def wait(self, seconds: float) -> Ended | None:
        """Return how it ended, None when it has not, after so many seconds."""
        try:
            return self.outcome.result(seconds)
        except TimeoutError:
            return None


class IngestWorkers:
    """Transcodes in threads of its own; what no sender waits for by `leisurely`, where there is that. All methods may be called from any thread."""

    def __init__(
        self,
        archive: Archive,
        pool: Transcodes,
        share: Share,
        *,
        leisurely: Transcodes | None = None,
        allowance: Allowance | None = None,
    ) -> None:
        self._archive = archive
        self._allowance = allowance or Allowance(archive, Storage)
        self._pool = pool
        self._leisurely = leisurely or pool
        lock = threading.RLock()
        self._changed = threading.Condition(lock)
        self._quick = threading.Condition(lock)
        """For the threads that do only what is soon done."""
        self._idle = 0
        """How many of the others wait for something to do."""
        self._queue: deque[Job] = deque()
        self._in_hand: set[str] = set()
        """Files that have a job here, whether their row is entered yet or not."""
        self._headers = Memory()
        self._has_rows = False
        self._not_before = 0.0
        self._stopping = False
        nexts = [self._next] * share.threads + [self._next_quick] * share.quick
        self._threads = [
            threading.Thread(target=self._serve, args=(find,), name=f"ingest-{number}", daemon=True)
            for number, find in enumerate(nexts)
        ]

    # -- life

    def start(self) -> None:
        """Begin with what an earlier run left pending."""
        with self._archive.read() as connection:
            left = pending.first(connection, 1)
        self._has_rows = bool(left)
        if left:
            _log.info("transcoding goes on with what was acknowledged before the last stop, and not finished")
        for thread in self._threads:
            thread.start()

    def stop(self, grace_s: float) -> None:
        """Begin nothing more; what still runs after `grace_s` seconds is the codec pool's to end, and goes on at the next start."""
        with self._changed:
            self._stopping = True
            left, self._queue = list(self._queue), deque()
            self._changed.notify_all()
            self._quick.notify_all()
        for job in left:
            job.outcome.set_result(None)
        ends = time.monotonic() + grace_s
        for thread in self._threads:
            if thread.ident is not None:
                thread.join(max(0.0, ends - time.monotonic()))

    def join(self) -> None:
        """Wait for the threads, after the codec pool was closed."""
        for thread in self._threads:
            if thread.ident is not None:
                thread.join()

    # -- what intake asks for

    def submit(self, original: Blob, content: str, aim: Aim, header: Header) -> Job | None:
        """Queue the transcode of a file for a sender that waits; None when there is no use in waiting."""
        with self._changed:
            if self._stopping or self._has_rows or any(job.is_row for job in self._queue):
                return None
            job = Job(original, content, aim, header.identity.instance, header.sop_instance_uid)
            self._in_hand.add(original.name)
            self._queue.append(job)
            self._changed.notify()
            if len(self._queue) > self._idle:
                self._quick.notify()
        return job

    def entered(self, job: Job) -> None:
        """Note that how the job ended is in the index."""
        with self._changed:
            self._in_hand.discard(job.original.name)

    def withdraw(self, job: Job) -> None:
        """Note that nobody wants the result any more."""
        with self._changed:
            is_waiting = job in self._queue
            if is_waiting:
                self._queue.remove(job)
        if is_waiting:
            job.outcome.set_result(None)
        job.outcome.add_done_callback(lambda done: self._drop(job, done.result()))

    def adopt(self, number: int, job: Job | None) -> None:
        """Note that a row is entered: it is ended when its job ends, or when its turn comes."""
        with self._changed:
            if job is None:
                self._has_rows = True
                self._changed.notify()
                return
            job.is_row = True
        job.outcome.add_done_callback(lambda done: self._finish(number, job, done.result()))

    # -- the threads

    def _serve(self, find: Callable[[], Job | None]) -> None:
        while True:
            try:
                job = find()
                if job is None:
                    return
                outcome = self._run(job)
            except Exception:  # noqa: BLE001 - a thread that must not end; it tries again
                _log.exception("hostd failed to take up an ingest; it tries again")
                self._put_off()
                continue
            job.outcome.set_result(outcome)

    def _next(self) -> Job | None:
        """Wait for a job, first those that senders wait for, for they came before the rows; None when the node stops."""
        with self._changed:
            while not self._stopping:
                if self._queue:
                    return self._pop()
                pause = self._not_before - time.monotonic()
                if self._has_rows and pause <= 0:
                    job = self._next_row()
                    if job is not None:
                        return job
                waits_s = pause if self._has_rows and pause > 0 else None
                if waits_s is None and self._archive.is_shared:  # a node may go, and leave rows
                    waits_s = leases.SECONDS
                self._idle += 1
                is_notified = self._changed.wait(waits_s)
                self._idle -= 1
                if not is_notified:
                    self._has_rows = True
            return None

    def _next_quick(self) -> Job | None:
        """Wait for a job that a sender waits for and is soon done, if it is the next; None when the node stops."""
        with self._changed:
            while not self._stopping:
                if self._queue and not self._queue[0].is_row and self._queue[0].original.size <= _SOON_DONE:
                    return self._pop()
                self._quick.wait()
            return None

    def _pop(self) -> Job:
        job = self._queue.popleft()
        if len(self._queue) > self._idle:  # what is next may be soon done, as this was not
            self._quick.notify()
        return job

    def _next_row(self) -> Job | None:
        with self._archive.read() as connection:
            others = leases.other_nodes(connection, self._archive.node)
            rows = pending.first(connection, len(self._in_hand) + 2, leave_to=others)
        free = [row for row in rows if row.blob.name not in self._in_hand]
        self._has_rows = len(free) > 1
        if self._has_rows:
            self._changed.notify()
        return self._job_of(free[0]) if free else None

    def _job_of(self, row: Pending) -> Job:
        header = Header.decode(row.header)
        options = msgspec.json.decode(row.options, type=EncodeOptions) if row.options is not None else None
        aim = Aim(syntaxes.by_uid(row.target), options, row.keep_original)
        job = Job(row.blob, row.content, aim, header.identity.instance, header.sop_instance_uid, is_row=True)
        self._in_hand.add(row.blob.name)
        job.outcome.add_done_callback(lambda done: self._finish(row.number, job, done.result()))
        return job

    def _run(self, job: Job) -> Ended | None:
        """Transcode. Whatever goes wrong, the original is kept and the reason is told."""
        try:
            return self._make(job)
        except TranscodeError as error:
            if self._stopping:
                return None
            reason, is_final = str(error), True
        except (HostdError, OSError) as error:  # this machine's trouble, which says nothing about the file
            reason, is_final = str(error), False
        except Exception as error:  # noqa: BLE001 - a row whose transcode ends in no way would be tried for ever
            _log.exception("hostd failed to transcode on ingest", sop_instance_uid=job.sop_instance_uid)
            reason, is_final = f"hostd failed: {type(error).__name__}: {error}", False
        return self._kept(job, reason, is_final=is_final)

    def _kept(self, job: Job, reason: str, *, is_final: bool) -> Kept:
        _log.warning(
            "not transcoded on ingest, the original is kept",
            sop_instance_uid=job.sop_instance_uid,
            target=job.aim.target.keyword,
            reason=reason,
        )
        original = job.original
        receipt = Receipt.kept_original(
            reason=reason, sha256=original.sha256, syntax=original.transfer_syntax, size=original.size
        )
        return Kept(reason, receipt.to_dict(), is_final)

    def _make(self, job: Job) -> Made:
        """Make the product and read back what it is. Raises `HostdError` or `OSError`; then nothing of it stays."""
        spare = self._archive.blobs.vacant()
        source, target = self._archive.blobs.path(job.original.name), job.aim.target
        options = identified(
            job.aim.step, self._archive.secret, job.sop_instance_uid, job.content, job.original.transfer_syntax
        )
        receipt = transcode_twice(
            self._leisurely if job.is_row else self._pool, source, target, spare.path, options,
            give_up=lambda: self._stopping, again=self._pool,
        )  # fmt: skip
        try:
            if options is not None:
                require_own_identity(spare.path, receipt, job.sop_instance_uid)
            header = read_file_header(spare.path, self._headers)
            is_same = header.identity.instance == job.instance
            if header.transfer_syntax != target.uid or is_same is not (options is None):
                raise WrongPixelsError(
                    "the codec gave another instance, or another transfer syntax, than it was asked for"
                )
        except BaseException:
            spare.path.unlink(missing_ok=True)
            raise
        product = Blob(spare.name, receipt.bytes_after, receipt.result_sha256, receipt.result_syntax)
        return Made(product, header, receipt.to_dict())

    def _finish(self, number: int, job: Job, ended: Ended | None) -> None:
        """Enter how the job of a row ended; where that fails the row is still there, and its turn comes again."""
        if ended is None:
            return
        product = ended.product.name if isinstance(ended, Made) else None
        try:
            is_used = self._enter(number, job, ended)
        except Exception as error:  # noqa: BLE001 - the sender has its answer; the row's turn comes again
            _log.exception("how an ingest ended could not be entered", sop_instance_uid=job.sop_instance_uid)
            if product and not isinstance(error, StorageError):  # otherwise the row may be committed: the sweep judges
                self._archive.blobs.unlink(product)
            self.entered(job)
            self._put_off()
            return
        if product and not is_used:
            self._archive.blobs.unlink(product)
        self.entered(job)

    def _enter(self, number: int, job: Job, ended: Ended) -> bool:
        """Enter how the job of a row ended; return whether its product is used. The original stays where the product would go beyond the limits."""

        def finish(connection: Connection, how: Ended = ended) -> bool:
            return ingests.finish(connection, number, how, job.aim.transform, self._archive.clock.now())

        if isinstance(ended, Made):
            try:
                return self._allowance.enter(
                    finish, size=ended.product.size, patient=ended.header.identity.patient, blobs=[ended.product.name],
                    urgent=False,
                )  # fmt: skip
            except LimitReachedError as full:
                kept = self._kept(job, f"what was made would not fit into the archive ({full.limit})", is_final=False)
                return self._archive.writer.do(lambda c: finish(c, kept), topics=("event",))
        return self._archive.writer.do(finish, topics=("event",))

    def _drop(self, job: Job, ended: Ended | None) -> None:
        if isinstance(ended, Made):
            self._archive.blobs.unlink(ended.product.name)
        with self._changed:
            self._in_hand.discard(job.original.name)
            self._has_rows = True  # whether its row was committed may not be known
            self._changed.notify()

    def _put_off(self) -> None:
        with self._changed:
            self._has_rows = True
            self._not_before = time.monotonic() + _AGAIN_S
            self._changed.notify_all()
