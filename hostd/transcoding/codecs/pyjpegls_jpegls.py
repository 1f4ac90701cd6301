"""JPEG-LS by pyjpegls, which carries its own CharLS: what imagecodecs encodes is verified by it, and the other way round."""

from __future__ import annotations

from typing import TYPE_CHECKING

from hostd.dicom.syntaxes import JPEG_LS_LOSSLESS, JPEG_LS_NEAR, TransferSyntax
from hostd.transcoding.codecs import Ability, CodecError, FrameKind, Stream, _jpegls
from hostd.transcoding.codecs._imagecodecs import HAS_PRECISION
from hostd.transcoding.codecs._jpegls import begins_frame, decoded_photometric, encoded_as, inspect, why_not
from hostd.transcoding.codecs.imagecodecs_jpeg import unsigned

if TYPE_CHECKING:
    from hostd.transcoding.codecs import Frame

__all__ = ["begins_frame", "decode", "decoded_photometric", "encode", "encoded_as", "inspect", "why_not"]

NAME = "pyjpegls"
REQUIRES = "pyjpegls>=1.5"
_ORDER = 1 if HAS_PRECISION else 0
SYNTAXES = {
    JPEG_LS_LOSSLESS: Ability(decode=True, encode=True, order=_ORDER),
    JPEG_LS_NEAR: Ability(decode=True, encode=True, order=_ORDER),
}
LACKS: dict[TransferSyntax, str] = {}

_BY_PLANE, _BY_PIXEL = 0, 2


def encode(frame: Frame, kind: FrameKind) -> bytes:
    """Encode one frame, colour by pixel. Raises `CodecError`, as for tiny images of noise, for which its buffer is too small."""
    import jpeg_ls  # noqa: PLC0415 - only a worker loads it, see the package

    _jpegls.refuse_wrapping(frame, kind)
    rows, columns = frame.shape[:2]
    try:
        return bytes(
            jpeg_ls.encode_buffer(
                unsigned(frame, kind.bits).tobytes(),
                rows=rows,
                columns=columns,
                samples_per_pixel=kind.pixels.samples,
                bits_stored=kind.bits,
                lossy_error=_jpegls.near_of(frame, kind),
                interleave_mode=_BY_PIXEL if kind.pixels.samples > 1 else None,
            )
        )
    except (RuntimeError, ValueError, TypeError) as error:
        raise CodecError(f"pyjpegls cannot encode this frame: {error}") from error


def decode(stream: Stream) -> Frame:
    """Decode one frame to the values that the codestream holds. Raises `CodecError`."""
    import jpeg_ls  # noqa: PLC0415 - only a worker loads it, see the package
    import numpy as np  # noqa: PLC0415 - only a worker loads it, see the package

    try:
        decoded, said = jpeg_ls.decode_buffer(stream.codestream)
    except (RuntimeError, ValueError, TypeError, OverflowError) as error:
        raise CodecError(f"pyjpegls cannot decode this frame: {error}") from error
    values: Frame = np.frombuffer(decoded, "u1" if stream.bits <= 8 else "<u2")
    if values.size != stream.rows * stream.columns * stream.samples:
        raise CodecError("pyjpegls gave another number of samples than the codestream says")
    if stream.samples > 1 and said["interleave_mode"] == _BY_PLANE:
        return values.reshape(stream.samples, stream.rows, stream.columns).transpose(1, 2, 0)
    # By line too, CharLS gives colour by pixel.
    return values.reshape(stream.rows, stream.columns, *([stream.samples] if stream.samples > 1 else []))
