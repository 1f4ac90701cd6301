"""The instances that are sent: CT images of a few sizes, each with an identity and pixels of its own, in files for storescu.

Their header is that of a real CT, and differs from one to the next in what a scanner writes anew for each image.
"""

from __future__ import annotations

import struct
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pydicom
from pydicom.dataset import Dataset, FileMetaDataset
from pydicom.uid import CTImageStorage, ExplicitVRLittleEndian, generate_uid

from benchmarks import real

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
REAL = Size("real files", 0, 0, 0, 180)
"""Not made: copies of those of `real.UNCOMPRESSED`, each with an identity of its own."""
HUGE = Size("1 GB", 2048, 2048, 120, 2)


def made(folder: Path, size: Size, parts: int) -> list[Path]:
    """Write the instances of one turn into so many folders, one for each association; return the folders."""
    if size.name == REAL.name:
        return _copied(folder, size.count // parts, parts)
    template = _template(size)
    noise = np.random.default_rng(size.rows)
    folders = [folder / f"{part}" for part in range(parts)]
    for one in folders:
        one.mkdir(parents=True)
        template.SeriesInstanceUID = generate_uid()  # one association brings one series
        for number in range(max(1, size.count // parts)):
            as_next(template, number)
            frame = noise.integers(0, 4096, (size.rows, size.columns), dtype="<u2").tobytes()
            path = one / f"{number}.dcm"
            template.save_as(path, enforce_file_format=True)
            with path.open("ab") as file:  # the last element, frame by frame: a large one is never in memory
                file.write(_PIXEL_DATA.pack(0x7FE0, 0x0010, b"OW", len(frame) * size.frames))
                for _ in range(size.frames):
                    file.write(frame)
    return folders


def _copied(folder: Path, count: int, parts: int) -> list[Path]:
    """Write copies of the real files into each of so many folders, those of one file as a series."""
    folders = [folder / f"{part}" for part in range(parts)]
    datasets = [pydicom.dcmread(file) for file in real.UNCOMPRESSED]
    for one in folders:
        one.mkdir(parents=True)
        for dataset in datasets:
            dataset.StudyInstanceUID, dataset.SeriesInstanceUID = generate_uid(), generate_uid()
        for number in range(count):
            dataset = datasets[number * len(datasets) // count]
            dataset.SOPInstanceUID = dataset.file_meta.MediaStorageSOPInstanceUID = generate_uid()
            dataset.InstanceNumber = number + 1
            dataset.save_as(one / f"{number}.dcm", enforce_file_format=True)
    return folders


def as_next(dataset: Dataset, number: int) -> None:
    """Make a data set of a CT series that of another image: what differs between two images that a scanner sends, some fifteen elements."""
    dataset.SOPInstanceUID = dataset.file_meta.MediaStorageSOPInstanceUID = generate_uid()
    dataset.InstanceNumber, dataset.AcquisitionNumber = number + 1, number // 8 + 1
    seconds = 43_200 + 0.41 * number
    dataset.InstanceCreationTime = dataset.ContentTime = _time(seconds + 2.7)
    dataset.AcquisitionTime, dataset.AcquisitionDateTime = _time(seconds), f"20260101{_time(seconds)}"
    position = round(-180 + 0.625 * number, 3)
    dataset.ImagePositionPatient, dataset.SliceLocation = [-125, -112.5, position], position
    current = 180 + number * 7 % 60
    dataset.XRayTubeCurrent, dataset.Exposure, dataset.CTDIvol = current, current // 3, current / 17
    dataset.WindowCenter, dataset.WindowWidth = 40 + number % 9, 400 + number % 13
    least = number * 11 % 40
    dataset.add_new(0x00280106, "US", least)
    dataset.add_new(0x00280107, "US", 4095 - least)


def _time(seconds: float) -> str:
    """Return seconds of a day as a TM value."""
    minutes, left = divmod(seconds, 60)
    return f"{int(minutes) // 60:02d}{int(minutes) % 60:02d}{left:09.6f}"


def read(size: Size, folder: Path) -> list[bytes]:
    """Return the instances of one turn as files that were written into a folder."""
    (files,) = made(folder, size, 1)
    return [file.read_bytes() for file in sorted(files.iterdir())]


def described() -> str:
    """Say what they are."""
    whose = "the header of a CT of NEMA's WG-04" if real.CT.exists() else "a made CT header of some thirty elements"
    return (
        f"CT images with {whose}, of which fifteen elements differ from image to image; explicit little endian, without compression.\n"
        "Real files are copies of a CT, MR, nuclear medicine, ultrasound and visible light image of NEMA's WG-04, 0.5 to 1.1 MB"
    )


def _template(size: Size) -> Dataset:
    dataset = pydicom.dcmread(real.CT, stop_before_pixels=True) if real.CT.exists() else Dataset()
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
