"""RLE Lossless by imagecodecs: a second opinion on what hostd has just encoded.

Its RLE decoder crashed on damaged frames when it was measured, so that it never sees what strangers wrote.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from hostd.dicom.syntaxes import RLE_LOSSLESS, TransferSyntax
from hostd.transcoding.codecs import Ability, CodecError, FrameKind, Stream
from hostd.transcoding.codecs._rle import begins_frame, decoded_photometric, encoded_as, inspect, why_not

if TYPE_CHECKING:
    from hostd.transcoding.codecs import Frame

__all__ = ["begins_frame", "decode", "decoded_photometric", "encode", "encoded_as", "inspect", "why_not"]

NAME = "imagecodecs"
REQUIRES = "imagecodecs>=2026.3.6"
SYNTAXES = {RLE_LOSSLESS: Ability(decode=True, order=1, own_only=True)}
LACKS: dict[TransferSyntax, str] = {}


def encode(frame: Frame, kind: FrameKind) -> bytes:  # noqa: ARG001 - the signature is the protocol's
    """Refuse: its encoder is empty."""
    raise CodecError("imagecodecs does not encode RLE")


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
