"""The codec workers as the host sees them: started when needed, one job at a time each, killed when they take too long.

Importing this loads no codec and no numpy. A worker that dies costs the job it was doing, and nothing else.
"""

from __future__ import annotations

import contextlib
import hashlib
import os
import sys
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import BinaryIO

import msgspec

from hostd.archive.blobs import hasten
from hostd.dicom import part10
from hostd.dicom.syntaxes import TransferSyntax
from hostd.errors import CannotTranscodeError, CodecCrashedError, UnparsableError, WrongPixelsError
from hostd.launcher import Launcher
from hostd.sandbox.frames import PixelFacts
from hostd.transcoding import file_leases
from hostd.transcoding.codec_worker import CodecWorker
from hostd.transcoding.messages import (
    Compare,
    Compared,
    Draw,
    Drawn,
    Hash,
    Job,
    Made,
    MadeSeveral,
    Measure,
    Measured,
    Picture,
    ReadPicture,
    Several,
)
from hostd.transcoding.options import EncodeOptions
from hostd.transcoding.receipt import Facts, Receipt
from hostd.transcoding.used_files import UsedFiles, create

_CODE = str(Path(__file__).resolve().parents[2])
_BOOTSTRAP = (
    "import sys; sys.path.insert(0, sys.argv[3]); from importlib import import_module; import_module(sys.argv[4]).run()"
)
_COMMAND = (sys.executable, "-I", "-c", _BOOTSTRAP)
WORKER = "hostd.transcoding.worker"
"""The module that a worker runs."""
MEMORY_BYTES = 2 << 30
"""What a codec process may use unless it is said otherwise."""
TIME_LIMIT_S = 600.0
"""Seconds that a job may take unless it is said otherwise."""
_SEVERAL_LIMIT_S = 30.0
"""Seconds that a job about several may take: they are small, and each that takes longer is made alone then."""
_HANDED_BACK_S = 1.0
"""Seconds within which nobody has a result open for writing any more. A program that the node starts has all that is open, until it has begun."""
_MOMENT_S = 0.005
_PIECE = 256 << 10
"""Bytes that are hashed at once."""
ENVIRONMENT = {
    # No thread pools: a worker is one job, and the machine's other processors belong to others.
    "OPENBLAS_NUM_THREADS": "1", "OMP_NUM_THREADS": "1", "MKL_NUM_THREADS": "1", "PYTHONHASHSEED": "random",
    # One arena: the C library otherwise reserves address space for each thread, which counts against the limit.
    "MALLOC_ARENA_MAX": "1",
    # Buffers of a frame's size are used again, whatever was done before; given back to the system after every frame, and faulted
    # in for the next, they cost a fast codec up to a third of its time.
    "MALLOC_MMAP_THRESHOLD_": str(32 << 20), "MALLOC_TRIM_THRESHOLD_": str(64 << 20),
}  # fmt: skip
"""Of a worker, and nothing else."""


class CodecPool:
    """Up to `workers` codec processes.

    `memory_bytes` bounds the address space of each, `time_limit_s` one job; a worker without work for `idle_s` leaves.
    `worker` is the module that they run, `hostd.transcoding.worker` or one that does more.
    All methods may be called from any thread and block; callers beyond `workers` wait for their turn.
    """

    def __init__(
        self,
        *,
        workers: int = 2,
        memory_bytes: int = MEMORY_BYTES,
        time_limit_s: float = TIME_LIMIT_S,
        idle_s: float = 60,
        worker: str = WORKER,
    ) -> None:
        # The folder is named, so that a worker runs the same code as its host, installed or not.
        self._launcher = Launcher(_COMMAND, (_CODE, worker), ENVIRONMENT, own_session=False)
        self._stays_warm = False
        self._memory_bytes = memory_bytes
        self._time_limit_s = time_limit_s
        self._idle_s = idle_s
        self._turns = threading.BoundedSemaphore(workers)
        self._lock = threading.Lock()
        self._idle: dict[CodecWorker, float] = {}
        """When each leaves, in seconds of the monotonic clock."""
        self._leaving: threading.Timer | None = None
        """One for all: a thread for every job would cost as much as a small job does."""
        self._busy: set[CodecWorker] = set()
        self._starting = 0
        self._closed = False

    def warm_up(self) -> None:
        """Have ready what workers are forked off, from now on, so that the first job does not wait until codecs are loaded.

        Raises `OSError` where no process can be started.
        """
        self._stays_warm = True
        self._launcher.warm_up()

    def transcode(
        self,
        source: Path,
        target: TransferSyntax,
        result: Path,
        options: EncodeOptions | None = None,
        *,
        verify: bool = True,
        at_leisure: bool = False,
        has_receipt: bool = True,
        open_result: Callable[[Path], int] = create,
    ) -> Receipt:
        """Make `result`, the image of `source` in the target syntax, and return its receipt.

        Without `options` nothing is lost; with them the target is a lossy one, and the result a derived instance of its own.
        Sizes, hashes and syntaxes of the receipt are seen by the host; what was proven of the pixels is the worker's word.
        Without `verify` the result is not decoded again and compared, and its receipt says so: no proof to replace anything by.
        What is done `at_leisure` has a processor only while nothing else on the machine wants one, where the system has that; it may so
        take longer than it may. Where no receipt is wanted (not `has_receipt`) the one that is returned has no hashes, and the result is not synced.

        `result` must not exist; it is written, synced to disk (its folder is not), and left only if everything succeeded.
        Raises `CannotTranscodeError` (with the reason), `WrongPixelsError`, `CodecCrashedError` (the worker died, took too
        long or ran out of memory), and `OSError` for the file system's refusals, `FileExistsError` among them.
        """
        job = Job(target.uid, options, verify, at_leisure, has_receipt)
        is_new = options is not None
        receipt = self.carry_out(
            job, source, result, is_new_instance=is_new, has_receipt=has_receipt, open_result=open_result
        )
        if receipt.result_syntax != target.uid:
            result.unlink()
            raise WrongPixelsError(f"the codec worker wrote {receipt.result_syntax[:64]!r} when {target} was asked for")
        return receipt

    def at_leisure(self) -> Leisurely:
        """Return this pool for what nobody waits for."""
        return Leisurely(self)

    def in_passing(self, used: UsedFiles) -> InPassing:
        """Return this pool for what is sent, and then kept by nobody; it writes over files that are used up."""
        return InPassing(self, used)

    def carry_out(
        self,
        job: msgspec.Struct,
        source: Path,
        result: Path,
        *,
        is_new_instance: bool = False,
        has_receipt: bool = True,
        open_result: Callable[[Path], int] = create,
    ) -> Receipt:
        """Make `result` of `source` by a job that the worker knows. Raises as `transcode` does.

        With `is_new_instance` the receipt names the SOP instance that the result is; `has_receipt` as of `transcode`.
        """
        with _opened(source) as original, _created(result, open_result) as made:
            source_syntax = _syntax_of(original, source)
            with self._worker() as worker:
                began = time.monotonic()
                worker.begin(job, [original, made.descriptor], self._time_limit_s)
                # While the worker has the file too.
                source_sha256 = _sha256(original) if has_receipt else ""
                reply = worker.finish(Made)
                made.take_back()
            # The worker goes on with another job while this result is synced and hashed.
            descriptor = made.descriptor
            hashes = (source_sha256, _synced(descriptor)) if has_receipt else ("", "")
            return _receipt(
                original, source_syntax, descriptor, reply.facts, began, hashes, is_new_instance=is_new_instance
            )

    def transcode_several(
        self, target: TransferSyntax, pairs: Sequence[tuple[Path, Path]], *, open_result: Callable[[Path], int] = create
    ) -> list[Receipt | None]:
        """Make several results in one job, each of the source beside it, as `transcode` does without `has_receipt`; at most `MOST_AT_ONCE`.

        None stands for one that was not made, and is not there: who asks for that alone learns why. Raises as `transcode` does, where none
        was made, which is so already when one of the sources cannot be read.
        """
        with contextlib.ExitStack() as files:
            with self._worker() as worker:
                # No sooner: those who wait for their turn may be many, and have nothing open meanwhile.
                opened = [
                    (files.enter_context(_opened(source)), files.enter_context(_created(result, open_result)))
                    for source, result in pairs
                ]
                source_syntaxes = [
                    _syntax_of(original, source) for (original, _), (source, _) in zip(opened, pairs, strict=True)
                ]
                began, limit_s = time.monotonic(), min(self._time_limit_s, _SEVERAL_LIMIT_S)
                descriptors = [descriptor for original, made in opened for descriptor in (original, made.descriptor)]
                reply = worker.run(Several(target.uid, len(pairs)), descriptors, limit_s, MadeSeveral)
                if len(reply.outcomes) > len(pairs):
                    raise CodecCrashedError("the codec worker says that it made more than it was asked for")
                for said, (_, made) in zip(reply.outcomes, opened, strict=False):
                    if isinstance(said, Made):
                        made.take_back()
            receipts: list[Receipt | None] = []
            for place, (original, made) in enumerate(opened):
                outcome = reply.outcomes[place] if place < len(reply.outcomes) else None
                receipt = None
                if isinstance(outcome, Made):
                    with contextlib.suppress(WrongPixelsError):
                        receipt = _receipt(original, source_syntaxes[place], made.descriptor, outcome.facts, began)
                if receipt is None or receipt.result_syntax != target.uid:
                    pairs[place][1].unlink(missing_ok=True)
                    receipt = None
                receipts.append(receipt)
            return receipts

    def pixel_hash(self, source: Path) -> str:
        """Return the pixel hash of a file (`hostd.transcoding.pixels`). Raises as `transcode` does."""
        with self._worker() as worker, source.open("rb") as original:
            return worker.run(Job(None), [original.fileno()], self._time_limit_s, Hash).value

    def measure(self, source: Path) -> PixelFacts:
        """Return what the samples of a file come to. Raises as `transcode` does."""
        with self._worker() as worker, source.open("rb") as original:
            return worker.run(Measure(), [original.fileno()], self._time_limit_s, Measured).facts

    def draw(self, source: Path, job: Draw, result: Path) -> None:
        """Write a picture of a frame to `result`, which must not exist. Raises as `transcode` does; then there is none."""
        with _opened(source) as original, _created(result, create) as made, self._worker() as worker:
            worker.run(job, [original, made.descriptor], self._time_limit_s, Drawn)
            made.take_back()

    def read_picture(self, source: BinaryIO, job: ReadPicture, result: BinaryIO) -> Picture:
        """Write the samples of a picture that is no DICOM into an open file; return what they are. Raises as `transcode` does."""
        with self._worker() as worker:
            return worker.run(job, [source.fileno(), result.fileno()], self._time_limit_s, Picture)

    def compare(self, source: Path, result: Path) -> Compared:
        """Return what distinguishes the second file from the first, beyond their transfer syntax. Raises as `transcode` does."""
        with self._worker() as worker, source.open("rb") as before, result.open("rb") as after:
            return worker.run(Compare(), [before.fileno(), after.fileno()], self._time_limit_s, Compared)

    def close(self) -> None:
        """End all workers; a job that is still running fails with `CodecCrashedError`. Later calls fail too."""
        with self._lock:
            self._closed = True
            idle, busy = list(self._idle), set(self._busy)
            self._idle.clear()
            if self._leaving:
                self._leaving.cancel()
        for worker in idle:
            worker.end()
        for worker in busy:
            worker.kill()
        self._launcher.close()

    @contextlib.contextmanager
    def _worker(self) -> Iterator[CodecWorker]:
        """Lend a worker for one job."""
        with self._turns:
            worker = self._take()
            try:
                yield worker
            except CodecCrashedError:
                worker.is_usable = False  # what it says or does is not what it should be
                raise
            finally:
                self._give_back(worker)

    def _take(self) -> CodecWorker:
        with self._lock:
            self._refuse_when_closed()
            while self._idle:
                worker, _ = self._idle.popitem()
                if worker.is_alive():
                    self._busy.add(worker)
                    return worker
                worker.end()
            self._starting += 1
        try:
            worker = CodecWorker(self._launcher, self._memory_bytes)
        except OSError:
            self._refuse_when_closed()  # meanwhile, so that none can be started
            raise
        finally:
            with self._lock:
                self._starting -= 1
        with self._lock:
            if not self._closed:
                self._busy.add(worker)
                return worker
        worker.end()
        raise CodecCrashedError("the codec workers were ended because the node stops")

    def _give_back(self, worker: CodecWorker) -> None:
        with self._lock:
            self._busy.discard(worker)
            if worker.is_usable and not self._closed:
                self._idle[worker] = time.monotonic() + self._idle_s
                if self._leaving is None:
                    self._leave_after(self._idle_s)
                return
        worker.end()

    def _leave_after(self, seconds: float) -> None:
        self._leaving = threading.Timer(seconds, self._leave)
        self._leaving.daemon = True
        self._leaving.name = "codec-idle"
        self._leaving.start()

    def _leave(self) -> None:
        """End the workers that had no work for long enough, and come back for the others."""
        with self._lock:
            self._leaving = None
            now = time.monotonic()
            left = [worker for worker, leaves_at in self._idle.items() if leaves_at <= now]
            for worker in left:
                del self._idle[worker]
            if self._idle:
                self._leave_after(min(self._idle.values()) - now)
        for worker in left:
            worker.end()
        with self._lock:
            if not (self._stays_warm or self._idle or self._busy or self._starting):
                self._launcher.rest()

    def _refuse_when_closed(self) -> None:
        if self._closed:
            raise CodecCrashedError("the codec workers were ended because the node stops")


class Leisurely:
    """A pool whose transcodes are done at leisure."""

    def __init__(self, pool: CodecPool) -> None:
        self._pool = pool

    def transcode(
        self, source: Path, target: TransferSyntax, result: Path, options: EncodeOptions | None = None
    ) -> Receipt:
        """Make `result`; as `CodecPool.transcode` does, and raises likewise."""
        return self._pool.transcode(source, target, result, options, at_leisure=True)


class InPassing:
    """A pool whose results have no receipt."""

    def __init__(self, pool: CodecPool, used: UsedFiles) -> None:
        self._pool = pool
        self._used = used

    def transcode(
        self, source: Path, target: TransferSyntax, result: Path, options: EncodeOptions | None = None
    ) -> Receipt:
        """Make `result`; as `CodecPool.transcode` does without `has_receipt`, and raises likewise."""
        return self._pool.transcode(source, target, result, options, has_receipt=False, open_result=self._used.open)

    def transcode_several(self, target: TransferSyntax, pairs: Sequence[tuple[Path, Path]]) -> list[Receipt | None]:
        """Make several results in one job; as `CodecPool.transcode_several` does, and raises likewise."""
        return self._pool.transcode_several(target, pairs, open_result=self._used.open)


@contextlib.contextmanager
def _opened(path: Path) -> Iterator[int]:
    descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    try:
        yield descriptor
    finally:
        os.close(descriptor)


class _Result:
    """A file that a worker writes; `descriptor` is open for writing until it was taken back, and from then on for reading."""

    def __init__(self, path: Path, descriptor: int) -> None:
        self.path = path
        self.descriptor = descriptor

    def take_back(self) -> None:
        """See to it that nobody writes to it any more, where that can be told, so that what is found in it stays true. Raises `CodecCrashedError`."""
        written, self.descriptor = self.descriptor, os.open(self.path, os.O_RDONLY | os.O_CLOEXEC)
        os.close(written)
        until = time.monotonic() + _HANDED_BACK_S
        while file_leases.is_open_for_writing(self.descriptor):
            if time.monotonic() >= until:
                raise CodecCrashedError("the codec worker kept open what it had written")
            time.sleep(_MOMENT_S)


@contextlib.contextmanager
def _created(path: Path, open_result: Callable[[Path], int]) -> Iterator[_Result]:
    """Open a result that is to be written; what is left of it goes where something was raised."""
    result = _Result(path, open_result(path))
    try:
        yield result
    except BaseException:
        path.unlink(missing_ok=True)
        raise
    finally:
        os.close(result.descriptor)


def _syntax_of(descriptor: int, path: Path) -> str:
    try:
        return part10.start_of(descriptor).transfer_syntax_uid
    except UnparsableError as error:
        raise CannotTranscodeError(f"{path.name}: {error}") from error


def _receipt(
    original: int,
    source_syntax: str,
    made: int,
    facts: Facts,
    began: float,
    hashes: tuple[str, str] = ("", ""),
    *,
    is_new_instance: bool = False,
) -> Receipt:
    """Return the receipt of a result, with the hashes of both files; `began` in seconds of the monotonic clock. Raises `WrongPixelsError`."""
    try:
        start = part10.start_of(made)
    except UnparsableError as error:
        raise WrongPixelsError(f"what the codec worker wrote cannot be read: {error}") from error
    return Receipt(
        outcome="made",
        reason="",
        source_sha256=hashes[0],
        result_sha256=hashes[1],
        source_syntax=source_syntax,
        result_syntax=start.transfer_syntax_uid,
        pixel_hash_before=facts.pixel_hash_before,
        pixel_hash_after=facts.pixel_hash_after,
        codec=facts.codec,
        codec_version=facts.codec_version,
        verified_by=facts.verified_by,
        note=facts.note,
        sop_instance_uid=start.meta.get(part10.META_INSTANCE, "") if is_new_instance else "",
        bytes_before=os.fstat(original).st_size,
        bytes_after=os.fstat(made).st_size,
        milliseconds=round(1000 * (time.monotonic() - began)),
    )


def _synced(descriptor: int) -> str:
    """Put an open file on stable storage; return its hash."""
    hasten(descriptor)
    digest = _sha256(descriptor)
    os.fsync(descriptor)
    return digest


def _sha256(descriptor: int) -> str:
    """Hash an open file without moving its position, which a worker may share."""
    digest, offset, piece = hashlib.sha256(), 0, memoryview(bytearray(_PIECE))
    while count := os.preadv(descriptor, [piece], offset):
        digest.update(piece[:count])
        offset += count
    return digest.hexdigest()
