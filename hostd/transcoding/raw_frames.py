"""The frames of a file as they are stored, found in the host: no codec is loaded, and nothing is decoded."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import BinaryIO

from hostd.dicom.media_types import is_video
from hostd.dicom.syntaxes import TransferSyntax
from hostd.errors import CannotTranscodeError
from hostd.transcoding import elements as el
from hostd.transcoding import fragments, pixels, registry
from hostd.transcoding.source import (
    EXTENDED_LENGTHS,
    EXTENDED_OFFSETS,
    NativeFrames,
    Source,
    open_source,
)

_PIECE = 1 << 18


@dataclass(frozen=True, slots=True)
class RawFrame:
    """One frame: where its bytes are in `file`, or, where they stand otherwise there, the bytes themselves."""

    file: BinaryIO
    spans: tuple[tuple[int, int], ...]
    own: bytes | None = None

    @property
    def length(self) -> int:
        """How many bytes it has."""
        return len(self.own) if self.own is not None else sum(length for _, length in self.spans)

    def pieces(self) -> Iterator[bytes]:
        """Yield the bytes. Raises `CannotTranscodeError` when the file ends in them."""
        if self.own is not None:
            yield self.own
            return
        for begin, length in self.spans:
            at, left = begin, length
            while left:
                self.file.seek(at)
                piece = self.file.read(min(_PIECE, left))
                if not piece:
                    raise CannotTranscodeError("the file ends inside of its pixel data")
                yield piece
                at, left = at + len(piece), left - len(piece)


class RawFrames:
    """The frames of an open file, uncompressed ones in little endian; video is one, with all its fragments."""

    def __init__(self, file: BinaryIO) -> None:
        """Find them. Raises `CannotTranscodeError` when there are none, or when it is not clear where they are."""
        source = open_source(file, must_decode=False)
        if source.pixel is None:
            raise CannotTranscodeError("the instance has no pixel data")
        self.syntax: TransferSyntax = source.syntax
        self._source = source
        self._native = None if source.is_encapsulated else _Native(source)
        self._index = _index(source) if self._native is None else None

    @property
    def count(self) -> int:
        """How many frames there are."""
        if self._native is not None:
            return self._native.pixels.frames
        assert self._index is not None
        return len(self._index.starts)

    def frame(self, number: int) -> RawFrame:
        """Return one frame, counted from 0."""
        if self._native is not None:
            return self._native.raw_frame(number)
        index = self._index
        assert index is not None
        stop = index.starts[number + 1] if number + 1 < len(index.starts) else len(index.values)
        spans = tuple((index.values[one], index.lengths[one]) for one in range(index.starts[number], stop))
        return RawFrame(self._source.file, spans)


class _Native(NativeFrames):
    def __init__(self, source: Source) -> None:
        super().__init__(source)
        self._is_plain = source.turned_width == 1 and self.pixels.frame_bits % 8 == 0

    def raw_frame(self, number: int) -> RawFrame:
        assert self._source.pixel is not None
        if not self._is_plain:
            return RawFrame(self._source.file, (), self.raw(number))
        size = self.pixels.frame_bytes
        return RawFrame(self._source.file, ((self._source.pixel.value_at + number * size, size),))


def _index(source: Source) -> fragments.FrameIndex:
    assert source.pixel is not None
    codecs = registry.decoders(source.syntax)
    source.file.seek(source.pixel.value_at)
    return fragments.index(
        source.file,
        1 if is_video(source.syntax) else el.number(source.header, pixels.NUMBER_OF_FRAMES) or 1,
        codecs[0].begins_frame if codecs else None,
        extended_offsets=_value(source.header, EXTENDED_OFFSETS),
        extended_lengths=_value(source.header, EXTENDED_LENGTHS),
    )


def _value(header: el.Elements, tag: int) -> bytes | None:
    return header[tag].value if tag in header else None
