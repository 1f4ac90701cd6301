"""JPEG 2000 by imagecodecs, which carries its own OpenJPEG (PS3.5 Annex A.4.4)."""

from __future__ import annotations

from typing import TYPE_CHECKING, cast

from hostd.dicom.syntaxes import JPEG2000, JPEG2000_LOSSLESS
from hostd.transcoding.codecs import Ability, CodecError, EncodeOptions, Stream
from hostd.transcoding.codecs._jpeg2000 import (
    begins_frame,
    decoded_photometric,
    encoded_photometric,
    inspect,
    why_not,
)

if TYPE_CHECKING:
    from hostd.transcoding.codecs import Frame

__all__ = ["begins_frame", "decode", "decoded_photometric", "encode", "encoded_photometric", "inspect", "why_not"]

NAME = "imagecodecs"
REQUIRES = "imagecodecs>=2026.3.6"
SYNTAXES = {
    JPEG2000_LOSSLESS: Ability(decode=True, encode=True, order=1),
    JPEG2000: Ability(decode=True, order=1),
}


def encode(frame: Frame, options: EncodeOptions) -> bytes:
    """Encode one frame with the reversible wavelet, in one tile and one quality layer. Raises `CodecError`."""
    import imagecodecs  # noqa: PLC0415 - only a worker loads it, see the package

    try:
        return bytes(
            imagecodecs.jpeg2k_encode(
                frame,
                level=0,
                codecformat="j2k",
                bitspersample=options.bits,
                reversible=True,
                mct=options.is_rgb,
                numthreads=1,
            )
        )
    except (imagecodecs.Jpeg2kError, ValueError, TypeError) as error:
        raise CodecError(f"imagecodecs cannot encode this frame: {error}") from error


def decode(stream: Stream) -> Frame:
    """Decode one frame to the values that the codestream holds. Raises `CodecError`."""
    import imagecodecs  # noqa: PLC0415 - only a worker loads it, see the package

    try:
        return cast("Frame", imagecodecs.jpeg2k_decode(stream.codestream, numthreads=1))
    except (imagecodecs.Jpeg2kError, ValueError, TypeError) as error:
        raise CodecError(f"imagecodecs cannot decode this frame: {error}") from error
