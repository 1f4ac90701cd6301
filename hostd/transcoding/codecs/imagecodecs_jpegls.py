"""JPEG-LS by imagecodecs, which carries its own CharLS (PS3.5 §A.4.3).

Up to 2026.3 it cannot be told how many bits samples have, so that it encodes only samples that fill their bytes; for
others pyjpegls is there.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, cast

from hostd.dicom.syntaxes import JPEG_LS_LOSSLESS, JPEG_LS_NEAR, TransferSyntax
from hostd.transcoding.codecs import Ability, CodecError, FrameKind, Stream, _jpegls
from hostd.transcoding.codecs._imagecodecs import HAS_PRECISION
from hostd.transcoding.codecs._jpegls import begins_frame, decoded_photometric, encoded_as, inspect
from hostd.transcoding.codecs.imagecodecs_jpeg import unsigned
from hostd.transcoding.options import EncodeOptions

if TYPE_CHECKING:
    from hostd.transcoding.codecs import Frame
    from hostd.transcoding.pixels import Pixels

__all__ = ["begins_frame", "decode", "decoded_photometric", "encode", "encoded_as", "inspect", "why_not"]

NAME = "imagecodecs"
REQUIRES = "imagecodecs>=2026.3.6"
_ORDER = 0 if HAS_PRECISION else 1
SYNTAXES = {
    JPEG_LS_LOSSLESS: Ability(decode=True, encode=True, order=_ORDER),
    JPEG_LS_NEAR: Ability(decode=True, encode=True, order=_ORDER),
}
LACKS: dict[TransferSyntax, str] = {}


def why_not(described: Pixels, syntax: TransferSyntax, options: EncodeOptions | None) -> str:
    """Say why such frames cannot be encoded; empty when they can."""
    if not HAS_PRECISION and described.bits_stored not in (8, 16):
        return "this version of imagecodecs writes JPEG-LS of 8 and 16 bits only"
    return _jpegls.why_not(described, syntax, options)


def encode(frame: Frame, kind: FrameKind) -> bytes:
    """Encode one frame, colour by pixel. Raises `CodecError`."""
    import imagecodecs  # noqa: PLC0415 - only a worker loads it, see the package

    _jpegls.refuse_wrapping(frame, kind)
    precision: dict[str, Any] = {"bitspersample": kind.bits} if HAS_PRECISION else {}
    try:
        return bytes(
            imagecodecs.jpegls_encode(unsigned(frame, kind.bits), level=_jpegls.near_of(frame, kind), **precision)
        )
    except (imagecodecs.JpeglsError, ValueError, TypeError) as error:
        raise CodecError(f"imagecodecs cannot encode this frame: {error}") from error


def decode(stream: Stream) -> Frame:
    """Decode one frame to the values that the codestream holds. Raises `CodecError`."""
    import imagecodecs  # noqa: PLC0415 - only a worker loads it, see the package

    try:
        return cast("Frame", imagecodecs.jpegls_decode(stream.codestream))
    except (imagecodecs.JpeglsError, ValueError, TypeError, OverflowError) as error:
        raise CodecError(f"imagecodecs cannot decode this frame: {error}") from error
