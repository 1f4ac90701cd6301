"""One image in another transfer syntax: decided by the pair, cheapest way first. Runs inside the worker.

Frames go through one at a time, so memory is bounded by a few frames. What is written has been decoded again and
compared before, by another library where there is one; a result that differs never leaves this module.
"""

from __future__ import annotations

import hashlib
import io
import os
from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, BinaryIO

from hostd.dicom import part10
from hostd.dicom.identity import is_uid
from hostd.dicom.syntaxes import EXPLICIT_LE, IMPLICIT_LE, TransferSyntax, by_uid
from hostd.errors import CannotTranscodeError, UnparsableError, WrongPixelsError
from hostd.transcoding import elements as el
from hostd.transcoding import fragments, pixels, registry
from hostd.transcoding.codecs import Codec, CodecError, EncodeOptions, Stream
from hostd.transcoding.pixels import PixelHash, Pixels
from hostd.transcoding.receipt import Facts

if TYPE_CHECKING:
    from hostd.transcoding.codecs import Frame

_NATIVE = (IMPLICIT_LE, EXPLICIT_LE)
_LOSSY_IMAGE_COMPRESSION = 0x00282110
_EXTENDED_OFFSETS, _EXTENDED_LENGTHS = 0x7FE00001, 0x7FE00002
_SOP_CLASS, _SOP_INSTANCE = 0x00080016, 0x00080018
_MAX_NATIVE = 0xFFFFFFFE
_CHUNK = 1 << 20


@dataclass(frozen=True, slots=True)
class _Source:
    """A file whose header was read; its pixel data, if any, was not."""

    file: BinaryIO
    syntax: TransferSyntax
    meta: dict[int, str]
    header: el.Elements
    pixel: el.PixelElement | None

    @property
    def is_implicit(self) -> bool:
        return self.syntax.is_implicit_vr

    @property
    def is_encapsulated(self) -> bool:
        return self.syntax.is_encapsulated

    def tail(self, position: int) -> el.Elements:
        """Read the elements after the pixel data, which end at `position`."""
        self.file.seek(position)
        rest = self.file.read()
        return el.read_all(io.BytesIO(rest), implicit=self.is_implicit) if rest.strip(b"\0") else {}


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
    opened = _open(source)
    if opened.pixel is None:
        raise CannotTranscodeError("the instance has no pixel data")
    frames = _EncapsulatedFrames(opened) if opened.is_encapsulated else _NativeFrames(opened)
    digest = PixelHash(frames.pixels)
    for frame in frames:
        digest.add(frame)
    return digest.hexdigest()


def _transcode(source: BinaryIO, target: TransferSyntax, result: BinaryIO) -> Facts:
    opened = _open(source)
    if opened.syntax.uid == target.uid:
        raise CannotTranscodeError(f"the instance is in {target} already")
    if target not in _NATIVE:
        _require_encoder(target)
    if opened.pixel is None:
        return _reencode_header(opened, target, result)
    if target in _NATIVE:
        return _decode(opened, target, result) if opened.is_encapsulated else _copy_pixels(opened, target, result)
    return _encode(opened, target, result)


def _open(source: BinaryIO) -> _Source:
    try:
        start = part10.data_set_offset(source)
    except UnparsableError as error:
        raise CannotTranscodeError(str(error)) from error
    syntax = by_uid(start.transfer_syntax_uid)
    if syntax not in _NATIVE and not registry.decoders(syntax):
        raise CannotTranscodeError(_unsupported(f"instances in {syntax} cannot be decoded by this release", syntax))
    source.seek(start.offset)
    header, pixel = el.read_until_pixels(source, implicit=syntax.is_implicit_vr)
    if pixel is not None and (pixel.length == el.UNDEFINED) != syntax.is_encapsulated:
        kind = "encapsulated" if pixel.length == el.UNDEFINED else "not encapsulated"
        raise CannotTranscodeError(f"the pixel data is {kind}, which contradicts the transfer syntax {syntax}")
    return _Source(source, syntax, start.meta, header, pixel)


def _require_encoder(target: TransferSyntax) -> None:
    if target.is_lossy:
        raise CannotTranscodeError(f"{target} may lose information, and this release makes lossless results only")
    if not registry.encoders(target):
        raise CannotTranscodeError(_unsupported(f"{target} cannot be written by this release", target))


def _unsupported(message: str, syntax: TransferSyntax) -> str:
    install = registry.what_to_install(syntax)
    return f"{message}; install {install}" if install else message


# -- frames in, in canonical form --------------------------------------------------------------------------------------


class _NativeFrames:
    """The frames of uncompressed pixel data."""

    def __init__(self, source: _Source) -> None:
        assert source.pixel is not None
        if source.pixel.tag != el.PIXEL_DATA:
            raise CannotTranscodeError("floating point pixel data is not transcoded by this release")
        self.pixels = pixels.describe(source.header, encapsulated=False)
        self.photometric = self.pixels.photometric
        self.is_reversible = True
        self.end = source.pixel.value_at + source.pixel.length
        self._source = source.file
        self._at = source.pixel.value_at
        expected = self.pixels.frame_bytes * self.pixels.frames
        if source.pixel.length < expected:
            raise CannotTranscodeError(
                f"the pixel data has {source.pixel.length} bytes, but {self.pixels.frames} frames of {self.pixels.frame_bytes} need {expected}"
            )
        if source.pixel.length >= expected + max(2, self.pixels.frame_bytes):
            raise CannotTranscodeError("the pixel data holds more frames than NumberOfFrames says")
        if source.file.seek(0, os.SEEK_END) < self.end:
            raise CannotTranscodeError("the file ends inside its pixel data")

    def __iter__(self) -> Iterator[Frame]:
        for number in range(self.pixels.frames):
            self._source.seek(self._at + number * self.pixels.frame_bytes)
            yield pixels.from_native(self._source.read(self.pixels.frame_bytes), self.pixels)


class _EncapsulatedFrames:
    """The frames of encapsulated pixel data, decoded by the preferred codec."""

    def __init__(self, source: _Source) -> None:
        assert source.pixel is not None
        if source.pixel.tag != el.PIXEL_DATA:
            raise CannotTranscodeError("floating point pixel data is not transcoded by this release")
        self.pixels = pixels.describe(source.header, encapsulated=True)
        self.codecs = registry.decoders(source.syntax)
        self._source = source.file
        source.file.seek(source.pixel.value_at)
        self._index = fragments.index(
            source.file,
            self.pixels.frames,
            self.codecs[0].begins_frame,
            extended_offsets=_value(source.header, _EXTENDED_OFFSETS),
            extended_lengths=_value(source.header, _EXTENDED_LENGTHS),
        )
        self.end = self._index.end
        first = self.stream(0)
        self.is_reversible = first.is_reversible
        try:
            self.photometric = self.codecs[0].decoded_photometric(self.pixels.photometric, first)
        except CodecError as error:
            raise CannotTranscodeError(str(error)) from error

    def stream(self, number: int) -> Stream:
        """Return a frame's codestream, checked against the header."""
        try:
            stream = self.codecs[0].inspect(self._index.read(self._source, number))
        except CodecError as error:
            raise CannotTranscodeError(f"frame {number + 1}: {error}") from error
        if (stream.rows, stream.columns, stream.samples) != (
            self.pixels.rows,
            self.pixels.columns,
            self.pixels.samples,
        ):
            raise CannotTranscodeError(
                f"frame {number + 1} is {stream.columns}x{stream.rows} with {stream.samples} samples, which contradicts the header"
            )
        return stream

    def streams(self) -> Iterator[Stream]:
        """Yield the codestreams in order."""
        first = self.stream(0)
        for number in range(self.pixels.frames):
            stream = self.stream(number)
            if stream.is_colour_transformed != first.is_colour_transformed:
                raise CannotTranscodeError(f"frame {number + 1} holds other colours than frame 1")
            yield stream

    def __iter__(self) -> Iterator[Frame]:
        for stream in self.streams():
            yield _decoded(stream, self.pixels, self.codecs)[0]


def _decoded(stream: Stream, described: Pixels, codecs: list[Codec]) -> tuple[Frame, Codec]:
    """Decode with the first codec that can. Raises `CannotTranscodeError` with what each of them said."""
    said = []
    for codec in codecs:
        try:
            return pixels.from_stream(codec.decode(stream), stream, described), codec
        except CodecError as error:
            said.append(str(error))
    raise CannotTranscodeError("; ".join(said))


def _value(header: el.Elements, tag: int) -> bytes | None:
    element = header.get(tag)
    return element.value if element else None


# -- the ways ----------------------------------------------------------------------------------------------------------


def _reencode_header(source: _Source, target: TransferSyntax, result: BinaryIO) -> Facts:
    if target not in _NATIVE:
        raise CannotTranscodeError("the instance has no pixel data, so there is nothing to compress")
    _write_head(source, target, result, source.header)
    return Facts("", "", "none", "", "no pixel data")


def _copy_pixels(source: _Source, target: TransferSyntax, result: BinaryIO) -> Facts:
    """Write another header around the same pixel bytes; nothing of them needs to be understood."""
    pixel = source.pixel
    assert pixel is not None
    _write_head(source, target, result, source.header)
    vr = pixel.vr or {0x7FE00008: b"OF", 0x7FE00009: b"OD"}.get(pixel.tag, b"OW")
    result.write(el.pixel_head(pixel.tag, vr, pixel.length, implicit=target.is_implicit_vr))
    source.file.seek(pixel.value_at)
    _copy(source.file, result, pixel.length)
    _write_tail(source, target, result, pixel.value_at + pixel.length)
    result.flush()
    before, after = _native_hash(source), _native_hash(_open(result))
    if before != after:
        raise WrongPixelsError("the pixel bytes read back differ from the source's; storage or memory is faulty")
    return Facts(before, after, "none", "", "pixel bytes read back and compared")


def _decode(source: _Source, target: TransferSyntax, result: BinaryIO) -> Facts:
    frames = _EncapsulatedFrames(source)
    described = replace(frames.pixels, photometric=frames.photometric)
    length = described.frame_bytes * described.frames
    if length > _MAX_NATIVE:
        raise CannotTranscodeError(
            f"the uncompressed pixel data would have {length} bytes, over the 4 GiB that its length field can say"
        )
    header = _with_image(source.header, described, was_lossy=not frames.is_reversible)
    _write_head(source, target, result, header)
    vr = b"OW" if described.bits_allocated > 8 else b"OB"
    result.write(el.pixel_head(el.PIXEL_DATA, vr, length + length % 2, implicit=target.is_implicit_vr))
    before = PixelHash(described)
    used: set[str] = set()
    verified: set[str] = set()
    for stream in frames.streams():
        frame, codec = _decoded(stream, described, frames.codecs)
        used.add(codec.NAME)
        verified.add(_second_opinion(frame, stream, described, frames.codecs, codec))
        before.add(frame)
        result.write(pixels.to_native(frame, described))
    result.write(bytes(length % 2))
    _write_tail(source, target, result, frames.end)
    result.flush()
    after = pixel_hash(result)
    if after != before.hexdigest():
        raise WrongPixelsError("the pixels read back differ from those decoded; storage or memory is faulty")
    return Facts(before.hexdigest(), after, *_named(frames.codecs, used), "; ".join(sorted(verified)))


def _encode(source: _Source, target: TransferSyntax, result: BinaryIO) -> Facts:
    frames = _EncapsulatedFrames(source) if source.is_encapsulated else _NativeFrames(source)
    codec = registry.encoders(target)[0]
    described = replace(frames.pixels, photometric=frames.photometric)
    reason = codec.why_not(described.bits_stored, described.samples, is_signed=described.is_signed)
    if reason:
        raise CannotTranscodeError(reason)
    encoded_as = replace(described, photometric=codec.encoded_photometric(described.photometric))
    header = _with_image(source.header, encoded_as, was_lossy=not frames.is_reversible)
    extended = fragments.needs_extended_table(described.frame_bytes * described.frames, described.frames)
    extended_at = _write_encapsulated_head(source, target, result, header, described.frames if extended else 0)
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
    _write_tail(source, target, result, frames.end)
    result.flush()
    return Facts(
        before.hexdigest(), after.hexdigest(), codec.NAME, registry.version(codec), "; ".join(sorted(verifiers))
    )


# -- verification ------------------------------------------------------------------------------------------------------


def _verified(encoded: bytes, frame: Frame, described: Pixels, codecs: list[Codec], number: int) -> tuple[Frame, Codec]:
    """Decode what was encoded, and return the decoded frame. Raises `WrongPixelsError` when it is not the same."""
    try:
        stream = codecs[0].inspect(encoded)
        seen, codec = _decoded(stream, described, codecs)
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


def _native_hash(source: _Source) -> str:
    """Return the pixel hash, or where pixels cannot be described the hash of the bytes."""
    assert source.pixel is not None
    try:
        frames = _NativeFrames(source)
        digest = PixelHash(frames.pixels)
        for frame in frames:
            digest.add(frame)
    except CannotTranscodeError:
        return _raw_hash(source, source.pixel)
    return digest.hexdigest()


def _raw_hash(source: _Source, pixel: el.PixelElement) -> str:
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


# -- writing -----------------------------------------------------------------------------------------------------------


def _with_image(header: el.Elements, described: Pixels, *, was_lossy: bool = False) -> el.Elements:
    """Say in the header what the result's pixels are, where that changed."""
    header = el.without(header, _EXTENDED_OFFSETS, _EXTENDED_LENGTHS)
    if el.text(header, pixels.PHOTOMETRIC) != described.photometric:
        header = el.with_text(header, pixels.PHOTOMETRIC, b"CS", described.photometric)
    if described.samples > 1 and el.number(header, pixels.PLANAR_CONFIGURATION) != 0:
        header = el.with_number(header, pixels.PLANAR_CONFIGURATION, 0)
    if was_lossy and el.text(header, _LOSSY_IMAGE_COMPRESSION) != "01":
        # What the transfer syntax said until now must be said by the header (PS3.3 §C.7.6.1.1.5).
        header = el.with_text(header, _LOSSY_IMAGE_COMPRESSION, b"CS", "01")
    return header


def _write_head(source: _Source, target: TransferSyntax, result: BinaryIO, header: el.Elements) -> None:
    sop_class = el.text(header, _SOP_CLASS) or source.meta.get(part10.META_CLASS, "")
    sop_instance = el.text(header, _SOP_INSTANCE) or source.meta.get(part10.META_INSTANCE, "")
    if not is_uid(sop_class) or not is_uid(sop_instance):
        raise CannotTranscodeError("the instance has no SOP class UID and SOP instance UID that are valid")
    source_aet = source.meta.get(part10.META_SOURCE_AET) or None
    result.write(part10.file_header(sop_class, sop_instance, target.uid, source_aet=source_aet))
    result.write(el.encode(header, implicit=target.is_implicit_vr, edit_item=_edit_for(target)))


def _write_encapsulated_head(
    source: _Source, target: TransferSyntax, result: BinaryIO, header: el.Elements, extended_frames: int
) -> tuple[int, int] | None:
    """Write everything up to the first item; with `extended_frames`, leave room for the extended offset table."""
    _write_head(source, target, result, header)
    extended_at = None
    if extended_frames:
        places = []
        for tag in (_EXTENDED_OFFSETS, _EXTENDED_LENGTHS):
            result.write(el.pixel_head(tag, b"OV", 8 * extended_frames, implicit=False))
            places.append(result.tell())
            result.write(bytes(8 * extended_frames))
        extended_at = (places[0], places[1])
    result.write(el.pixel_head(el.PIXEL_DATA, b"OB", el.UNDEFINED, implicit=False))
    return extended_at


def _write_tail(source: _Source, target: TransferSyntax, result: BinaryIO, position: int) -> None:
    tail = source.tail(position)
    if any(tag <= el.PIXEL_DATA for tag in tail):
        raise CannotTranscodeError("elements follow the pixel data that belong before it")
    result.write(el.encode(tail, implicit=target.is_implicit_vr, edit_item=_edit_for(target)))


def _edit_for(target: TransferSyntax) -> el.EditItem | None:
    """Return what is done to items of sequences: in an uncompressed result their pixel data must not be encapsulated."""
    return _uncompressed_item if target in _NATIVE else None


def _uncompressed_item(item: el.Elements) -> el.Elements:
    """Decode the encapsulated pixel data of an item, such as an icon image (PS3.3 §F.7)."""
    pixel = item.get(el.PIXEL_DATA)
    if pixel is None or not pixel.is_undefined_length:
        return item
    # An icon may be compressed by another codec than the image (PS3.5 §A.4), so its own bytes say by which.
    described = pixels.describe(item, encapsulated=True)
    inside = io.BytesIO(pixel.value)
    for syntax in _encapsulated_syntaxes():
        codecs = registry.decoders(syntax)
        try:
            found = fragments.index(inside, described.frames, codecs[0].begins_frame)
            stream = codecs[0].inspect(found.read(inside, 0))
            photometric = codecs[0].decoded_photometric(described.photometric, stream)
        except (CodecError, CannotTranscodeError):
            inside.seek(0)
            continue
        shape = replace(described, photometric=photometric)
        frame, _ = _decoded(stream, shape, codecs)
        item = _with_image(item, shape)
        vr = b"OW" if shape.bits_allocated > 8 else b"OB"
        return el.with_bytes(item, el.PIXEL_DATA, vr, pixels.to_native(frame, shape))
    raise CannotTranscodeError("an icon image inside the header is compressed in a way that this release cannot decode")


def _encapsulated_syntaxes() -> list[TransferSyntax]:
    able = {syntax for codec in registry.installed() for syntax, ability in codec.SYNTAXES.items() if ability.decode}
    return sorted(able, key=lambda syntax: syntax.uid)


def _copy(source: BinaryIO, result: BinaryIO, length: int) -> None:
    remaining = length
    while remaining:
        chunk = source.read(min(remaining, _CHUNK))
        if not chunk:
            raise CannotTranscodeError("the file ends inside its pixel data")
        result.write(chunk)
        remaining -= len(chunk)
