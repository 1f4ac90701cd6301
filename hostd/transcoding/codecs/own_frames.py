"""Frames that hold uncompressed pixel data as it is (.98, PS3.5 §A.4.11) or deflated (.8.1, PS3.5 §A.4.12): zlib and hostd itself."""

from __future__ import annotations

import zlib
from typing import TYPE_CHECKING

from hostd.dicom.syntaxes import DEFLATED_FRAMES, ENCAPSULATED_UNCOMPRESSED, TransferSyntax
from hostd.transcoding.codecs import Ability, CodecError, FrameKind, Stream
from hostd.transcoding.options import EncodeOptions

if TYPE_CHECKING:
    from hostd.transcoding.codecs import Frame
    from hostd.transcoding.pixels import Pixels

NAME = "hostd"
REQUIRES = "hostd"
SYNTAXES = {
    ENCAPSULATED_UNCOMPRESSED: Ability(decode=True, encode=True),
    DEFLATED_FRAMES: Ability(decode=True, encode=True),
}
LACKS: dict[TransferSyntax, str] = {}

begins_frame = None


def inspect(encoded: bytes, described: Pixels, syntax: TransferSyntax) -> Stream:
    """Inflate the frame if need be, and compare its length with what the header says. Raises `CodecError`."""
    expected = described.frame_bytes
    raw = inflate(encoded, expected) if syntax == DEFLATED_FRAMES else encoded
    # An odd length is padded to an even one (PS3.5 §A.4).
    if len(raw) not in (expected, expected + expected % 2):
        raise CodecError(f"the frame holds {len(raw)} bytes, and its header says {expected}")
    return Stream(
        codestream=raw[:expected],
        rows=described.rows,
        columns=described.columns,
        samples=described.samples,
        bits=described.bits_allocated,
        is_signed=described.is_signed,
        is_reversible=True,
        is_colour_transformed=False,
        is_raw=True,
    )


def inflate(encoded: bytes, expected: int) -> bytes:
    """Return a deflated frame of at most that many bytes, and one of padding, inflated. Raises `CodecError`."""
    inflater = zlib.decompressobj(-zlib.MAX_WBITS)
    try:
        raw = inflater.decompress(encoded, expected + 2)
    except zlib.error as error:
        raise CodecError(f"the deflated frame is damaged: {error}") from error
    if len(raw) <= expected + 1 and not inflater.eof:
        raise CodecError("the deflated frame is cut off")
    return raw


def deflate(raw: bytes) -> bytes:
    """Return a frame as a raw deflate stream (RFC 1951)."""
    deflater = zlib.compressobj(wbits=-zlib.MAX_WBITS)
    return deflater.compress(raw) + deflater.flush()


def why_not(described: Pixels, syntax: TransferSyntax, options: EncodeOptions | None) -> str:  # noqa: ARG001 - the signature is the protocol's
    """Say why such frames cannot be encoded; empty when they can."""
    if described.bits_allocated == 1 and syntax == ENCAPSULATED_UNCOMPRESSED:
        return f"pixels of 1 bit are left as they are: {syntax} does not say how their frames are filled to bytes"
    return ""


def encoded_as(described: Pixels, syntax: TransferSyntax) -> Pixels:  # noqa: ARG001 - the signature is the protocol's
    """Return the image as it is."""
    return described


def decoded_photometric(photometric: str, stream: Stream) -> str:  # noqa: ARG001 - the signature is the protocol's
    """Return what the header says, but that subsampled chrominance is spread over its pixels when samples are decoded."""
    return "YBR_FULL" if photometric == "YBR_FULL_422" else photometric


def encode(frame: Frame, kind: FrameKind) -> bytes:
    """Encode one frame, colour by pixel. Raises nothing."""
    import numpy as np  # noqa: PLC0415 - only a worker loads it, see the package

    pixels = kind.pixels
    if pixels.bits_allocated == 1:
        raw = np.packbits(frame.astype("u1").ravel(), bitorder="little").tobytes()
    else:
        raw = frame.astype(pixels.container).tobytes()
    return deflate(raw) if kind.syntax == DEFLATED_FRAMES else raw


def decode(stream: Stream) -> Frame:
    """Return the bytes of the frame, which `pixels.from_container` arranges."""
    import numpy as np  # noqa: PLC0415 - only a worker loads it, see the package

    return np.frombuffer(stream.codestream, "u1")
