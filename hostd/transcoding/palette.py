"""Palette colour (PS3.3 §C.7.6.3.1.5, §C.7.6.3.1.6, §C.7.9): indexes into three tables, which may be segmented. Runs inside the worker."""

from __future__ import annotations

import struct
from typing import TYPE_CHECKING

from hostd.errors import CannotTranscodeError
from hostd.transcoding import elements as el
from hostd.transcoding.windowing import Lut, table_of

if TYPE_CHECKING:
    from hostd.transcoding.codecs import Frame

_COLOURS = (
    (0x00281101, 0x00281201, 0x00281221),
    (0x00281102, 0x00281202, 0x00281222),
    (0x00281103, 0x00281203, 0x00281223),
)
"""Of red, green and blue: descriptor, data, segmented data."""
_DISCRETE, _LINEAR, _INDIRECT = range(3)


def colours(indexes: Frame, header: el.Elements, *, signed: bool) -> Frame:
    """Return indexes as red, green and blue of 8 bits. Raises `CannotTranscodeError` for tables that cannot be read."""
    import numpy as np  # noqa: PLC0415 - importing this module must not load numpy in the host

    shades = []
    for descriptor, data, segmented in _COLOURS:
        lut = _table(header, descriptor, data, segmented, signed=signed)
        found = lut.apply(indexes)
        # Tables say 16 bits and hold 8 at times: what they hold counts.
        is_wide = lut.bits > 8 and int(lut.table.max()) > 0xFF
        shades.append((found >> 8 if is_wide else found).astype("u1"))
    stacked: Frame = np.stack(shades, axis=-1)
    return stacked


def _table(header: el.Elements, descriptor: int, data: int, segmented: int, *, signed: bool) -> Lut:
    if descriptor not in header or not (data in header or segmented in header):
        raise CannotTranscodeError("the image is of palette colour, and has no palette")
    try:
        described = header[descriptor].value
        if data in header:
            return table_of(described, header[data].value, signed=signed)
        entries, _, bits = struct.unpack("<HHH", described[:6])
        expanded = _expanded(header[segmented].value, entries or 1 << 16, wide=bits > 8)
        return table_of(described, struct.pack(f"<{len(expanded)}H", *expanded), signed=signed)
    except (struct.error, IndexError) as error:
        raise CannotTranscodeError(f"the palette cannot be read: {error}") from error


def _expanded(data: bytes, entries: int, *, wide: bool) -> list[int]:
    """Return the entries that segments stand for (PS3.3 §C.7.9.2)."""
    words = struct.unpack(f"<{len(data) // 2}H", data[: len(data) // 2 * 2]) if wide else tuple(data)
    found: list[int] = []
    segments: list[int] = []
    position = 0
    while position < len(words) and len(found) < entries:
        segments.append(position)
        position = _segment(words, position, found)
        if words[segments[-1]] == _INDIRECT:
            count, begin = words[segments[-1] + 1], segments[-1] + 2
            width = 2 if wide else 4
            offset = sum(word << (16 if wide else 8) * place for place, word in enumerate(words[begin : begin + width]))
            position = begin + width
            at = offset // 2 if wide else offset
            for _ in range(count):
                if words[at] == _INDIRECT or len(found) > entries:
                    raise CannotTranscodeError("the segments of the palette go round in circles")
                at = _segment(words, at, found)
    if len(found) < entries:
        raise CannotTranscodeError(f"the palette should have {entries} entries, and has {len(found)}")
    return found[:entries]


def _segment(words: tuple[int, ...], position: int, found: list[int]) -> int:
    """Add the entries of a discrete or linear segment; return where the next one begins."""
    kind, count = words[position], words[position + 1]
    if kind == _DISCRETE:
        found.extend(words[position + 2 : position + 2 + count])
        return position + 2 + count
    if kind == _LINEAR:
        end = words[position + 2]
        begin = found[-1] if found else end
        found.extend(round(begin + (end - begin) * step / count) for step in range(1, count + 1))
        return position + 3
    if kind == _INDIRECT:
        return position
    raise CannotTranscodeError("the palette has a segment of a kind that there is not")
