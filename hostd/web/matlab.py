"""An image as an expression of MATLAB and Octave, which gives the array of its samples when it is evaluated."""

from __future__ import annotations

import struct
from collections.abc import Iterator
from typing import BinaryIO

_CODES = {"u1": "B", "i1": "b", "u2": "H", "i2": "h", "u4": "I", "i4": "i"}
_PIECE = 1 << 18
"""Characters that are given at one time, or a few more."""


def is_written(descr: str) -> bool:
    """Tell whether samples of a type, in NumPy's words, can be written."""
    return descr[1:] in _CODES


def expression(file: BinaryIO, descr: str, rows: int, columns: int, channels: int) -> Iterator[bytes]:
    """Yield the expression of a frame whose samples are in an open file, colours by pixel."""
    before, between, after = "double([", " ;", " ])"
    if channels > 1:
        # Read by columns, as they do, the colours come first, then a row's pixels, then the rows.
        before, between = "double(permute(reshape([", ""
        after = f" ], [ {channels} {columns} {rows} ]), [ 3 2 1 ]))"
    form = struct.Struct(f"<{columns * channels}{_CODES[descr[1:]]}")
    text = before
    for number in range(rows):
        samples = form.unpack(file.read(form.size))
        text += f"{between if number else ''} {' '.join(map(str, samples))}"
        if len(text) >= _PIECE:
            yield text.encode("ascii")
            text = ""
    yield (text + after).encode("ascii")
