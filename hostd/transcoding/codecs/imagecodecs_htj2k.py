"""HTJ2K by imagecodecs, which carries OpenJPH (PS3.5 §A.4.7).

Its decoder neither clips what the irreversible wavelet gives nor notices that a codestream is cut off, so that it only
verifies what pylibjpeg-openjpeg has decoded or hostd has encoded with the reversible one.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, cast

from hostd.dicom.syntaxes import HTJ2K, HTJ2K_LOSSLESS, HTJ2K_LOSSLESS_RPCL, TransferSyntax
from hostd.transcoding.codecs import Ability, CodecError, FrameKind, Stream, _jpeg2000
from hostd.transcoding.codecs._imagecodecs import HAS_PRECISION, NEWER
from hostd.transcoding.codecs._jpeg2000 import begins_frame, decoded_photometric, encoded_as, inspect
from hostd.transcoding.codecs._rules import span_of
from hostd.transcoding.options import EncodeOptions

if TYPE_CHECKING:
    from hostd.transcoding.codecs import Frame
    from hostd.transcoding.pixels import Pixels

__all__ = ["begins_frame", "decode", "decoded_photometric", "encode", "encoded_as", "inspect", "why_not"]

NAME = "imagecodecs"
REQUIRES = "imagecodecs>=2026.3.6"
SYNTAXES = {
    HTJ2K_LOSSLESS: Ability(decode=True, encode=True, order=1, own_only=True, second_opinion=True),
    HTJ2K_LOSSLESS_RPCL: Ability(decode=True, encode=HAS_PRECISION, order=1, own_only=True, second_opinion=True),
    HTJ2K: Ability(encode=True, order=1),
}
_OTHER_BITS = f"for samples of other than 8 and 16 bits {NEWER}"
LACKS: dict[TransferSyntax, str] = (
    {} if HAS_PRECISION else {HTJ2K_LOSSLESS: _OTHER_BITS, HTJ2K_LOSSLESS_RPCL: NEWER, HTJ2K: _OTHER_BITS}
)

_BLOCK = (128, 32)
"""Columns and rows: as small a result as with 64 by 64, within 0.2 %, and a few per cent faster."""
_THUMBNAIL = 64
_DECOMPOSITIONS = 5
"""What OpenJPH does unless told otherwise."""


def why_not(described: Pixels, syntax: TransferSyntax, options: EncodeOptions | None) -> str:
    """Say why such frames cannot be encoded; empty when they can."""
    if not HAS_PRECISION and described.bits_stored not in (8, 16):
        return f"the installed imagecodecs writes HTJ2K of 8 and 16 bits only, and these samples have {described.bits_stored}; install {NEWER}"
    return _jpeg2000.why_not(described, syntax, options)


def encode(frame: Frame, kind: FrameKind) -> bytes:
    """Encode one frame; .202 in RPCL order with tile-part lengths, as PS3.5 §8.2.14 wants it. Raises `CodecError`."""
    import imagecodecs  # noqa: PLC0415 - only a worker loads it, see the package

    settings: dict[str, Any] = {"reversible": kind.options is None, "rgb": kind.is_rgb}
    if HAS_PRECISION:
        settings["bitspersample"] = kind.bits
    if kind.syntax == HTJ2K_LOSSLESS_RPCL:
        settings |= {"prog_order": "RPCL", "tlm": True, "tilepart": "resolutions", "block_size": _BLOCK}
        decompositions = _decompositions(min(frame.shape[:2]))
        if decompositions > _DECOMPOSITIONS:
            # Not otherwise: imagecodecs takes a number as a limit, and gives one row or column none, of which OpenJPH (0.32) codes
            # the lowest value wrongly.
            settings["resolutions"] = decompositions
    if kind.options:
        assert kind.options.quality is not None
        settings["level"] = 2.0 ** -(1 + kind.options.quality / 12) * span_of(frame) / (1 << kind.bits)
    try:
        encoded = bytes(imagecodecs.htj2k_encode(frame, **settings))
        # OpenJPH (0.32) codes a few images of single bits, all of noise, in a way that nothing decodes.
        is_wrong = kind.bits == 1 and imagecodecs.htj2k_decode(encoded).tobytes() != frame.tobytes()
    except (imagecodecs.Htj2kError, ValueError, TypeError) as error:
        raise CodecError(f"imagecodecs cannot encode this frame: {error}") from error
    if is_wrong:
        raise CodecError("imagecodecs cannot encode this frame of single bits as HTJ2K")
    return encoded


def _decompositions(side: int) -> int:
    """Return how often to halve, so that the smaller side of the lowest resolution is at most 64 (PS3.5 §10.18)."""
    return max(_DECOMPOSITIONS, (-(-side // _THUMBNAIL) - 1).bit_length())


def decode(stream: Stream) -> Frame:
    """Decode one frame of the reversible wavelet to the values that the codestream holds. Raises `CodecError`."""
    import imagecodecs  # noqa: PLC0415 - only a worker loads it, see the package

    if not stream.is_reversible:
        raise CodecError("imagecodecs does not clip what the irreversible wavelet gives")
    try:
        decoded = cast("Frame", imagecodecs.htj2k_decode(stream.codestream))
    except (imagecodecs.Htj2kError, ValueError, TypeError) as error:
        raise CodecError(f"imagecodecs cannot decode this frame: {error}") from error
    # Components that no transform ties together come one after another, as OpenJPH has them.
    return decoded.transpose(1, 2, 0) if stream.samples > 1 and not stream.is_colour_transformed else decoded
