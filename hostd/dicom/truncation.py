"""Finding out whether a file ends in the middle of its pixel data, without reading the pixels."""

from __future__ import annotations

import struct
from typing import BinaryIO

from hostd.dicom.syntaxes import TransferSyntax

_UNDEFINED = 0xFFFFFFFF
_LONG_VRS = frozenset({b"OB", b"OW", b"OD", b"OF", b"OL", b"OV", b"UN"})
_ITEM = 0xE000
_SEQUENCE_END = 0xE0DD


def missing_bytes(file: BinaryIO, position: int, size: int, syntax: TransferSyntax) -> int:
    """Return how many bytes the pixel data element at `position` lacks in a file of `size` bytes, 0 when it is whole.

    Fragments are walked by seeking (PS3.5 Annex A.4). A sequence of fragments that only lacks its delimiter counts as whole.
    """
    order = "<" if syntax.is_little_endian else ">"
    file.seek(position)
    head = file.read(12)
    if len(head) < 8:
        return 8 - len(head)
    if syntax.is_implicit_vr:
        start, length = position + 8, struct.unpack_from(order + "I", head, 4)[0]
    elif head[4:6] in _LONG_VRS:
        if len(head) < 12:
            return 12 - len(head)
        start, length = position + 12, struct.unpack_from(order + "I", head, 8)[0]
    else:
        start, length = position + 8, struct.unpack_from(order + "H", head, 6)[0]
    if length != _UNDEFINED:
        return max(0, start + int(length) - size)
    return _missing_of_fragments(file, start, size, order)


def _missing_of_fragments(file: BinaryIO, position: int, size: int, order: str) -> int:
    while position < size:
        file.seek(position)
        head = file.read(8)
        if len(head) < 8:
            return 8 - len(head)
        group, element, length = struct.unpack(order + "HHI", head)
        if group != 0xFFFE or element == _SEQUENCE_END:
            return 0
        position += 8 + (length if element == _ITEM else 0)
    return position - size
