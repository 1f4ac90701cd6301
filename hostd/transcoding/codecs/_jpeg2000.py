"""What every JPEG 2000 and HTJ2K library shares: the codestream's own statements (ITU-T T.800 Annex A, T.814) and DICOM's rules (PS3.5 §8.2.4)."""

from __future__ import annotations

import math
import struct
from dataclasses import replace
from typing import TYPE_CHECKING

from hostd.dicom.syntaxes import TransferSyntax
from hostd.transcoding.codecs import CodecError, FrameKind, Stream
from hostd.transcoding.codecs._rules import DECODED_COLOUR, span_of, why_not_lossy
from hostd.transcoding.options import EncodeOptions

if TYPE_CHECKING:
    from hostd.transcoding.codecs import Frame
    from hostd.transcoding.pixels import Pixels

MAX_BITS = {1: 24, 3: 23}
"""Samples per pixel → bits up to which both libraries were measured to be exact; the colour transformation takes one."""

_MAX_DECODED_BITS = 32
_SOC_SIZ = b"\xff\x4f\xff\x51"
_EOC = b"\xff\xd9"
_COD, _SOT = 0xFF52, 0xFF90
_JP2_SIGNATURE = b"\x00\x00\x00\x0cjP  \r\n\x87\n"


def begins_frame(head: bytes) -> bool:
    """Tell whether a fragment begins a codestream or a JP2 file."""
    return head.startswith((_SOC_SIZ, _JP2_SIGNATURE))


def why_not(described: Pixels, syntax: TransferSyntax, options: EncodeOptions | None) -> str:
    """Say why such frames cannot be encoded; empty when they can."""
    most = MAX_BITS[described.samples]
    if described.bits_stored > most:
        return f"JPEG 2000 is done up to {most} bits a sample, and these samples have {described.bits_stored}"
    return why_not_lossy(described, syntax.name) if options else ""


def encoded_as(described: Pixels, syntax: TransferSyntax) -> Pixels:
    """Return the encoded image: RGB always goes through the multiple component transformation (PS3.5 §8.2.4)."""
    if described.photometric != "RGB":
        return described
    return replace(described, photometric="YBR_ICT" if syntax.is_lossy else "YBR_RCT")


def psnr_of(frame: Frame, kind: FrameKind) -> float:
    """Return the peak signal-to-noise ratio that a quality means, in dB, its peak being all that the bits can hold."""
    assert kind.options is not None
    assert kind.options.quality is not None
    return 20 + 0.4 * kind.options.quality + 20 * math.log10(((1 << kind.bits) - 1) / span_of(frame))


def decoded_photometric(photometric: str, stream: Stream) -> str:
    """Return RGB for YBR_RCT and YBR_ICT: decoders undo the multiple component transformation."""
    if photometric not in {"YBR_RCT", "YBR_ICT"}:
        return DECODED_COLOUR.get(photometric, photometric)
    if not stream.is_colour_transformed:
        raise CodecError(f"the header says {photometric}, but the codestream has no colour transformation")
    return "RGB"


def inspect(encoded: bytes, described: Pixels, syntax: TransferSyntax) -> Stream:  # noqa: ARG001 - the signature is the protocol's
    """Find the codestream, in a JP2 file too, and read its SIZ and COD segments. Raises `CodecError`."""
    codestream = _trimmed(_unboxed(encoded))
    if not codestream.startswith(_SOC_SIZ) or len(codestream) < 43:
        raise CodecError("this is no JPEG 2000 codestream")
    width, height, left, top = struct.unpack_from(">4I", codestream, 8)
    (samples,) = struct.unpack_from(">H", codestream, 40)
    components = codestream[42 : 42 + 3 * samples]
    if width <= left or height <= top:
        raise CodecError("the codestream says that it has no rows or no columns")
    if not samples or len(components) != 3 * samples:
        raise CodecError("the codestream's SIZ segment is cut off")
    if any(components[i : i + 3] != components[:3] for i in range(0, len(components), 3)):
        raise CodecError("the codestream's components differ in precision, sign or size, which is not supported")
    if components[1:3] != b"\x01\x01":
        raise CodecError("the codestream's components are subsampled, which is not supported")
    bits = (components[0] & 0x7F) + 1
    if bits > _MAX_DECODED_BITS:
        raise CodecError(f"the codestream's samples have {bits} bits, and decoders do at most {_MAX_DECODED_BITS}")
    is_reversible, is_colour_transformed = _coding_style(codestream)
    return Stream(
        codestream=codestream,
        rows=height - top,
        columns=width - left,
        samples=samples,
        bits=bits,
        is_signed=bool(components[0] & 0x80),
        is_reversible=is_reversible,
        is_colour_transformed=is_colour_transformed,
    )


def _coding_style(codestream: bytes) -> tuple[bool, bool]:
    """Return whether the wavelet of the COD segment is the reversible one, and whether components are transformed."""
    position = 2
    while position + 4 <= len(codestream):
        marker, length = struct.unpack_from(">HH", codestream, position)
        if marker == _COD and position + 14 <= len(codestream):
            return codestream[position + 13] == 1, codestream[position + 8] == 1
        if marker == _SOT or length < 2:
            break
        position += 2 + length
    raise CodecError("the codestream has no COD segment in its main header")


def _trimmed(codestream: bytes) -> bytes:
    """Cut what follows the end of the codestream: one byte of padding, whatever its value, or zeros."""
    end = codestream.rfind(_EOC) + len(_EOC)
    rest = codestream[end:]
    if end < len(_EOC) or (len(rest) > 1 and rest.strip(b"\0")):
        raise CodecError("the codestream is cut off: it has no end-of-codestream marker")
    return codestream[:end]


def _unboxed(encoded: bytes) -> bytes:
    """Return the contiguous codestream of a JP2 file (T.800 Annex I); a bare codestream is returned as it is."""
    if not encoded.startswith(_JP2_SIGNATURE):
        return encoded
    position = 0
    while position + 8 <= len(encoded):
        length, kind = struct.unpack_from(">I4s", encoded, position)
        head = 8
        if length == 1 and position + 16 <= len(encoded):
            (length,) = struct.unpack_from(">Q", encoded, position + 8)
            head = 16
        if kind == b"jp2c":
            return encoded[position + head : position + length if length else None]
        if length < head:
            break
        position += length
    raise CodecError("the JP2 file in this frame holds no codestream")
