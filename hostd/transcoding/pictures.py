"""Pictures that are no DICOM, as uncompressed pixel data. For a codec worker: what is decoded may be anything."""

from __future__ import annotations

from typing import BinaryIO

from hostd.errors import CannotTranscodeError
from hostd.transcoding.codecs import _jpeg
from hostd.transcoding.messages import Picture, ReadPicture

_MOST_BYTES = 256 << 20
"""Of samples: what is made of them is in memory whole."""
_MAX_SIDE = 65535
_COLOURS = 3


def read_picture(job: ReadPicture, source: BinaryIO, result: BinaryIO) -> Picture:
    """Write the samples of a PNG or JPEG file, in little endian; what is transparent is left out. Raises `CannotTranscodeError`."""
    import imagecodecs  # noqa: PLC0415 - only a worker loads it
    import numpy as np  # noqa: PLC0415 - importing this module must not load numpy in the host

    content = source.read()
    try:
        # Not by colour space: a JPEG of three components is red, green and blue once it is decoded.
        decoded = imagecodecs.png_decode(content) if job.form == "png" else imagecodecs.jpeg8_decode(content)
    except (imagecodecs.PngError, imagecodecs.Jpeg8Error, ValueError) as error:
        raise CannotTranscodeError(f"this is no {job.form.upper()} that can be decoded") from error
    picture = np.asarray(decoded)
    if picture.ndim == 3:  # with a last sample that says how transparent it is, of two or four
        picture = picture[..., :_COLOURS] if picture.shape[2] >= _COLOURS else picture[..., :1]
        picture = picture[..., 0] if picture.shape[2] == 1 else picture
    if picture.ndim not in (2, 3) or picture.dtype.kind != "u" or picture.dtype.itemsize > 2:
        raise CannotTranscodeError("its samples are neither of 8 nor of 16 bits")
    if max(picture.shape[:2]) > _MAX_SIDE or picture.nbytes > _MOST_BYTES:
        raise CannotTranscodeError(f"it is larger than {_MOST_BYTES >> 20} MiB, or than {_MAX_SIDE} pixels on a side")
    bits = 8 * picture.dtype.itemsize
    result.write(np.ascontiguousarray(picture).astype(f"<u{bits // 8}", copy=False).tobytes())
    baseline = _jpeg.baseline_photometric(content) if job.form == "jpeg" else ""
    return Picture(picture.shape[0], picture.shape[1], 1 if picture.ndim == 2 else _COLOURS, bits, baseline)
