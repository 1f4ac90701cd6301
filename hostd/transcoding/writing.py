"""What is written around the pixels: file meta, header and tail in the encoding of the target."""

from __future__ import annotations

import io
from collections.abc import Mapping
from typing import BinaryIO, Protocol

from hostd.dicom import part10
from hostd.dicom.identity import is_uid
from hostd.dicom.syntaxes import TransferSyntax
from hostd.errors import CannotTranscodeError
from hostd.transcoding import elements as el
from hostd.transcoding import fragments, pixels, registry
from hostd.transcoding.codecs import CodecError
from hostd.transcoding.deflated import DeflatingFile
from hostd.transcoding.derivation import SOP_CLASS, SOP_INSTANCE
from hostd.transcoding.pixels import Pixels
from hostd.transcoding.source import EXTENDED_LENGTHS, EXTENDED_OFFSETS, NATIVE, Source, decode_with


class Output(Protocol):
    """What a data set is written to: the result itself, or what deflates into it."""

    def write(self, content: bytes | memoryview, /) -> int:
        """Write the content."""
        ...


def with_image(header: el.Elements, described: Pixels, overlays: Mapping[int, bytes] | None = None) -> el.Elements:
    """Say in the header what the result's pixels are, where that changed. `overlays` are planes taken out of them, by group."""
    header = el.without(header, EXTENDED_OFFSETS, EXTENDED_LENGTHS)
    if el.text(header, pixels.PHOTOMETRIC) != described.photometric:
        header = el.with_text(header, pixels.PHOTOMETRIC, b"CS", described.photometric)
    if described.samples > 1 and el.number(header, pixels.PLANAR_CONFIGURATION) != described.planar:
        header = el.with_number(header, pixels.PLANAR_CONFIGURATION, described.planar)
    for tag, value in (
        (pixels.BITS_STORED, described.bits_stored),
        (pixels.HIGH_BIT, described.bits_stored - 1 + described.shift),
    ):
        if el.number(header, tag) != value:
            header = el.with_number(header, tag, value)
    for group, plane in (overlays or {}).items():
        header = el.with_number(header, group << 16 | 0x0100, 1)
        header = el.with_number(header, group << 16 | 0x0102, 0)
        header = el.with_bytes(header, group << 16 | 0x3000, b"OW", plane)
    return header


def begin(source: Source, target: TransferSyntax, result: BinaryIO, header: el.Elements) -> Output:
    """Write preamble, file meta and the elements before the pixel data, and return where to go on.

    Raises `CannotTranscodeError` without valid UIDs.
    """
    sop_class = el.text(header, SOP_CLASS) or source.meta.get(part10.META_CLASS, "")
    sop_instance = el.text(header, SOP_INSTANCE) or source.meta.get(part10.META_INSTANCE, "")
    if not is_uid(sop_class) or not is_uid(sop_instance):
        raise CannotTranscodeError("the instance has no SOP class UID and SOP instance UID that are valid")
    source_aet = source.meta.get(part10.META_SOURCE_AET) or None
    result.write(part10.file_header(sop_class, sop_instance, target.uid, source_aet=source_aet))
    output: Output = DeflatingFile(result) if target.is_deflated else result
    output.write(_encoded(header, target))
    return output


def end(source: Source, target: TransferSyntax, output: Output, position: int | None) -> None:
    """Write the elements that follow the pixel data, which ends at `position` of the source, and end the data set."""
    if position is not None:
        tail = source.tail(position)
        if any(tag <= el.PIXEL_DATA for tag in tail):
            raise CannotTranscodeError("elements follow the pixel data that belong before it")
        output.write(_encoded(tail, target))
    if isinstance(output, DeflatingFile):
        output.close()


def settle(result: BinaryIO) -> None:
    """End the file where the last byte was written: what it is written over may have been longer."""
    stop = result.tell()
    if result.seek(0, io.SEEK_END) > stop:
        result.truncate(stop)
    result.flush()
    result.seek(stop)


def write_encapsulated_head(
    source: Source, target: TransferSyntax, result: BinaryIO, header: el.Elements, extended_frames: int
) -> tuple[int, int] | None:
    """Write everything up to the first item; with `extended_frames`, leave room for the extended offset table."""
    begin(source, target, result, header)
    extended_at = None
    if extended_frames:
        places = []
        for tag in (EXTENDED_OFFSETS, EXTENDED_LENGTHS):
            result.write(el.pixel_head(tag, b"OV", 8 * extended_frames, implicit=False))
            places.append(result.tell())
            result.write(bytes(8 * extended_frames))
        extended_at = (places[0], places[1])
    result.write(el.pixel_head(el.PIXEL_DATA, b"OB", el.UNDEFINED, implicit=False))
    return extended_at


def _encoded(elements: el.Elements, target: TransferSyntax) -> bytes:
    """Encode elements for the target; in an uncompressed result no item's pixel data may be encapsulated."""
    if target not in NATIVE:
        return el.encode(elements, implicit=False)
    if isinstance(elements, el.WrittenElements) and elements.encoded and not target.is_implicit_vr:
        return elements.encoded
    return el.encode(_without_fragments(elements), implicit=target.is_implicit_vr, edit_item=_uncompressed_item)


def _uncompressed_item(item: el.Elements) -> el.Elements:
    """Decode the encapsulated pixel data of an item, such as an icon image (PS3.3 §F.7)."""
    pixel = item.get(el.PIXEL_DATA)
    if pixel is None or not pixel.is_undefined_length:
        return _without_fragments(item)
    # An icon may be compressed by another codec than the image (PS3.5 §A.4), so its own bytes say by which.
    described = pixels.describe(item, encapsulated=True)
    inside = io.BytesIO(pixel.value)
    for syntax in _marked_syntaxes():
        codecs = registry.decoders(syntax)
        inside.seek(0)
        try:
            found = fragments.index(inside, described.frames, codecs[0].begins_frame)
            stream = codecs[0].inspect(found.read(inside, 0), described, syntax)
            photometric = codecs[0].decoded_photometric(described.photometric, stream)
        except (CodecError, CannotTranscodeError):
            continue
        shape = described.as_canonical(photometric)
        frame, _ = decode_with(stream, described, codecs)
        native = pixels.NativeWriter(shape)
        value = b"".join((native.add(frame), native.close()))
        return _without_fragments(el.with_bytes(with_image(item, shape), el.PIXEL_DATA, pixel_vr(shape), value))
    raise CannotTranscodeError("an icon image inside the header is compressed in a way that this release cannot decode")


def _without_fragments(elements: el.Elements) -> el.Elements:
    """Refuse fragments elsewhere: in an uncompressed result nobody could read them (PS3.5 §A.1, §A.2)."""
    for tag, element in elements.items():
        if element.is_undefined_length and element.vr in (b"OB", b"OW"):
            raise CannotTranscodeError(f"({tag >> 16:04X},{tag & 0xFFFF:04X}) is encapsulated and is no pixel data")
    return elements


def pixel_vr(described: Pixels) -> bytes:
    """Return the VR of uncompressed pixel data in explicit VR (PS3.5 §A.2)."""
    return b"OW" if described.bits_allocated > 8 else b"OB"


def _marked_syntaxes() -> list[TransferSyntax]:
    """Return the syntaxes whose codestreams can be told by their beginning."""
    able = {
        syntax
        for codec in registry.installed()
        for syntax in codec.SYNTAXES
        if registry.decoders(syntax) and codec.begins_frame is not None
    }
    return sorted(able, key=lambda syntax: syntax.uid)
