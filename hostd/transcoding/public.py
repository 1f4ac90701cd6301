"""`hostd.transcode`: one image in another transfer syntax, for programs; what `hostd transcode` does with each file."""

from __future__ import annotations

import atexit
import hashlib
import os
import tempfile
import threading
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from hostd.dicom import part10, syntaxes
from hostd.dicom.syntaxes import TransferSyntax
from hostd.errors import CannotTranscodeError, StorageError, TranscodeError, UnparsableError
from hostd.sandbox.frames import PixelFacts
from hostd.transcoding.options import EncodeOptions
from hostd.transcoding.placing import placed
from hostd.transcoding.pool import MEMORY_BYTES, TIME_LIMIT_S, CodecPool
from hostd.transcoding.receipt import Receipt
from hostd.transcoding.transcode import RECOMPRESSIONS, check_target

_CHUNK = 1 << 20


@dataclass(frozen=True, slots=True)
class Transcoded:
    """What `hostd.transcode` returns."""

    content: bytes
    """The DICOM file; empty when it was written to `path`."""
    receipt: Receipt
    """How it was made and proven. Its outcome is `kept original` when the image was in that syntax already."""
    path: Path | None = None
    """The file that was asked for by `result=`."""


@dataclass(frozen=True, slots=True)
class Wanted:
    """A transfer syntax, and for one that loses information how much may be lost."""

    target: TransferSyntax
    options: EncodeOptions | None = None

    @classmethod
    def parse(
        cls, to: str, *, quality: int | None = None, ratio: float | None = None, near: int | None = None
    ) -> Wanted:
        """Return what a person asked for by UID, keyword or short name.

        Raises `UnknownSyntaxError`, and `CannotTranscodeError` for what hostd does not write here, and for a loss that was
        not asked for, or is asked for in vain.
        """
        target = syntaxes.lookup(to)
        for name, value in (("quality", quality), ("near", near)):
            if value is not None and type(value) is not int:
                raise CannotTranscodeError(f"{name} is {value!r}; it must be a whole number")
        asked = (quality, ratio, near) != (None, None, None)
        options = EncodeOptions(quality=quality, ratio=ratio, near=near) if asked else None
        # Between JPEG Baseline and its recompression it depends on the source whether anything would be lost.
        may_be_exact = options is None and target in {recompressed for _, recompressed in RECOMPRESSIONS}
        check_target(target, options, is_bit_exact=may_be_exact)
        return cls(target, options)


def transcode(
    path_or_bytes: str | os.PathLike[str] | bytes,
    to: str,
    *,
    quality: int | None = None,
    ratio: float | None = None,
    near: int | None = None,
    verify: bool = True,
    result: str | os.PathLike[str] | None = None,
    overwrite: bool = False,
    pool: CodecPool | None = None,
) -> Transcoded:
    """Bring a DICOM file to another transfer syntax.

        import hostd

        small = hostd.transcode("ct.dcm", to="j2k")
        print(small.receipt.ratio, small.receipt.verified_by)
        hostd.transcode("us.dcm", to="JPEG2000", quality=80, result="us-lossy.dcm")

    The file is a path, or its bytes. `to` is a UID, a keyword or a short name; short names (j2k, htj2k, jpegls, jpeg-lossless,
    jxl, rle, explicit, implicit, deflated) are always lossless. For another one exactly one of `quality` (1 to 100), `ratio`
    (JPEG 2000: 20 for 20:1) and `near` (JPEG-LS: the largest error of a sample) says how much may be lost; the result is then
    an instance of its own.

    With `result` the file is written there, when it is whole, and is replaced there only with `overwrite`; otherwise its bytes
    are returned, and with them it is held in memory. With `verify` it is decoded again and compared before it is given out. A
    file in that syntax already comes back as it is, byte for byte.

    Codecs run in processes of their own with limits of memory and time, which leave when they are idle, and end with the
    program; `pool` names other limits. May be called from any thread.

    Raises `hostd.errors.TranscodeError` with the reason: `CannotTranscodeError`, `WrongPixelsError` or `CodecCrashedError`, and
    itself when a file cannot be read or written; `hostd.dicom.syntaxes.UnknownSyntaxError` when `to` is no transfer syntax.
    """
    wanted = Wanted.parse(to, quality=quality, ratio=ratio, near=near)
    pool = pool or _shared.pool()
    if isinstance(path_or_bytes, bytes):
        with tempfile.TemporaryDirectory(prefix="hostd-") as folder:
            source = Path(folder, "source")
            source.write_bytes(path_or_bytes)
            return _transcode(source, wanted, result, pool, like=None, verify=verify, overwrite=overwrite)
    source = Path(path_or_bytes)
    try:
        return _transcode(source, wanted, result, pool, like=source, verify=verify, overwrite=overwrite)
    except TranscodeError as error:
        raise type(error)(f"{source}: {error}") from error


def bring(
    source: Path,
    wanted: Wanted,
    spare: Path,
    pool: CodecPool,
    *,
    verify: bool = True,
    go_on: Callable[[], bool] = lambda: True,
) -> Receipt:
    """Make the file `spare`, which must not exist, of a source; of one in that syntax already it is a copy.

    It is synced, its folder is not, and left only when it is whole. A copy is given up when `go_on` says no. Raises as
    `CodecPool.transcode` does.
    """
    with source.open("rb") as original:
        try:
            syntax = part10.data_set_offset(original).transfer_syntax_uid
        except UnparsableError as error:
            raise CannotTranscodeError(str(error)) from error
    if syntax != wanted.target.uid:
        return pool.transcode(source, wanted.target, spare, wanted.options, verify=verify)
    try:
        sha256, size = _copy(source, spare, go_on)
    except BaseException:
        spare.unlink(missing_ok=True)
        raise
    return Receipt.kept_original(reason=already_there(wanted.target), sha256=sha256, syntax=syntax, size=size)


def measure(source: Path, *, memory_bytes: int = MEMORY_BYTES, time_limit_s: float = TIME_LIMIT_S) -> PixelFacts:
    """Return what the samples of a file come to, by codec processes as `transcode` has them, with these limits. Raises as `CodecPool.measure` does."""
    return _shared.pool(memory_bytes, time_limit_s).measure(source)


def in_words(error: Exception) -> str:
    """Say what went wrong, of the operating system's refusals too."""
    if isinstance(error, OSError) and error.strerror:
        return f"{error.strerror}: {os.fsdecode(error.filename)}" if error.filename else error.strerror
    return str(error)


def already_there(target: TransferSyntax) -> str:
    """Say why a file is copied."""
    return f"it is in {target} already"


def _transcode(
    source: Path,
    wanted: Wanted,
    result: str | os.PathLike[str] | None,
    pool: CodecPool,
    *,
    like: Path | None,
    verify: bool,
    overwrite: bool,
) -> Transcoded:
    try:
        if result is None:
            with tempfile.TemporaryDirectory(prefix="hostd-") as folder:
                spare = Path(folder, "result")
                receipt = bring(source, wanted, spare, pool, verify=verify)
                return Transcoded(spare.read_bytes(), receipt)
        place = Path(result)
        if not place.parent.is_dir():
            raise TranscodeError(f"there is no folder {place.parent} for the result")
        if place.exists() and place.samefile(source):
            raise TranscodeError("the result would replace its own source; name another file")
        if os.path.lexists(place) and not overwrite:
            raise TranscodeError(f"{place} exists already; overwrite=True replaces it")
        with placed(place, like=like, overwrite=overwrite) as spare:
            receipt = bring(source, wanted, spare, pool, verify=verify)
        return Transcoded(b"", receipt, place)
    except (OSError, StorageError) as error:
        raise TranscodeError(in_words(error)) from error


def _copy(source: Path, spare: Path, go_on: Callable[[], bool]) -> tuple[str, int]:
    """Copy a file; return its SHA-256 and its size in bytes."""
    digest = hashlib.sha256()
    size = 0
    descriptor = os.open(spare, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
    with source.open("rb") as original, os.fdopen(descriptor, "wb") as copy:
        while chunk := original.read(_CHUNK):
            if not go_on():
                raise TranscodeError("it was told to stop")
            copy.write(chunk)
            digest.update(chunk)
            size += len(chunk)
        copy.flush()
        os.fsync(copy.fileno())
    return digest.hexdigest(), size


# -- the codec processes of callers that bring none --------------------------------------------------------------------


class _Shared:
    """The pools of this process, one for each set of limits, made when they are first asked for and closed when the program ends."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._pools: dict[tuple[int, float], CodecPool] = {}
        os.register_at_fork(after_in_child=self._begin)
        atexit.register(self.close)

    def pool(self, memory_bytes: int = MEMORY_BYTES, time_limit_s: float = TIME_LIMIT_S) -> CodecPool:
        """Return the pool with these limits."""
        limits = memory_bytes, time_limit_s
        with self._lock:
            if limits not in self._pools:
                self._pools[limits] = CodecPool(
                    workers=processors(), memory_bytes=memory_bytes, time_limit_s=time_limit_s
                )
            return self._pools[limits]

    def close(self) -> None:
        """End its codec processes; a later call begins anew."""
        with self._lock:
            for pool in self._pools.values():
                pool.close()
            self._pools = {}

    def _begin(self) -> None:
        # In a forked process the codecs are its parent's, and the lock may be held by a thread that is not there.
        self._lock = threading.Lock()
        self._pools = {}


def processors() -> int:
    """Return how many processors this process may use."""
    return len(os.sched_getaffinity(0))


_shared = _Shared()
