"""JPEG 2000 by imagecodecs, which carries its own OpenJPEG (PS3.5 Annex A.4.4)."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, cast

from hostd.dicom.syntaxes import JPEG2000, JPEG2000_LOSSLESS, TransferSyntax
from hostd.transcoding.codecs import Ability, CodecError, FrameKind, Stream, _jpeg2000
from hostd.transcoding.codecs._jpeg2000 import begins_frame, decoded_photometric, encoded_as, inspect
from hostd.transcoding.options import EncodeOptions

if TYPE_CHECKING:
    from hostd.transcoding.codecs import Frame
    from hostd.transcoding.pixels import Pixels

__all__ = ["begins_frame", "decode", "decoded_photometric", "encode", "encoded_as", "inspect", "why_not"]

NAME = "imagecodecs"
REQUIRES = "imagecodecs>=2026.3.6"
SYNTAXES = {
    JPEG2000_LOSSLESS: Ability(decode=True, encode=True, order=1),
    JPEG2000: Ability(decode=True, encode=True, order=1),
}
_LEAST_SIDE = 32
_MOST_THREADS = 4
LACKS: dict[TransferSyntax, str] = {}


def why_not(described: Pixels, syntax: TransferSyntax, options: EncodeOptions | None) -> str:
    """Say why such frames cannot be encoded; empty when they can."""
    if options is not None and options.ratio is not None:
        return "imagecodecs cannot be given a ratio"
    return _jpeg2000.why_not(described, syntax, options)


def encode(frame: Frame, kind: FrameKind) -> bytes:
    """Encode one frame, in one tile and one quality layer, with the reversible wavelet unless options are given. Raises `CodecError`."""
    import imagecodecs  # noqa: PLC0415 - only a worker loads it, see the package

    try:
        return bytes(
            imagecodecs.jpeg2k_encode(
                frame,
                level=cast("int", _level(frame, kind)),  # its stubs know no fractions of dB
                codecformat="j2k",
                bitspersample=kind.bits,
                reversible=kind.options is None,
                mct=kind.is_rgb,
                numthreads=_threads(),
            )
        )
    except (imagecodecs.Jpeg2kError, ValueError, TypeError) as error:
        raise CodecError(f"imagecodecs cannot encode this frame: {error}") from error


def _threads() -> int:
    """Return with how many threads OpenJPEG works on the blocks of a frame: as many as there are processors, for little more time of each."""
    return min(_MOST_THREADS, len(os.sched_getaffinity(0)))


def _level(frame: Frame, kind: FrameKind) -> float:
    """Return the ratio of signal to noise in dB, or 0 for leaving nothing out.

    OpenJPEG misses the ratio by far in small frames, such as those of one colour, so that they keep every coding pass.
    """
    return _jpeg2000.psnr_of(frame, kind) if kind.options and min(frame.shape[:2]) >= _LEAST_SIDE else 0


def decode(stream: Stream) -> Frame:
    """Decode one frame to the values that the codestream holds. Raises `CodecError`."""
    import imagecodecs  # noqa: PLC0415 - only a worker loads it, see the package

    try:
        return cast("Frame", imagecodecs.jpeg2k_decode(stream.codestream, numthreads=_threads()))
    except (imagecodecs.Jpeg2kError, ValueError, TypeError) as error:
        raise CodecError(f"imagecodecs cannot decode this frame: {error}") from error
