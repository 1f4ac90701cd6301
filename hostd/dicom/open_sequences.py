"""Where a sequence of undefined length ends (PS3.5 §7.5), found without making anything of what is in it."""

from __future__ import annotations

import struct
from typing import BinaryIO

from hostd.dicom.vrs import LONG_ENCODED
from hostd.errors import UnparsableError

_UNDEFINED = 0xFFFFFFFF
_ITEM, _ITEM_END, _SEQUENCE_END = 0xFFFEE000, 0xFFFEE00D, 0xFFFEE0DD
_MOST_OPEN = 128
"""Sequences and items of undefined length inside of each other; deeper ones are not walked through."""
_LOOK = 4 << 10
"""Bytes that are read first; where they do not reach to the end, eight times as many."""


def value_of(file: BinaryIO, *, implicit: bool, little: bool, most: int) -> bytes | None:
    """Return the items of the sequence that the file stands before, and leave the file behind its delimiter.

    None where it is not well formed, or has more than `most` bytes: then the file stands where it stood.
    """
    begin, look = file.tell(), _LOOK
    while True:
        data = file.read(look)
        try:
            end = _end(data, implicit=implicit, order="<" if little else ">")
        except struct.error:  # it goes on behind these bytes
            end = -1
        if end is not None and 0 <= end <= most:
            file.seek(begin + end + 8)
            return data[:end]
        file.seek(begin)
        if end is None or len(data) < look or look > most:
            return None
        look = min(look * 8, most + 8)


def after_item(data: bytes, position: int, *, implicit: bool, little: bool) -> int:
    """Return where the item ends that begins there. Raises `UnparsableError` where it is not well formed."""
    order = "<" if little else ">"
    try:
        group, element, length = struct.unpack_from(f"{order}HHI", data, position)
        if group << 16 | element != _ITEM:
            raise UnparsableError("no item begins there")
        if length != _UNDEFINED:
            return position + 8 + int(length)
        end = _end(data, position + 8, implicit=implicit, order=order, is_item=True)
    except struct.error as error:
        raise UnparsableError("the item has no end") from error
    if end is None:
        raise UnparsableError("the item is not well formed")
    return end + 8


def _end(data: bytes, position: int = 0, *, implicit: bool, order: str, is_item: bool = False) -> int | None:
    """Return where the delimiter begins of the sequence, or item, whose content begins there; None where it is not well formed.

    Raises `struct.error` where the bytes end before. What has a length is passed over, whatever it holds.
    """
    head, long_length = struct.Struct(f"{order}HHI").unpack_from, struct.Struct(f"{order}I").unpack_from
    short_length = struct.Struct(f"{order}H").unpack_from
    still_open = [implicit or not _is_vr(data[position + 4 : position + 6]) if is_item else None]
    """What is open, the innermost last: of an item whether it is in implicit VR, None for a sequence."""
    while still_open:
        begin, innermost = position, still_open[-1]
        group, element, length = head(data, begin)
        tag, position = group << 16 | element, begin + 8
        if tag == (_SEQUENCE_END if innermost is None else _ITEM_END):
            still_open.pop()
            continue
        if (tag != _ITEM) if innermost is None else group == _ITEM >> 16:
            return None
        if innermost is False and _is_vr(vr := data[begin + 4 : position - 2]):
            length = long_length(data, position)[0] if vr in LONG_ENCODED else short_length(data, begin + 6)[0]
            position += 4 if vr in LONG_ENCODED else 0
        if length != _UNDEFINED:
            position += length
        elif len(still_open) > _MOST_OPEN:
            return None
        else:
            # Items may be in implicit VR where the data set is not (PS3.5 §6.2.2, Note).
            still_open.append(None if innermost is not None else implicit or not _is_vr(data[begin + 12 : begin + 14]))
    return begin


def _is_vr(two: bytes) -> bool:
    return two.isalpha() and two.isupper()
