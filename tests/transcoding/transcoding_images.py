"""Made images and independent decoders for the tests of this folder."""

from __future__ import annotations

import io
import shutil
import subprocess
import zlib
from pathlib import Path

import numpy as np
import openjpeg
import pydicom
import pytest
from pydicom.data import get_testdata_file
from pydicom.dataset import Dataset, FileMetaDataset
from pydicom.encaps import encapsulate

from hostd.dicom import part10
from hostd.errors import CannotTranscodeError
from hostd.transcoding import elements as el
from hostd.transcoding.transcode import transcode

SHARED = Path(__file__).resolve().parents[2].parent / "shared" / "data"
CT = "1.2.840.10008.5.1.4.1.1.2"
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
    if pydicom.uid.UID(syntax).is_transfer_syntax:
        pydicom.dcmwrite(file, ds, enforce_file_format=True, implicit_vr=syntax == IMPLICIT, little_endian=True)
    else:  # pydicom does not know it, and is made to write it all the same
        ds.preamble = bytes(128)
        pydicom.dcmwrite(file, ds, implicit_vr=False, little_endian=True, force_encoding=True)
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
    if ds.BitsAllocated == 1:
        count = int(ds.get("NumberOfFrames", 1)) * ds.Rows * ds.Columns
        return np.unpackbits(np.frombuffer(ds.PixelData, "u1"), bitorder="little")[:count].reshape(
            -1, ds.Rows, ds.Columns
        )
    kind = f"<{'i' if ds.PixelRepresentation else 'u'}{ds.BitsAllocated // 8}"
    frames = int(ds.get("NumberOfFrames", 1))
    count = frames * ds.Rows * ds.Columns * ds.SamplesPerPixel
    if ds.PhotometricInterpretation == "YBR_FULL_422":
        y1, y2, cb, cr = np.frombuffer(ds.PixelData, kind, count=count * 2 // 3).reshape(-1, 4).T
        return np.stack([y1, cb, cr, y2, cb, cr], axis=-1).reshape(frames, ds.Rows, ds.Columns, 3)
    values = np.frombuffer(ds.PixelData, kind, count=count)
    if ds.SamplesPerPixel == 1:
        return values.reshape(frames, ds.Rows, ds.Columns)
    if ds.PlanarConfiguration == 1:
        return values.reshape(frames, ds.SamplesPerPixel, ds.Rows, ds.Columns).transpose(0, 2, 3, 1)
    return values.reshape(frames, ds.Rows, ds.Columns, ds.SamplesPerPixel)


def done(content, target, options=None):
    """Transcode in this process; return the result and what proves it."""
    result = io.BytesIO()
    facts = transcode(io.BytesIO(content), target, result, options)
    return result.getvalue(), facts


def refusal(content, target, options=None):
    """Return why a transcode is refused."""
    with pytest.raises(CannotTranscodeError) as caught:
        done(content, target, options)
    return str(caught.value)


def header(content):
    return pydicom.dcmread(io.BytesIO(content), stop_before_pixels=True)


def instance_file(uid, syntax, more=b""):
    """Return a file of an instance that has nothing but its identity, and `more` after it."""
    elements = {}
    for tag, value in ((0x00080016, CT), (0x00080018, uid), (0x0020000D, "1.2.9"), (0x0020000E, "1.2.9.1")):
        elements = el.with_text(elements, tag, b"UI", value)
    return part10.file_header(CT, uid, syntax) + el.encode(elements, implicit=False) + more


def big_endian(ds):
    """Return the bytes of a big endian file; binary values that are bytes must be in that order already."""
    ds.file_meta = FileMetaDataset()
    ds.file_meta.TransferSyntaxUID = "1.2.840.10008.1.2.2"
    ds.file_meta.MediaStorageSOPClassUID = ds.SOPClassUID
    ds.file_meta.MediaStorageSOPInstanceUID = ds.SOPInstanceUID
    file = io.BytesIO()
    pydicom.dcmwrite(file, ds, enforce_file_format=True, implicit_vr=False, little_endian=False)
    return file.getvalue()


JUDGES = {
    # the program that decodes what hostd encoded, and that shares no code with the encoder
    "1.2.840.10008.1.2.4.50": "dcmdjpeg", "1.2.840.10008.1.2.4.51": "dcmdjpeg", "1.2.840.10008.1.2.4.57": "dcmdjpeg",
    "1.2.840.10008.1.2.4.70": "dcmdjpeg", "1.2.840.10008.1.2.4.80": "dcmdjpls", "1.2.840.10008.1.2.4.81": "dcmdjpls",
    "1.2.840.10008.1.2.4.90": "gdcmconv", "1.2.840.10008.1.2.4.91": "gdcmconv", "1.2.840.10008.1.2.5": "dcmdrle",
    "1.2.840.10008.1.2": "dcmconv", "1.2.840.10008.1.2.1": "dcmconv", "1.2.840.10008.1.2.1.99": "dcmconv",
    "1.2.840.10008.1.2.4.53": "dcmdjpeg", "1.2.840.10008.1.2.4.55": "dcmdjpeg",
    "1.2.840.10008.1.2.4.201": "openjpeg", "1.2.840.10008.1.2.4.202": "openjpeg", "1.2.840.10008.1.2.4.203": "openjpeg",
    "1.2.840.10008.1.2.8.1": "zlib", "1.2.840.10008.1.2.1.98": "pydicom",
}  # fmt: skip
"""Of JPEG XL there is no second decoder here; .111 is judged as the JPEG that it holds."""


def judged(content, folder):
    """Return the samples of a file, and its Photometric Interpretation, as an independent decoder has them.

    Skips when the program is not installed; returns None where there is no independent decoder at all.
    """
    uid = str(header(content).file_meta.TransferSyntaxUID)
    program = JUDGES.get(uid)
    head = header(content)
    if program == "gdcmconv" and (head.BitsAllocated == 1 or (head.SamplesPerPixel, head.BitsAllocated) == (3, 16)):
        program = "openjpeg"  # GDCM does neither, whoever encoded
    if program is None:
        return None
    if program in ("openjpeg", "zlib", "pydicom"):
        return _judged_here(content, program)
    if shutil.which(program) is None:
        pytest.skip(f"{program} is not on the PATH")
    source, result = folder / "judged.dcm", folder / "raw.dcm"
    source.write_bytes(content)
    result.unlink(missing_ok=True)
    options = {
        "gdcmconv": ["--raw"],
        "dcmconv": ["+te"],
        "dcmdjpeg": ["+cn" if uid.endswith((".57", ".70")) else "+cp"],
    }.get(program, [])
    run = subprocess.run([program, *options, source, result], capture_output=True, timeout=120, check=False)
    assert run.returncode == 0, (program, run.stderr)
    raw = result.read_bytes()
    return pixels_of(raw), str(header(raw).PhotometricInterpretation)


def _judged_here(content, program):
    ds = pydicom.dcmread(io.BytesIO(content))
    count = int(ds.get("NumberOfFrames", 1))
    frames = list(pydicom.encaps.generate_frames(ds.PixelData, number_of_frames=count))
    photometric = str(ds.PhotometricInterpretation)
    if program == "openjpeg":
        shape = (count, ds.Rows, ds.Columns) + ((3,) if ds.SamplesPerPixel == 3 else ())
        samples = np.stack([openjpeg.decode(frame, j2k_format=0) for frame in frames]).reshape(shape)
        return samples, "RGB" if photometric in ("YBR_RCT", "YBR_ICT") else photometric
    raws = [zlib.decompress(frame, -15) if program == "zlib" else frame for frame in frames]
    if ds.BitsAllocated == 1:
        size = ds.Rows * ds.Columns
        bits = [np.unpackbits(np.frombuffer(raw, "u1"), bitorder="little")[:size] for raw in raws]
        return np.stack(bits).reshape(count, ds.Rows, ds.Columns), photometric
    size = ds.Rows * ds.Columns * (2 if photometric == "YBR_FULL_422" else ds.SamplesPerPixel) * ds.BitsAllocated // 8
    ds = pydicom.dcmread(io.BytesIO(content), stop_before_pixels=True)
    ds.add_new(0x7FE00010, "OW" if ds.BitsAllocated > 8 else "OB", b"".join(raw[:size] for raw in raws))
    return pixels_of(saved(ds)), photometric
