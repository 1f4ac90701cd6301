"""What an external tool made of a file, compared with that file: element by element and pixel by pixel. Runs inside the worker.

Values are compared as bytes without their padding, sequences item by item, so that another transfer syntax is no difference.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import BinaryIO

from hostd.errors import CannotTranscodeError
from hostd.transcoding import elements as el
from hostd.transcoding import pixels, registry
from hostd.transcoding.derivation import LOSSY, METHOD, RATIO
from hostd.transcoding.messages import Compared
from hostd.transcoding.pixels import PixelHash
from hostd.transcoding.source import (
    EXTENDED_LENGTHS,
    EXTENDED_OFFSETS,
    READ_NATIVE,
    Source,
    open_frames,
    open_source,
    unsupported,
)

_MAX_CHANGES = 20
_ITEM = b"\xfe\xff\x00\xe0"
_FREE = frozenset((
    pixels.PHOTOMETRIC, pixels.PLANAR_CONFIGURATION, pixels.HIGH_BIT, pixels.BITS_ALLOCATED, EXTENDED_OFFSETS,
    EXTENDED_LENGTHS, el.TRAILING_PADDING, 0x00082111,
))  # fmt: skip
"""What a change of transfer syntax may change: how samples are laid out, and Derivation Description, where DCMTK says so itself.

What samples *mean* is compared with the pixels, of which Bits Stored, sign and decoded colours are a part."""
_OF_LOSS = frozenset((LOSSY, RATIO, METHOD))


def compare(source: BinaryIO, result: BinaryIO) -> Compared:
    """Return what distinguishes the two files. Raises `CannotTranscodeError` when one of them cannot be read, or the result's pixels."""
    before, after = open_source(source, must_decode=False), open_source(result, must_decode=False)
    old, new = _seen(before), _seen(after)
    if new.unproven and (after.syntax in READ_NATIVE or registry.decoders(after.syntax)):
        raise CannotTranscodeError(f"the pixels of the result cannot be read: {new.unproven}")
    changes = list(_changes(old.elements, new.elements, is_lossy=before.syntax.is_lossy))
    if (before.pixel is None) != (after.pixel is None):
        changes.append("the pixel data was " + ("lost" if after.pixel is None else "added"))
    if old.photometric != new.photometric and not (old.unproven or new.unproven):
        changes.append(f"the decoded colours are {new.photometric} instead of {old.photometric}")
    if len(changes) > _MAX_CHANGES:
        changes[_MAX_CHANGES:] = [f"and {len(changes) - _MAX_CHANGES} more"]
    return Compared(tuple(changes), old.pixel_hash, new.pixel_hash, old.unproven or new.unproven)


@dataclass(frozen=True, slots=True)
class _Seen:
    """A file's elements beside the pixel data, and what its pixels are; `unproven` says why they could not be decoded."""

    elements: el.Elements
    pixel_hash: str = ""
    photometric: str = ""
    unproven: str = ""


def _seen(source: Source) -> _Seen:
    pixel = source.pixel
    if pixel is None:
        return _Seen(source.header)
    if source.syntax not in READ_NATIVE and not registry.decoders(source.syntax):
        why = unsupported(f"hostd has no decoder for {source.syntax}", source.syntax)
        return _Seen(source.header, unproven=why)
    end = None if source.is_encapsulated else pixel.value_at + pixel.length
    try:
        frames = open_frames(source)
        digest = PixelHash(frames.decoded)
        end = frames.end
        for frame in frames:
            digest.add(frame)
    except CannotTranscodeError as error:
        return _Seen(_whole(source, end), unproven=str(error))
    return _Seen(_whole(source, end), digest.hexdigest(), frames.decoded.photometric)


def _whole(source: Source, end: int | None) -> el.Elements:
    """Return the elements before the pixel data and, where it is known where that ends, those after it."""
    return source.header if end is None else source.header | source.tail(end)


def _changes(before: el.Elements, after: el.Elements, *, is_lossy: bool) -> Iterator[str]:
    for tag in sorted(before.keys() | after.keys()):
        if tag in _FREE or tag & 0xFFFF == 0:
            continue
        name = f"({tag >> 16:04X},{tag & 0xFFFF:04X})"
        if tag not in after:
            if not _says_one_frame(before[tag]):
                yield f"{name} was lost"
        elif tag not in before:
            if not _may_be_added(after[tag], is_lossy=is_lossy):
                yield f"{name} was added"
        elif not _same(before[tag], after[tag]):
            yield f"{name} was changed"


def _may_be_added(element: el.Element, *, is_lossy: bool) -> bool:
    """Tell whether the element says what was true before: one frame, or what the transfer syntax had said of loss."""
    value = element.value.strip(b" \0")
    says_no_loss = element.tag == LOSSY and value == b"00"
    return _says_one_frame(element) or says_no_loss or (is_lossy and element.tag in _OF_LOSS)


def _says_one_frame(element: el.Element) -> bool:
    """Tell whether this is a Number of Frames that says what its absence says."""
    return element.tag == pixels.NUMBER_OF_FRAMES and element.value.strip(b" \0") == b"1"


def _same(before: el.Element, after: el.Element) -> bool:
    if before.value.rstrip(b" \0") == after.value.rstrip(b" \0"):
        return True
    old, new = _items(before), _items(after)
    return (
        old is not None
        and new is not None
        and len(old) == len(new)
        and not any(change for one, other in zip(old, new, strict=True) for change in _changes_of_item(one, other))
    )


def _changes_of_item(before: el.Elements, after: el.Elements) -> Iterator[int]:
    for tag in before.keys() | after.keys():
        if tag & 0xFFFF and (tag not in before or tag not in after or not _same(before[tag], after[tag])):
            yield tag


def _items(element: el.Element) -> list[el.Elements] | None:
    """Return the items of what is, or looks like, a sequence: one of VR UN is in implicit VR (PS3.5 §6.2.2, Note)."""
    if not element.value:
        return [] if element.vr in (b"SQ", b"UN", None) else None
    if not element.value.startswith(_ITEM):
        return None
    try:
        return el.items(el.Element(element.tag, b"SQ" if element.vr == b"SQ" else None, element.value))
    except CannotTranscodeError:
        return None
