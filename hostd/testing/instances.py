"""DICOM files for tests of scripts: made of keywords, or of a file with some of its elements changed."""

from __future__ import annotations

from dataclasses import dataclass
from difflib import get_close_matches
from pathlib import Path
from typing import Any

from pydicom import dcmread
from pydicom.datadict import keyword_dict, tag_for_keyword
from pydicom.dataset import Dataset, FileMetaDataset
from pydicom.uid import ExplicitVRLittleEndian

from hostd.archive.records import Origin
from hostd.dicom import syntaxes
from hostd.transcoding.public import transcode

SOP_CLASSES = {
    "CT": "1.2.840.10008.5.1.4.1.1.2",
    "MR": "1.2.840.10008.5.1.4.1.1.4",
    "US": "1.2.840.10008.5.1.4.1.1.6.1",
    "CR": "1.2.840.10008.5.1.4.1.1.1",
    "DX": "1.2.840.10008.5.1.4.1.1.1.1",
    "MG": "1.2.840.10008.5.1.4.1.1.1.2",
    "NM": "1.2.840.10008.5.1.4.1.1.20",
    "PT": "1.2.840.10008.5.1.4.1.1.128",
    "XA": "1.2.840.10008.5.1.4.1.1.12.1",
    "SR": "1.2.840.10008.5.1.4.1.1.88.22",
}
"""Modality → the SOP class of an instance that is made; of all others, Secondary Capture (PS3.4 §B.5)."""
_SECONDARY_CAPTURE = "1.2.840.10008.5.1.4.1.1.7"
_WITHOUT_PIXELS = frozenset(("SR", "PR", "KO", "SEG"))
_SIDE = 16


@dataclass(frozen=True, slots=True)
class Sample:
    """A DICOM file to raise events about, and where it is said to have come from."""

    file: Path
    origin: Origin

    @property
    def dataset(self) -> Dataset:
        """What is in the file."""
        return dcmread(self.file)


def made(number: int, *, pixels: bool | None, elements: dict[str, Any]) -> Dataset:
    """Return a small instance; instances are of one series unless `elements` say otherwise. `number` tells them apart."""
    ds = Dataset()
    ds.Modality = elements.get("Modality", "CT")
    ds.SOPClassUID = SOP_CLASSES.get(ds.Modality, _SECONDARY_CAPTURE)
    ds.SOPInstanceUID = f"1.2.826.0.1.3680043.10.1.1.1.{number}"
    ds.SeriesInstanceUID, ds.StudyInstanceUID = "1.2.826.0.1.3680043.10.1.1", "1.2.826.0.1.3680043.10.1"
    ds.PatientID, ds.PatientName, ds.InstanceNumber = "P1", "Test^Patient", number
    if pixels or (pixels is None and ds.Modality not in _WITHOUT_PIXELS):
        ds.Rows = ds.Columns = _SIDE
        ds.SamplesPerPixel, ds.PhotometricInterpretation = 1, "MONOCHROME2"
        ds.BitsAllocated, ds.BitsStored, ds.HighBit, ds.PixelRepresentation = 16, 12, 11, 0
        ramp = (row * column for row in range(_SIDE) for column in range(_SIDE))
        ds.PixelData = b"".join(value.to_bytes(2, "little") for value in ramp)
    ds.file_meta = FileMetaDataset()
    ds.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian
    return ds


def changed(ds: Dataset, elements: dict[str, Any]) -> Dataset:
    """Set elements by keyword; None removes one. Raises `ValueError` for what is no keyword."""
    for keyword, value in elements.items():
        if tag_for_keyword(keyword) is None:
            near = get_close_matches(keyword, keyword_dict, n=1)
            raise ValueError(f"{keyword!r} is no DICOM keyword" + (f"; did you mean {near[0]}?" if near else ""))
        if value is not None:
            setattr(ds, keyword, value)
        elif keyword in ds:
            delattr(ds, keyword)
    return ds


def write(ds: Dataset, file: Path, syntax: str | None) -> Path:
    """Write a whole file, in the transfer syntax of that name (UID, keyword or short name) if one is given."""
    ds.file_meta.MediaStorageSOPClassUID = ds.SOPClassUID
    ds.file_meta.MediaStorageSOPInstanceUID = ds.SOPInstanceUID
    ds.save_as(file, enforce_file_format=True)
    if syntax is not None and syntaxes.lookup(syntax).uid != ds.file_meta.TransferSyntaxUID:
        file.write_bytes(transcode(file, to=syntax).content)
    return file
