"""JPEG XL by imagecodecs, which carries libjxl (PS3.5 §8.2.15). There is no second decoder to verify it by.

.111 holds a JPEG: it is taken out again bit by bit and decoded as one, so that both have the same pixels.
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any, cast

from hostd.dicom.syntaxes import JPEG_BASELINE, JPEG_XL, JPEG_XL_LOSSLESS, JPEG_XL_RECOMPRESSION, TransferSyntax
from hostd.transcoding.codecs import Ability, CodecError, FrameKind, Stream, _jpeg, _jpegxl, imagecodecs_jpeg
from hostd.transcoding.codecs._jpegxl import begins_frame
from hostd.transcoding.codecs._rules import DECODED_COLOUR, why_not_bits, why_not_lossy
from hostd.transcoding.options import EncodeOptions

if TYPE_CHECKING:
    from hostd.transcoding.codecs import Frame
    from hostd.transcoding.pixels import Pixels

__all__ = ["begins_frame", "decode", "decoded_photometric", "encode", "encoded_as", "inspect", "why_not"]

NAME = "imagecodecs"
REQUIRES = "imagecodecs>=2026.3.6"
SYNTAXES = {
    JPEG_XL_LOSSLESS: Ability(decode=True, encode=True),
    JPEG_XL_RECOMPRESSION: Ability(decode=True, encode=True),
    JPEG_XL: Ability(decode=True, encode=True),
}
LACKS: dict[TransferSyntax, str] = {}

_FAST = 3
"""Effort of libjxl: 5 takes three times as long for a tenth less."""


def inspect(encoded: bytes, described: Pixels, syntax: TransferSyntax) -> Stream:
    """Read the image header, or take the JPEG out of .111. Raises `CodecError`."""
    head = _jpegxl.read_head(encoded)
    if (head.rows, head.columns, head.samples) != (described.rows, described.columns, described.samples):
        raise CodecError(
            f"the codestream is {head.columns}x{head.rows} with {head.samples} samples, which contradicts the header"
        )
    if syntax == JPEG_XL_RECOMPRESSION:
        return _jpeg.inspect(jpeg_of(encoded), described, JPEG_BASELINE)
    return Stream(
        codestream=encoded,
        rows=head.rows,
        columns=head.columns,
        samples=head.samples,
        bits=head.bits,
        is_signed=False,
        is_reversible=syntax == JPEG_XL_LOSSLESS and not head.is_xyb,
        is_colour_transformed=head.is_xyb and head.samples > 1,
    )


def jpeg_of(encoded: bytes) -> bytes:
    """Return the JPEG that was recompressed, bit by bit as it was. Raises `CodecError`."""
    import imagecodecs  # noqa: PLC0415 - only a worker loads it, see the package

    try:
        return bytes(imagecodecs.jpegxl_decode_jpeg(encoded, numthreads=1))
    except (imagecodecs.JpegxlError, ValueError, TypeError, RuntimeError) as error:
        raise CodecError(f"imagecodecs cannot restore the JPEG of this frame: {error}") from error


def recompressed(jpeg: bytes) -> bytes:
    """Return a JPEG as JPEG XL from which it can be restored bit by bit. Raises `CodecError`."""
    import imagecodecs  # noqa: PLC0415 - only a worker loads it, see the package

    try:
        return bytes(imagecodecs.jpegxl_encode_jpeg(jpeg, numthreads=1))
    except (imagecodecs.JpegxlError, ValueError, TypeError, RuntimeError) as error:
        raise CodecError(f"imagecodecs cannot recompress this JPEG: {error}") from error


def decoded_photometric(photometric: str, stream: Stream) -> str:
    """Return RGB where decoding converts, and else what the header says."""
    if stream.codestream.startswith(b"\xff\xd8"):
        return _jpeg.decoded_photometric(photometric, stream)
    if stream.is_colour_transformed or photometric == "XYB":
        return "RGB"
    return DECODED_COLOUR.get(photometric, photometric)


def why_not(described: Pixels, syntax: TransferSyntax, options: EncodeOptions | None) -> str:
    """Say why such frames cannot be encoded; empty when they can."""
    if syntax == JPEG_XL_RECOMPRESSION:
        return imagecodecs_jpeg.why_not(described, JPEG_BASELINE, options)
    if described.is_signed:
        return "JPEG XL is done for unsigned samples, and these are signed"
    if options is not None:
        if described.samples > 1 and described.photometric != "RGB":
            return (
                f"lossy JPEG XL is done for RGB and one sample a pixel, and these colours are {described.photometric}"
            )
        if why := why_not_lossy(described, "JPEG XL"):
            return why
    return why_not_bits(described, "JPEG XL", 1, 16)


def encoded_as(described: Pixels, syntax: TransferSyntax) -> Pixels:
    """Return the encoded image: that of its JPEG for .111, and otherwise as it is, XYB being the codestream's own affair."""
    if syntax == JPEG_XL_RECOMPRESSION:
        return imagecodecs_jpeg.encoded_as(described, JPEG_BASELINE)
    if syntax == JPEG_XL and described.samples > 1:
        return replace(described, photometric="XYB")
    return described


def encode(frame: Frame, kind: FrameKind) -> bytes:
    """Encode one frame. Raises `CodecError`."""
    import imagecodecs  # noqa: PLC0415 - only a worker loads it, see the package

    if kind.syntax == JPEG_XL_RECOMPRESSION:
        return recompressed(imagecodecs_jpeg.encode_lossy(frame, kind))
    loss: dict[str, Any] = {"lossless": True}
    if kind.options:
        loss = {"lossless": False, "distance": _distance(kind.options)}
    try:
        return bytes(imagecodecs.jpegxl_encode(frame, effort=_FAST, bitspersample=kind.bits, numthreads=1, **loss))
    except (imagecodecs.JpegxlError, ValueError, TypeError, RuntimeError) as error:
        raise CodecError(f"imagecodecs cannot encode this frame: {error}") from error


def decode(stream: Stream) -> Frame:
    """Decode one frame. Raises `CodecError`."""
    import imagecodecs  # noqa: PLC0415 - only a worker loads it, see the package

    if stream.codestream.startswith(b"\xff\xd8"):
        return imagecodecs_jpeg.decode(stream)
    try:
        return cast("Frame", imagecodecs.jpegxl_decode(stream.codestream, numthreads=1))
    except (imagecodecs.JpegxlError, ValueError, TypeError, RuntimeError) as error:
        raise CodecError(f"imagecodecs cannot decode this frame: {error}") from error


def _distance(options: EncodeOptions) -> float:
    """Return libjxl's own Butteraugli distance of a quality (JxlEncoderDistanceFromQuality)."""
    quality = options.quality
    assert quality is not None
    if quality >= 100:
        return 0.01  # 0 would mean without loss, which this syntax does not promise
    return 0.1 + (100 - quality) * 0.09 if quality >= 30 else 53 / 3000 * quality**2 - 23 / 20 * quality + 25
