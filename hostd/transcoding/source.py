"""A file that is transcoded: its header, and its frames in canonical form, one at a time."""

from __future__ import annotations

import io
import os
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, BinaryIO

from hostd.dicom import part10
from hostd.dicom.syntaxes import (
    DEFLATED,
    DEFLATED_FRAMES,
    ENCAPSULATED_UNCOMPRESSED,
    EXPLICIT_BE,
    EXPLICIT_LE,
    IMPLICIT_LE,
    TransferSyntax,
    by_uid,
)
from hostd.errors import CannotTranscodeError, UnparsableError
from hostd.transcoding import elements as el
from hostd.transcoding import fragments, pixels, registry, word_order
from hostd.transcoding.codecs import Codec, CodecError, Stream
from hostd.transcoding.deflated import inflated
from hostd.transcoding.pixels import Pixels

if TYPE_CHECKING:
    from hostd.transcoding.codecs import Frame

NATIVE = (IMPLICIT_LE, EXPLICIT_LE, DEFLATED)
"""Pixel data is not encapsulated, and hostd writes it."""
READ_NATIVE = (*NATIVE, EXPLICIT_BE)
RAW_FRAMES = (ENCAPSULATED_UNCOMPRESSED, DEFLATED_FRAMES)
"""Fragments hold what uncompressed pixel data would."""
EXTENDED_OFFSETS, EXTENDED_LENGTHS = 0x7FE00001, 0x7FE00002
_PIXEL_VRS = {0x7FE00008: b"OF", 0x7FE00009: b"OD"}
_WIDTHS = {b"OW": 2, b"OF": 4, b"OD": 8}
_CHUNK = 1 << 20
_MAX_TAIL = 64 << 20


@dataclass(frozen=True)
class Source:
    """A file whose header was read; its pixel data, if any, was not."""

    file: BinaryIO
    """The file itself, or its deflated data set as if it were not deflated: positions are those of this."""
    syntax: TransferSyntax
    meta: Mapping[int, str]
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

    @property
    def pixel_vr(self) -> bytes:
        """VR of the uncompressed pixel data; in implicit VR it is OW (PS3.5 §A.1), or that of its own tag."""
        assert self.pixel is not None
        return self.pixel.vr or _PIXEL_VRS.get(self.pixel.tag, b"OW")

    def tail(self, position: int) -> el.Elements:
        """Read the elements after the pixel data, which end at `position`."""
        left = self.file.seek(0, os.SEEK_END) - position
        if left > _MAX_TAIL:
            raise CannotTranscodeError(f"more than {_MAX_TAIL >> 20} MiB follow the pixel data")
        self.file.seek(position)
        rest = self.file.read(max(0, left))
        if not rest.strip(b"\0"):
            return {}
        return el.read_all(io.BytesIO(rest), implicit=self.is_implicit, big_endian=not self.syntax.is_little_endian)

    def native_bytes(self, offset: int, count: int) -> bytes:
        """Return bytes of the uncompressed pixel data as little endian has them."""
        assert self.pixel is not None
        width = self.turned_width
        # What is turned together is read together: a frame may begin inside a word.
        begin = offset // width * width
        end = min(-(-(offset + count) // width) * width, self.pixel.length)
        return el.turned(self._as_stored(begin, end), width)[offset - begin : offset - begin + count]

    def native_chunks(self) -> Iterator[bytes]:
        """Yield the uncompressed pixel data as little endian has it."""
        assert self.pixel is not None
        for offset in range(0, self.pixel.length, _CHUNK):
            yield self.native_bytes(offset, min(_CHUNK, self.pixel.length - offset))

    @property
    def note(self) -> str:
        """What is to be said of how the uncompressed pixel data was read; empty as a rule."""
        return word_order.NOTE if self.turned_width == word_order.SAMPLE and self.pixel_vr == b"OW" else ""

    @cached_property
    def turned_width(self) -> int:
        """Bytes of the uncompressed pixel data that are turned together to have them in little endian."""
        if self.syntax.is_little_endian:
            return 1
        allocated = el.number(self.header, pixels.BITS_ALLOCATED) or 0
        if self.pixel_vr != b"OW" or allocated != 32:
            return _WIDTHS.get(self.pixel_vr, 1)
        assert self.pixel is not None
        length = self.pixel.length
        return word_order.turned_together(
            self._as_stored(begin, min(begin + _CHUNK, length)) for begin in range(0, length, _CHUNK)
        )

    def _as_stored(self, begin: int, end: int) -> bytes:
        assert self.pixel is not None
        self.file.seek(self.pixel.value_at + begin)
        read = self.file.read(end - begin)
        if len(read) != end - begin:
            raise CannotTranscodeError("the file ends inside its pixel data")
        return read


def open_source(source: BinaryIO, *, must_decode: bool = True, known: el.Elements | None = None) -> Source:
    """Read the header of a file, which may well be the one that is `known`.

    Raises `CannotTranscodeError` when it cannot be read, or, where that `must` be, when nothing that is installed decodes its pixels.
    """
    try:
        start = part10.data_set_offset(source)
    except UnparsableError as error:
        raise CannotTranscodeError(str(error)) from error
    syntax = by_uid(start.transfer_syntax_uid)
    if must_decode and syntax not in READ_NATIVE and not registry.decoders(syntax):
        raise CannotTranscodeError(
            unsupported(f"instances in {syntax} are kept and forwarded as they are; hostd does not decode them", syntax)
        )
    file = inflated(source, start.offset) if syntax.is_deflated else source
    file.seek(0 if syntax.is_deflated else start.offset)
    header, pixel = el.read_until_pixels(
        file, implicit=syntax.is_implicit_vr, big_endian=not syntax.is_little_endian, known=known
    )
    if pixel is not None and (pixel.length == el.UNDEFINED) != syntax.is_encapsulated:
        kind = "encapsulated" if pixel.length == el.UNDEFINED else "not encapsulated"
        raise CannotTranscodeError(f"the pixel data is {kind}, which contradicts the transfer syntax {syntax}")
    return Source(file, syntax, start.meta, header, pixel)


def unsupported(message: str, syntax: TransferSyntax) -> str:
    """Return the message, and what to install where that would help."""
    install = registry.what_to_install(syntax)
    return f"{message}; install {install}" if install else message


def open_frames(source: Source) -> NativeFrames | EncapsulatedFrames:
    """Return the frames of a source that has pixel data. Raises `CannotTranscodeError` when hostd does not transcode them."""
    assert source.pixel is not None
    if source.pixel.tag != el.PIXEL_DATA:
        raise CannotTranscodeError("floating point pixel data is left as it is: no codec is defined for it")
    return EncapsulatedFrames(source) if source.is_encapsulated else NativeFrames(source)


class NativeFrames:
    """The frames of uncompressed pixel data."""

    def __init__(self, source: Source) -> None:
        assert source.pixel is not None
        self.pixels = pixels.describe(source.header, encapsulated=False)
        self.decoded = self.pixels.as_canonical()
        self.is_reversible = True
        self.ratio = 1.0
        self.end = source.pixel.value_at + source.pixel.length
        self.note = source.note
        self._source = source
        expected = self.pixels.native_bytes
        excess = source.pixel.length - expected
        if excess < 0:
            raise CannotTranscodeError(
                f"the pixel data has {source.pixel.length} bytes, but {self.pixels.frames} frames of {self.pixels.frame_bytes} need {expected}"
            )
        if excess >= max(2, self.pixels.frame_bytes):
            raise CannotTranscodeError("the pixel data holds more frames than NumberOfFrames says")
        if excess > expected % 2:
            left_out = f"{excess} bytes after the last frame of the source were left out"
            self.note = "; ".join(filter(None, (self.note, left_out)))
        if source.file.seek(0, os.SEEK_END) < self.end:
            raise CannotTranscodeError("the file ends inside its pixel data")

    def raw(self, number: int) -> bytes:
        """Return the bytes of one frame as little endian has them; those of single bits are moved to begin at a byte."""
        bits = self.pixels.frame_bits
        offset, first = divmod(number * bits, 8)
        read = self._source.native_bytes(offset, (first + bits + 7) // 8)
        if not first:
            return read
        return (int.from_bytes(read, "little") >> first & (1 << bits) - 1).to_bytes(self.pixels.frame_bytes, "little")

    def raws(self) -> Iterator[bytes]:
        """Yield the bytes of the frames in order."""
        return map(self.raw, range(self.pixels.frames))

    def frame(self, number: int) -> Frame:
        """Return one frame in canonical form."""
        return pixels.from_container(self.raw(number), self.pixels)

    def __iter__(self) -> Iterator[Frame]:
        for raw in self.raws():
            yield pixels.from_container(raw, self.pixels)

    def overlay(self, bit: int) -> Iterator[Frame]:
        """Yield an overlay that lies in that bit of the samples, frame by frame."""
        return _overlay(self.raws(), self.pixels, bit)


class EncapsulatedFrames:
    """The frames of encapsulated pixel data, decoded by the preferred codec."""

    def __init__(self, source: Source) -> None:
        assert source.pixel is not None
        self.syntax = source.syntax
        self.pixels = pixels.describe(source.header, encapsulated=source.syntax not in RAW_FRAMES)
        self.codecs = registry.decoders(source.syntax)
        self.note = ""
        self._source = source.file
        self._first: Stream | None = None
        """The first codestream, until it is asked for: most have no other."""
        source.file.seek(source.pixel.value_at)
        self._index = fragments.index(
            source.file,
            self.pixels.frames,
            self.codecs[0].begins_frame,
            extended_offsets=_value(source.header, EXTENDED_OFFSETS),
            extended_lengths=_value(source.header, EXTENDED_LENGTHS),
        )
        self.end = self._index.end
        first = self._first = self.stream(0)
        if self.pixels.overlays and not first.is_raw:
            raise CannotTranscodeError(
                "an overlay is said to lie in unused bits of the samples, which this codestream does not have"
            )
        self.is_reversible = self._is_first_reversible = first.is_reversible
        self._is_colour_transformed = first.is_colour_transformed
        try:
            self.decoded = self.pixels.as_canonical(self.codecs[0].decoded_photometric(self.pixels.photometric, first))
        except CodecError as error:
            raise CannotTranscodeError(str(error)) from error
        self.ratio = self.decoded.frame_bytes * self.pixels.frames / sum(self._index.lengths)

    def encoded(self, number: int) -> bytes:
        """Return a frame's bytes as they are in the file, padding included."""
        return self._index.read(self._source, number)

    def stream(self, number: int) -> Stream:
        """Return a frame's codestream, checked against the header."""
        if number == 0 and self._first is not None:
            first, self._first = self._first, None
            return first
        return checked_stream(self.encoded(number), self.pixels, self.syntax, self.codecs[0], f"frame {number + 1}")

    def streams(self) -> Iterator[Stream]:
        """Yield the codestreams in order."""
        for number in range(self.pixels.frames):
            stream = self.stream(number)
            if stream.is_colour_transformed != self._is_colour_transformed:
                raise CannotTranscodeError(f"frame {number + 1} holds other colours than frame 1")
            if stream.is_reversible != self._is_first_reversible:
                self.is_reversible = False
            yield stream

    def raws(self) -> Iterator[bytes]:
        """Yield the bytes of frames that hold what uncompressed pixel data would."""
        for stream in self.streams():
            yield stream.codestream

    def frame(self, number: int) -> Frame:
        """Return one frame, decoded, in canonical form."""
        return decode_with(self.stream(number), self.pixels, self.codecs)[0]

    def __iter__(self) -> Iterator[Frame]:
        for stream in self.streams():
            yield decode_with(stream, self.pixels, self.codecs)[0]

    def overlay(self, bit: int) -> Iterator[Frame]:
        """Yield an overlay that lies in that bit of the samples, frame by frame."""
        if self.syntax in RAW_FRAMES:
            return _overlay(self.raws(), self.pixels, bit)
        return (pixels.overlay_bits(decode_first(stream, self.codecs), bit) for stream in self.streams())


def checked_stream(encoded: bytes, described: Pixels, syntax: TransferSyntax, codec: Codec, name: str) -> Stream:
    """Return the codestream of a frame after comparing what it says with the header, before any decoder sees it.

    Raises `CannotTranscodeError`.
    """
    try:
        stream = codec.inspect(encoded, described, syntax)
    except CodecError as error:
        raise CannotTranscodeError(f"{name}: {error}") from error
    if (stream.rows, stream.columns, stream.samples) != (described.rows, described.columns, described.samples):
        raise CannotTranscodeError(
            f"{name} is {stream.columns}x{stream.rows} with {stream.samples} samples, which contradicts the header"
        )
    return stream


def decode_with(stream: Stream, described: Pixels, codecs: list[Codec]) -> tuple[Frame, Codec]:
    """Decode with the first codec that can, to the canonical form. Raises `CannotTranscodeError` with what each of them said."""
    return _first(stream, codecs, lambda decoded: pixels.from_stream(decoded, stream, described))


def decode_first(stream: Stream, codecs: list[Codec]) -> Frame:
    """Decode with the first codec that can, to what the codestream holds. Raises `CannotTranscodeError`."""
    return _first(stream, codecs, lambda decoded: decoded)[0]


def _first(stream: Stream, codecs: list[Codec], form: Callable[[Frame], Frame]) -> tuple[Frame, Codec]:
    said = []
    for codec in codecs:
        try:
            return form(codec.decode(stream)), codec
        except CodecError as error:
            said.append(str(error))
    raise CannotTranscodeError("; ".join(said))


def _overlay(raws: Iterator[bytes], described: Pixels, bit: int) -> Iterator[Frame]:
    import numpy as np  # noqa: PLC0415 - importing this module must not load numpy in the host

    for raw in raws:
        yield pixels.overlay_bits(np.frombuffer(raw, described.container), bit)


def _value(header: el.Elements, tag: int) -> bytes | None:
    element = header.get(tag)
    return element.value if element else None
