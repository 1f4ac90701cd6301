"""The instances that are sent: CT images of a few sizes, each with an identity and pixels of its own, in files for storescu."""

from __future__ import annotations

import copy
import struct
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pydicom
from pydicom.dataset import Dataset, FileMetaDataset
from pydicom.uid import CTImageStorage, ExplicitVRLittleEndian, generate_uid

_REAL = Path(__file__).resolve().parents[3] / "shared" / "data" / "wg04" / "CT1_UNC"
"""A CT of NEMA's WG-04, where the tests look for real files too; its header is that of all instances."""
_PIXEL_DATA = struct.Struct("<HH2s2xI")
"""The head of the element in explicit little endian (PS3.5 §7.1.2)."""


@dataclass(frozen=True, slots=True)
class Size:
    """One size of instance, and how many of them are sent in a turn."""

    name: str
    rows: int
    columns: int
    frames: int
    count: int


SMALL = Size("30 kB", 120, 120, 1, 320)
CT = Size("0.5 MB", 512, 512, 1, 320)
LARGE = Size("30 MB", 1024, 1024, 14, 16)
HUGE = Size("1 GB", 2048, 2048, 120, 2)


def made(folder: Path, size: Size, parts: int) -> list[Path]:
    """Write the instances of one turn into so many folders, one for each association; return the folders."""
    template = _template(size)
    noise = np.random.default_rng(size.rows)
    folders = [folder / f"{part}" for part in range(parts)]
    for one in folders:
        one.mkdir(parents=True)
        template.SeriesInstanceUID = generate_uid()  # one association brings one series
        for number in range(max(1, size.count // parts)):
            template.SOPInstanceUID = template.file_meta.MediaStorageSOPInstanceUID = generate_uid()
            template.InstanceNumber = number + 1
            frame = noise.integers(0, 4096, (size.rows, size.columns), dtype="<u2").tobytes()
            path = one / f"{number}.dcm"
            template.save_as(path, enforce_file_format=True)
            with path.open("ab") as file:  # the last element, frame by frame: a large one is never in memory
                file.write(_PIXEL_DATA.pack(0x7FE0, 0x0010, b"OW", len(frame) * size.frames))
                for _ in range(size.frames):
                    file.write(frame)
    return folders


def described() -> str:
    """Say whose header they have."""
    return "the header of a CT of NEMA's WG-04" if _REAL.exists() else "a made CT header of 20 elements"


def _template(size: Size) -> Dataset:
    dataset = pydicom.dcmread(_REAL, stop_before_pixels=True) if _REAL.exists() else Dataset()
    dataset = copy.deepcopy(dataset)
    dataset.SOPClassUID, dataset.StudyInstanceUID = CTImageStorage, generate_uid()
    dataset.PatientID, dataset.PatientName, dataset.Modality = "BENCHMARK", "Bench^Mark", "CT"
    dataset.Rows, dataset.Columns, dataset.SamplesPerPixel = size.rows, size.columns, 1
    dataset.PhotometricInterpretation = "MONOCHROME2"
    dataset.BitsAllocated, dataset.BitsStored, dataset.HighBit, dataset.PixelRepresentation = 16, 12, 11, 0
    if size.frames > 1:
        dataset.NumberOfFrames = size.frames
    meta = FileMetaDataset()
    meta.TransferSyntaxUID, meta.MediaStorageSOPClassUID = ExplicitVRLittleEndian, CTImageStorage
    dataset.file_meta = meta
    return dataset
