"""Made images and independent decoders for the tests of this folder."""

from __future__ import annotations

import io
import shutil
import subprocess
from pathlib import Path

import numpy as np
import pydicom
import pytest
from pydicom.data import get_testdata_file
from pydicom.dataset import Dataset, FileMetaDataset
from pydicom.encaps import encapsulate

SHARED = Path(__file__).resolve().parents[2].parent / "shared" / "data"
IMPLICIT, EXPLICIT, J2K, J2K_LOSSY = (
    "1.2.840.10008.1.2",
    "1.2.840.10008.1.2.1",
    "1.2.840.10008.1.2.4.90",
    "1.2.840.10008.1.2.4.91",
)


def shared(*parts):
    path = SHARED.joinpath(*parts)
    if not path.exists():
        pytest.skip(f"the sample data is not there: {path}")
    return path


def shipped(name):
    path = get_testdata_file(name, download=False)
    if path is None:
        pytest.skip(f"this pydicom does not ship {name}")
    return Path(path)


def needs_gdcmconv():
    if shutil.which("gdcmconv") is None:
        pytest.skip("gdcmconv (libgdcm-tools) is not on the PATH")


def gdcm_pixels(path, folder):
    """Return the pixel bytes of a file, decoded by GDCM."""
    needs_gdcmconv()
    out = folder / f"{path.name}.gdcm.dcm"
    run = subprocess.run(["gdcmconv", "--raw", str(path), str(out)], capture_output=True, timeout=60, check=False)
    assert run.returncode == 0, run.stderr
    return pydicom.dcmread(out)


def image(
    samples=None,
    *,
    rows=5,
    columns=7,
    spp=1,
    allocated=16,
    stored=12,
    signed=False,
    planar=0,
    frames=1,
    seed=0,
    **elements,
):
    """Return a data set with noise, or with the given canonical frames by rows by columns (by samples), as its pixels."""
    if samples is None:
        low, high = (-(1 << stored - 1), 1 << stored - 1) if signed else (0, 1 << stored)
        shape = (frames, rows, columns) + ((spp,) if spp > 1 else ())
        samples = np.random.default_rng(seed).integers(low, high, shape)
    else:
        frames, rows, columns = samples.shape[:3]
        spp = samples.shape[3] if samples.ndim == 4 else 1
    ds = Dataset()
    ds.SOPClassUID = "1.2.840.10008.5.1.4.1.1.7"
    ds.SOPInstanceUID = "1.2.3.4.5"
    ds.PatientName = "Doe^Jane"
    ds.SamplesPerPixel = spp
    ds.PhotometricInterpretation = "RGB" if spp == 3 else "MONOCHROME2"
    if spp == 3:
        ds.PlanarConfiguration = planar
    if frames > 1:
        ds.NumberOfFrames = frames
    ds.Rows, ds.Columns = rows, columns
    ds.BitsAllocated, ds.BitsStored, ds.HighBit = allocated, stored, stored - 1
    ds.PixelRepresentation = int(signed)
    arranged = samples.transpose(0, 3, 1, 2) if planar == 1 and spp == 3 else samples
    value = arranged.astype(f"<{'i' if signed else 'u'}{allocated // 8}").tobytes()
    ds.add_new(0x7FE00010, "OW" if allocated > 8 else "OB", value + bytes(len(value) % 2))
    for keyword, element in elements.items():
        setattr(ds, keyword, element)
    return ds


def saved(ds, syntax=EXPLICIT):
    """Return the bytes of a DICOM file with that data set."""
    ds.file_meta = FileMetaDataset()
    ds.file_meta.TransferSyntaxUID = syntax
    ds.file_meta.MediaStorageSOPClassUID = ds.get("SOPClassUID", "1.2.3")
    ds.file_meta.MediaStorageSOPInstanceUID = ds.get("SOPInstanceUID", "1.2.3")
    file = io.BytesIO()
    pydicom.dcmwrite(file, ds, enforce_file_format=True, implicit_vr=syntax == IMPLICIT, little_endian=True)
    return file.getvalue()


def with_codestreams(ds, codestreams, *, table=True, photometric=None, syntax=J2K, fragments=1):
    """Return the bytes of a file whose pixel data is these codestreams."""
    ds = pydicom.dcmread(io.BytesIO(saved(ds)))
    del ds.PixelData
    ds.add_new(0x7FE00010, "OB", encapsulate(codestreams, has_bot=table, fragments_per_frame=fragments))
    ds["PixelData"].is_undefined_length = True
    if photometric:
        ds.PhotometricInterpretation = photometric
    return saved(ds, syntax)


def pixels_of(content):
    """Return the samples of an uncompressed file as its header describes them, read by pydicom and numpy alone."""
    ds = pydicom.dcmread(io.BytesIO(content))
    kind = f"<{'i' if ds.PixelRepresentation else 'u'}{ds.BitsAllocated // 8}"
    frames = int(ds.get("NumberOfFrames", 1))
    count = frames * ds.Rows * ds.Columns * ds.SamplesPerPixel
    values = np.frombuffer(ds.PixelData, kind, count=count)
    if ds.SamplesPerPixel == 1:
        return values.reshape(frames, ds.Rows, ds.Columns)
    if ds.PlanarConfiguration == 1:
        return values.reshape(frames, ds.SamplesPerPixel, ds.Rows, ds.Columns).transpose(0, 2, 3, 1)
    return values.reshape(frames, ds.Rows, ds.Columns, ds.SamplesPerPixel)
