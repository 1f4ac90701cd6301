"""Other decoders than those that hostd uses, beside `judged`: FFmpeg, djxl and ojph_expand read codestreams, frame by frame.

FFmpeg has its own JPEG 2000, JPEG-LS and lossless JPEG decoders, which share nothing with OpenJPEG, CharLS and libjpeg.
djxl and ojph_expand are other builds, years older, of the libraries that imagecodecs carries.
"""

from __future__ import annotations

import io
import re
import shutil
import subprocess

import numpy as np
import pydicom
from pydicom.encaps import generate_frames
from transcoding_images import JUDGES, judged

ROOT = "1.2.840.10008.1.2"
_FFMPEG = {f"{ROOT}.4.{end}": kind for kind, ends in {
    "j2k_pipe": (90, 91), "jpegls_pipe": (80, 81), "jpeg_pipe": (57, 70),
}.items() for end in ends}  # fmt: skip
FURTHER = (
    dict.fromkeys(_FFMPEG, "ffmpeg")
    | dict.fromkeys((f"{ROOT}.4.110", f"{ROOT}.4.112"), "djxl")
    | dict.fromkeys((f"{ROOT}.4.201", f"{ROOT}.4.202", f"{ROOT}.4.203"), "ojph_expand")
)
"""Transfer syntax → the program that judges too, where it is installed."""


def name_of(judge: str) -> str:
    """Return the name of a judge as people know it."""
    return {"openjpeg": "pylibjpeg-openjpeg"}.get(judge, judge)


def all_judged(content: bytes, folder) -> dict[str, np.ndarray]:
    """Return the samples of a file as each independent decoder has them that is there and can read it."""
    found = {}
    ds = pydicom.dcmread(io.BytesIO(content))
    uid = str(ds.file_meta.TransferSyntaxUID)
    if (first := judged(content, folder)) is not None:
        found[name_of(JUDGES[uid])] = first[0]
    program = FURTHER.get(uid)
    if program and shutil.which(program) and not _beyond(program, uid, ds):
        count = int(ds.get("NumberOfFrames", 1))
        frames = generate_frames(ds.PixelData, number_of_frames=count)
        read = {"ffmpeg": _by_ffmpeg, "djxl": _by_djxl, "ojph_expand": _by_ojph}[program]
        found[program] = np.stack([read(frame, ds, folder) for frame in frames])
    return found


def _beyond(program: str, uid: str, ds) -> bool:
    """Tell whether a program cannot read such an image, whoever encoded it."""
    if ds.BitsAllocated == 1:
        return True
    if program == "ffmpeg":
        kind = _FFMPEG[uid]
        # FFmpeg (5.1) reads colours rightly in JPEG 2000 alone, and lossless JPEG of 16 bits with differences over 2^15 wrongly.
        return kind != "j2k_pipe" and (ds.SamplesPerPixel == 3 or (kind == "jpeg_pipe" and ds.BitsStored == 16))
    # Neither PNM, which djxl and ojph_expand write, nor JPEG XL has signed samples. OpenJPH 0.9 reads images wrongly that
    # are smaller than its decompositions; those of today and OpenJPEG do not.
    return ds.PixelRepresentation == 1 or (program == "ojph_expand" and min(ds.Rows, ds.Columns) < 32)


def _by_ffmpeg(frame: bytes, ds, folder) -> np.ndarray:
    kind = _FFMPEG[str(ds.file_meta.TransferSyntaxUID)]
    bits, signed = _precision(frame, kind)
    command = ["ffmpeg", "-v", "fatal", "-f", kind, "-i", "-", "-frames:v", "1", "-f", "rawvideo", "-"]
    raw = subprocess.run(command, input=frame, capture_output=True, timeout=60, check=False)
    assert raw.stdout, raw.stderr
    wide = 8 if bits <= 8 else 16
    values = (
        np.frombuffer(raw.stdout, f"<u{wide // 8}").astype("i4") >> wide - bits
    )  # it fills its samples from the top
    values = values.reshape((ds.Rows, ds.Columns, 3) if ds.SamplesPerPixel == 3 else (ds.Rows, ds.Columns))
    sign = 1 << bits - 1
    if signed:
        return values - sign  # JPEG 2000 knows the sign, which FFmpeg shifts away
    return (values ^ sign) - sign if ds.PixelRepresentation else values


def _precision(frame: bytes, kind: str) -> tuple[int, bool]:
    """Return bits and sign of the first component."""
    if kind == "j2k_pipe":
        size = frame[frame.index(b"\xff\x51") + 40]
        return (size & 0x7F) + 1, bool(size & 0x80)
    marker = b"\xff\xf7" if kind == "jpegls_pipe" else b"\xff\xc3"
    return frame[frame.index(marker) + 4], False


def _by_djxl(frame: bytes, ds, folder) -> np.ndarray:
    if ds.BitsStored <= 8:
        return _by_file(["djxl", "--quiet"], frame, "jxl", folder)
    # 0.7 scales to 16 bits whatever it says, so that it is asked for them.
    wide = _by_file(["djxl", "--quiet", "--bits_per_sample=16"], frame, "jxl", folder)
    return np.rint(wide * (((1 << ds.BitsStored) - 1) / 65535)).astype("i4")


def _by_ojph(frame: bytes, ds, folder) -> np.ndarray:
    return _by_file(["ojph_expand"], frame, "j2c", folder, ("-i", "-o"))


def _by_file(command: list[str], frame: bytes, ending: str, folder, flags: tuple[str, ...] = ()) -> np.ndarray:
    source = folder / f"frame.{ending}"
    source.write_bytes(frame)
    for result in (folder / "frame.pgm", folder / "frame.ppm"):
        result.unlink(missing_ok=True)
        paths = [flags[0], source, flags[1], result] if flags else [source, result]
        run = subprocess.run([*command, *paths], capture_output=True, timeout=60, check=False)
        if run.returncode == 0 and result.exists() and result.stat().st_size > 12:
            return _pnm(result.read_bytes())
    raise AssertionError((command, run.stderr, run.stdout))


def _pnm(content: bytes) -> np.ndarray:
    head = re.match(rb"(P[56])\s+(\d+)\s+(\d+)\s+(\d+)\s", content)
    assert head is not None, content[:40]
    magic, columns, rows, largest = head[1], *map(int, head.groups()[1:])
    values = np.frombuffer(content[head.end() :], ">u2" if largest > 255 else "u1").astype("i4")
    return values.reshape((rows, columns, 3) if magic == b"P6" else (rows, columns))
