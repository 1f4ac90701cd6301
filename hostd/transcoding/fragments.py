"""Encapsulated pixel data (PS3.5 Annex A.4): found by seeking, so that no more than one frame is in memory.

A structure that leaves it open which bytes belong to which frame is refused, never guessed at.
"""

from __future__ import annotations

import os
import struct
import sys
from array import array
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import BinaryIO

from hostd.errors import CannotTranscodeError

_ITEM = b"\xfe\xff\x00\xe0"
_DELIMITER = b"\xfe\xff\xdd\xe0"
_UNDEFINED = 0xFFFFFFFF
_MAX_FRAGMENTS = 4_000_000
_MAX_OFFSET = 0xFFFFFFFE

BeginsFrame = Callable[[bytes], bool]
"""Tells of the first 12 bytes of a fragment whether a codestream begins there."""


@dataclass(frozen=True, slots=True)
class FrameIndex:
    """Where each frame's fragments are. `starts[i]` is the first fragment of frame i."""

    values: array[int]
    """Position of each fragment's value in the file."""
    lengths: array[int]
    starts: array[int]
    end: int
    """Position after the pixel data."""

    def read(self, source: BinaryIO, frame: int) -> bytes:
        """Return the bytes of one frame, its fragments joined, padding included."""
        stop = self.starts[frame + 1] if frame + 1 < len(self.starts) else len(self.values)
        parts = []
        for fragment in range(self.starts[frame], stop):
            source.seek(self.values[fragment])
            parts.append(source.read(self.lengths[fragment]))
        return b"".join(parts)


def index(
    source: BinaryIO,
    frames: int,
    begins_frame: BeginsFrame | None,
    *,
    extended_offsets: bytes | None = None,
    extended_lengths: bytes | None = None,
) -> FrameIndex:
    """Find the frames; `source` stands at the first item, which is the basic offset table.

    Codestreams without a mark (`begins_frame` None) are found by the offset table, or else by being one fragment each.

    `extended_offsets` and `extended_lengths` are the values of (7FE0,0001) and (7FE0,0002). Raises `CannotTranscodeError`
    when an item is cut off or broken, or when tables, codestreams and Number of Frames do not agree.
    """
    table, values, lengths, end = _items(source, begins_frame)
    if not values:
        raise CannotTranscodeError("the pixel data has no fragments")
    offsets: array[int] | None = None
    if extended_offsets:
        offsets = _unpacked(extended_offsets, "Q", "extended offset table")
        _check_lengths(lengths, offsets, extended_lengths)
    elif table:
        offsets = _unpacked(table, "I", "basic offset table")
    if begins_frame is None:
        begins = _by_table(values, offsets, frames)
    else:
        begins = array("Q", (n for n, at in enumerate(values) if begins_frame(_head(source, at, lengths[n]))))
    if len(begins) != frames:
        raise CannotTranscodeError(
            f"NumberOfFrames is {frames}, but {len(begins)} of the {len(values)} fragments begin a codestream"
        )
    if begins[0] != 0:
        raise CannotTranscodeError("the first fragment does not begin a codestream")
    if offsets is not None:
        _check_offsets(values, begins, offsets)
    return FrameIndex(values, lengths, begins, end)


def items(source: BinaryIO) -> list[tuple[int, int]]:
    """Return where each item's value is, and its length, the offset table's first; `source` stands at it. Raises as `index` does."""
    at = source.tell()
    _, values, lengths, _ = _items(source, None)
    source.seek(at)
    table = int.from_bytes(source.read(8)[4:], "little")
    return [(at + 8, table), *zip(values, lengths, strict=True)]


def _by_table(values: array[int], offsets: array[int] | None, frames: int) -> array[int]:
    """Return the first fragment of each frame where codestreams have no mark."""
    if len(values) == frames:
        return array("Q", range(frames))
    if frames == 1:
        return array("Q", [0])
    if offsets is None:
        raise CannotTranscodeError(
            f"NumberOfFrames is {frames}, but there are {len(values)} fragments and no offset table says which belong together"
        )
    at = {value - values[0]: number for number, value in enumerate(values)}
    if any(offset not in at for offset in offsets):
        raise CannotTranscodeError("the offset table of the pixel data does not agree with where the frames are")
    return array("Q", (at[offset] for offset in offsets))


def _items(source: BinaryIO, begins_frame: BeginsFrame | None) -> tuple[bytes, array[int], array[int], int]:
    values, lengths = array("Q"), array("Q")
    position = source.tell()
    size = source.seek(0, os.SEEK_END)
    source.seek(position)
    table: bytes | None = None
    while True:
        head = source.read(8)
        if not head and table is not None:
            # The sequence delimiter is missing at the end of the file; every fragment is whole, so nothing is lost.
            return table, values, lengths, position
        if len(head) < 8:
            raise CannotTranscodeError("the file ends inside its pixel data")
        tag, length = head[:4], int.from_bytes(head[4:], "little")
        if tag == _DELIMITER:
            return table or b"", values, lengths, position + 8
        if tag != _ITEM or length == _UNDEFINED:
            raise CannotTranscodeError(f"the pixel data is broken at byte {position}: no item begins there")
        if position + 8 + length > size:
            raise CannotTranscodeError("the last fragment of the pixel data is cut off")
        if table is None:
            table = source.read(length)
            if begins_frame is not None and begins_frame(table[:12]):
                raise CannotTranscodeError("the pixel data has no basic offset table: its first item is a codestream")
        else:
            values.append(position + 8)
            lengths.append(length)
            if len(values) > _MAX_FRAGMENTS:
                raise CannotTranscodeError(f"the pixel data has more than {_MAX_FRAGMENTS} fragments")
        position += 8 + length
        source.seek(position)


def _head(source: BinaryIO, position: int, length: int) -> bytes:
    source.seek(position)
    return source.read(min(12, length))


def _unpacked(table: bytes, kind: str, name: str) -> array[int]:
    # Arrays, not tuples: millions of frames must not cost a Python object each.
    numbers = array(kind)
    if len(table) % numbers.itemsize:
        raise CannotTranscodeError(f"the {name} is not made of whole numbers")
    numbers.frombytes(table)
    if sys.byteorder == "big":
        numbers.byteswap()
    return numbers


def _check_offsets(values: array[int], begins: array[int], offsets: array[int]) -> None:
    """Compare a table with where the frames are (PS3.5 §A.4: offsets count from the first byte after the basic offset table)."""
    first = values[0]
    if len(offsets) != len(begins) or any(
        values[fragment] - first != offset for fragment, offset in zip(begins, offsets, strict=True)
    ):
        raise CannotTranscodeError("the offset table of the pixel data does not agree with where the frames are")


def _check_lengths(lengths: array[int], offsets: array[int], table: bytes | None) -> None:
    """Check (7FE0,0002): one fragment a frame (PS3.3 §C.7.6.3.1.8), its length with or without the padding byte."""
    stated = _unpacked(table or b"", "Q", "extended offset table of lengths")
    if len(stated) != len(offsets) or len(lengths) != len(offsets):
        raise CannotTranscodeError("the extended offset table does not agree with the number of fragments")
    if any(there - said not in (0, 1) for there, said in zip(lengths, stated, strict=True)):
        raise CannotTranscodeError("the extended offset table does not agree with the lengths of the fragments")


def needs_extended_table(uncompressed_bytes: int, frames: int) -> bool:
    """Tell whether offsets of the encoded frames might not fit the 32 bits of a basic offset table.

    It must be decided before the first frame is encoded, because the extended table stands before the pixel data; so an
    eighth more than the uncompressed size is allowed for.
    """
    return uncompressed_bytes + uncompressed_bytes // 8 + 1024 * frames > _MAX_OFFSET


class EncapsulatedWriter:
    """Writes the value of encapsulated pixel data, one fragment a frame, as frames come.

    The offset table is written with zeros and patched by `close`. `extended_at` says where the values of (7FE0,0001) and
    (7FE0,0002), 8 bytes a frame each, were left open; then they are patched, and the basic table is empty.
    """

    def __init__(self, result: BinaryIO, frames: int, extended_at: tuple[int, int] | None = None) -> None:
        self._result = result
        self._frames = frames
        self._extended_at = extended_at
        self._offsets = array("Q")
        self._lengths = array("Q")
        table = 0 if extended_at else 4 * frames
        if table > _MAX_OFFSET:
            raise CannotTranscodeError("there are more frames than a basic offset table can hold")
        self._table_at = result.tell() + 8
        result.write(_ITEM + struct.pack("<I", table) + bytes(table))
        self._first = result.tell()

    def write(self, codestream: bytes) -> None:
        """Write the next frame, padded to an even length (PS3.5 §A.4)."""
        length = len(codestream) + len(codestream) % 2
        offset = self._result.tell() - self._first
        if length > _MAX_OFFSET or (offset > _MAX_OFFSET and not self._extended_at):
            raise CannotTranscodeError("the encoded frames are larger than their offset table can say")
        self._offsets.append(offset)
        self._lengths.append(length)
        self._result.write(_ITEM + struct.pack("<I", length))
        self._result.write(codestream)
        self._result.write(bytes(length - len(codestream)))

    def close(self) -> None:
        """End the sequence and fill in the offset table; the file is left after the pixel data."""
        assert len(self._offsets) == self._frames
        self._result.write(_DELIMITER + bytes(4))
        end = self._result.tell()
        if self._extended_at:
            for position, numbers in zip(self._extended_at, (self._offsets, self._lengths), strict=True):
                self._result.seek(position)
                self._result.write(struct.pack(f"<{self._frames}Q", *numbers))
        else:
            self._result.seek(self._table_at)
            self._result.write(struct.pack(f"<{self._frames}I", *self._offsets))
        self._result.seek(end)


def frames_of(source: BinaryIO, found: FrameIndex) -> Iterator[bytes]:
    """Yield the encoded frames in order."""
    for frame in range(len(found.starts)):
        yield found.read(source, frame)
