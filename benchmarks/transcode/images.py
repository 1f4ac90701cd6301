"""The images that are measured: real ones where they are found, made ones elsewhere; each an uncompressed file."""

from __future__ import annotations

import io
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pydicom
from pydicom.data import get_testdata_file
from pydicom.dataset import Dataset, FileMetaDataset
from pydicom.pixels.utils import pixel_array
from pydicom.uid import UID, ExplicitVRLittleEndian

from benchmarks import real

_COLOUR_FRAMES = 6


@dataclass(frozen=True, slots=True)
class Image:
    """One uncompressed image, explicit little endian."""

    name: str
    path: Path
    description: str


def found(folder: Path) -> list[Image]:
    """Put a CT, a CR and a colour multi-frame into the folder."""
    return [ct(folder), _cr(folder), _colour(folder)]


def tiny(folder: Path) -> Image:
    """Make a small image, of which figures mean nothing."""
    return _made("tiny", folder, _body(64, 48, 12), 12)


def ct(folder: Path) -> Image:
    """Return a CT, which is made in the folder where no real one is found."""
    if real.CT.exists():
        return Image("CT", real.CT, "CT of NEMA's WG-04, 512x512, 16 bits signed")
    return _made("CT", folder, _body(512, 512, 12), 12)


def _cr(folder: Path) -> Image:
    path = get_testdata_file("RG1_UNCI.dcm", download=False)
    if path is not None:
        return Image("CR", Path(str(path)), "CR of NEMA's WG-04 (pydicom-data), 1841x1955, 15 bits")
    return _made("CR", folder, _body(2048, 2048, 12), 12)


def _colour(folder: Path) -> Image:
    for name in ("color3d_jpeg_baseline.dcm", "examples_ybr_color.dcm"):
        path = get_testdata_file(name, download=False)
        if path is None:
            continue
        source = pydicom.dcmread(path)
        # Decoded to RGB by pydicom, so that no decoder that is measured has made its own source.
        frames = np.stack([pixel_array(source, index=2 * n) for n in range(_COLOUR_FRAMES)])
        _, rows, columns, _ = frames.shape
        what = f"ultrasound of pydicom ({name}), {len(frames)} frames of {columns}x{rows} RGB, once lossy JPEG, which flatters ratios"
        return Image("colour", _saved(frames, 8, folder / "colour.dcm"), what)
    grey = _body(480, 640, 8)
    return _made("colour", folder, np.stack([np.stack([grey, grey // 2, 255 - grey], -1)] * _COLOUR_FRAMES), 8)


def _body(rows: int, columns: int, bits: int) -> np.ndarray:
    """Return a bright ellipse on dark ground with noise in the lowest bits."""
    y, x = np.mgrid[-1 : 1 : rows * 1j, -1 : 1 : columns * 1j]
    noise = np.random.default_rng(0).normal(0, 1 << max(0, bits - 9), (rows, columns))
    smooth = np.where(x * x + y * y < 0.8, 0.4 + 0.3 * np.cos(7 * x) * np.sin(5 * y), 0.02) * (1 << bits)
    return np.clip(smooth + noise, 0, (1 << bits) - 1).astype("<u2" if bits > 8 else "u1")


def _made(name: str, folder: Path, samples: np.ndarray, bits: int) -> Image:
    frames = samples if samples.ndim == 4 else samples[np.newaxis]
    size = "x".join(map(str, reversed(frames.shape[1:3])))
    return Image(name, _saved(frames, bits, folder / f"{name}.dcm"), f"made image, {len(frames)} x {size}, {bits} bits")


def _saved(frames: np.ndarray, bits: int, path: Path) -> Path:
    dataset = Dataset()
    dataset.SOPClassUID, dataset.SOPInstanceUID = UID("1.2.840.10008.5.1.4.1.1.7"), UID("2.25.4711")
    dataset.StudyInstanceUID, dataset.SeriesInstanceUID = "2.25.4712", "2.25.4713"
    dataset.PatientID, dataset.PatientName, dataset.Modality = "BENCHMARK", "Bench^Mark", "OT"
    dataset.SamplesPerPixel = 3 if frames.ndim == 4 else 1
    dataset.PhotometricInterpretation = "RGB" if frames.ndim == 4 else "MONOCHROME2"
    if frames.ndim == 4:
        dataset.PlanarConfiguration = 0
    dataset.NumberOfFrames = len(frames)
    dataset.Rows, dataset.Columns = frames.shape[1:3]
    dataset.BitsAllocated = 8 * frames.dtype.itemsize
    dataset.BitsStored, dataset.HighBit, dataset.PixelRepresentation = bits, bits - 1, 0
    content = frames.tobytes()
    dataset.add_new(0x7FE00010, "OW" if bits > 8 else "OB", content + bytes(len(content) % 2))
    dataset.file_meta = FileMetaDataset()
    dataset.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian
    dataset.file_meta.MediaStorageSOPClassUID = dataset.SOPClassUID
    dataset.file_meta.MediaStorageSOPInstanceUID = dataset.SOPInstanceUID
    written = io.BytesIO()
    pydicom.dcmwrite(written, dataset, enforce_file_format=True)
    path.write_bytes(written.getvalue())
    return path
