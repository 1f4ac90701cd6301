"""The header of an instance as plain values: what a script sees, what the index needs, and nothing that is large.

Values stand as they do in the file: text without padding, binary numbers as numbers. Nothing is interpreted here that a script
may not ask for; a text that is no number under a DS is still that text.
"""

from __future__ import annotations

import os
import zlib
from collections.abc import Iterator
from io import BytesIO
from pathlib import Path
from typing import Any, BinaryIO, cast

import msgspec
from pydicom.dataelem import DataElement, RawDataElement
from pydicom.dataset import Dataset
from pydicom.sequence import Sequence
from pydicom.tag import BaseTag

from hostd.dicom import element_values, plain_header, recalled_header, syntaxes
from hostd.dicom.element_values import (
    DEFAULT_ENCODINGS,
    NUMBERS,
    TEXT,
    UNSPLIT,
    Elements,
    Value,
    chosen_vr,
    encodings_of,
    known_vr,
)
from hostd.dicom.identity import Identity, is_uid
from hostd.dicom.part10 import data_set_offset
from hostd.dicom.plain_header import ITEM_BYTES, MAX_DEPTH, PIXELS, Form
from hostd.dicom.recalled_header import Memory
from hostd.dicom.syntaxes import TransferSyntax
from hostd.dicom.truncation import missing_bytes
from hostd.errors import UnparsableError

MAX_VALUE = 1024
"""Bytes of an element that travel with an event; a larger one is asked for when a script wants it."""
MAX_ELEMENTS = 48 << 10
"""Bytes of values that travel in all; what comes later in the data set is asked for."""
_MAX_HEADER = 64 << 20
_LOOKS = 16 << 10, 128 << 10, 1 << 20
"""Bytes that are read at once of a header, as long as its end is not among them."""
_UNDEFINED = 0xFFFFFFFF


class Header(msgspec.Struct, frozen=True):
    """What hostd knows of an instance without its pixels. UIDs and the patient ID are without padding."""

    patient_id: str
    study_instance_uid: str
    series_instance_uid: str
    sop_instance_uid: str
    sop_class_uid: str
    transfer_syntax: str
    has_pixels: bool
    frames: int
    size: int
    """Bytes of the whole file."""
    tags: Elements

    @property
    def identity(self) -> Identity:
        """The four identifiers."""
        return Identity(self.patient_id, self.study_instance_uid, self.series_instance_uid, self.sop_instance_uid)

    def text(self, tag: int) -> str:
        """Return the element's values as one text, '' when it is absent, empty, large or not text."""
        vr, values = self.tags.get(tag, ("", None))
        return "\\".join(map(str, values)) if values and vr in TEXT else ""

    def encode(self) -> bytes:
        """Return the stored form."""
        return _ENCODER.encode(self)

    @staticmethod
    def decode(stored: bytes) -> Header:
        """Return the header of its stored form."""
        return _DECODER.decode(stored)


class Outline(msgspec.Struct, frozen=True):
    """A header whose elements are left as they are stored, for whoever only hands them on: most of a header's time are its elements."""

    patient_id: str
    study_instance_uid: str
    series_instance_uid: str
    sop_instance_uid: str
    sop_class_uid: str
    transfer_syntax: str
    has_pixels: bool
    frames: int
    size: int
    tags: msgspec.Raw

    @staticmethod
    def decode(stored: bytes) -> Outline:
        """Return the outline of a header's stored form."""
        return _OUTLINE_DECODER.decode(stored)


_ENCODER = msgspec.msgpack.Encoder()
_DECODER = msgspec.msgpack.Decoder(Header)
_OUTLINE_DECODER = msgspec.msgpack.Decoder(Outline)


def read_header(
    file: BinaryIO, *, offset: int, transfer_syntax: str, size: int, memory: Memory | None = None
) -> Header:
    """Read the header of the data set that begins at `offset`.

    `file` must be seekable. What is as in the header that `memory` has in mind is not read again. At most 64 MiB are read, whatever the
    file claims. Raises `UnparsableError` when it is no data set, or lacks a SOP class, SOP instance, series or study UID.
    """
    syntax = syntaxes.by_uid(transfer_syntax)
    tags, has_pixels = _read_plain(file, offset, syntax, memory=memory) or _read_any(file, offset, syntax)
    if has_pixels and not syntax.is_deflated and (missing := missing_bytes(file, file.tell(), size, syntax)):
        raise UnparsableError(f"the file is truncated: its pixel data lacks {missing} bytes")
    return Header(
        patient_id=_one(tags, 0x00100020),
        study_instance_uid=_uid(tags, 0x0020000D, "Study Instance UID"),
        series_instance_uid=_uid(tags, 0x0020000E, "Series Instance UID"),
        sop_instance_uid=_uid(tags, 0x00080018, "SOP Instance UID"),
        sop_class_uid=_uid(tags, 0x00080016, "SOP Class UID"),
        transfer_syntax=transfer_syntax,
        has_pixels=has_pixels,
        frames=_frames(tags) if has_pixels else 0,
        size=size,
        tags=tags,
    )


def _read_plain(
    file: BinaryIO,
    offset: int,
    syntax: TransferSyntax,
    *,
    max_value: int = MAX_VALUE,
    max_elements: int = MAX_ELEMENTS,
    memory: Memory | None = None,
) -> tuple[Elements, bool] | None:
    """Read a header of the usual form, and leave the file at the pixel data; None for any other."""
    if syntax.is_deflated or not syntax.is_little_endian:
        return None
    form = Form(syntax.is_implicit_vr, max_value, max_elements)
    for look in _LOOKS:
        file.seek(offset)
        begin = file.read(look)
        found = recalled_header.read(begin, form, memory) if memory is not None else plain_header.read(begin, form)
        is_whole = len(begin) < look
        if found is not None and (found.pixels_at is not None or is_whole):
            file.seek(offset + (found.pixels_at or 0))
            return found.elements, found.pixels_at is not None
        if is_whole:
            break
    return None


def _read_any(file: BinaryIO, offset: int, syntax: TransferSyntax) -> tuple[Elements, bool]:
    dataset, has_pixels = _parse(file, offset, syntax.uid)
    return _ElementReader(dataset, syntax.is_little_endian).elements(), has_pixels


def read_file_header(path: Path, memory: Memory | None = None) -> Header:
    """Read the header of a DICOM file, with `memory` as `read_header` does. Raises `UnparsableError`, and `OSError` for one that cannot be read."""
    with path.open("rb") as file:
        start = data_set_offset(file)
        size = os.fstat(file.fileno()).st_size
        return read_header(
            file, offset=start.offset, transfer_syntax=start.transfer_syntax_uid, size=size, memory=memory
        )


def read_elements(
    file: BinaryIO, *, offset: int, transfer_syntax: str, max_value: int, max_elements: int
) -> tuple[Elements, bool]:
    """Return all elements of the data set that begins at `offset`, and whether it has pixel data, which is not among them.

    Values of more than `max_value` bytes are None, and so are those that come after `max_elements` bytes of values in all. Raises
    `UnparsableError`.
    """
    syntax = syntaxes.by_uid(transfer_syntax)
    plain = _read_plain(file, offset, syntax, max_value=max_value, max_elements=max_elements)
    if plain is not None:
        return plain
    dataset, has_pixels = _parse(file, offset, transfer_syntax)
    reader = _ElementReader(dataset, syntax.is_little_endian, max_value=max_value, max_elements=max_elements)
    return reader.elements(), has_pixels


def element_value(
    file: BinaryIO, *, offset: int, transfer_syntax: str, path: list[int], limit: int
) -> list[Any] | None:
    """Return the values of one element (`path`: tag, item, tag and so on), empty when it is absent, None when over `limit` bytes.

    Raises `UnparsableError` when the file cannot be read.
    """
    dataset, _ = _parse(file, offset, transfer_syntax, defer_over=limit)
    little = syntaxes.by_uid(transfer_syntax).is_little_endian
    reader = _ElementReader(dataset, little, max_value=limit, max_elements=limit)
    for tag, index in zip(path[:-1:2], path[1:-1:2], strict=True):
        item = reader.item(tag, index)
        if item is None:
            return []
        reader = item
    return reader.values(path[-1])


def _parse(
    file: BinaryIO, offset: int, transfer_syntax: str, defer_over: int = _MAX_HEADER // 64
) -> tuple[Dataset, bool]:
    """Parse up to the pixel data; tell whether there is any."""
    syntax = syntaxes.by_uid(transfer_syntax)
    end: int | None = file.seek(0, 2)
    file.seek(offset)
    if syntax.is_deflated:
        inflated, is_whole = _inflate(file)
        end = len(inflated) if is_whole else None
        bounded = cast("BinaryIO", BytesIO(inflated))
    else:
        bounded = cast("BinaryIO", _Bounded(file))
    met_pixels = False

    def at_pixels(tag: BaseTag, _vr: str | None, _length: int) -> bool:
        nonlocal met_pixels
        met_pixels = int(tag) in PIXELS
        return met_pixels

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
    if end is not None and not met_pixels:
        _require_whole(dataset, end)
    return dataset, met_pixels


def _require_whole(dataset: Dataset, end: int) -> None:
    """Refuse a data set with an element that claims to go on after its end: pydicom takes what there is of it for the value."""
    for element in dataset._dict.values():  # noqa: SLF001 - as they were read; values() would parse them
        if isinstance(element, RawDataElement) and element.length != _UNDEFINED:
            missing = element.value_tell + element.length - end
            if missing > 0:
                raise UnparsableError(f"the file is truncated: {element.tag} lacks {missing} bytes")


def _inflate(file: BinaryIO) -> tuple[bytes, bool]:
    """Return what a deflated data set holds, at most `_MAX_HEADER` bytes of it, and whether that is all."""
    inflater = zlib.decompressobj(-zlib.MAX_WBITS)
    pieces: list[bytes] = []
    room = _MAX_HEADER
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
    """Reads at most `_MAX_HEADER` bytes of a file, however large a value the file claims to have."""

    def __init__(self, file: BinaryIO) -> None:
        self._file = file
        self._left = _MAX_HEADER
        self.name = ""

    def read(self, count: int = -1) -> bytes:
        if count < 0 or count > self._left:
            raise UnparsableError(f"the header is larger than {_MAX_HEADER >> 20} MiB")
        self._left -= count
        return self._file.read(count)

    def seek(self, offset: int, whence: int = 0) -> int:
        return self._file.seek(offset, whence)

    def tell(self) -> int:
        return self._file.tell()


class _ElementReader:
    """Turns a parsed data set into `Elements`, decoding text by its own Specific Character Set."""

    def __init__(
        self,
        dataset: Dataset,
        little: bool,
        *,
        encodings: tuple[str, ...] | None = None,
        max_value: int = MAX_VALUE,
        max_elements: int = MAX_ELEMENTS,
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

    def item(self, tag: int, index: int) -> _ElementReader | None:
        """Return the reader of one item of a sequence, None when there is none."""
        if tag not in self._dataset:
            return None
        sequence = self._dataset[tag].value
        if not isinstance(sequence, Sequence) or not 0 <= index < len(sequence):
            return None
        return self._reader_of(sequence[index])

    def _reader_of(self, item: Dataset) -> _ElementReader:
        return _ElementReader(
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


def _one(tags: Elements, tag: int) -> str:
    values = tags.get(tag, ("", None))[1]
    return str(values[0]) if values else ""


def _uid(tags: Elements, tag: int, name: str) -> str:
    uid = _one(tags, tag)
    if not uid:
        raise UnparsableError(f"the instance has no {name} ({tag >> 16:04X},{tag & 0xFFFF:04X})")
    if not is_uid(uid):
        raise UnparsableError(f"the {name} ({tag >> 16:04X},{tag & 0xFFFF:04X}) is not a UID: {uid[:64]!r}")
    return uid


def _frames(tags: Elements) -> int:
    text = _one(tags, 0x00280008)
    return int(text) if text.isdigit() and int(text) > 0 else 1


def main_tags(header: Header) -> dict[str, dict[str, str]]:
    """Return Orthanc's main DICOM tags of the four levels by keyword, those that the data set has: '' of one that is empty."""
    tags = header.tags
    return {
        level: {
            keyword: text
            for keyword, tag in keywords.items()
            if tag in tags and (text := _main_text(*tags[tag])) is not None
        }
        for level, keywords in _MAIN_TAGS.items()
    }


def _main_text(vr: str, values: list[Any] | None) -> str | None:
    """Return values as the index holds them; None for such as are no text, or too large to travel."""
    if values is None or (vr not in TEXT and (vr not in NUMBERS or not values)):
        return None
    return "\\".join(map(str, values))


def main_value(tag: int, text: str) -> Value:
    """Return what the index holds of a main tag as VR and values, none where it is ''."""
    vr = known_vr(tag)
    values: list[Any] = [] if not text else [text] if vr in UNSPLIT else text.split("\\")
    if vr not in NUMBERS:
        return vr, values
    try:
        return vr, [int(value) for value in values]
    except ValueError:  # the file has it with another VR
        return "LO", values


def main_elements(attributes: dict[str, str]) -> Elements:
    """Return main tags by keyword, as the index has them, as elements."""
    return {(tag := _TAG_OF[keyword]): main_value(tag, text) for keyword, text in attributes.items()}


def main_keywords(level: str) -> dict[str, int]:
    """Return the keywords and tags of Orthanc's main DICOM tags of a level: patient, study, series or instance."""
    return _MAIN_TAGS[level]


_MAIN_TAGS = {
    "patient": {
        "PatientName": 0x00100010,
        "PatientID": 0x00100020,
        "PatientBirthDate": 0x00100030,
        "PatientSex": 0x00100040,
        "OtherPatientIDs": 0x00101000,
    },
    "study": {
        "StudyDate": 0x00080020,
        "StudyTime": 0x00080030,
        "StudyID": 0x00200010,
        "StudyDescription": 0x00081030,
        "AccessionNumber": 0x00080050,
        "StudyInstanceUID": 0x0020000D,
        "RequestedProcedureDescription": 0x00321060,
        "InstitutionName": 0x00080080,
        "RequestingPhysician": 0x00321032,
        "ReferringPhysicianName": 0x00080090,
    },
    "series": {
        "SeriesDate": 0x00080021,
        "SeriesTime": 0x00080031,
        "Modality": 0x00080060,
        "Manufacturer": 0x00080070,
        "StationName": 0x00081010,
        "SeriesDescription": 0x0008103E,
        "BodyPartExamined": 0x00180015,
        "SequenceName": 0x00180024,
        "ProtocolName": 0x00181030,
        "SeriesNumber": 0x00200011,
        "CardiacNumberOfImages": 0x00181090,
        "ImagesInAcquisition": 0x00201002,
        "NumberOfTemporalPositions": 0x00200105,
        "NumberOfSlices": 0x00540081,
        "NumberOfTimeSlices": 0x00540101,
        "SeriesInstanceUID": 0x0020000E,
        "ImageOrientationPatient": 0x00200037,
        "SeriesType": 0x00541000,
        "OperatorsName": 0x00081070,
        "PerformedProcedureStepDescription": 0x00400254,
        "AcquisitionDeviceProcessingDescription": 0x00181400,
        "ContrastBolusAgent": 0x00180010,
    },
    "instance": {
        "InstanceCreationDate": 0x00080012,
        "InstanceCreationTime": 0x00080013,
        "AcquisitionNumber": 0x00200012,
        "ImageIndex": 0x00541330,
        "InstanceNumber": 0x00200013,
        "NumberOfFrames": 0x00280008,
        "TemporalPositionIdentifier": 0x00200100,
        "SOPInstanceUID": 0x00080018,
        "ImagePositionPatient": 0x00200032,
        "ImageComments": 0x00204000,
        "ImageOrientationPatient": 0x00200037,
    },
}
"""Orthanc's main DICOM tags (its default set)."""
_TAG_OF = {keyword: tag for keywords in _MAIN_TAGS.values() for keyword, tag in keywords.items()}
