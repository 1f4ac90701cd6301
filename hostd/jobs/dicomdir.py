"""A DICOMDIR (PS3.3 Annex F): which patients, studies, series and instances are on a medium, by what the index knows of them.

A record is some hundred bytes, so that thousands are held in memory; where each is in the file is known once all are there.
"""

from __future__ import annotations

import struct
from itertools import pairwise
from typing import Protocol

from hostd.dicom import part10
from hostd.dicom.syntaxes import EXPLICIT_LE
from hostd.editing.uids import new_uid

_MEDIA_STORAGE_DIRECTORY = "1.2.840.10008.1.3.10"
_NEXT, _IN_USE, _LOWER, _TYPE = 0x1400, 0x1410, 0x1420, 0x1430
_FILE_ID, _SOP_CLASS, _SOP_INSTANCE, _SYNTAX = 0x1500, 0x1510, 0x1511, 0x1512
_LONG = frozenset((b"OB", b"SQ", b"UT"))
_UNICODE = "ISO_IR 192"

_STORAGE = "1.2.840.10008.5.1.4.1.1."
_TYPES = (
    ("88.59", "KEY OBJECT DOC"), ("88.", "SR DOCUMENT"), ("11.", "PRESENTATION"), ("481.2", "RT DOSE"),
    ("481.3", "RT STRUCTURE SET"), ("481.5", "RT PLAN"), ("481.8", "RT PLAN"), ("481.4", "RT TREAT RECORD"), ("481.6", "RT TREAT RECORD"),
    ("481.7", "RT TREAT RECORD"), ("481.9", "RT TREAT RECORD"), ("104.", "ENCAP DOC"), ("9.", "WAVEFORM"), ("66.1", "REGISTRATION"),
    ("66.3", "REGISTRATION"), ("66.2", "FIDUCIAL"), ("66.5", "SURFACE"), ("66.6", "TRACT"), ("67", "VALUE MAP"), ("4.2", "SPECTROSCOPY"),
)  # fmt: skip
"""The first beginning of a storage SOP class that fits gives the type of the record; all others are images (PS3.3 Table F.4-1)."""
_EXACT = {f"{_STORAGE}66": "RAW DATA"}

Keys = tuple[tuple[int, int, bytes, str, str], ...]
"""(group, element, VR, Orthanc's name of the main tag, what stands there where it is missing)."""
_PATIENT: Keys = ((0x0010, 0x0010, b"PN", "PatientName", ""), (0x0010, 0x0020, b"LO", "PatientID", "UNKNOWN"))
_STUDY: Keys = (
    (0x0008, 0x0020, b"DA", "StudyDate", "19000101"), (0x0008, 0x0030, b"TM", "StudyTime", "000000"),
    (0x0008, 0x0050, b"SH", "AccessionNumber", ""), (0x0008, 0x1030, b"LO", "StudyDescription", ""),
    (0x0020, 0x000D, b"UI", "StudyInstanceUID", ""), (0x0020, 0x0010, b"SH", "StudyID", "UNKNOWN"),
)  # fmt: skip
_SERIES: Keys = (
    (0x0008, 0x0060, b"CS", "Modality", "OT"), (0x0020, 0x000E, b"UI", "SeriesInstanceUID", ""),
    (0x0020, 0x0011, b"IS", "SeriesNumber", "0"),
)  # fmt: skip
_INSTANCE: Keys = ((0x0020, 0x0013, b"IS", "InstanceNumber", "0"),)
_MORE: dict[str, Keys] = {
    "patient": ((0x0010, 0x0030, b"DA", "PatientBirthDate", ""), (0x0010, 0x0040, b"CS", "PatientSex", "")),
    "study": ((0x0008, 0x0090, b"PN", "ReferringPhysicianName", ""), (0x0008, 0x0080, b"LO", "InstitutionName", "")),
    "series": ((0x0008, 0x103E, b"LO", "SeriesDescription", ""), (0x0018, 0x0015, b"CS", "BodyPartExamined", "")),
    "instance": (),
}


class Instance(Protocol):
    """What is known of an instance."""

    @property
    def sop_class_uid(self) -> str:
        """Its SOP class."""
        ...

    @property
    def patient(self) -> str:
        """Orthanc's identifier of its patient."""
        ...

    @property
    def study(self) -> str:
        """Of its study."""
        ...

    @property
    def series(self) -> str:
        """Of its series."""
        ...

    def text(self, level: str, keyword: str) -> str:
        """Return one of its main tags, '' where it has none."""
        ...


class _Record:
    """A record: its elements without the links, and those below it."""

    def __init__(self, kind: str, elements: list[bytes]) -> None:
        self.below: list[_Record] = []
        self._kind = kind
        self._rest = b"".join(elements)
        self.at = 0

    @property
    def size(self) -> int:
        """Bytes of its item."""
        return len(self.encoded(0, 0))

    def encoded(self, following: int, lower: int) -> bytes:
        """Return the item, with where the next of its level is, and the first below it."""
        head = (
            _element(0x0004, _NEXT, b"UL", struct.pack("<I", following)),
            _element(0x0004, _IN_USE, b"US", struct.pack("<H", 0xFFFF)),
            _element(0x0004, _LOWER, b"UL", struct.pack("<I", lower)),
            _element(0x0004, _TYPE, b"CS", self._kind.encode()),
        )
        content = b"".join(head) + self._rest
        return struct.pack("<HHI", 0xFFFE, 0xE000, len(content)) + content


class Directory:
    """A DICOMDIR in the making. With `extended` its records say more of patients, studies and series."""

    def __init__(self, *, extended: bool = False) -> None:
        self._extended = extended
        self._patients: dict[str, _Record] = {}
        self._studies: dict[str, _Record] = {}
        self._series: dict[str, _Record] = {}
        self._uids: list[str] = []

    def add(self, one: Instance, name: str, syntax: str, uid: str) -> None:
        """Add an instance that is on the medium as the file of that name, in that transfer syntax, and with that SOP Instance UID."""
        sop_class = one.sop_class_uid
        self._uids.append(uid)
        patient = self._patients.setdefault(one.patient, self._of("PATIENT", one, "patient", _PATIENT))
        if one.study not in self._studies:
            self._studies[one.study] = self._of("STUDY", one, "study", _STUDY)
            patient.below.append(self._studies[one.study])
        if one.series not in self._series:
            self._series[one.series] = self._of("SERIES", one, "series", _SERIES)
            self._studies[one.study].below.append(self._series[one.series])
        references = [
            _element(0x0004, _FILE_ID, b"CS", name.replace("/", "\\").encode()),
            _element(0x0004, _SOP_CLASS, b"UI", sop_class.encode()),
            _element(0x0004, _SOP_INSTANCE, b"UI", uid.encode()),
            _element(0x0004, _SYNTAX, b"UI", syntax.encode()),
        ]
        self._series[one.series].below.append(self._of(_type_of(sop_class), one, "instance", _INSTANCE, references))

    def _of(self, kind: str, one: Instance, level: str, keys: Keys, references: list[bytes] | None = None) -> _Record:
        wanted = {
            (group, element): (vr, one.text(level, name) or otherwise) for group, element, vr, name, otherwise in keys
        }
        if self._extended:
            wanted |= {
                (group, element): (vr, text)
                for group, element, vr, name, _ in _MORE[level]
                if (text := one.text(level, name))
            }
        if not all(text.isascii() for _, text in wanted.values()):
            wanted[0x0008, 0x0005] = (b"CS", _UNICODE)
        elements = [_element(*tag, vr, text.encode()) for tag, (vr, text) in sorted(wanted.items())]
        return _Record(kind, [*(references or []), *elements])

    def encoded(self) -> bytes:
        """Return the file."""
        uid = new_uid(b"", "DICOMDIR", "\0".join(self._uids))
        head = part10.file_header(_MEDIA_STORAGE_DIRECTORY, uid, EXPLICIT_LE.uid)
        roots = list(self._patients.values())
        order = list(_in_order(roots))
        before = _element(0x0004, 0x1130, b"CS", b"")
        links = 3 * 8 + 4 + 4 + 2  # of the three elements that follow
        at = len(head) + len(before) + links + 12
        for record in order:
            record.at = at
            at += record.size
        after: dict[int, int] = {}
        for siblings in (roots, *(record.below for record in order)):
            for record, following in pairwise(siblings):
                after[id(record)] = following.at
        items = b"".join(
            record.encoded(after.get(id(record), 0), record.below[0].at if record.below else 0) for record in order
        )
        first, last = (roots[0].at, roots[-1].at) if roots else (0, 0)
        return b"".join(
            (
                head, before,
                _element(0x0004, 0x1200, b"UL", struct.pack("<I", first)),
                _element(0x0004, 0x1202, b"UL", struct.pack("<I", last)),
                _element(0x0004, 0x1212, b"US", b"\0\0"),
                struct.pack("<HH2sHI", 0x0004, 0x1220, b"SQ", 0, len(items)), items,
            )
        )  # fmt: skip


def _in_order(records: list[_Record]) -> list[_Record]:
    """Return records, each with all that is below it after it."""
    found = []
    for record in records:
        found += [record, *_in_order(record.below)]
    return found


def _type_of(sop_class: str) -> str:
    if sop_class in _EXACT:
        return _EXACT[sop_class]
    own = sop_class.removeprefix(_STORAGE)
    return next((kind for beginning, kind in _TYPES if own != sop_class and own.startswith(beginning)), "IMAGE")


def _element(group: int, element: int, vr: bytes, value: bytes) -> bytes:
    """Encode an element in explicit VR little endian (PS3.5 §7.1.2)."""
    if len(value) % 2:
        value += b"\0" if vr == b"UI" else b" "
    if vr in _LONG:
        return struct.pack("<HH2sHI", group, element, vr, 0, len(value)) + value
    return struct.pack("<HH2sH", group, element, vr, len(value)) + value
