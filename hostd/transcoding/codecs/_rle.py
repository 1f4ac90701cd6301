"""The RLE header of a frame (PS3.5 §G.5), and DICOM's rules for it (PS3.5 §8.2.2)."""

from __future__ import annotations

import struct
from dataclasses import replace
from typing import TYPE_CHECKING

from hostd.dicom.syntaxes import TransferSyntax
from hostd.transcoding.codecs import CodecError, Stream
from hostd.transcoding.codecs._rules import DECODED_COLOUR, why_not_bits
from hostd.transcoding.options import EncodeOptions

if TYPE_CHECKING:
    from hostd.transcoding.pixels import Pixels

_HEADER = 64
_MAX_SEGMENTS = 15
_MOST_A_BYTE = 64
"""Two bytes stand for 128 at most (PS3.5 §G.3.1)."""


def begins_frame(head: bytes) -> bool:
    """Tell whether a fragment begins an RLE frame: a number of segments, the first of which follows the header."""
    segments, first = struct.unpack_from("<2I", head) if len(head) >= 8 else (0, 0)
    return bool(0 < segments <= _MAX_SEGMENTS and first == _HEADER)


def inspect(encoded: bytes, described: Pixels, syntax: TransferSyntax) -> Stream:  # noqa: ARG001 - the signature is the protocol's
    """Check the header's segments: as many as the samples have bytes, in order, inside the frame. Raises `CodecError`."""
    if len(encoded) < _HEADER:
        raise CodecError("the RLE frame is shorter than its header")
    segments, *offsets = struct.unpack_from("<16I", encoded)
    expected = described.samples * described.bits_allocated // 8
    if segments != expected:
        raise CodecError(f"the RLE header says {segments} segments, and samples of this image need {expected}")
    used = offsets[:segments]
    ends = [*used[1:], len(encoded)]
    if used[0] != _HEADER or any(not begin < end for begin, end in zip(used, ends, strict=True)):
        raise CodecError("the RLE header's segments are out of order or outside the frame")
    if any(
        (end - begin) * _MOST_A_BYTE < described.rows * described.columns for begin, end in zip(used, ends, strict=True)
    ):
        raise CodecError("the RLE frame is too short for its rows and columns")
    if any(offsets[segments:]):
        raise CodecError("the RLE header has offsets for segments that it does not have")
    return Stream(
        codestream=encoded,
        rows=described.rows,
        columns=described.columns,
        samples=described.samples,
        bits=described.bits_allocated,
        is_signed=described.is_signed,
        is_reversible=True,
        is_colour_transformed=False,
        is_raw=True,
    )


def decoded_photometric(photometric: str, stream: Stream) -> str:  # noqa: ARG001 - the signature is the protocol's
    """Return what the header says; every chrominance sample is there."""
    return DECODED_COLOUR.get(photometric, photometric)


def why_not(described: Pixels, syntax: TransferSyntax, options: EncodeOptions | None) -> str:  # noqa: ARG001 - the signature is the protocol's
    """Say why such frames cannot be encoded; empty when they can."""
    return why_not_bits(described, "RLE Lossless", 1, 16)


def encoded_as(described: Pixels, syntax: TransferSyntax) -> Pixels:  # noqa: ARG001 - the signature is the protocol's
    """Return the image as it is."""
    return replace(described, planar=0)
