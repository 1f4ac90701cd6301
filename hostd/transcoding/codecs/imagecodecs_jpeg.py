"""JPEG by imagecodecs, which carries libjpeg-turbo 3: lossy of 8 and 12 bits, lossless of 2 to 16 (PS3.5 §A.4.1, §A.4.2).

Samples of signed images are masked to Bits Stored before lossless encoding; `pixels.from_stream` extends the sign again.
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any, cast

from hostd.dicom.syntaxes import (
    JPEG_BASELINE,
    JPEG_EXTENDED,
    JPEG_LOSSLESS,
    JPEG_LOSSLESS_SV1,
    JPEG_PROGRESSIVE,
    JPEG_SPECTRAL,
    TransferSyntax,
)
from hostd.transcoding.codecs import Ability, CodecError, FrameKind, Stream
from hostd.transcoding.codecs._jpeg import begins_frame, decoded_photometric, inspect
from hostd.transcoding.codecs._rules import why_not_bits, why_not_lossy
from hostd.transcoding.options import EncodeOptions

if TYPE_CHECKING:
    from hostd.transcoding.codecs import Frame
    from hostd.transcoding.pixels import Pixels

__all__ = ["begins_frame", "decode", "decoded_photometric", "encode", "encoded_as", "inspect", "why_not"]

NAME = "imagecodecs"
REQUIRES = "imagecodecs>=2026.3.6"
SYNTAXES = {
    JPEG_BASELINE: Ability(decode=True, encode=True),
    JPEG_EXTENDED: Ability(decode=True, encode=True),
    JPEG_SPECTRAL: Ability(decode=True),
    JPEG_PROGRESSIVE: Ability(decode=True),
    JPEG_LOSSLESS: Ability(decode=True, encode=True),
    JPEG_LOSSLESS_SV1: Ability(decode=True, encode=True),
}
LACKS: dict[TransferSyntax, str] = {}

_FIRST_ORDER_PREDICTOR = 1
_MAX_SIDE = 65535
_DHT, _SOS = 0xC4, 0xDA


def why_not(described: Pixels, syntax: TransferSyntax, options: EncodeOptions | None) -> str:  # noqa: ARG001 - the signature is the protocol's
    """Say why such frames cannot be encoded; empty when they can."""
    if max(described.rows, described.columns) > _MAX_SIDE:
        return "JPEG codestreams have at most 65535 rows and columns"
    if syntax in (JPEG_LOSSLESS, JPEG_LOSSLESS_SV1):
        return why_not_bits(described, "JPEG lossless", 2, 16)
    if described.is_signed:
        return "lossy JPEG is defined for unsigned samples, and these are signed"
    return why_not_lossy(described, "JPEG") or _why_not_lossy_bits(described, syntax)


def _why_not_lossy_bits(described: Pixels, syntax: TransferSyntax) -> str:
    if described.bits_allocated == described.bits_stored == 8:
        return ""
    if syntax == JPEG_BASELINE:
        return (
            why_not_bits(described, "JPEG Baseline", 8, 8)
            or "JPEG Baseline needs BitsAllocated 8 for samples of 8 bits"
        )
    if described.samples > 1:
        return "JPEG of 12 bits is done for one sample a pixel"
    return why_not_bits(described, "JPEG Extended", 9, 12)


def encoded_as(described: Pixels, syntax: TransferSyntax) -> Pixels:
    """Return the encoded image: lossy colour is YBR_FULL_422, and lossy samples of 9 to 11 bits become those of 12."""
    if syntax in (JPEG_LOSSLESS, JPEG_LOSSLESS_SV1):
        return described
    if described.samples > 1:
        return replace(described, photometric="YBR_FULL_422")
    # The process of 12 bits may overshoot the range of fewer; as DCMTK does, the header then says 12.
    return replace(described, bits_stored=12) if described.bits_stored > 8 else described


def encode(frame: Frame, kind: FrameKind) -> bytes:
    """Encode one frame. Raises `CodecError`."""
    return _encode_lossless(frame, kind) if kind.options is None else encode_lossy(frame, kind)


def _encode_lossless(frame: Frame, kind: FrameKind) -> bytes:
    import imagecodecs  # noqa: PLC0415 - only a worker loads it, see the package

    colours: dict[str, Any] = {"colorspace": "rgb", "outcolorspace": "rgb"} if kind.is_rgb else {}
    if kind.pixels.samples > 1 and not kind.is_rgb:
        colours = {"colorspace": "ycbcr", "outcolorspace": "ycbcr"}
    try:
        encoded = imagecodecs.jpeg8_encode(
            unsigned(frame, kind.bits),
            lossless=True,
            predictor=_FIRST_ORDER_PREDICTOR,
            bitspersample=kind.bits,
            **colours,
        )
    except (imagecodecs.Jpeg8Error, ValueError, TypeError) as error:
        raise CodecError(f"imagecodecs cannot encode this frame: {error}") from error
    return bytes(encoded) if kind.is_rgb or kind.pixels.samples == 1 else _with_true_tables(bytearray(encoded))


def _with_true_tables(encoded: bytearray) -> bytes:
    """Return a lossless codestream of chrominance whose scan header names the Huffman tables by which it was coded.

    libjpeg-turbo (3.1.3, 3.2.0) codes chrominance by table 1 and says table 0, so that decoders read noise, its own too.
    """
    position, has_second_table = 2, False
    while encoded[position + 1] != _SOS:
        has_second_table |= encoded[position + 1] == _DHT and encoded[position + 4] == 1
        position += 2 + int.from_bytes(encoded[position + 2 : position + 4], "big")
    second, third = position + 8, position + 10
    if has_second_table and encoded[second] == encoded[third] == 0:
        encoded[second] = encoded[third] = 0x10
    return bytes(encoded)


def encode_lossy(frame: Frame, kind: FrameKind) -> bytes:
    """Encode one frame with loss, colour as 4:2:2. Raises `CodecError`."""
    import imagecodecs  # noqa: PLC0415 - only a worker loads it, see the package

    assert kind.options is not None
    colours: dict[str, Any] = {}
    if kind.pixels.samples > 1:
        colours = {"colorspace": "rgb" if kind.is_rgb else "ycbcr", "outcolorspace": "ycbcr", "subsampling": "422"}
    bits = 8 if kind.pixels.bits_allocated == 8 else 12
    try:
        return bytes(imagecodecs.jpeg8_encode(frame, level=kind.options.quality, bitspersample=bits, **colours))
    except (imagecodecs.Jpeg8Error, ValueError, TypeError) as error:
        raise CodecError(f"imagecodecs cannot encode this frame: {error}") from error


def decode(stream: Stream) -> Frame:
    """Decode one frame; luminance and chrominance become RGB where the stream says so. Raises `CodecError`."""
    import imagecodecs  # noqa: PLC0415 - only a worker loads it, see the package

    colours: dict[str, Any] = {}
    if stream.is_colour_transformed:
        colours = {"colorspace": "ycbcr", "outcolorspace": "rgb"}
    elif stream.samples > 1:
        # The same on both sides: libjpeg then converts nothing, whatever the markers say.
        colours = {"colorspace": "rgb", "outcolorspace": "rgb"}
    try:
        decoded = imagecodecs.jpeg8_decode(stream.codestream, **colours)
    except (imagecodecs.Jpeg8Error, ValueError, TypeError) as error:
        raise CodecError(f"imagecodecs cannot decode this frame: {error}") from error
    if stream.is_reversible and stream.bits < decoded.dtype.itemsize * 8:
        # T.81 counts modulo 2^16: what lies above the precision belongs to no sample.
        decoded &= (1 << stream.bits) - 1
    return cast("Frame", decoded)


def unsigned(frame: Frame, bits: int) -> Frame:
    """Return the bits of signed samples as unsigned numbers of that many bits."""
    if frame.dtype.kind == "u":
        return frame
    return cast("Frame", frame.view(frame.dtype.str.replace("i", "u")) & ((1 << bits) - 1))
