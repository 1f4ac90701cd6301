"""The ways of the transcoder that look into no sample: bytes are copied, in another order or under another name."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from typing import BinaryIO, cast

from hostd.dicom.syntaxes import DEFLATED_FRAMES, ENCAPSULATED_UNCOMPRESSED, JPEG_XL_RECOMPRESSION, TransferSyntax
from hostd.errors import CannotTranscodeError, WrongPixelsError
from hostd.transcoding import elements as el
from hostd.transcoding import fragments, registry
from hostd.transcoding.codecs import Codec, CodecError, own_frames
from hostd.transcoding.codecs import imagecodecs_jpegxl as jpegxl
from hostd.transcoding.pixels import PixelHash, Pixels
from hostd.transcoding.receipt import NOT_VERIFIED, Facts
from hostd.transcoding.source import (
    EXTENDED_LENGTHS,
    EXTENDED_OFFSETS,
    NATIVE,
    EncapsulatedFrames,
    Source,
    open_frames,
    open_source,
)
from hostd.transcoding.writing import begin, end, pixel_vr, settle, with_image, write_encapsulated_head

MAX_NATIVE = 0xFFFFFFFE
"""Bytes that the length field of uncompressed pixel data can say (PS3.5 §7.1)."""


def refuse_too_long(length: int) -> None:
    """Raise `CannotTranscodeError` for pixel data that cannot be uncompressed."""
    if length > MAX_NATIVE:
        raise CannotTranscodeError(
            f"the uncompressed pixel data would have {length} bytes, over the 4 GiB that its length field can say; "
            f"{ENCAPSULATED_UNCOMPRESSED} has no such limit"
        )


def copy_pixels(source: Source, target: TransferSyntax, result: BinaryIO, *, verify: bool) -> Facts:
    """Write another header around the same pixel bytes, turned to little endian; nothing of them needs to be understood."""
    pixel = source.pixel
    assert pixel is not None
    output = begin(source, target, result, source.header)
    length = pixel.length + pixel.length % 2
    output.write(el.pixel_head(pixel.tag, source.pixel_vr, length, implicit=target.is_implicit_vr))
    for chunk in source.native_chunks():
        output.write(chunk)
    output.write(bytes(pixel.length % 2))
    end(source, target, output, pixel.value_at + pixel.length)
    settle(result)
    before = _native_hash(source)
    if not verify:
        return Facts(before, "", "none", "", NOT_VERIFIED, source.note)
    after = _native_hash(open_source(result))
    if before != after:
        raise WrongPixelsError("the pixel bytes read back differ from the source's; storage or memory is faulty")
    return Facts(before, after, "none", "", "pixel bytes read back and compared", source.note)


def relabel(source: Source, target: TransferSyntax, result: BinaryIO, *, verify: bool) -> Facts:
    """Copy codestreams that the target has too, and the JPEG that a recompressed one holds; recompress a JPEG bit by bit.

    The hashes of the receipt are of the codestreams, or of the JPEGs, that are the same before and after.
    """
    frames = EncapsulatedFrames(source)
    before, after = hashlib.sha256(), hashlib.sha256()

    def made() -> Iterator[bytes]:
        for number, stream in enumerate(frames.streams(), 1):
            encoded = same = stream.codestream
            if target == JPEG_XL_RECOMPRESSION:
                try:
                    encoded = jpegxl.recompressed(stream.codestream)
                    same = jpegxl.jpeg_of(encoded) if verify else stream.codestream
                except CodecError as error:
                    raise CannotTranscodeError(f"frame {number}: {error}") from error
            before.update(stream.codestream)
            after.update(same)
            if same != stream.codestream:
                raise WrongPixelsError(f"frame {number}, restored from JPEG XL, is not the JPEG that it was")
            yield encoded

    header = el.without(source.header, EXTENDED_OFFSETS, EXTENDED_LENGTHS)
    _write_fragments(source, target, result, header, frames.pixels, made())
    end(source, target, result, frames.end)
    settle(result)
    codec, version, how = "none", "", "codestreams unchanged"
    if JPEG_XL_RECOMPRESSION in (source.syntax, target):
        codec, version = jpegxl.NAME, registry.version(cast("Codec", jpegxl))
        how = "every JPEG restored bit by bit" + (" and compared" if target == JPEG_XL_RECOMPRESSION else "")
    if not verify:
        return Facts(f"raw:{before.hexdigest()}", "", codec, version, NOT_VERIFIED)
    return Facts(f"raw:{before.hexdigest()}", f"raw:{after.hexdigest()}", codec, version, how)


def reframe(source: Source, target: TransferSyntax, result: BinaryIO, *, verify: bool) -> Facts:
    """Move uncompressed frames between one value and one fragment each, deflated or not. The header keeps describing them."""
    frames = open_frames(source)
    header = with_image(source.header, frames.pixels)
    if target in NATIVE:
        length = frames.pixels.native_bytes
        refuse_too_long(length)
        output = begin(source, target, result, header)
        head = el.pixel_head(
            el.PIXEL_DATA, pixel_vr(frames.pixels), length + length % 2, implicit=target.is_implicit_vr
        )
        output.write(head)
        for raw in frames.raws():
            output.write(raw)
        output.write(bytes(length % 2))
        end(source, target, output, frames.end)
    else:
        change = own_frames.deflate if target == DEFLATED_FRAMES else bytes
        _write_fragments(source, target, result, header, frames.pixels, map(change, frames.raws()))
        end(source, target, result, frames.end)
    settle(result)
    before = _native_hash(source)
    if not verify:
        return Facts(before, "", "none", "", NOT_VERIFIED, frames.note)
    after = _native_hash(open_source(result))
    if before != after:
        raise WrongPixelsError("the frames read back differ from the source's; a codec, storage or memory is faulty")
    return Facts(before, after, "none", "", "frames read back and compared", frames.note)


def _write_fragments(
    source: Source,
    target: TransferSyntax,
    result: BinaryIO,
    header: el.Elements,
    described: Pixels,
    encoded: Iterator[bytes],
) -> None:
    extended = fragments.needs_extended_table(described.frame_bytes * described.frames, described.frames)
    extended_at = write_encapsulated_head(source, target, result, header, described.frames if extended else 0)
    writer = fragments.EncapsulatedWriter(result, described.frames, extended_at)
    for frame in encoded:
        writer.write(frame)
    writer.close()


def _native_hash(source: Source) -> str:
    """Return the pixel hash, or where samples cannot be described the hash of their bytes."""
    assert source.pixel is not None
    try:
        frames = open_frames(source)
    except CannotTranscodeError:
        if source.is_encapsulated:
            raise
        return _raw_hash(source.native_chunks(), source.pixel.length % 2)
    digest = PixelHash(frames.decoded)
    try:
        for frame in frames:
            digest.add(frame)
    except CannotTranscodeError:
        return _raw_hash(frames.raws(), 0)
    return digest.hexdigest()


def _raw_hash(raws: Iterator[bytes], padding: int) -> str:
    digest = hashlib.sha256()
    for raw in raws:
        digest.update(raw)
    digest.update(bytes(padding))
    return f"raw:{digest.hexdigest()}"
