"""JPEG 2000 and HTJ2K by pylibjpeg-openjpeg: the decoder of both, by which what imagecodecs encodes is verified.

It encodes JPEG 2000 with loss, and nothing below 32 pixels, where its encoder fails. It is the only one that clips what
the irreversible wavelet of HTJ2K gives, so that .203 is decoded by nothing else.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, cast

from hostd.dicom.syntaxes import (
    HTJ2K,
    HTJ2K_LOSSLESS,
    HTJ2K_LOSSLESS_RPCL,
    JPEG2000,
    JPEG2000_LOSSLESS,
    TransferSyntax,
)
from hostd.transcoding.codecs import Ability, CodecError, FrameKind, Stream, _jpeg2000
from hostd.transcoding.codecs._jpeg2000 import begins_frame, decoded_photometric, encoded_as, inspect
from hostd.transcoding.options import EncodeOptions

if TYPE_CHECKING:
    from hostd.transcoding.codecs import Frame
    from hostd.transcoding.pixels import Pixels

__all__ = ["begins_frame", "decode", "decoded_photometric", "encode", "encoded_as", "inspect", "why_not"]

NAME = "pylibjpeg-openjpeg"
REQUIRES = "pylibjpeg-openjpeg>=2.5"
SYNTAXES = {
    JPEG2000_LOSSLESS: Ability(decode=True),
    JPEG2000: Ability(decode=True, encode=True),
    HTJ2K_LOSSLESS: Ability(decode=True),
    HTJ2K_LOSSLESS_RPCL: Ability(decode=True),
    HTJ2K: Ability(decode=True),
}
LACKS: dict[TransferSyntax, str] = {}

_LEAST_SIDE = 32
_RGB, _UNSPECIFIED = 1, 0


def why_not(described: Pixels, syntax: TransferSyntax, options: EncodeOptions | None) -> str:
    """Say why such frames cannot be encoded; empty when they can."""
    if min(described.rows, described.columns) < _LEAST_SIDE:
        return f"pylibjpeg-openjpeg encodes images of at least {_LEAST_SIDE} rows and columns, so that no ratio can be reached"
    return _jpeg2000.why_not(described, syntax, options)


def encode(frame: Frame, kind: FrameKind) -> bytes:
    """Encode one frame with the irreversible wavelet, in one quality layer. Raises `CodecError`."""
    from openjpeg.utils import encode_array  # noqa: PLC0415 - only a worker loads it, see the package

    if kind.options is None:
        raise CodecError("pylibjpeg-openjpeg is used to encode with loss only")
    wanted: dict[str, Any] = (
        {"compression_ratios": [kind.options.ratio]}
        if kind.options.ratio is not None
        else {"signal_noise_ratios": [_jpeg2000.psnr_of(frame, kind)]}
    )
    try:
        return bytes(
            encode_array(
                frame,
                bits_stored=kind.bits,
                photometric_interpretation=_RGB if kind.is_rgb else _UNSPECIFIED,
                use_mct=kind.is_rgb,
                **wanted,
            )
        )
    except (RuntimeError, ValueError, TypeError) as error:
        raise CodecError(f"pylibjpeg-openjpeg cannot encode this frame: {error}") from error


def decode(stream: Stream) -> Frame:
    """Decode one frame to the values that the codestream holds. Raises `CodecError`."""
    import openjpeg  # noqa: PLC0415 - only a worker loads it, see the package

    try:
        return cast("Frame", openjpeg.decode(stream.codestream, j2k_format=0))
    except (RuntimeError, ValueError, TypeError) as error:
        raise CodecError(f"pylibjpeg-openjpeg cannot decode this frame: {error}") from error
