"""What every JPEG-LS library shares: the codestream's own statements (ITU-T T.87 Annex C) and DICOM's rules (PS3.5 §8.2.3)."""

from __future__ import annotations

from typing import TYPE_CHECKING

from hostd.dicom.syntaxes import JPEG_LS_LOSSLESS, TransferSyntax
from hostd.transcoding.codecs import CodecError, FrameKind, Stream
from hostd.transcoding.codecs._jpeg import begins_frame as begins_jpeg
from hostd.transcoding.codecs._jpeg import trimmed
from hostd.transcoding.codecs._rules import DECODED_COLOUR, span_of, why_not_bits, why_not_lossy
from hostd.transcoding.options import EncodeOptions

if TYPE_CHECKING:
    from hostd.transcoding.codecs import Frame
    from hostd.transcoding.pixels import Pixels

_SOF55, _SOS, _APP8 = 0xF7, 0xDA, 0xE8
_BITS = range(2, 17)
_MAX_NEAR = 255
_MAX_SIDE = 65535

begins_frame = begins_jpeg


def inspect(encoded: bytes, described: Pixels, syntax: TransferSyntax) -> Stream:  # noqa: ARG001 - the signature is the protocol's
    """Read the frame header and the first scan's NEAR. Raises `CodecError`, also when the end is not there.

    CharLS takes seconds to refuse what is cut off, so that the ending is looked at first.
    """
    codestream = trimmed(encoded)
    frame: bytes | None = None
    position = 2
    while codestream[position : position + 1] == b"\xff":
        marker = codestream[position + 1]
        length = int.from_bytes(codestream[position + 2 : position + 4], "big")
        segment = codestream[position + 4 : position + 2 + length]
        if length < 2 or len(segment) != length - 2:
            break
        if marker == _SOS:
            return _stream(codestream, frame, segment)
        if marker == _SOF55:
            frame = segment
        elif marker == _APP8 and segment.startswith(b"mrfx") and segment[4:5] != b"\0":
            raise CodecError("the codestream uses HP's colour transformation, which DICOM does not have")
        position += 2 + length
    raise CodecError("this is no JPEG-LS codestream, or its segments are broken")


def _stream(codestream: bytes, frame: bytes | None, scan: bytes) -> Stream:
    if frame is None or len(frame) < 6 or len(frame) != 6 + 3 * frame[5]:
        raise CodecError("the codestream has no JPEG-LS frame header")
    bits, samples = frame[0], frame[5]
    rows, columns = int.from_bytes(frame[1:3], "big"), int.from_bytes(frame[3:5], "big")
    if bits not in _BITS or not rows or not columns or samples not in (1, 3):
        raise CodecError(
            f"the codestream says {columns}x{rows} of {samples} samples of {bits} bits, which is not supported"
        )
    if any(sampling != 0x11 for sampling in frame[7::3]):
        raise CodecError("the codestream's components are subsampled, which is not supported")
    if len(scan) != 4 + 2 * scan[0]:
        raise CodecError("the codestream's scan header is broken")
    near = scan[1 + 2 * scan[0]]
    return Stream(codestream, rows, columns, samples, bits, False, near == 0, False, near=near)


def decoded_photometric(photometric: str, stream: Stream) -> str:  # noqa: ARG001 - the signature is the protocol's
    """Return what the header says; every chrominance sample is there."""
    return DECODED_COLOUR.get(photometric, photometric)


def why_not(described: Pixels, syntax: TransferSyntax, options: EncodeOptions | None) -> str:  # noqa: ARG001 - the signature is the protocol's
    """Say why such frames cannot be encoded; empty when they can."""
    if max(described.rows, described.columns) > _MAX_SIDE:
        return "JPEG-LS codestreams have at most 65535 rows and columns"
    if syntax != JPEG_LS_LOSSLESS and (why := why_not_lossy(described, "JPEG-LS")):
        return why
    return why_not_bits(described, "JPEG-LS", _BITS[0], _BITS[-1])


def encoded_as(described: Pixels, syntax: TransferSyntax) -> Pixels:  # noqa: ARG001 - the signature is the protocol's
    """Return the image as it is: JPEG-LS transforms no colours."""
    return described


def near_of(frame: Frame, kind: FrameKind) -> int:
    """Return the NEAR parameter that is asked for, 0 without loss."""
    if kind.options is None:
        return 0
    limit = min(_MAX_NEAR, ((1 << kind.bits) - 1) // 2)
    if kind.options.near is not None:
        return min(kind.options.near, limit)
    assert kind.options.quality is not None
    return max(1, min(limit, round((100 - kind.options.quality) * span_of(frame) / 2560)))


def refuse_wrapping(frame: Frame, kind: FrameKind) -> None:
    """Refuse signed samples so near the end of their range that an error would turn their sign. Raises `CodecError`."""
    near = near_of(frame, kind)
    if near and kind.is_signed:
        half = 1 << kind.bits - 1
        if int(frame.min()) < near - half or int(frame.max()) > half - 1 - near:
            raise CodecError(
                "signed samples lie so near the end of their range that near-lossless would turn their sign"
            )
