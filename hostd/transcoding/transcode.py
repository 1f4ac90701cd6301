"""One image in another transfer syntax: decided by the pair, cheapest way first. Runs inside the worker.

Frames go through one at a time, so memory is bounded by a few frames. What is written has been decoded again and
compared before, by another library where there is one; a result that differs never leaves this module.
"""

from __future__ import annotations

import hashlib
from dataclasses import replace
from typing import TYPE_CHECKING, BinaryIO

from hostd.dicom.syntaxes import TransferSyntax
from hostd.errors import CannotTranscodeError, WrongPixelsError
from hostd.transcoding import elements as el
from hostd.transcoding import fragments, pixels, registry
from hostd.transcoding.codecs import Codec, CodecError, EncodeOptions, Stream
from hostd.transcoding.pixels import PixelHash, Pixels
from hostd.transcoding.receipt import Facts
from hostd.transcoding.source import (
    NATIVE,
    EncapsulatedFrames,
    NativeFrames,
    Source,
    decode_with,
    open_source,
    unsupported,
)
from hostd.transcoding.writing import with_image, write_encapsulated_head, write_head, write_tail

if TYPE_CHECKING:
    from hostd.transcoding.codecs import Frame

_MAX_NATIVE = 0xFFFFFFFE
_CHUNK = 1 << 20


def transcode(source: BinaryIO, target: TransferSyntax, result: BinaryIO) -> Facts:
    """Write the image of `source` to `result` in the target syntax, without loss, and return what proves it.

    `result` is an empty file that can be read and sought. The SOP instance keeps its UID. Raises `CannotTranscodeError`
    with the reason, and `WrongPixelsError` when a codec's result differs; `result` is worth nothing then.
    """
    try:
        return _transcode(source, target, result)
    except RecursionError as error:
        raise CannotTranscodeError("its sequences are nested too deep to be read") from error


def pixel_hash(source: BinaryIO) -> str:
    """Return the pixel hash of a file, as `hostd.transcoding.pixels` defines it. Raises `CannotTranscodeError`."""
    opened = open_source(source)
    if opened.pixel is None:
        raise CannotTranscodeError("the instance has no pixel data")
    frames = EncapsulatedFrames(opened) if opened.is_encapsulated else NativeFrames(opened)
    digest = PixelHash(frames.pixels)
    for frame in frames:
        digest.add(frame)
    return digest.hexdigest()


def _transcode(source: BinaryIO, target: TransferSyntax, result: BinaryIO) -> Facts:
    opened = open_source(source)
    if opened.syntax.uid == target.uid:
        raise CannotTranscodeError(f"the instance is in {target} already")
    if target not in NATIVE:
        _require_encoder(target)
    if opened.pixel is None:
        return _reencode_header(opened, target, result)
    if target in NATIVE:
        return _decode(opened, target, result) if opened.is_encapsulated else _copy_pixels(opened, target, result)
    return _encode(opened, target, result)


def _require_encoder(target: TransferSyntax) -> None:
    if target.is_lossy:
        raise CannotTranscodeError(f"{target} may lose information, and this release makes lossless results only")
    if not registry.encoders(target):
        raise CannotTranscodeError(unsupported(f"{target} cannot be written by this release", target))


# -- the ways ----------------------------------------------------------------------------------------------------------


def _reencode_header(source: Source, target: TransferSyntax, result: BinaryIO) -> Facts:
    if target not in NATIVE:
        raise CannotTranscodeError("the instance has no pixel data, so there is nothing to compress")
    if pixels.ROWS in source.header:
        # Damage can swallow the pixel data; a result without it must not be called the same image.
        raise CannotTranscodeError("the header describes an image, but there is no pixel data")
    write_head(source, target, result, source.header)
    return Facts("", "", "none", "", "no pixel data")


def _copy_pixels(source: Source, target: TransferSyntax, result: BinaryIO) -> Facts:
    """Write another header around the same pixel bytes; nothing of them needs to be understood."""
    pixel = source.pixel
    assert pixel is not None
    write_head(source, target, result, source.header)
    vr = pixel.vr or {0x7FE00008: b"OF", 0x7FE00009: b"OD"}.get(pixel.tag, b"OW")
    result.write(el.pixel_head(pixel.tag, vr, pixel.length, implicit=target.is_implicit_vr))
    source.file.seek(pixel.value_at)
    _copy(source.file, result, pixel.length)
    write_tail(source, target, result, pixel.value_at + pixel.length)
    result.flush()
    before, after = _native_hash(source), _native_hash(open_source(result))
    if before != after:
        raise WrongPixelsError("the pixel bytes read back differ from the source's; storage or memory is faulty")
    return Facts(before, after, "none", "", "pixel bytes read back and compared")


def _decode(source: Source, target: TransferSyntax, result: BinaryIO) -> Facts:
    frames = EncapsulatedFrames(source)
    described = replace(frames.pixels, photometric=frames.photometric)
    length = described.frame_bytes * described.frames
    if length > _MAX_NATIVE:
        raise CannotTranscodeError(
            f"the uncompressed pixel data would have {length} bytes, over the 4 GiB that its length field can say"
        )
    header = with_image(source.header, described, was_lossy=not frames.is_reversible)
    write_head(source, target, result, header)
    vr = b"OW" if described.bits_allocated > 8 else b"OB"
    result.write(el.pixel_head(el.PIXEL_DATA, vr, length + length % 2, implicit=target.is_implicit_vr))
    before = PixelHash(described)
    used: set[str] = set()
    verified: set[str] = set()
    for stream in frames.streams():
        frame, codec = decode_with(stream, described, frames.codecs)
        used.add(codec.NAME)
        verified.add(_second_opinion(frame, stream, described, frames.codecs, codec))
        before.add(frame)
        result.write(pixels.to_native(frame, described))
    result.write(bytes(length % 2))
    write_tail(source, target, result, frames.end)
    result.flush()
    after = pixel_hash(result)
    if after != before.hexdigest():
        raise WrongPixelsError("the pixels read back differ from those decoded; storage or memory is faulty")
    return Facts(before.hexdigest(), after, *_named(frames.codecs, used), "; ".join(sorted(verified)))


def _encode(source: Source, target: TransferSyntax, result: BinaryIO) -> Facts:
    frames = EncapsulatedFrames(source) if source.is_encapsulated else NativeFrames(source)
    codec = registry.encoders(target)[0]
    described = replace(frames.pixels, photometric=frames.photometric)
    reason = codec.why_not(described.bits_stored, described.samples, is_signed=described.is_signed)
    if reason:
        raise CannotTranscodeError(reason)
    encoded_as = replace(described, photometric=codec.encoded_photometric(described.photometric))
    header = with_image(source.header, encoded_as, was_lossy=not frames.is_reversible)
    extended = fragments.needs_extended_table(described.frame_bytes * described.frames, described.frames)
    extended_at = write_encapsulated_head(source, target, result, header, described.frames if extended else 0)
    writer = fragments.EncapsulatedWriter(result, described.frames, extended_at)
    options = EncodeOptions(described.bits_stored, described.is_signed, described.photometric == "RGB")
    others = [other for other in registry.decoders(target) if other is not codec]
    before, after = PixelHash(described), PixelHash(described)
    verifiers: set[str] = set()
    for number, frame in enumerate(frames, 1):
        try:
            encoded = codec.encode(frame, options)
        except CodecError as error:
            raise CannotTranscodeError(f"frame {number}: {error}") from error
        seen, verifier = _verified(encoded, frame, described, [*others, codec], number)
        before.add(frame)
        after.add(seen)
        verifiers.add(f"every frame decoded by {verifier.NAME} {registry.version(verifier)} and compared")
        writer.write(encoded)
    writer.close()
    write_tail(source, target, result, frames.end)
    result.flush()
    return Facts(
        before.hexdigest(), after.hexdigest(), codec.NAME, registry.version(codec), "; ".join(sorted(verifiers))
    )


# -- verification ------------------------------------------------------------------------------------------------------


def _verified(encoded: bytes, frame: Frame, described: Pixels, codecs: list[Codec], number: int) -> tuple[Frame, Codec]:
    """Decode what was encoded, and return the decoded frame. Raises `WrongPixelsError` when it is not the same."""
    try:
        stream = codecs[0].inspect(encoded)
        seen, codec = decode_with(stream, described, codecs)
    except (CodecError, CannotTranscodeError) as error:
        raise WrongPixelsError(f"frame {number}, encoded, cannot be decoded again: {error}") from error
    if not stream.is_reversible or seen.shape != frame.shape or seen.tobytes() != frame.tobytes():
        raise WrongPixelsError(f"frame {number}, encoded and decoded again by {codec.NAME}, differs from the original")
    return seen, codec


def _second_opinion(frame: Frame, stream: Stream, described: Pixels, codecs: list[Codec], first: Codec) -> str:
    """Have another library decode a reversible codestream too, which must give the same; say who verified it."""
    if not stream.is_reversible:
        return "lossy codestream: decoded once, libraries may differ by rounding"
    for codec in codecs:
        if codec is first:
            continue
        try:
            other = pixels.from_stream(codec.decode(stream), stream, described)
        except CodecError:
            continue
        if other.tobytes() != frame.tobytes():
            raise WrongPixelsError(f"{first.NAME} and {codec.NAME} decode the same codestream to different pixels")
        return f"every frame decoded by {codec.NAME} {registry.version(codec)} too and compared"
    return "no second library could decode it"


def _named(codecs: list[Codec], used: set[str]) -> tuple[str, str]:
    chosen = [codec for codec in codecs if codec.NAME in used]
    return ", ".join(codec.NAME for codec in chosen), ", ".join(registry.version(codec) for codec in chosen)


def _native_hash(source: Source) -> str:
    """Return the pixel hash, or where pixels cannot be described the hash of the bytes."""
    assert source.pixel is not None
    try:
        frames = NativeFrames(source)
        digest = PixelHash(frames.pixels)
        for frame in frames:
            digest.add(frame)
    except CannotTranscodeError:
        return _raw_hash(source, source.pixel)
    return digest.hexdigest()


def _raw_hash(source: Source, pixel: el.PixelElement) -> str:
    digest = hashlib.sha256()
    source.file.seek(pixel.value_at)
    remaining = pixel.length
    while remaining:
        chunk = source.file.read(min(remaining, _CHUNK))
        if not chunk:
            raise CannotTranscodeError("the file ends inside its pixel data")
        digest.update(chunk)
        remaining -= len(chunk)
    return f"raw:{digest.hexdigest()}"


def _copy(source: BinaryIO, result: BinaryIO, length: int) -> None:
    remaining = length
    while remaining:
        chunk = source.read(min(remaining, _CHUNK))
        if not chunk:
            raise CannotTranscodeError("the file ends inside its pixel data")
        result.write(chunk)
        remaining -= len(chunk)
