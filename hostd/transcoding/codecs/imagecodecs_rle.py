"""RLE Lossless by imagecodecs (PS3.5 Annex G): its PackBits encoder, and a second opinion on what hostd has just encoded.

PackBits is what a segment holds; the frame around it is made here. Its RLE decoder crashed on damaged frames when it was measured,
so that it never sees what strangers wrote.
"""

from __future__ import annotations

import struct
from typing import TYPE_CHECKING

from hostd.dicom.syntaxes import RLE_LOSSLESS, TransferSyntax
from hostd.transcoding.codecs import Ability, CodecError, FrameKind, Stream
from hostd.transcoding.codecs._rle import begins_frame, decoded_photometric, encoded_as, inspect, why_not

if TYPE_CHECKING:
    from hostd.transcoding.codecs import Frame

__all__ = ["begins_frame", "decode", "decoded_photometric", "encode", "encoded_as", "inspect", "why_not"]

NAME = "imagecodecs"
REQUIRES = "imagecodecs>=2026.3.6"
SYNTAXES = {RLE_LOSSLESS: Ability(decode=True, encode=True, order=-1, own_only=True)}
LACKS: dict[TransferSyntax, str] = {}


_HEADER = 64
_OFFSETS = 15


def encode(frame: Frame, kind: FrameKind) -> bytes:
    """Encode one frame in the bytes that are allocated for its samples. Raises `CodecError`.

    A segment holds one byte of every sample, the most significant first, row by row (PS3.5 §G.2, §G.3.1).
    """
    import imagecodecs  # noqa: PLC0415 - only a worker loads it, see the package

    pixels = kind.pixels
    samples = frame.astype(pixels.container, copy=False).reshape(pixels.rows, pixels.columns, pixels.samples)
    parts: list[bytes] = []
    offsets = []
    position = _HEADER
    for sample in range(pixels.samples):
        for place in reversed(range(pixels.bits_allocated // 8)):
            plane = (samples[..., sample] >> 8 * place if place else samples[..., sample]).astype("u1")
            try:
                # Of an array of two dimensions each row is packed by itself.
                packed = bytes(imagecodecs.packbits_encode(plane))
            except (imagecodecs.PackbitsError, ValueError, TypeError) as error:
                raise CodecError(f"imagecodecs cannot encode this frame: {error}") from error
            padding = bytes(len(packed) % 2)
            parts += packed, padding
            offsets.append(position)
            position += len(packed) + len(padding)
    header = struct.pack(f"<{1 + _OFFSETS}I", len(offsets), *offsets, *[0] * (_OFFSETS - len(offsets)))
    return b"".join([header, *parts])


def decode(stream: Stream) -> Frame:
    """Decode one frame to its allocated samples, colour by pixel. Raises `CodecError`."""
    import imagecodecs  # noqa: PLC0415 - only a worker loads it, see the package
    import numpy as np  # noqa: PLC0415 - only a worker loads it, see the package

    kind = f"<{'i' if stream.is_signed else 'u'}{stream.bits // 8}"
    try:
        decoded = imagecodecs.dicomrle_decode(stream.codestream, kind)
    except (imagecodecs.DicomrleError, ValueError, TypeError) as error:
        raise CodecError(f"imagecodecs cannot decode this frame: {error}") from error
    samples: Frame = np.frombuffer(decoded, kind)
    size = stream.rows * stream.columns
    if samples.size < size * stream.samples:
        raise CodecError("imagecodecs gave fewer samples than the header says")
    if stream.samples == 1:
        return samples[:size].reshape(stream.rows, stream.columns)
    return samples[: size * stream.samples].reshape(stream.samples, stream.rows, stream.columns).transpose(1, 2, 0)
