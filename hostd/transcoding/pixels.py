"""What the pixels of an instance are (PS3.3 §C.7.6.3), what of that this release can transcode, and the pixel hash.

Samples are handled in their canonical form: masked to Bits Stored, sign-extended, colour by pixel, in the smallest of 1, 2
or 4 bytes that holds Bits Stored. Two images are the same when their canonical frames are.
"""

from __future__ import annotations

import hashlib
import struct
from dataclasses import dataclass
from typing import TYPE_CHECKING

from hostd.errors import CannotTranscodeError
from hostd.transcoding.codecs import Stream
from hostd.transcoding.elements import Elements, number, text

if TYPE_CHECKING:
    from hostd.transcoding.codecs import Frame

HASH_VERSION = 1

NATIVE_PHOTOMETRICS = {"MONOCHROME1": 1, "MONOCHROME2": 1, "PALETTE COLOR": 1, "RGB": 3, "YBR_FULL": 3}
"""Photometric Interpretation → Samples per Pixel."""
ENCAPSULATED_PHOTOMETRICS = NATIVE_PHOTOMETRICS | {"YBR_RCT": 3, "YBR_ICT": 3}

SAMPLES_PER_PIXEL, PHOTOMETRIC, PLANAR_CONFIGURATION = 0x00280002, 0x00280004, 0x00280006
NUMBER_OF_FRAMES, ROWS = 0x00280008, 0x00280010
_NUMBERS = {
    # keyword: (tag, value when absent)
    "SamplesPerPixel": (SAMPLES_PER_PIXEL, None),
    "PlanarConfiguration": (PLANAR_CONFIGURATION, 0),
    "NumberOfFrames": (NUMBER_OF_FRAMES, 1),
    "Rows": (ROWS, None),
    "Columns": (0x00280011, None),
    "BitsAllocated": (0x00280100, None),
    "BitsStored": (0x00280101, None),
    "HighBit": (0x00280102, None),
    "PixelRepresentation": (0x00280103, None),
}


@dataclass(frozen=True, slots=True)
class Pixels:
    """The Image Pixel module, checked: HighBit is BitsStored - 1."""

    rows: int
    columns: int
    samples: int
    bits_allocated: int
    bits_stored: int
    is_signed: bool
    planar: int
    photometric: str
    frames: int

    @property
    def frame_bytes(self) -> int:
        """Bytes of one uncompressed frame."""
        return self.rows * self.columns * self.samples * (self.bits_allocated // 8)

    @property
    def container(self) -> str:
        """The numpy type of an allocated sample."""
        return f"<{'i' if self.is_signed else 'u'}{self.bits_allocated // 8}"

    @property
    def canonical(self) -> str:
        """The numpy type of a sample in canonical form."""
        size = 1 if self.bits_stored <= 8 else 2 if self.bits_stored <= 16 else 4
        return f"<{'i' if self.is_signed else 'u'}{size}"


def describe(header: Elements, *, encapsulated: bool) -> Pixels:
    """Read the Image Pixel module. Raises `CannotTranscodeError` for what this release does not transcode."""
    values = {keyword: _number(header, keyword, tag, absent) for keyword, (tag, absent) in _NUMBERS.items()}
    photometric = text(header, PHOTOMETRIC)
    if not photometric:
        raise CannotTranscodeError("the header has no PhotometricInterpretation, so its pixels cannot be read")
    pixels = Pixels(
        rows=values["Rows"],
        columns=values["Columns"],
        samples=values["SamplesPerPixel"],
        bits_allocated=values["BitsAllocated"],
        bits_stored=values["BitsStored"],
        is_signed=values["PixelRepresentation"] == 1,
        # PS3.5 §8.2: what a codestream holds is not arranged by this element.
        planar=0 if encapsulated or values["SamplesPerPixel"] == 1 else values["PlanarConfiguration"],
        photometric=photometric,
        frames=values["NumberOfFrames"],
    )
    _refuse_geometry(pixels, values["PixelRepresentation"])
    _refuse_bits(pixels, values["HighBit"])
    _refuse_photometric(pixels, encapsulated=encapsulated)
    _refuse_overlays(header)
    return pixels


def from_native(raw: bytes, pixels: Pixels) -> Frame:
    """Return the canonical form of one uncompressed frame.

    Raises `CannotTranscodeError` when bits above Bits Stored hold something else than zeros or the sign: no codec would
    keep it.
    """
    import numpy as np  # noqa: PLC0415 - importing this module must not load numpy in the host

    samples: Frame = np.frombuffer(raw, dtype=pixels.container)
    arranged: Frame
    if pixels.samples == 1:
        arranged = samples.reshape(pixels.rows, pixels.columns)
    elif pixels.planar == 1:
        arranged = samples.reshape(pixels.samples, pixels.rows, pixels.columns).transpose(1, 2, 0)
    else:
        arranged = samples.reshape(pixels.rows, pixels.columns, pixels.samples)
    value = _masked(arranged, pixels.bits_stored)
    if pixels.bits_stored < pixels.bits_allocated:
        unsigned = arranged.view(arranged.dtype.str.replace("i", "u"))
        if bool(np.any((value != arranged) & (unsigned >> pixels.bits_stored != 0))):
            raise CannotTranscodeError(
                f"samples use bits above BitsStored ({pixels.bits_stored}), which would be lost; correct the header or keep it as it is"
            )
    return np.ascontiguousarray(value, dtype=pixels.canonical)


def from_stream(decoded: Frame, stream: Stream, pixels: Pixels) -> Frame:
    """Return the canonical form of one decoded frame.

    The codestream's precision and sign are trusted over the header's; the header's PixelRepresentation says what the
    value means. Raises `CannotTranscodeError` when header and codestream leave the values open.
    """
    import numpy as np  # noqa: PLC0415 - importing this module must not load numpy in the host

    shape = (pixels.rows, pixels.columns) if pixels.samples == 1 else (pixels.rows, pixels.columns, pixels.samples)
    if decoded.size != pixels.rows * pixels.columns * pixels.samples:
        raise CannotTranscodeError("a decoded frame has not the size that the header says")
    wide: Frame = decoded.reshape(shape).astype(np.int64 if decoded.dtype.itemsize > 2 else np.int32)
    low, high = (
        (-(1 << pixels.bits_stored - 1), (1 << pixels.bits_stored - 1) - 1)
        if pixels.is_signed
        else (0, (1 << pixels.bits_stored) - 1)
    )
    if stream.is_signed != pixels.is_signed:
        is_ambiguous = stream.bits != pixels.bits_stored and bool(np.any(wide & (1 << stream.bits - 1)))
        if is_ambiguous:
            raise CannotTranscodeError(
                f"the codestream's samples have {stream.bits} bits and the header's {pixels.bits_stored}, and they differ in sign"
            )
        wide = wide & ((1 << stream.bits) - 1)
        if pixels.is_signed:
            sign = 1 << stream.bits - 1
            wide = (wide ^ sign) - sign
    if bool(np.any((wide < low) | (wide > high))):
        raise CannotTranscodeError(
            f"the codestream holds {stream.bits}-bit values that do not fit the header's BitsStored ({pixels.bits_stored})"
        )
    return np.ascontiguousarray(wide, dtype=pixels.canonical)


def to_native(frame: Frame, pixels: Pixels) -> bytes:
    """Return the bytes of a canonical frame as uncompressed pixel data, colour by pixel."""
    return frame.astype(pixels.container).tobytes()


class PixelHash:
    """The pixel hash.

    SHA-256 over the frames in order, colour by pixel, after the inverse of reversible colour transforms only, samples masked
    to BitsStored and sign-extended, little-endian in 1, 2 or 4 bytes, prefixed by format version, rows, columns, samples,
    bits, sign and frames, each in four bytes little-endian.
    """

    def __init__(self, pixels: Pixels) -> None:
        facts = (pixels.rows, pixels.columns, pixels.samples, pixels.bits_stored, int(pixels.is_signed), pixels.frames)
        self._digest = hashlib.sha256(struct.pack("<7I", HASH_VERSION, *facts))

    def add(self, frame: Frame) -> None:
        """Add the next frame, in canonical form."""
        self._digest.update(frame.data)

    def hexdigest(self) -> str:
        """Return the hash of all frames added."""
        return self._digest.hexdigest()


def _masked(samples: Frame, bits: int) -> Frame:
    unused = samples.dtype.itemsize * 8 - bits
    # A right shift of signed integers extends the sign, one of unsigned integers fills with zeros.
    return (samples << unused) >> unused if unused else samples


def _number(header: Elements, keyword: str, tag: int, absent: int | None) -> int:
    try:
        value = number(header, tag)
    except ValueError as error:
        raise CannotTranscodeError(f"the header's {keyword} is no number") from error
    if value is None:
        value = absent
    if value is None:
        raise CannotTranscodeError(f"the header has no {keyword}, so its pixels cannot be read")
    return value


def _refuse_geometry(pixels: Pixels, representation: int) -> None:
    for name, value in (("Rows", pixels.rows), ("Columns", pixels.columns), ("NumberOfFrames", pixels.frames)):
        if not 0 < value < 1 << 31:
            raise CannotTranscodeError(f"{name} is {value}; an image has at least one")
    if pixels.samples not in (1, 3):
        raise CannotTranscodeError(f"SamplesPerPixel is {pixels.samples}; hostd transcodes images of 1 or 3")
    if pixels.planar not in (0, 1):
        raise CannotTranscodeError(f"PlanarConfiguration is {pixels.planar}, which means nothing")
    if representation not in (0, 1):
        raise CannotTranscodeError(f"PixelRepresentation is {representation}, which means nothing")


def _refuse_bits(pixels: Pixels, high_bit: int) -> None:
    if pixels.bits_allocated == 1:
        raise CannotTranscodeError("pixels of 1 bit (BitsAllocated 1) are not transcoded by this release")
    if pixels.bits_allocated not in (8, 16, 32):
        raise CannotTranscodeError(f"BitsAllocated is {pixels.bits_allocated}; this release transcodes 8, 16 and 32")
    if not 0 < pixels.bits_stored <= pixels.bits_allocated:
        raise CannotTranscodeError(
            f"BitsStored is {pixels.bits_stored} of {pixels.bits_allocated} BitsAllocated, which cannot be"
        )
    if high_bit != pixels.bits_stored - 1:
        raise CannotTranscodeError(
            f"HighBit is {high_bit} with BitsStored {pixels.bits_stored}: samples not in the lowest bits are not transcoded by this release"
        )


def _refuse_photometric(pixels: Pixels, *, encapsulated: bool) -> None:
    known = ENCAPSULATED_PHOTOMETRICS if encapsulated else NATIVE_PHOTOMETRICS
    if pixels.photometric not in known:
        what = (
            "subsampled uncompressed colour"
            if pixels.photometric.startswith("YBR_")
            else "this photometric interpretation"
        )
        raise CannotTranscodeError(
            f"PhotometricInterpretation is {pixels.photometric!r}: {what} is not transcoded by this release"
        )
    if known[pixels.photometric] != pixels.samples:
        raise CannotTranscodeError(
            f"PhotometricInterpretation {pixels.photometric} contradicts SamplesPerPixel {pixels.samples}"
        )


def _refuse_overlays(header: Elements) -> None:
    for group in range(0x6000, 0x6020, 2):
        if _number(header, "OverlayBitsAllocated", group << 16 | 0x0100, 1) > 1:
            raise CannotTranscodeError(
                f"an overlay lies in unused bits of the pixels ({group:04X},0100), which this release does not take out"
            )
