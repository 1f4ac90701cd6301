"""RLE Lossless by pylibjpeg-rle (PS3.5 Annex G)."""

from __future__ import annotations

from typing import TYPE_CHECKING

from hostd.dicom.syntaxes import RLE_LOSSLESS, TransferSyntax
from hostd.transcoding.codecs import Ability, CodecError, FrameKind, Stream
from hostd.transcoding.codecs._rle import begins_frame, decoded_photometric, encoded_as, inspect, why_not

if TYPE_CHECKING:
    from hostd.transcoding.codecs import Frame

__all__ = ["begins_frame", "decode", "decoded_photometric", "encode", "encoded_as", "inspect", "why_not"]

NAME = "pylibjpeg-rle"
REQUIRES = "pylibjpeg-rle>=2.1"
SYNTAXES = {RLE_LOSSLESS: Ability(decode=True, encode=True)}
LACKS: dict[TransferSyntax, str] = {}


def encode(frame: Frame, kind: FrameKind) -> bytes:
    """Encode one frame in the bytes that are allocated for its samples. Raises `CodecError`."""
    from rle.utils import encode_pixel_data  # noqa: PLC0415 - only a worker loads it, see the package

    pixels = kind.pixels
    try:
        return bytes(
            encode_pixel_data(
                frame.astype(pixels.container).tobytes(),
                byteorder="<",
                rows=pixels.rows,
                columns=pixels.columns,
                samples_per_pixel=pixels.samples,
                bits_allocated=pixels.bits_allocated,
            )
        )
    except (RuntimeError, ValueError, TypeError) as error:
        raise CodecError(f"pylibjpeg-rle cannot encode this frame: {error}") from error


def decode(stream: Stream) -> Frame:
    """Decode one frame to its allocated samples, colour by pixel. Raises `CodecError`."""
    import numpy as np  # noqa: PLC0415 - only a worker loads it, see the package
    from rle.utils import decode_pixel_data  # noqa: PLC0415 - only a worker loads it, see the package

    try:
        decoded = decode_pixel_data(
            stream.codestream,
            version=2,
            rows=stream.rows,
            columns=stream.columns,
            bits_allocated=stream.bits,
            byteorder="<",
        )
    except (RuntimeError, ValueError, TypeError) as error:
        raise CodecError(f"pylibjpeg-rle cannot decode this frame: {error}") from error
    kind = "i" if stream.is_signed else "u"
    samples: Frame = np.frombuffer(decoded, f"<{kind}{stream.bits // 8}")
    if samples.size != stream.rows * stream.columns * stream.samples:
        raise CodecError("pylibjpeg-rle gave another number of samples than the header says")
    if stream.samples == 1:
        return samples.reshape(stream.rows, stream.columns)
    return samples.reshape(stream.samples, stream.rows, stream.columns).transpose(1, 2, 0)
