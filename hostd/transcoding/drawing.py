"""Pictures of frames for people and programs: PNG, JPEG, or samples as text of bytes. Runs inside the worker (P6).

One frame is decoded, whatever the image has; what is needed of it beside is of its size.
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any, BinaryIO

from hostd.errors import CannotTranscodeError
from hostd.transcoding import elements as el
from hostd.transcoding import palette, windowing
from hostd.transcoding.measuring import parts
from hostd.transcoding.messages import Draw
from hostd.transcoding.pixels import Pixels
from hostd.transcoding.source import open_frames, open_source

if TYPE_CHECKING:
    from hostd.transcoding.codecs import Frame


_LUT_SHAPE = 0x20500020
_PNG_LEVEL = 3
"""Orthanc's pictures are as large at this level; higher ones take twice the time for some percent."""
_MAX_SIDE = 65535
_LIMITS = {"uint8": ("u1", 0, 255), "uint16": ("u2", 0, 65535), "int16": ("i2", -32768, 32767)}


def draw(job: Draw, source: BinaryIO, result: BinaryIO) -> None:
    """Write the picture that is asked for. Raises `CannotTranscodeError` with the reason when there is none."""
    try:
        opened = open_source(source)
        if opened.pixel is None:
            raise CannotTranscodeError("the instance has no pixel data")
        frames = open_frames(opened)
        if job.frame >= frames.pixels.frames:
            raise CannotTranscodeError(f"the image has {frames.pixels.frames} frames")
        frames.pixels = replace(frames.pixels, is_for_show=job.kind != "samples")
        frame = frames.frame(job.frame)
        if job.kind == "samples":
            result.write(_container(frame, frames.decoded))
            return
        if job.kind == "values":
            result.write(_values(job, frame, frames.decoded, opened.header))
            return
        picture = _picture(job, frame, frames.decoded, opened.header)
    except RecursionError as error:
        raise CannotTranscodeError("its sequences are nested too deep to be read") from error
    if job.region is not None:
        picture = _part(picture, *job.region)
    if job.columns or job.rows:
        picture = _resized(picture, job.columns, job.rows)
    result.write(_encoded(picture, job))


def _container(frame: Frame, pixels: Pixels) -> bytes:
    """Return a frame as uncompressed pixel data in little endian has it (PS3.5 §8.1.1), its colours by pixel."""
    import numpy as np  # noqa: PLC0415 - importing this module must not load numpy in the host

    if pixels.bits_allocated == 1:
        return np.packbits(frame.ravel().astype("u1"), bitorder="little").tobytes()
    return frame.astype(pixels.container).tobytes()


def _values(job: Draw, frame: Frame, pixels: Pixels, header: el.Elements) -> bytes:
    """Return a frame as numbers: what grey samples mean (PS3.3 §C.11.1), or colours."""
    if pixels.samples > 1 or pixels.photometric == "PALETTE COLOR":
        return _eight(_picture(Draw(job.frame, "uint8", "raw"), frame, pixels, header)).tobytes()
    shown = windowing.grey_of(header, job.frame, signed=pixels.is_signed)
    return shown.values(frame.reshape(pixels.rows, pixels.columns)).astype("<f4").tobytes()


def _eight(picture: Frame) -> Frame:
    """Return colours of 8 bits; a palette may have more (PS3.3 §C.7.6.3.1.5)."""
    deep: Frame = (picture >> 8).astype("u1") if picture.dtype.itemsize > 1 else picture
    return deep


def _picture(job: Draw, frame: Frame, pixels: Pixels, header: el.Elements) -> Frame:
    """Return a frame as unsigned or signed numbers, grey or red, green and blue."""
    if pixels.photometric == "PALETTE COLOR":
        return palette.colours(frame.reshape(pixels.rows, pixels.columns), header, signed=pixels.is_signed)
    if pixels.samples > 1:
        return _coloured(job, _rgb(frame, pixels), pixels)
    grey = frame.reshape(pixels.rows, pixels.columns)
    is_inverse = pixels.photometric == "MONOCHROME1"
    match job.kind:
        case "rendered":
            shown = windowing.grey_of(header, job.frame, signed=pixels.is_signed)
            values = shown.values(grey)
            shades = shown.shades(values, shown.asked(*job.window, values) if job.window is not None else None)
            return _eight_bits(1 - shades if is_inverse != (el.text(header, _LUT_SHAPE) == "INVERSE") else shades)
        case "preview":
            low, high = int(grey.min()), int(grey.max())
            stretched = (grey.astype("f4") - low) / ((high - low) or 1)
            return _eight_bits(1 - stretched if is_inverse else stretched)
        case _:
            return _cut(grey, job.kind)


def _coloured(job: Draw, frame: Frame, pixels: Pixels) -> Frame:
    if job.kind in ("uint16", "int16"):
        return _cut(frame, job.kind)
    if job.kind == "uint8" or pixels.bits_stored <= 8:
        return _cut(frame, "uint8")
    return _cut(frame >> pixels.bits_stored - 8, "uint8")


def _rgb(frame: Frame, pixels: Pixels) -> Frame:
    """Return a frame of colours as red, green and blue, by pixel."""
    import numpy as np  # noqa: PLC0415 - importing this module must not load numpy in the host

    if pixels.photometric == "RGB":
        return frame.reshape(pixels.rows, pixels.columns, pixels.samples)
    converted = np.concatenate(list(parts(frame, pixels)))
    return converted.reshape(pixels.rows, pixels.columns, pixels.samples)


def _cut(frame: Frame, kind: str) -> Frame:
    import numpy as np  # noqa: PLC0415 - importing this module must not load numpy in the host

    dtype, low, high = _LIMITS[kind]
    within: Frame = np.clip(frame, low, high).astype(dtype)
    return within


def _eight_bits(shades: windowing.Shades) -> Frame:
    import numpy as np  # noqa: PLC0415 - importing this module must not load numpy in the host

    scaled: Frame = np.floor(shades * 255 + 0.5).astype("u1")
    return scaled


def _part(picture: Frame, left: int, top: int, width: int, height: int) -> Frame:
    """Return a part of a picture, its columns or rows in reverse order where their number is less than 0."""
    part = picture[top : top + abs(height), left : left + abs(width)]
    if min(left, top) < 0 or part.shape[:2] != (abs(height), abs(width)) or not part.size:
        raise CannotTranscodeError("the region is not inside of the image")
    return part[:: 1 if height > 0 else -1, :: 1 if width > 0 else -1]


def _resized(picture: Frame, columns: int, rows: int) -> Frame:
    """Return a picture of the largest size that fits, its sides in proportion; 0 does not limit."""
    height, width = picture.shape[:2]
    scale = min(columns / width if columns else float("inf"), rows / height if rows else float("inf"))
    new_width, new_height = max(1, round(width * scale)), max(1, round(height * scale))
    return _along_first(_along_first(picture, new_height).swapaxes(0, 1), new_width).swapaxes(0, 1)


def _along_first(picture: Frame, count: int) -> Frame:
    """Return a picture with `count` rows: means of those that come together, or what lies between two."""
    import numpy as np  # noqa: PLC0415 - importing this module must not load numpy in the host

    before = picture.shape[0]
    if count == before:
        return picture
    if count > before:
        places = np.clip((np.arange(count) + 0.5) * before / count - 0.5, 0, before - 1)
        lower = np.floor(places).astype("i8")
        upper = np.minimum(lower + 1, before - 1)
        share = (places - lower).reshape(-1, *[1] * (picture.ndim - 1)).astype("f4")
        mixed = picture[lower] * (1 - share) + picture[upper] * share
    else:
        edges = np.arange(count + 1) * before / count
        sums = np.concatenate([np.zeros((1, *picture.shape[1:])), np.cumsum(picture, axis=0, dtype="f8")])
        lower = np.minimum(np.floor(edges).astype("i8"), before)
        share = (edges - lower).reshape(-1, *[1] * (picture.ndim - 1))
        at_edges = sums[lower] * (1 - share) + sums[np.minimum(lower + 1, before)] * share
        mixed = np.diff(at_edges, axis=0) * (count / before)
    rounded: Frame = np.floor(mixed + 0.5).astype(picture.dtype)
    return rounded


def _encoded(picture: Frame, job: Draw) -> bytes:
    import numpy as np  # noqa: PLC0415 - importing this module must not load numpy in the host

    height, width = picture.shape[:2]
    whole = np.ascontiguousarray(picture)
    if job.form == "pam":
        return _pam(whole)
    if max(height, width) > _MAX_SIDE:
        raise CannotTranscodeError(f"a picture of {width}x{height} is larger than its form can be")
    # As their bits are: PNG has no sign.
    unsigned = whole.view("u2") if whole.dtype.itemsize == 2 else whole
    return _jpeg(unsigned, job.quality) if job.form == "jpeg" else _png(unsigned)


def _png(picture: Frame) -> bytes:
    import imagecodecs  # noqa: PLC0415 - only a worker loads it

    return bytes(imagecodecs.png_encode(picture, level=_PNG_LEVEL))


def _jpeg(picture: Frame, quality: int) -> bytes:
    import imagecodecs  # noqa: PLC0415 - only a worker loads it

    if picture.dtype.itemsize > 1:
        raise CannotTranscodeError("JPEG has no samples of 16 bits: ask for image/png")
    colour: dict[str, Any] = {"colorspace": "rgb"} if picture.ndim == 3 else {}
    return bytes(imagecodecs.jpeg8_encode(picture, level=quality, **colour))


def _pam(picture: Frame) -> bytes:
    """Return a portable arbitrary map, whose samples are in big endian."""
    height, width = picture.shape[:2]
    depth = picture.shape[2] if picture.ndim == 3 else 1
    largest = (1 << 8 * picture.dtype.itemsize) - 1
    kind = "RGB" if depth == 3 else "GRAYSCALE"
    head = f"P7\nWIDTH {width}\nHEIGHT {height}\nDEPTH {depth}\nMAXVAL {largest}\nTUPLTYPE {kind}\nENDHDR\n"
    return head.encode("ascii") + picture.astype(picture.dtype.newbyteorder(">")).tobytes()
