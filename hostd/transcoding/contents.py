"""What a file holds, by path: elements, items of sequences and fragments, found without reading what is beside them.

For the host: no codec is loaded, and nothing is decoded.
"""

from __future__ import annotations

import io
import itertools
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import BinaryIO, cast

from hostd.dicom import part10
from hostd.dicom.open_sequences import after_item
from hostd.dicom.syntaxes import TransferSyntax, by_uid
from hostd.errors import CannotTranscodeError, UnparsableError
from hostd.transcoding import elements as el
from hostd.transcoding import fragments
from hostd.transcoding.deflated import inflated

MAX_SEQUENCE = 64 << 20
"""Bytes of a sequence whose items are looked at, or of a value that is turned to little endian."""


@dataclass(frozen=True, slots=True)
class Listing:
    """What is there to choose from: tags of a data set, or numbers of items or fragments."""

    tags: tuple[int, ...] = ()
    count: int | None = None


@dataclass(frozen=True, slots=True)
class Value:
    """The bytes of a value: where they are in `file`, which is that of the data set, perhaps inflated."""

    file: BinaryIO
    at: int
    length: int


def find(file: BinaryIO, path: Sequence[int]) -> Listing | Value | None:
    """Return what is at a path: a tag, the number of an item, a tag in it and so on, or the number of a fragment of pixel data.

    An empty path, and one that ends with an item, gives the tags there are; a sequence its items; pixel data its fragments, the first of
    which is the offset table. None where there is nothing. Raises `UnparsableError`.
    """
    try:
        start = part10.data_set_offset(file)
        syntax = by_uid(start.transfer_syntax_uid)
        opened, offset = (inflated(file, start.offset), 0) if syntax.is_deflated else (file, start.offset)
        opened.seek(offset)
        spans, pixels_at = el.spans_until_pixels(
            opened, implicit=syntax.is_implicit_vr, big_endian=not syntax.is_little_endian
        )
        end = opened.seek(0, io.SEEK_END)
        known = {span.tag: span for span in spans if span.tag & 0xFFFF}
        if not path:
            return Listing((*known, *((_pixels(opened, pixels_at, syntax).tag,) if pixels_at < end else ())))
        if path[0] in el.PIXEL_TAGS and pixels_at < end:
            pixels = _pixels(opened, pixels_at, syntax)
            if pixels.tag == el.PIXEL_DATA or pixels.length == el.UNDEFINED:
                return _in_pixels(opened, pixels, path)
            value_at = pixels.value_at  # numbers in floating point, which are an element as others are
            known[pixels.tag] = el.Span(pixels.tag, pixels.vr, pixels_at, value_at, value_at + pixels.length, False)
        span = known.get(path[0])
        return None if span is None else _in_span(opened, span, path, syntax)
    except (CannotTranscodeError, RecursionError) as error:
        raise UnparsableError(f"the file cannot be looked into: {error}") from error


def _pixels(file: BinaryIO, at: int, syntax: TransferSyntax) -> el.PixelElement:
    file.seek(at)
    _, pixels = el.read_until_pixels(file, implicit=syntax.is_implicit_vr, big_endian=not syntax.is_little_endian)
    assert pixels is not None
    return pixels


def _in_pixels(file: BinaryIO, pixels: el.PixelElement, path: Sequence[int]) -> Listing | Value | None:
    if path[0] != pixels.tag or len(path) > 2:
        return None
    if pixels.length != el.UNDEFINED:
        if len(path) == 1:
            return Listing(count=1)
        return Value(file, pixels.value_at, pixels.length) if path[1] == 0 else None
    file.seek(pixels.value_at)
    pieces = fragments.items(file)
    if len(path) == 1:
        return Listing(count=len(pieces))
    return Value(file, *pieces[path[1]]) if path[1] < len(pieces) else None


def _in_span(file: BinaryIO, span: el.Span, path: Sequence[int], syntax: TransferSyntax) -> Listing | Value | None:
    vr = span.vr or el.implied_vr(span.tag, signed=False)
    length = span.end - (8 if span.is_undefined_length else 0) - span.value_at
    is_plain = vr != b"SQ" and not span.is_undefined_length
    if is_plain and syntax.is_little_endian:
        return Value(file, span.value_at, length) if len(path) == 1 else None
    if length > MAX_SEQUENCE:
        raise UnparsableError(
            f"a sequence, or a value in big endian, of more than {MAX_SEQUENCE >> 20} MiB is not looked into"
        )
    if syntax.is_little_endian:
        file.seek(span.value_at)
        return _in_sequence(el.Element(span.tag, span.vr, file.read(length), span.is_undefined_length), path[1:])
    file.seek(span.begin)
    own = cast("BinaryIO", io.BytesIO(file.read(span.end - span.begin)))
    return _in_item(el.read_all(own, implicit=False, big_endian=True), path)  # turned to little endian


def _in_sequence(sequence: el.Element, path: Sequence[int]) -> Listing | Value | None:
    spans = _items(sequence)
    if not path:
        return Listing(count=sum(1 for _ in spans))
    span = next(itertools.islice(spans, path[0], None), None)
    if span is None:
        return None
    (item,) = el.items(el.Element(sequence.tag, sequence.vr, sequence.value[slice(*span)]))
    return _in_item(item, path[1:])


def _items(sequence: el.Element) -> Iterator[tuple[int, int]]:
    """Yield where each item begins and ends in the value of a sequence. Raises `UnparsableError`."""
    begin = 0
    while begin < len(sequence.value):
        end = after_item(sequence.value, begin, implicit=sequence.vr is None, little=True)
        if end > len(sequence.value):
            raise UnparsableError("the last item of a sequence is cut off")
        yield begin, end
        begin = end


def _in_item(item: el.Elements, path: Sequence[int]) -> Listing | Value | None:
    if not path:
        return Listing(tuple(tag for tag in item if tag & 0xFFFF))
    element = item.get(path[0])
    if element is None:
        return None
    if (element.vr or el.implied_vr(element.tag, signed=False)) == b"SQ":
        return _in_sequence(element, path[1:])
    whole = Value(cast("BinaryIO", io.BytesIO(element.value)), 0, len(element.value))
    return whole if len(path) == 1 else None
