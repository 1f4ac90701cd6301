"""A codec worker: a process that decodes what strangers wrote, jailed, with open descriptors and nothing else.

Run by `hostd.transcoding.pool` in a process of its own, with SOCKET and MEMORY_BYTES (or `zygote.ZYGOTE`) as arguments.
"""

from __future__ import annotations

import contextlib
import io
import logging
import os
import signal
import socket
import sys
import time
import warnings
from collections.abc import Callable
from dataclasses import dataclass
from typing import BinaryIO, Literal, cast

import msgspec

from hostd.dicom import part10, syntaxes
from hostd.errors import CannotTranscodeError, WrongPixelsError
from hostd.sandbox import jail, zygote
from hostd.sandbox.channel import Channel, FrameError
from hostd.transcoding import elements as el
from hostd.transcoding import registry
from hostd.transcoding import transcode as work
from hostd.transcoding.comparison import compare
from hostd.transcoding.drawing import draw
from hostd.transcoding.leisure import Leisure
from hostd.transcoding.measuring import measure
from hostd.transcoding.messages import (
    MAX_MESSAGE,
    MOST_AT_ONCE,
    Compare,
    Compared,
    Draw,
    Drawn,
    Failed,
    FromWorker,
    Hash,
    Job,
    Made,
    MadeSeveral,
    Measure,
    Measured,
    Picture,
    ReadPicture,
    Ready,
    Several,
    ToWorker,
)
from hostd.transcoding.options import EncodeOptions
from hostd.transcoding.pictures import read_picture
from hostd.transcoding.receipt import Facts

_NICENESS = 10
_OPEN_FILES = 16 + 2 * MOST_AT_ONCE
_SEVERAL_S = 2.0
"""Seconds after which none more of several is begun: what takes so long gains nothing by it, and the first are waited for."""
_FILE_BYTES = 1 << 40
_CALLS = ("recvmsg", "pwrite64", "ftruncate", "clone", "set_robust_list", "sched_getaffinity", "fcntl")
_MESSAGE_CHARACTERS = 2000
_SOURCE_AND_RESULT = ("rb", "w+b")
_FORMS: tuple[Literal["png", "jpeg"], ...] = ("png", "jpeg")


@dataclass(frozen=True, slots=True)
class Others:
    """Jobs of another kind that a worker does as well: a source is read, and a result written."""

    kind: type[msgspec.Struct]
    do: Callable[[msgspec.Struct, BinaryIO, BinaryIO], Facts]
    warm_up: Callable[[], None]


def main(others: Others | None = None) -> None:
    """Warm up, enter the jail, and do jobs until the host closes the connection; or be what workers are forked off (`zygote.settle`)."""
    _yield_to_others()
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is the host's to handle
    logging.disable()
    warnings.simplefilter("ignore")
    warm_up()
    if others:
        others.warm_up()
    descriptor, memory_bytes = zygote.settle(int(sys.argv[1]), sys.argv[2])
    sock = socket.socket(fileno=descriptor)
    kinds = ToWorker | others.kind if others else ToWorker
    channel = Channel(sock, kinds, max_receive=MAX_MESSAGE, reads_ahead=False)
    layers = jail.enter(memory_bytes=memory_bytes, open_files=_OPEN_FILES, file_bytes=_FILE_BYTES, extra_calls=_CALLS)
    with contextlib.suppress(EOFError, ConnectionError):
        leisure = Leisure()
        channel.send(Ready(layers, leisure.thread))
        while True:
            _answer(sock, channel, others, leisure)


def _yield_to_others() -> None:
    """Have less of the processors than others, and, as what calculates for long, take none away from whoever has one."""
    os.nice(_NICENESS)
    with contextlib.suppress(AttributeError, OSError):  # where there is no such policy, or it is not allowed
        os.sched_setscheduler(0, os.SCHED_BATCH, os.sched_param(0))


def warm_up() -> None:
    """Load everything that is loaded on first use, by transcoding small images there and back; no file opens afterwards."""
    for samples, bits in ((1, 12), (1, 8), (3, 8)):
        native = _small_image(samples, bits)
        measure(io.BytesIO(native))
        for form in _FORMS:
            drawn = io.BytesIO()
            draw(Draw(0, "rendered", form), io.BytesIO(native), drawn)
            drawn.seek(0)
            read_picture(ReadPicture(form), drawn, io.BytesIO())
        for syntax in syntaxes.ALL:
            if not registry.encoders(syntax):
                continue
            options = EncodeOptions(quality=90) if syntax.is_lossy else None
            encoded = io.BytesIO()
            with contextlib.suppress(CannotTranscodeError):  # not every codec does every kind of image
                work.transcode(io.BytesIO(native), syntax, encoded, options)
                work.transcode(encoded, syntaxes.IMPLICIT_LE, io.BytesIO())
            with contextlib.suppress(CannotTranscodeError):  # the way of errors loads modules too
                work.pixel_hash(io.BytesIO(encoded.getvalue()[:-40]))
    deflated = io.BytesIO()
    work.transcode(io.BytesIO(native), syntaxes.DEFLATED, deflated)
    work.transcode(deflated, syntaxes.EXPLICIT_LE, io.BytesIO())


def _answer(sock: socket.socket, channel: Channel, others: Others | None, leisure: Leisure) -> None:
    job = channel.receive()
    modes = _modes(job)
    _, descriptors, _, _ = socket.recv_fds(sock, 1, len(modes))
    if len(descriptors) != len(modes):
        raise FrameError(f"{len(descriptors)} descriptors came with a job that needs {len(modes)}")
    reply: FromWorker
    if isinstance(job, Several):
        reply = _several(job, others, descriptors)
    else:
        is_at_leisure = isinstance(job, Job) and job.at_leisure
        reply = _carried_out(job, others, descriptors, modes, leisure if is_at_leisure else None)
    channel.send(reply)
    if isinstance(reply, (Failed, MadeSeveral)) and not reply.leaves_usable:
        sys.exit(1)  # what else is broken in this process is not known


def _modes(job: ToWorker | msgspec.Struct) -> tuple[str, ...]:
    """Return how each descriptor is used that comes with a job."""
    match job:
        case Several():
            return _SOURCE_AND_RESULT * job.count
        case Compare():
            return "rb", "rb"
        case Measure() | Job(target=None):
            return ("rb",)
        case _:
            return _SOURCE_AND_RESULT


def _several(job: Several, others: Others | None, descriptors: list[int]) -> MadeSeveral:
    """Do one after the other, as long as it takes little time, and this process is what it should be."""
    until = time.monotonic() + _SEVERAL_S
    outcomes: list[Made | Failed] = []
    each = Job(job.target, has_receipt=False)
    for pair in zip(descriptors[::2], descriptors[1::2], strict=True):
        outcome = _carried_out(each, others, list(pair), _SOURCE_AND_RESULT)
        assert isinstance(outcome, (Made, Failed))
        outcomes.append(outcome)
        if time.monotonic() >= until or (isinstance(outcome, Failed) and not outcome.leaves_usable):
            break
    return MadeSeveral(tuple(outcomes))


def _carried_out(
    job: ToWorker | msgspec.Struct,
    others: Others | None,
    descriptors: list[int],
    modes: tuple[str, ...],
    leisure: Leisure | None = None,
) -> Made | Hash | Measured | Compared | Drawn | Picture | Failed:
    """Do a job with its descriptors, and close them."""
    reply = None
    try:
        with contextlib.ExitStack() as files:
            opened = [
                cast("BinaryIO", files.enter_context(os.fdopen(descriptor, mode)))
                for descriptor, mode in zip(descriptors, modes, strict=True)
            ]
            reply = leisure.do(lambda: _done(job, others, *opened)) if leisure else _done(job, others, *opened)
    except OSError:
        if not isinstance(reply, Failed):
            raise
        # What the system refused to write it refuses once more as the file is closed.
    return reply


def _done(
    job: ToWorker | msgspec.Struct,
    others: Others | None,
    source: BinaryIO,
    result: BinaryIO | None = None,
) -> Made | Hash | Measured | Compared | Drawn | Picture | Failed:
    try:
        if isinstance(job, (Measure, Compare, Draw, ReadPicture)):
            return _looked(job, source, result)
        if not isinstance(job, Job):
            assert others is not None
            assert result is not None
            return Made(others.do(job, source, result))
        if result is None or job.target is None:
            return Hash(work.pixel_hash(source))
        target = syntaxes.by_uid(job.target)
        facts = work.transcode(source, target, result, job.options, verify=job.verify, has_receipt=job.has_receipt)
        result.flush()
        return Made(facts)
    except Exception as error:  # noqa: BLE001 - every error is told to the host, which raises it again
        return _failed(error)


def _looked(
    job: Measure | Compare | Draw | ReadPicture, source: BinaryIO, other: BinaryIO | None
) -> Measured | Compared | Drawn | Picture:
    """Do a job that makes no DICOM file."""
    if isinstance(job, Measure):
        return Measured(measure(source))
    assert other is not None
    if isinstance(job, Compare):
        return compare(source, other)
    if isinstance(job, ReadPicture):
        picture = read_picture(job, source, other)
        other.flush()
        return picture
    draw(job, source, other)
    other.flush()
    return Drawn()


def _failed(error: Exception) -> Failed:
    match error:
        case CannotTranscodeError():
            return Failed("cannot", str(error)[:_MESSAGE_CHARACTERS])
        case WrongPixelsError():
            return Failed("wrong", str(error)[:_MESSAGE_CHARACTERS])
        case MemoryError():
            return Failed("memory", "it needs more memory than a codec worker may have")
        case OSError():
            return Failed("system", (error.strerror or str(error))[:_MESSAGE_CHARACTERS], error.errno or 0)
        case _:
            return Failed("defect", f"{type(error).__name__}: {error}"[:_MESSAGE_CHARACTERS])


def _small_image(samples: int, bits: int) -> bytes:
    side = 40
    texts = {0x00080016: (b"UI", "1.2.840.10008.5.1.4.1.1.7"), 0x00080018: (b"UI", "2.25.1")}
    size = 1 if bits <= 8 else 2
    numbers = {
        0x00280002: samples, 0x00280010: side, 0x00280011: side, 0x00280100: 8 * size, 0x00280101: bits,
        0x00280102: bits - 1, 0x00280103: 0, 0x00280006: 0,
    }  # fmt: skip
    header: el.Elements = {}
    for tag, (vr, text) in texts.items():
        header = el.with_text(header, tag, vr, text)
    header = el.with_text(header, 0x00280004, b"CS", "RGB" if samples > 1 else "MONOCHROME2")
    for tag, number in numbers.items():
        header = el.with_number(header, tag, number)
    values = (7 * i // samples % (1 << bits) for i in range(side * side * samples))
    header = el.with_bytes(header, el.PIXEL_DATA, b"OW", b"".join(value.to_bytes(size, "little") for value in values))
    head = part10.file_header("1.2.840.10008.5.1.4.1.1.7", "2.25.1", syntaxes.EXPLICIT_LE.uid, source_aet=None)
    return head + el.encode(header, implicit=False)


def run(others: Others | None = None) -> None:
    """Do the work of the process; its exit status is 2 when the host says what it should not."""
    try:
        main(others)
    except (FrameError, msgspec.MsgspecError):
        sys.exit(2)


if __name__ == "__main__":
    run()
