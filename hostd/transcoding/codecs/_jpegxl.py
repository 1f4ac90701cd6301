"""What a JPEG XL codestream says of itself (ISO/IEC 18181-1 Annex D, 18181-2 for its container)."""

from __future__ import annotations

from dataclasses import dataclass

from hostd.transcoding.codecs import CodecError

_CODESTREAM = b"\xff\x0a"
_CONTAINER = b"\x00\x00\x00\x0cJXL \r\n\x87\n"
_RATIOS = {1: (1, 1), 2: (12, 10), 3: (4, 3), 4: (3, 2), 5: (16, 9), 6: (5, 4), 7: (2, 1)}
_GREY, _RGB = 1, 0


@dataclass(frozen=True, slots=True)
class JxlHead:
    """Size and kind of the image."""

    rows: int
    columns: int
    samples: int
    bits: int
    is_xyb: bool
    """Whether colours are stored as XYB, which only lossy images are."""


def begins_frame(head: bytes) -> bool:
    """Tell whether a fragment begins a codestream or a container."""
    return head.startswith((_CODESTREAM, _CONTAINER))


def read_head(encoded: bytes) -> JxlHead:
    """Read the image header. Raises `CodecError` when it is none, or says what hostd does not decode."""
    bits = _Bits(_codestream_head(encoded))
    rows, columns = _size(bits)
    if bits.take(1):  # all default: 8 bits, XYB, RGB
        return JxlHead(rows, columns, 3, 8, is_xyb=True)
    if bits.take(1):
        _extra_fields(bits)
    if bits.take(1):
        raise CodecError("the codestream holds floating point samples, which is not supported")
    depth = bits.choose((8, 0), (10, 0), (12, 0), (1, 6))
    bits.take(1)  # whether buffers of 16 bits suffice
    if bits.choose((0, 0), (1, 0), (2, 4), (1, 12)):
        raise CodecError("the codestream has extra channels, such as transparency, which is not supported")
    is_xyb = bool(bits.take(1))
    samples = 3
    if not bits.take(1):  # colours are not all default
        bits.take(1)  # an ICC profile follows
        space = bits.choose((0, 0), (1, 0), (2, 4), (18, 6))
        if space not in (_GREY, _RGB):
            raise CodecError("the codestream has neither grey nor RGB samples, which is not supported")
        samples = 1 if space == _GREY else 3
    return JxlHead(rows, columns, samples, depth, is_xyb)


def _size(bits: _Bits) -> tuple[int, int]:
    is_small = bits.take(1)
    rows = _side(bits, is_small)
    ratio = bits.take(3)
    if not ratio:
        return rows, _side(bits, is_small)
    numerator, denominator = _RATIOS[ratio]
    return rows, rows * numerator // denominator


def _side(bits: _Bits, is_small: int) -> int:
    return 8 * (bits.take(5) + 1) if is_small else bits.choose((1, 9), (1, 13), (1, 18), (1, 30))


def _extra_fields(bits: _Bits) -> None:
    if bits.take(3):
        raise CodecError("the codestream turns or mirrors its image, which is not supported")
    if bits.take(1):
        _size(bits)  # the size that is meant for display
    if bits.take(1):
        raise CodecError("the codestream has a preview, which is not supported")
    if bits.take(1):
        raise CodecError("the codestream is an animation, which is not supported")


def _codestream_head(encoded: bytes) -> bytes:
    if encoded.startswith(_CODESTREAM):
        return encoded[2:66]
    if not encoded.startswith(_CONTAINER):
        raise CodecError("this is no JPEG XL codestream")
    position = 0
    while position + 8 <= len(encoded):
        length = int.from_bytes(encoded[position : position + 4], "big")
        kind, head = encoded[position + 4 : position + 8], 8
        if length == 1:
            length, head = int.from_bytes(encoded[position + 8 : position + 16], "big"), 16
        if length and position + length > len(encoded):
            raise CodecError("the JPEG XL container is cut off")
        begin = position + head + (4 if kind == b"jxlp" else 0)
        if kind in (b"jxlc", b"jxlp") and encoded[begin : begin + 2] == _CODESTREAM:
            return encoded[begin + 2 : begin + 66]
        if length < head:
            break
        position += length
    raise CodecError("the JPEG XL container holds no codestream")


class _Bits:
    """Reads bits, the least significant of each byte first."""

    def __init__(self, content: bytes) -> None:
        self._left = int.from_bytes(content, "little")
        self._count = 8 * len(content)

    def take(self, count: int) -> int:
        if count > self._count:
            raise CodecError("the JPEG XL codestream is cut off inside its header")
        value = self._left & ((1 << count) - 1)
        self._left >>= count
        self._count -= count
        return value

    def choose(self, *choices: tuple[int, int]) -> int:
        """Read one of four: a base, and so many bits to add."""
        base, count = choices[self.take(2)]
        return base + self.take(count)
