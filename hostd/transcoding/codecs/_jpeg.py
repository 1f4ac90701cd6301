"""What a JPEG codestream says of itself (ITU-T T.81 Annex B), and DICOM's rules for its colours (PS3.5 §8.2.1)."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from hostd.dicom.syntaxes import TransferSyntax
from hostd.transcoding.codecs import CodecError, Stream
from hostd.transcoding.codecs._rules import DECODED_COLOUR

if TYPE_CHECKING:
    from hostd.transcoding.pixels import Pixels

_SOI, _EOI = b"\xff\xd8", b"\xff\xd9"
_SOS, _APP0, _APP14 = 0xDA, 0xE0, 0xEE
_BASELINE, _EXTENDED, _PROGRESSIVE, _LOSSLESS = 0xC0, 0xC1, 0xC2, 0xC3
_SUPPORTED = frozenset({_BASELINE, _EXTENDED, _PROGRESSIVE, _LOSSLESS})
_FRAMES = frozenset(range(0xC0, 0xD0)) - {0xC4, 0xC8, 0xCC}
_STANDALONE = frozenset({0x01, *range(0xD0, 0xD8)})
_PRECISIONS = {_BASELINE: (8,), _EXTENDED: (8, 12), _PROGRESSIVE: (8, 12), _LOSSLESS: tuple(range(2, 17))}
_RGB_IDS = b"RGB"


@dataclass(slots=True)
class JpegFrame:
    """The segments before the first scan."""

    process: int = 0
    bits: int = 0
    rows: int = 0
    columns: int = 0
    identifiers: bytes = b""
    sampling: list[int] = field(default_factory=list)
    has_jfif: bool = False
    adobe: int | None = None
    """The colour transform of Adobe's APP14 segment."""

    @property
    def is_lossless(self) -> bool:
        """Whether it is the lossless process (SOF3)."""
        return self.process == _LOSSLESS

    @property
    def is_subsampled(self) -> bool:
        """Whether components differ in size."""
        return len(set(self.sampling)) > 1


def begins_frame(head: bytes) -> bool:
    """Tell whether a fragment begins a JPEG codestream."""
    return head.startswith(b"\xff\xd8\xff")


def inspect(encoded: bytes, described: Pixels, syntax: TransferSyntax) -> Stream:  # noqa: ARG001 - the signature is the protocol's
    """Read the segments up to the first scan, and see that the end is there. Raises `CodecError`."""
    codestream = trimmed(encoded)
    frame = read_frame(codestream)
    samples = len(frame.identifiers)
    is_ycc = samples == 3 and not frame.is_lossless and _holds_ycc(frame, described.photometric)
    if frame.is_lossless and frame.is_subsampled:
        raise CodecError("the components of this lossless JPEG differ in size, which is not supported")
    if frame.is_subsampled and not is_ycc:
        raise CodecError("the components of this JPEG differ in size, but it holds no luminance and chrominance")
    return Stream(
        codestream=codestream,
        rows=frame.rows,
        columns=frame.columns,
        samples=samples,
        bits=frame.bits,
        is_signed=False,
        is_reversible=frame.is_lossless,
        is_colour_transformed=is_ycc,
    )


def baseline_photometric(codestream: bytes) -> str:
    """Return the Photometric Interpretation that a codestream of JPEG Baseline (Process 1) is described by, '' where it is none."""
    try:
        frame = read_frame(trimmed(codestream))
    except CodecError:
        return ""
    if frame.process != _BASELINE:
        return ""
    if len(frame.identifiers) == 1:
        return "MONOCHROME2"
    if _holds_ycc(frame, ""):
        return "YBR_FULL_422" if frame.is_subsampled else "YBR_FULL"
    return "RGB"


def decoded_photometric(photometric: str, stream: Stream) -> str:
    """Return RGB where decoding converts, and else what the header says."""
    return "RGB" if stream.is_colour_transformed else DECODED_COLOUR.get(photometric, photometric)


def trimmed(encoded: bytes) -> bytes:
    """Cut the padding after the EOI marker. Raises `CodecError` when there is no SOI at the beginning or no EOI at the end."""
    end = encoded.rfind(_EOI) + len(_EOI)
    if not encoded.startswith(_SOI):
        raise CodecError("this is no JPEG codestream: it has no SOI marker")
    rest = encoded[end:]
    if end < len(_EOI) or (len(rest) > 1 and rest.strip(b"\0\xff")):
        raise CodecError("the codestream is cut off: it has no EOI marker")
    return encoded[:end]


def read_frame(codestream: bytes) -> JpegFrame:
    """Read the segments before the first scan. Raises `CodecError` when they are not sane."""
    frame = JpegFrame()
    position = len(_SOI)
    while True:
        position = _marker_at(codestream, position)
        marker = codestream[position]
        if marker in _STANDALONE:
            position += 1
            continue
        length = int.from_bytes(codestream[position + 1 : position + 3], "big")
        segment = codestream[position + 3 : position + 1 + length]
        if length < 2 or len(segment) != length - 2:
            raise CodecError("the codestream is cut off inside its segments")
        if marker == _SOS:
            break
        _take(frame, marker, segment)
        position += 1 + length
    if not frame.process:
        raise CodecError("the codestream has a scan before its frame header")
    return frame


def _marker_at(codestream: bytes, position: int) -> int:
    """Return where the code of the next marker is; markers may be preceded by fill bytes."""
    if codestream[position : position + 1] != b"\xff":
        raise CodecError(f"the codestream has no marker where one should be (byte {position})")
    while codestream[position : position + 1] == b"\xff":
        position += 1
    if position >= len(codestream):
        raise CodecError("the codestream is cut off inside its segments")
    return position


def _take(frame: JpegFrame, marker: int, segment: bytes) -> None:
    if marker in _FRAMES:
        if marker not in _SUPPORTED:
            raise CodecError(f"the codestream uses a JPEG process that is not supported (SOF{marker - 0xC0})")
        if frame.process:
            raise CodecError("the codestream has two frame headers")
        components = segment[5] if len(segment) > 5 else 0
        if len(segment) != 6 + 3 * components or components not in (1, 3):
            raise CodecError(f"the codestream has {components} components; hostd decodes 1 or 3")
        frame.process = marker
        frame.bits = segment[0]
        frame.rows, frame.columns = int.from_bytes(segment[1:3], "big"), int.from_bytes(segment[3:5], "big")
        frame.identifiers = segment[6::3]
        frame.sampling = list(segment[7::3])
        if frame.bits not in _PRECISIONS[marker]:
            raise CodecError(f"the codestream says {frame.bits} bits a sample, which its process does not have")
        if not frame.rows or not frame.columns:
            raise CodecError("the codestream says that it has no rows or no columns")
    elif marker == _APP0 and segment.startswith(b"JFIF\0"):
        frame.has_jfif = True
    elif marker == _APP14 and segment.startswith(b"Adobe") and len(segment) >= 12:
        frame.adobe = segment[11]


def _holds_ycc(frame: JpegFrame, photometric: str) -> bool:
    """Tell whether three components are luminance and chrominance; what the codestream says of itself comes first."""
    if frame.is_subsampled:
        return True
    if frame.adobe is not None:
        return frame.adobe == 1
    if frame.has_jfif:
        return True
    return frame.identifiers != _RGB_IDS and photometric != "RGB"
