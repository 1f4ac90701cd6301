"""Another header around the same pixel data, which is copied as bytes in chunks and never held as a whole."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterator
from dataclasses import replace
from typing import BinaryIO

from hostd.dicom.syntaxes import BY_UID, EXPLICIT_BE, EXPLICIT_LE, TransferSyntax
from hostd.errors import CannotEditError, WrongPixelsError
from hostd.transcoding import elements as el
from hostd.transcoding.copying import refuse_too_long
from hostd.transcoding.receipt import Facts
from hostd.transcoding.source import Source, open_source
from hostd.transcoding.writing import begin, end

EditHeader = Callable[[el.Elements, bool], el.Elements]
"""From the data set without its pixel data, and whether there is any."""
_CHUNK = 1 << 20
_ITEM, _SEQUENCE_END = 0xFFFEE000, 0xFFFEE0DD


def rewrite(file: BinaryIO, result: BinaryIO, edit: EditHeader, *, names_sender: bool) -> Facts:
    """Write the instance of `file` with its header and what follows its pixels edited, in the same transfer syntax.

    One in big endian, which is retired, is written in little endian. `names_sender`: whether the file meta information may
    name who sent it. Raises `CannotTranscodeError`, and `WrongPixelsError` when what was written is not what was read.
    """
    source = open_source(file, must_decode=False)
    if source.syntax.uid not in BY_UID:
        raise CannotEditError(f"the transfer syntax {source.syntax.uid} is not known, so the instance cannot be read")
    if not names_sender:
        source = replace(source, meta={})
    target = EXPLICIT_LE if source.syntax == EXPLICIT_BE else source.syntax
    stop = pixels_end(source)
    tail = source.tail(stop) if stop is not None else {}
    edited = edit(source.header | tail, source.pixel is not None)
    pixel_tag = source.pixel.tag if source.pixel is not None else 0xFFFFFFFF
    output = begin(source, target, result, {tag: element for tag, element in edited.items() if tag < pixel_tag})
    if source.pixel is not None:
        for part in _pixel_element(source, target):
            output.write(part)
        output.write(el.encode(_after(edited, pixel_tag), implicit=target.is_implicit_vr))
    end(source, target, output, None)
    result.flush()
    before, after = content_hash(source), content_hash(open_source(result, must_decode=False))
    if before != after:
        raise WrongPixelsError("the pixel data read back differs from the source's; storage or memory is faulty")
    proof = "pixel data read back and compared" if source.pixel is not None else "no pixel data"
    return Facts(before, after, "none", "", proof)


def pixels_end(source: Source) -> int | None:
    """Return where the pixel data ends, its delimiter included; None when there is none. Raises `CannotEditError`."""
    if source.pixel is None:
        return None
    at = source.pixel.value_at
    size = source.file.seek(0, 2)
    if not source.is_encapsulated:
        at += source.pixel.length
        if at > size:
            raise CannotEditError("the file ends inside its pixel data")
        return at
    while True:
        source.file.seek(at)
        head = source.file.read(8)
        tag = int.from_bytes(head[:2], "little") << 16 | int.from_bytes(head[2:4], "little")
        length = int.from_bytes(head[4:], "little")
        at += 8
        if len(head) < 8 or at + (length if tag == _ITEM else 0) > size:
            raise CannotEditError("the file ends inside its pixel data")
        if tag == _SEQUENCE_END:
            return at
        if tag != _ITEM or length == el.UNDEFINED:
            raise CannotEditError("the fragments of the pixel data are broken")
        at += length


def content_hash(source: Source) -> str:
    """Return the hash of the pixel data as bytes; '' when there is none."""
    if source.pixel is None:
        return ""
    digest = hashlib.sha256()
    for part in _value(source):
        digest.update(part)
    return f"raw:{digest.hexdigest()}"


def _pixel_element(source: Source, target: TransferSyntax) -> Iterator[bytes]:
    pixel = source.pixel
    assert pixel is not None
    if source.is_encapsulated:
        yield el.pixel_head(pixel.tag, pixel.vr or b"OB", el.UNDEFINED, implicit=False)
    else:
        refuse_too_long(pixel.length)
        length = pixel.length + pixel.length % 2
        yield el.pixel_head(pixel.tag, source.pixel_vr, length, implicit=target.is_implicit_vr)
    yield from _value(source)


def _value(source: Source) -> Iterator[bytes]:
    """Yield the value of the pixel data, filled to an even length; of fragments everything up to and with the delimiter."""
    assert source.pixel is not None
    if not source.is_encapsulated:
        yield from source.native_chunks()
        yield bytes(source.pixel.length % 2)
        return
    stop = pixels_end(source)
    assert stop is not None
    at = source.pixel.value_at
    while at < stop:
        source.file.seek(at)
        part = source.file.read(min(_CHUNK, stop - at))
        at += len(part)
        yield part


def _after(edited: el.Elements, pixel_tag: int) -> el.Elements:
    return {tag: element for tag, element in edited.items() if tag > pixel_tag}
