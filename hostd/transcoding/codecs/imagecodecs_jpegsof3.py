"""Lossless JPEG by the second decoder of imagecodecs (jpegsof3), which shares no code with libjpeg-turbo.

It crashed on a damaged codestream when it was measured, so that it decodes only what hostd has just encoded.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, cast

from hostd.dicom.syntaxes import JPEG_LOSSLESS, JPEG_LOSSLESS_SV1, TransferSyntax
from hostd.transcoding.codecs import Ability, CodecError, FrameKind, Stream
from hostd.transcoding.codecs._jpeg import begins_frame, decoded_photometric, inspect
from hostd.transcoding.codecs.imagecodecs_jpeg import encoded_as, why_not

if TYPE_CHECKING:
    from hostd.transcoding.codecs import Frame

__all__ = ["begins_frame", "decode", "decoded_photometric", "encode", "encoded_as", "inspect", "why_not"]

NAME = "imagecodecs"
REQUIRES = "imagecodecs>=2026.3.6"
SYNTAXES = {
    JPEG_LOSSLESS: Ability(decode=True, order=1, own_only=True),
    JPEG_LOSSLESS_SV1: Ability(decode=True, order=1, own_only=True),
}
LACKS: dict[TransferSyntax, str] = {}


def encode(frame: Frame, kind: FrameKind) -> bytes:  # noqa: ARG001 - the signature is the protocol's
    """Refuse: this decoder has no encoder."""
    raise CodecError("jpegsof3 of imagecodecs decodes only")


def decode(stream: Stream) -> Frame:
    """Decode one frame to the values that the codestream holds. Raises `CodecError`."""
    import imagecodecs  # noqa: PLC0415 - only a worker loads it, see the package

    try:
        return cast("Frame", imagecodecs.jpegsof3_decode(stream.codestream))
    except (imagecodecs.Jpegsof3Error, ValueError, TypeError) as error:
        raise CodecError(f"imagecodecs (jpegsof3) cannot decode this frame: {error}") from error
