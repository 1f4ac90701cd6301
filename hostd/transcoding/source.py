"""A file that is transcoded: its header, and its frames in canonical form, one at a time."""

from __future__ import annotations

import io
import os
from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, BinaryIO

from hostd.dicom import part10
from hostd.dicom.syntaxes import EXPLICIT_LE, IMPLICIT_LE, TransferSyntax, by_uid
from hostd.errors import CannotTranscodeError, UnparsableError
from hostd.transcoding import elements as el
from hostd.transcoding import fragments, pixels, registry
from hostd.transcoding.codecs import Codec, CodecError, Stream
from hostd.transcoding.pixels import Pixels

if TYPE_CHECKING:
    from hostd.transcoding.codecs import Frame

NATIVE = (IMPLICIT_LE, EXPLICIT_LE)
EXTENDED_OFFSETS, EXTENDED_LENGTHS = 0x7FE00001, 0x7FE00002


@dataclass(frozen=True, slots=True)
class Source:
    """A file whose header was read; its pixel data, if any, was not."""

    file: BinaryIO
    syntax: TransferSyntax
    meta: dict[int, str]
    header: el.Elements
    pixel: el.PixelElement | None

    @property
    def is_implicit(self) -> bool:
        """Tell whether the data set is in implicit VR."""
        return self.syntax.is_implicit_vr

    @property
    def is_encapsulated(self) -> bool:
        """Tell whether the pixel data comes in fragments."""
        return self.syntax.is_encapsulated

    def tail(self, position: int) -> el.Elements:
        """Read the elements after the pixel data, which end at `position`."""
        self.file.seek(position)
        rest = self.file.read()
        return el.read_all(io.BytesIO(rest), implicit=self.is_implicit) if rest.strip(b"\0") else {}


def open_source(source: BinaryIO) -> Source:
    """Read the header of a file. Raises `CannotTranscodeError` when it cannot be read, or not by what is installed."""
    try:
        start = part10.data_set_offset(source)
    except UnparsableError as error:
        raise CannotTranscodeError(str(error)) from error
    syntax = by_uid(start.transfer_syntax_uid)
    if syntax not in NATIVE and not registry.decoders(syntax):
        raise CannotTranscodeError(unsupported(f"instances in {syntax} cannot be decoded by this release", syntax))
    source.seek(start.offset)
    header, pixel = el.read_until_pixels(source, implicit=syntax.is_implicit_vr)
    if pixel is not None and (pixel.length == el.UNDEFINED) != syntax.is_encapsulated:
        kind = "encapsulated" if pixel.length == el.UNDEFINED else "not encapsulated"
        raise CannotTranscodeError(f"the pixel data is {kind}, which contradicts the transfer syntax {syntax}")
    return Source(source, syntax, start.meta, header, pixel)


def unsupported(message: str, syntax: TransferSyntax) -> str:
    """Return the message, and what to install where that would help."""
    install = registry.what_to_install(syntax)
    return f"{message}; install {install}" if install else message


class NativeFrames:
    """The frames of uncompressed pixel data."""

    def __init__(self, source: Source) -> None:
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


class EncapsulatedFrames:
    """The frames of encapsulated pixel data, decoded by the preferred codec."""

    def __init__(self, source: Source) -> None:
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
            extended_offsets=_value(source.header, EXTENDED_OFFSETS),
            extended_lengths=_value(source.header, EXTENDED_LENGTHS),
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
            yield decode_with(stream, self.pixels, self.codecs)[0]


def decode_with(stream: Stream, described: Pixels, codecs: list[Codec]) -> tuple[Frame, Codec]:
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
