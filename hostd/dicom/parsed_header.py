"""Headers of any form, read by pydicom: those that `hostd.dicom.plain_header` does not understand, and single elements of any."""

from __future__ import annotations

import zlib
from collections.abc import Iterator
from io import BytesIO
from typing import Any, BinaryIO, cast

from pydicom.dataelem import DataElement, RawDataElement
from pydicom.dataset import Dataset
from pydicom.sequence import Sequence
from pydicom.tag import BaseTag

from hostd.dicom import element_values, syntaxes
from hostd.dicom.element_values import DEFAULT_ENCODINGS, Elements, chosen_vr, encodings_of, known_vr
from hostd.dicom.plain_header import ITEM_BYTES, MAX_DEPTH, PIXELS
from hostd.errors import UnparsableError

MAX_HEADER = 64 << 20
"""Bytes of a header that are read at most, whatever the file claims."""
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
        bounded = cast("BinaryIO", BytesIO(inflated))
    else:
        bounded = cast("BinaryIO", _Bounded(file))
    pixels: Elements = {}

    def at_pixels(tag: BaseTag, vr: str | None, length: int) -> bool:
        if int(tag) in PIXELS:
            own = "OB" if vr and length == _UNDEFINED else vr  # what is encapsulated is OB (PS3.5 §A.4)
            pixels[int(tag)] = own or chosen_vr(known_vr(tag), signed=False), None
        return bool(pixels)

    from pydicom.filereader import read_dataset  # noqa: PLC0415 - a name that the module does not export

    try:
        dataset = read_dataset(
            bounded,
            syntax.is_implicit_vr,
            syntax.is_little_endian,
            stop_when=at_pixels,
            defer_size=defer_over,
        )
    except UnparsableError:
        raise
    except RecursionError as error:
        raise UnparsableError("the data set nests sequences too deeply to be read") from error
    except Exception as error:
        raise UnparsableError(f"not a DICOM data set in {syntax.name}: {error}") from error
    if end is not None and not pixels:
        require_whole(dataset, end)
    return dataset, pixels


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
    """Reads at most `MAX_HEADER` bytes of a file, however large a value the file claims to have."""

    def __init__(self, file: BinaryIO) -> None:
        self._file = file
        self._left = MAX_HEADER
        self.name = ""

    def read(self, count: int = -1) -> bytes:
        if count < 0 or count > self._left:
            raise UnparsableError(f"the header is larger than {MAX_HEADER >> 20} MiB")
        self._left -= count
        return self._file.read(count)

    def seek(self, offset: int, whence: int = 0) -> int:
        return self._file.seek(offset, whence)

    def tell(self) -> int:
        return self._file.tell()


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

    def item(self, tag: int, index: int) -> ElementReader | None:
        """Return the reader of one item of a sequence, None when there is none."""
        if tag not in self._dataset:
            return None
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
            return vr, self._items(tag)
        value = element.value
        length = len(value) if isinstance(value, bytes) else getattr(element, "length", 0) or 0
        if (value is None and length) or length > self._max_value or length > self._room:
            return vr, None
        self._room -= length
        return vr, element_values.values(vr, value, self._order, self._encodings) if isinstance(value, bytes) else []

    def _vr(self, element: RawDataElement | DataElement) -> str:
        vr = known_vr(int(element.tag)) if element.VR is None or element.VR == "UN" else str(element.VR)
        return chosen_vr(vr, signed=self._signed)

    def _items(self, tag: int) -> list[Any] | None:
        if self._depth >= MAX_DEPTH or self._room <= 0:
            return None
        raw = self._raw(tag)
        if isinstance(raw, RawDataElement) and (raw.value is None or len(raw.value) > self._room):
            return [] if not raw.length else None
        try:
            sequence = self._dataset[tag].value
        except Exception:  # noqa: BLE001 - pydicom raises what it likes on a damaged sequence; the others still count
            return None
        if not isinstance(sequence, Sequence):
            return None
        items: list[Any] = []
        for item in sequence:
            reader = self._reader_of(item)
            items.append(reader.elements())
            self._room = reader._room - ITEM_BYTES  # noqa: SLF001 - its own kind
        return items
