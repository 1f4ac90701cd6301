"""Headers of any form, read by pydicom: those that `hostd.dicom.plain_header` does not understand, and single elements of any."""

from __future__ import annotations

import zlib
from collections.abc import Iterable, Iterator
from io import BytesIO
from typing import Any, BinaryIO, cast

from pydicom.dataelem import DataElement, RawDataElement
from pydicom.dataset import Dataset
from pydicom.sequence import Sequence
from pydicom.tag import BaseTag

from hostd.dicom import element_values, open_sequences, plain_header, syntaxes
from hostd.dicom.element_values import DEFAULT_ENCODINGS, Elements, chosen_vr, encodings_of, known_vr
from hostd.dicom.plain_header import ELEMENT_BYTES, ITEM_BYTES, MAX_DEPTH, PIXELS, Form
from hostd.errors import UnparsableError

MAX_HEADER = 64 << 20
"""Bytes of a header that are read at most, whatever the file claims."""
_MOST_READS = 1 << 18
"""Heads and values that are read one by one, which is some hundred thousand elements: each costs far more memory than it has bytes."""
_MOST_VAIN_WALKS = 16
"""Sequences whose end is looked for in vain: each may take a walk through all that is left of the header."""
_UNDEFINED = 0xFFFFFFFF


def parse(
    file: BinaryIO, offset: int, transfer_syntax: str, defer_over: int = MAX_HEADER // 64
) -> tuple[Dataset, Elements]:
    """Parse up to the pixel data, which is returned by itself, without a value, if there is any."""
    syntax = syntaxes.by_uid(transfer_syntax)
    end: int | None = file.seek(0, 2)
    file.seek(offset)
    if syntax.is_deflated:
        inflated, is_whole = _inflate(file)
        end = len(inflated) if is_whole else None
        file = cast("BinaryIO", BytesIO(inflated))
    stops = _Stops(_Bounded(file), little=syntax.is_little_endian)
    bounded = cast("BinaryIO", stops.file)
    # Names that the module does not export.
    from pydicom.filereader import data_element_generator, read_dataset  # noqa: PLC0415

    try:
        dataset = read_dataset(
            bounded,
            syntax.is_implicit_vr,
            syntax.is_little_endian,
            stop_when=stops,
            defer_size=defer_over,
        )
        implicit = bool(dataset.original_encoding[0])
        elements = dataset._dict  # noqa: SLF001 - as they are read
        while (sequence := stops.passed_over(implicit=implicit)) is not None:
            elements[sequence.tag] = sequence
            more = data_element_generator(bounded, implicit, syntax.is_little_endian, stops, defer_over)
            elements.update((element.tag, element) for element in more)
    except UnparsableError:
        raise
    except RecursionError as error:
        raise UnparsableError("the data set nests sequences too deeply to be read") from error
    except Exception as error:
        raise UnparsableError(f"not a DICOM data set in {syntax.name}: {error}") from error
    if end is not None and not stops.pixels:
        require_whole(dataset, end)
    return dataset, stops.pixels


def require_whole(dataset: Dataset, end: int) -> None:
    """Refuse a data set with an element that claims to go on after its end: pydicom takes what there is of it for the value. Raises `UnparsableError`."""
    for element in dataset._dict.values():  # noqa: SLF001 - as they were read; values() would parse them
        if isinstance(element, RawDataElement) and element.length != _UNDEFINED:
            missing = element.value_tell + element.length - end
            if missing > 0:
                raise UnparsableError(f"the file is truncated: {element.tag} lacks {missing} bytes")


def _inflate(file: BinaryIO) -> tuple[bytes, bool]:
    """Return what a deflated data set holds, at most `MAX_HEADER` bytes of it, and whether that is all."""
    inflater = zlib.decompressobj(-zlib.MAX_WBITS)
    pieces: list[bytes] = []
    room = MAX_HEADER
    try:
        while room > 0 and (piece := file.read(1 << 16)):
            while piece and room > 0:
                pieces.append(inflater.decompress(piece, room))
                room -= len(pieces[-1])
                piece = inflater.unconsumed_tail
    except zlib.error as error:
        raise UnparsableError(f"the deflated data set is damaged: {error}") from error
    if room > 0 and not inflater.eof:
        raise UnparsableError("the file is truncated: its deflated data set has no end")
    return b"".join(pieces), inflater.eof


class _Bounded:
    """Reads at most `MAX_HEADER` bytes of a file, however large a value the file claims to have, and not in too many pieces."""

    def __init__(self, file: BinaryIO) -> None:
        self._file = file
        self._left = MAX_HEADER
        self._reads_left = _MOST_READS
        self._vain_walks_left = _MOST_VAIN_WALKS
        self.name = ""

    def read(self, count: int = -1) -> bytes:
        if count < 0 or count > self._left:
            raise UnparsableError(f"the header is larger than {MAX_HEADER >> 20} MiB")
        if not self._reads_left:
            raise UnparsableError("the header has too many elements")
        self._left -= count
        self._reads_left -= 1
        return self._file.read(count)

    def open_sequence(self, *, implicit: bool, little: bool) -> bytes | None:
        """Read the items of the sequence of undefined length that follows; None where it is not well formed, or too many were not."""
        if not self._vain_walks_left:
            return None
        found = open_sequences.value_of(self._file, implicit=implicit, little=little, most=self._left)
        if found is None:
            self._vain_walks_left -= 1
        self._left -= len(found or b"")
        return found

    def seek(self, offset: int, whence: int = 0) -> int:
        return self._file.seek(offset, whence)

    def tell(self) -> int:
        return self._file.tell()


class _Stops:
    """Where pydicom is to stop: before the pixel data, and before a sequence of undefined length, of which it would make all items."""

    def __init__(self, file: _Bounded, *, little: bool) -> None:
        self.file = file
        self.pixels: Elements = {}
        """The pixel data element before which it was stopped, without its value."""
        self._little = little
        self._sequence: tuple[BaseTag, int, bytes, int] | None = None

    def __call__(self, tag: BaseTag, vr: str | None, length: int) -> bool:
        """Tell whether to stop before an element whose head was read."""
        if int(tag) in PIXELS:
            own = "OB" if vr and length == _UNDEFINED else vr  # what is encapsulated is OB (PS3.5 §A.4)
            self.pixels[int(tag)] = own or chosen_vr(known_vr(tag), signed=False), None
            return True
        if length != _UNDEFINED or (vr or known_vr(int(tag))) not in ("SQ", "UN"):
            return False
        begin = self.file.tell()
        value = self.file.open_sequence(implicit=vr is None, little=self._little)
        if value is None:
            return False
        self._sequence = tag, begin, value, self.file.tell()
        self.file.seek(begin)
        return True

    def passed_over(self, *, implicit: bool) -> RawDataElement | None:
        """Return the sequence before which it was stopped, and go on behind it; None where it was for another reason."""
        if self._sequence is None:
            return None
        tag, begin, value, end = self._sequence
        self._sequence = None
        self.file.seek(end)
        return RawDataElement(tag, "SQ", _UNDEFINED, value, begin, implicit, self._little)


class ElementReader:
    """Turns a parsed data set into `Elements`, decoding text by its own Specific Character Set."""

    def __init__(
        self,
        dataset: Dataset,
        little: bool,
        *,
        encodings: tuple[str, ...] | None = None,
        max_value: int,
        max_elements: int,
        depth: int = 0,
    ) -> None:
        self._dataset = dataset
        self._order = "<" if little else ">"
        self._max_value = max_value
        self._room = max_elements
        self._depth = depth
        self._encodings = self._own_encodings() or encodings or DEFAULT_ENCODINGS
        self._signed = False

    def elements(self) -> Elements:
        """Return all elements but pixel data and group lengths."""
        if 0x00280103 in self._dataset:  # decides between US and SS
            _, signed = self._read(0x00280103)
            self._signed = bool(signed and signed[0])
        tags = list(self._tags())
        read: Elements = {}
        # Sequences last: reading one has pydicom interpret PixelRepresentation, after which its bytes are gone.
        for tag in sorted(tags, key=lambda tag: self._vr(self._raw(tag)) == "SQ"):
            read[tag] = self._read(tag)
        return {tag: read[tag] for tag in tags}

    def values(self, tag: int) -> list[Any] | None:
        """Return the values of one element, empty when it is absent."""
        return self._read(tag)[1] if tag in self._dataset else []

    def is_left_out(self, tag: int) -> bool:
        """Tell whether an element is there, but was too large to be read."""
        if tag not in self._dataset:
            return False
        raw = self._raw(tag)
        return isinstance(raw, RawDataElement) and raw.value is None and raw.length > 0

    def item(self, tag: int, index: int) -> ElementReader | None:
        """Return the reader of one item of a sequence, None when there is none."""
        if tag not in self._dataset:
            return None
        raw = self._raw(tag)
        if isinstance(raw, RawDataElement) and self._vr(raw) == "SQ" and isinstance(raw.value, bytes):
            return next((self._reader_of(item) for item in _items_of(raw, index)), None)
        sequence = self._dataset[tag].value
        if not isinstance(sequence, Sequence) or not 0 <= index < len(sequence):
            return None
        return self._reader_of(sequence[index])

    def _reader_of(self, item: Dataset) -> ElementReader:
        return ElementReader(
            item,
            self._order == "<",
            encodings=self._encodings,
            max_value=self._max_value,
            max_elements=self._room,
            depth=self._depth + 1,
        )

    def _tags(self) -> Iterator[int]:
        for tag in sorted(self._dataset._dict):  # noqa: SLF001 - keys() would do, but sorts through DataElement
            if tag.element != 0 and int(tag) not in PIXELS:
                yield int(tag)

    def _raw(self, tag: int) -> RawDataElement | DataElement:
        """Return the element as it was read: the data set's own access would go back to the file for what was passed over."""
        return self._dataset._dict[BaseTag(tag)]  # noqa: SLF001

    def _own_encodings(self) -> tuple[str, ...] | None:
        if 0x00080005 not in self._dataset:
            return None
        raw = self._raw(0x00080005).value
        return encodings_of(raw if isinstance(raw, bytes) else b"")

    def _read(self, tag: int) -> tuple[str, list[Any] | None]:
        element = self._raw(tag)
        vr = self._vr(element)
        if vr == "SQ":
            self._room -= ELEMENT_BYTES
            return vr, self._items(tag)
        value = element.value
        length = len(value) if isinstance(value, bytes) else getattr(element, "length", 0) or 0
        if (value is None and length) or length > self._max_value or length > self._room:
            return vr, None
        self._room -= length + ELEMENT_BYTES
        return vr, element_values.values(vr, value, self._order, self._encodings) if isinstance(value, bytes) else []

    def _vr(self, element: RawDataElement | DataElement) -> str:
        vr = known_vr(int(element.tag)) if element.VR is None or element.VR == "UN" else str(element.VR)
        return chosen_vr(vr, signed=self._signed)

    def _items(self, tag: int) -> list[Any] | None:
        if self._depth >= MAX_DEPTH or self._room <= 0 or (sequence := self._sequence(tag)) is None:
            return None
        if (plain := self._plain_items(tag)) is not None:
            found, self._room = plain
            return found
        items: list[Any] = []
        try:
            for item in sequence:
                reader = self._reader_of(item)
                items.append(reader.elements())
                self._room = reader._room - ITEM_BYTES  # noqa: SLF001 - its own kind
                if self._room < 0:
                    return None
        except UnparsableError:  # a damaged sequence; the others still count, as far as looking at it leaves room
            self._room -= len(cast("bytes", self._raw(tag).value))
            return None
        return items

    def _plain_items(self, tag: int) -> tuple[list[Elements] | None, int] | None:
        """Return the items of a sequence as `hostd.dicom.plain_header` reads them, None where it does not."""
        raw = self._raw(tag)
        if not isinstance(raw, RawDataElement) or not raw.value or not raw.is_little_endian:
            return None
        form = Form(raw.is_implicit_VR, self._max_value, self._room)
        return plain_header.items_of(raw.value, form, self._encodings, depth=self._depth + 1)

    def _sequence(self, tag: int) -> Iterable[Dataset] | None:
        """Return the items of a sequence, None where it is too large or was not read."""
        raw = self._raw(tag)
        if not isinstance(raw, RawDataElement):
            return raw.value if isinstance(raw.value, Sequence) else None
        if raw.value is None:
            return None if raw.length else []
        is_too_large = raw.length != _UNDEFINED and len(raw.value) > self._room
        return None if is_too_large else _items_of(raw)


def _items_of(raw: RawDataElement, first: int = 0) -> Iterator[Dataset]:
    """Yield the items of a sequence from one on, each read when its turn comes. Raises `UnparsableError` where one is damaged."""
    from pydicom.filereader import read_sequence_item  # noqa: PLC0415 - a name that the module does not export

    value = cast("bytes", raw.value)
    implicit, little = raw.is_implicit_VR, raw.is_little_endian
    file = BytesIO(value)
    for _ in range(first):
        if file.tell() >= len(value):
            return
        file.seek(open_sequences.after_item(value, file.tell(), implicit=implicit, little=little))
    while file.tell() < len(value):
        try:
            item = read_sequence_item(cast("BinaryIO", _Bounded(file)), implicit, little, "iso8859")
        except Exception as error:
            raise UnparsableError(f"a sequence is damaged: {error}") from error
        if item is None:
            return
        yield item
