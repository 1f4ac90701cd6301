"""The header that the events of the benchmark have: of a real CT where one is found, a made one of as many elements elsewhere."""

from __future__ import annotations

from itertools import islice

import msgspec
from pydicom._dicom_dict import DicomDictionary  # datadict only re-exports it

from benchmarks import real
from hostd.dicom.element_values import Elements
from hostd.dicom.header import Header, read_file_header
from hostd.testing.made import header

_COUNT = 250
_VALUES = {"UI": "1.2.840.113619.2.5.1762583153.215519.978957063.78", "DA": "20260101", "TM": "120000", "DS": "1.25"} | {
    "IS": "512", "CS": "ORIGINAL", "LO": "made for a benchmark", "SH": "benchmark", "PN": "Bench^Mark", "LT": "text", "ST": "text",
}  # fmt: skip


def of(number: int, series: str) -> Header:
    """Return the header of one instance of a series: its own UID and number, all else as in the others."""
    uid = f"{series}.{number}"
    tags: Elements = _TAGS | {0x00080018: ("UI", [uid]), 0x00200013: ("IS", [str(number)])}
    made = header(uid, study=f"{series}.0", series=series)
    return msgspec.structs.replace(made, tags=tags)


def described() -> str:
    """Say whose header it is."""
    of_what = "of a CT of NEMA's WG-04" if real.CT.exists() else "made for this"
    return f"headers of {len(_TAGS)} elements, {of_what}"


def _made() -> Elements:
    entries = ((tag, entry[0]) for tag, entry in DicomDictionary.items() if tag >> 16 in (0x08, 0x10, 0x18, 0x20, 0x28))
    return {tag: (vr, [_VALUES[vr]]) for tag, vr in islice(((t, vr) for t, vr in entries if vr in _VALUES), _COUNT)}


_TAGS: Elements = (read_file_header(real.CT).tags if real.CT.exists() else _made()) | {0x00080060: ("CS", ["CT"])}
