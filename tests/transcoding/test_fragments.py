"""Encapsulated pixel data: every frame found, or the file refused."""

from __future__ import annotations

import io
import struct

import pytest

from hostd.errors import CannotTranscodeError
from hostd.transcoding.fragments import EncapsulatedWriter, frames_of, index, needs_extended_table

ONE, TWO, MORE = b"\xff\x4fone-one-one-", b"\xff\x4ftwo-two-two-two-", b"more"
DELIMITER = b"\xfe\xff\xdd\xe0" + bytes(4)


def begins(head):
    return head.startswith(b"\xff\x4f")


def item(value):
    return b"\xfe\xff\x00\xe0" + struct.pack("<I", len(value)) + value


def built(*fragments, table=b"", end=DELIMITER):
    return item(table) + b"".join(map(item, fragments)) + end


def offsets(*numbers):
    return struct.pack(f"<{len(numbers)}I", *numbers)


def longs(*numbers):
    return struct.pack(f"<{len(numbers)}Q", *numbers)


def found(content, frames, **tables):
    source = io.BytesIO(b"before" + content + b"after")
    if content.endswith(DELIMITER):
        source.seek(6)
    else:
        source = io.BytesIO(content)
    index_of = index(source, frames, begins, **tables)
    if content.endswith(DELIMITER):
        assert index_of.end == 6 + len(content)
    return list(frames_of(source, index_of))


SECOND = 8 + len(ONE)


@pytest.mark.parametrize(
    ("content", "frames", "expected"),
    [
        (built(ONE, TWO), 2, [ONE, TWO]),
        (built(ONE, TWO, table=offsets(0, SECOND)), 2, [ONE, TWO]),
        (built(ONE, MORE, MORE), 1, [ONE + MORE + MORE]),
        (built(ONE, MORE, TWO, MORE), 2, [ONE + MORE, TWO + MORE]),
        (built(ONE, MORE, TWO, MORE, table=offsets(0, SECOND + 8 + len(MORE))), 2, [ONE + MORE, TWO + MORE]),
        (built(ONE, TWO, end=b""), 2, [ONE, TWO]),
    ],
)
def test_frames_are_found_with_and_without_a_table(content, frames, expected):
    assert found(content, frames) == expected


def test_an_extended_offset_table_is_used_with_lengths_padded_or_not():
    for less in (0, 1):
        tables = {"extended_offsets": longs(0, SECOND), "extended_lengths": longs(len(ONE) - less, len(TWO))}
        assert found(built(ONE, TWO), 2, **tables) == [ONE, TWO]


@pytest.mark.parametrize(
    ("content", "frames", "says"),
    [
        (built(ONE, TWO), 1, "NumberOfFrames is 1"),
        (built(ONE, TWO), 3, "NumberOfFrames is 3"),
        (built(ONE, TWO, table=offsets(0)), 1, "NumberOfFrames is 1"),
        (built(ONE, TWO, table=offsets(0)), 2, "does not agree"),
        (built(ONE, TWO, table=offsets(0, 4)), 2, "does not agree"),
        (built(ONE, TWO, table=offsets(8, SECOND)), 2, "does not agree"),
        (built(ONE, TWO, table=b"\0\0\0"), 2, "whole numbers"),
        (item(ONE) + item(TWO) + DELIMITER, 1, "no basic offset table"),
        (built(MORE, ONE), 1, "does not begin"),
        (built(MORE), 1, "NumberOfFrames is 1"),
        (built(), 1, "no fragments"),
        (built(ONE, TWO, end=b"")[:-3], 2, "cut off"),
        (built(ONE, TWO, end=b"\xfe\xff\xdd"), 2, "ends inside"),
        (built(ONE) [:-8] + b"garbage!" * 2 + DELIMITER, 1, "broken"),
        (item(b"") + b"\xfe\xff\x00\xe0\xff\xff\xff\xff" + ONE + DELIMITER, 1, "broken"),
        (b"", 1, "ends inside"),
    ],
)  # fmt: skip
def test_a_structure_that_leaves_frames_open_is_refused(content, frames, says):
    with pytest.raises(CannotTranscodeError, match=says):
        found(content, frames)


@pytest.mark.parametrize(
    ("where", "lengths"),
    [
        (longs(0, 4), longs(len(ONE), len(TWO))),
        (longs(0, SECOND), longs(len(ONE), 4)),
        (longs(0), longs(len(ONE))),
        (longs(0, SECOND), b""),
        (longs(0, SECOND)[:-1], longs(len(ONE), len(TWO))),
    ],
)
def test_a_wrong_extended_offset_table_is_refused(where, lengths):
    with pytest.raises(CannotTranscodeError, match="offset table"):
        found(built(ONE, TWO), 2, extended_offsets=where, extended_lengths=lengths)


def test_what_is_written_is_padded_and_its_table_points_at_the_frames():
    result = io.BytesIO()
    result.write(b"head")
    writer = EncapsulatedWriter(result, 2)
    for frame in (ONE + b"x", TWO):
        writer.write(frame)
    writer.close()
    assert result.tell() == len(result.getvalue())
    assert result.getvalue() == b"head" + built(ONE + b"x\0", TWO, table=offsets(0, SECOND + 2))


def test_extended_tables_are_patched_where_room_was_left():
    result = io.BytesIO(bytes(32))
    result.seek(32)
    writer = EncapsulatedWriter(result, 2, (0, 16))
    for frame in (ONE, TWO):
        writer.write(frame)
    writer.close()
    assert result.getvalue() == longs(0, SECOND) + longs(len(ONE), len(TWO)) + built(ONE, TWO)


def test_the_extended_table_is_taken_before_32_bits_might_not_suffice():
    assert not needs_extended_table(3 << 30, 100)
    assert needs_extended_table((4 << 30) - 1, 1)
    assert needs_extended_table(1, 4_200_000)
