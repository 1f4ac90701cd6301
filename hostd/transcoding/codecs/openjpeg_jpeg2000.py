"""JPEG 2000 by pylibjpeg-openjpeg: the second decoder, by which what imagecodecs encodes is verified.

Its encoder is not offered: it fails below 32 pixels.
"""

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

NAME = "pylibjpeg-openjpeg"
REQUIRES = "pylibjpeg-openjpeg>=2.5"
SYNTAXES = {
    JPEG2000_LOSSLESS: Ability(decode=True),
    JPEG2000: Ability(decode=True),
}


def encode(frame: Frame, options: EncodeOptions) -> bytes:  # noqa: ARG001 - the signature is the protocol's
    """Refuse: this library is used to decode only."""
    raise CodecError("pylibjpeg-openjpeg is used to decode only")


def decode(stream: Stream) -> Frame:
    """Decode one frame to the values that the codestream holds. Raises `CodecError`."""
    import openjpeg  # noqa: PLC0415 - only a worker loads it, see the package

    try:
        return cast("Frame", openjpeg.decode(stream.codestream, j2k_format=0))
    except (RuntimeError, ValueError, TypeError) as error:
        raise CodecError(f"pylibjpeg-openjpeg cannot decode this frame: {error}") from error
