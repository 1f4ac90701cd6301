"""What the pixels of an instance are (PS3.3 §C.7.6.3), what of that hostd transcodes, and the pixel hash.

Samples are handled in their canonical form: shifted down to bit 0, masked to Bits Stored, sign-extended, colour by pixel,
subsampled chrominance spread over its pixels, in the smallest of 1, 2 or 4 bytes that holds Bits Stored. Two images are the
same when their canonical frames are.
"""

from __future__ import annotations

import hashlib
import struct
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from hostd.errors import CannotTranscodeError
from hostd.transcoding.codecs import Stream
from hostd.transcoding.elements import Elements, number, text

if TYPE_CHECKING:
    from hostd.transcoding.codecs import Frame

HASH_VERSION = 1

SUBSAMPLED = "YBR_FULL_422"
NATIVE_PHOTOMETRICS = {
    "MONOCHROME1": 1, "MONOCHROME2": 1, "PALETTE COLOR": 1, "RGB": 3, "YBR_FULL": 3, SUBSAMPLED: 3,
}  # fmt: skip
"""Photometric Interpretation → Samples per Pixel."""
ENCAPSULATED_PHOTOMETRICS = NATIVE_PHOTOMETRICS | {"YBR_RCT": 3, "YBR_ICT": 3, "XYB": 3}

SAMPLES_PER_PIXEL, PHOTOMETRIC, PLANAR_CONFIGURATION = 0x00280002, 0x00280004, 0x00280006
NUMBER_OF_FRAMES, ROWS, COLUMNS = 0x00280008, 0x00280010, 0x00280011
BITS_ALLOCATED, BITS_STORED, HIGH_BIT = 0x00280100, 0x00280101, 0x00280102
_NUMBERS = {
    # keyword: (tag, value when absent)
    "SamplesPerPixel": (SAMPLES_PER_PIXEL, None),
    "PlanarConfiguration": (PLANAR_CONFIGURATION, 0),
    "NumberOfFrames": (NUMBER_OF_FRAMES, 1),
    "Rows": (ROWS, None),
    "Columns": (COLUMNS, None),
    "BitsAllocated": (BITS_ALLOCATED, None),
    "BitsStored": (BITS_STORED, None),
    "HighBit": (HIGH_BIT, None),
    "PixelRepresentation": (0x00280103, None),
}


@dataclass(frozen=True, slots=True)
class Pixels:
    """The Image Pixel module, checked."""

    rows: int
    columns: int
    samples: int
    bits_allocated: int
    bits_stored: int
    is_signed: bool
    planar: int
    photometric: str
    frames: int
    shift: int = 0
    """Unused bits below the samples: HighBit + 1 - BitsStored."""
    overlays: tuple[tuple[int, int], ...] = ()
    """Overlays that lie in unused bits of the samples: group and bit of each (PS3.5 §8.1.2, retired)."""
    is_for_show: bool = False
    """Whether the samples are only to be shown: what stands in unused bits is then left out rather than refused."""

    @property
    def frame_bits(self) -> int:
        """Bits of one uncompressed frame."""
        # PS3.3 §C.7.6.3.1.2: of YBR_FULL_422, two pixels have two luminances and one of each chrominance.
        samples = 2 if self.photometric == SUBSAMPLED else self.samples
        return self.rows * self.columns * samples * self.bits_allocated

    @property
    def frame_bytes(self) -> int:
        """Bytes of one uncompressed frame, one that begins at a byte."""
        return (self.frame_bits + 7) // 8

    @property
    def native_bytes(self) -> int:
        """Bytes of all frames as uncompressed pixel data, where frames of single bits follow each other without a gap (PS3.5 §8.1.1)."""
        return (self.frame_bits * self.frames + 7) // 8

    @property
    def container(self) -> str:
        """The numpy type of an allocated sample."""
        return f"<{'i' if self.is_signed else 'u'}{max(1, self.bits_allocated // 8)}"

    @property
    def canonical(self) -> str:
        """The numpy type of a sample in canonical form."""
        size = 1 if self.bits_stored <= 8 else 2 if self.bits_stored <= 16 else 4
        return f"<{'i' if self.is_signed else 'u'}{size}"

    @property
    def limits(self) -> tuple[int, int]:
        """The smallest and the largest value of a sample."""
        if self.is_signed:
            return -(1 << self.bits_stored - 1), (1 << self.bits_stored - 1) - 1
        return 0, (1 << self.bits_stored) - 1

    def as_canonical(self, photometric: str | None = None) -> Pixels:
        """Return the same image with its samples in canonical form."""
        kept = photometric or ("YBR_FULL" if self.photometric == SUBSAMPLED else self.photometric)
        return replace(self, photometric=kept, planar=0, shift=0, overlays=())


def describe(header: Elements, *, encapsulated: bool) -> Pixels:
    """Read the Image Pixel module. Raises `CannotTranscodeError` for what hostd does not transcode."""
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
        shift=values["HighBit"] + 1 - values["BitsStored"],
    )
    _refuse_geometry(pixels, values["PixelRepresentation"])
    _refuse_bits(pixels, values["HighBit"])
    _refuse_photometric(pixels, encapsulated=encapsulated)
    overlays = _embedded_overlays(header, pixels)
    return replace(pixels, overlays=overlays) if overlays else pixels


def from_container(raw: bytes, pixels: Pixels) -> Frame:
    """Return the canonical form of one uncompressed frame that begins at a byte.

    Raises `CannotTranscodeError` when unused bits hold something else than zeros, the sign, or overlays that the header
    describes, and the image is not only for show: no codec would keep it.
    """
    import numpy as np  # noqa: PLC0415 - importing this module must not load numpy in the host

    if pixels.bits_allocated == 1:
        bits: Frame = np.unpackbits(np.frombuffer(raw, "u1"), bitorder="little", count=pixels.frame_bits)
        return bits.reshape(pixels.rows, pixels.columns)
    samples: Frame = np.frombuffer(raw, dtype=pixels.container)
    arranged: Frame
    if pixels.photometric == SUBSAMPLED:
        arranged = _spread(samples, pixels)
    elif pixels.samples == 1:
        arranged = samples.reshape(pixels.rows, pixels.columns)
    elif pixels.planar == 1:
        arranged = samples.reshape(pixels.samples, pixels.rows, pixels.columns).transpose(1, 2, 0)
    else:
        arranged = samples.reshape(pixels.rows, pixels.columns, pixels.samples)
    return from_samples(arranged, pixels)


def from_samples(arranged: Frame, pixels: Pixels) -> Frame:
    """Return the canonical form of allocated samples, colour by pixel. Raises as `from_container` does."""
    import numpy as np  # noqa: PLC0415 - importing this module must not load numpy in the host

    if not pixels.shift and not pixels.overlays and _are_within(arranged, *pixels.limits):
        # The usual case: unused bits hold zeros or the sign, and no sample needs to be moved.
        return _in_order(arranged, pixels)
    value = _masked(arranged, pixels)
    if pixels.bits_stored < pixels.bits_allocated and not pixels.is_for_show:
        unsigned = arranged.view(arranged.dtype.str.replace("i", "u"))
        everything = (1 << pixels.bits_allocated) - 1
        unused = everything & ~(((1 << pixels.bits_stored) - 1) << pixels.shift)
        for _, bit in pixels.overlays:
            unused &= ~(1 << bit)
        rest = unsigned & unused
        extended = np.where(value < 0, unused & ~((1 << pixels.shift) - 1), 0)
        if bool(np.any((rest != 0) & (rest != extended))):
            raise CannotTranscodeError(
                f"samples use bits beside BitsStored ({pixels.bits_stored}), which would be lost; correct the header or keep it as it is"
            )
    return _in_order(value, pixels)


def _in_order(samples: Frame, pixels: Pixels) -> Frame:
    """Return samples in canonical type and order, whose strides say so too: of an image of one pixel numpy leaves any, and codecs look at them."""
    import numpy as np  # noqa: PLC0415 - importing this module must not load numpy in the host

    ordered: Frame = np.ascontiguousarray(samples, dtype=pixels.canonical)
    return ordered.reshape(-1).reshape(ordered.shape)


def from_stream(decoded: Frame, stream: Stream, pixels: Pixels) -> Frame:
    """Return the canonical form of one decoded frame.

    The codestream's precision and sign are trusted over the header's; the header's PixelRepresentation says what the
    value means. Raises `CannotTranscodeError` when header and codestream leave the values open.
    """
    import numpy as np  # noqa: PLC0415 - importing this module must not load numpy in the host

    if stream.is_raw:
        return from_container(decoded.tobytes(), pixels) if decoded.ndim == 1 else from_samples(decoded, pixels)
    shape = (pixels.rows, pixels.columns) if pixels.samples == 1 else (pixels.rows, pixels.columns, pixels.samples)
    if decoded.size != pixels.rows * pixels.columns * pixels.samples:
        raise CannotTranscodeError("a decoded frame has not the size that the header says")
    if pixels.shift:
        raise CannotTranscodeError(
            f"HighBit contradicts BitsStored ({pixels.bits_stored}), and in this codestream samples cannot lie elsewhere"
        )
    if decoded.dtype.kind not in "iu":
        raise CannotTranscodeError("the codestream holds numbers that are no integers")
    samples: Frame = decoded.reshape(shape)
    if stream.is_signed != pixels.is_signed:
        top = _with_sign(samples, samples.dtype.itemsize * 8, is_signed=False) & (1 << stream.bits - 1)
        is_ambiguous = stream.bits != pixels.bits_stored and bool(np.any(top))
        if is_ambiguous:
            raise CannotTranscodeError(
                f"the codestream's samples have {stream.bits} bits and the header's {pixels.bits_stored}, and they differ in sign"
            )
        samples = _with_sign(samples, stream.bits, is_signed=pixels.is_signed)
    if not _are_within(samples, *pixels.limits):
        raise CannotTranscodeError(
            f"the codestream holds {stream.bits}-bit values that do not fit the header's BitsStored ({pixels.bits_stored})"
        )
    return _in_order(samples, pixels)


def are_same(one: Frame, other: Frame) -> bool:
    """Tell whether two canonical frames are the same: in shape, in type and in every sample."""
    import numpy as np  # noqa: PLC0415 - importing this module must not load numpy in the host

    if one.dtype != other.dtype or one.shape != other.shape:
        return False
    if one.nbytes % 8 == 0 and one.flags.c_contiguous and other.flags.c_contiguous:
        one, other = (frame.reshape(-1).view("u8") for frame in (one, other))  # several samples at once
    return np.array_equal(one, other)


def overlay_bits(arranged: Frame, bit: int) -> Frame:
    """Return one bit of each allocated sample: an overlay's plane of that frame, as zeros and ones."""
    import numpy as np  # noqa: PLC0415 - importing this module must not load numpy in the host

    unsigned = arranged.view(arranged.dtype.str.replace("i", "u"))
    return np.ascontiguousarray((unsigned >> bit) & 1, dtype="u1")


class NativeWriter:
    """Turns canonical frames into the value of uncompressed pixel data, colour by pixel, as they come."""

    def __init__(self, pixels: Pixels) -> None:
        self._pixels = pixels
        self._left: list[Frame] = []

    def add(self, frame: Frame) -> bytes | memoryview:
        """Return the bytes that are complete with that frame; they may be the frame's own."""
        if self._pixels.bits_allocated > 1:
            return frame.astype(self._pixels.container, order="C", copy=False).reshape(-1).view("u1").data
        import numpy as np  # noqa: PLC0415 - importing this module must not load numpy in the host

        bits: Frame = np.concatenate([*self._left, frame.ravel()])
        whole = len(bits) // 8 * 8
        self._left = [bits[whole:]]
        return np.packbits(bits[:whole], bitorder="little").tobytes()

    def close(self) -> bytes:
        """Return what is left, filled to bytes, and padding to an even length."""
        last = b""
        if self._left and len(self._left[0]):
            import numpy as np  # noqa: PLC0415 - importing this module must not load numpy in the host

            last = np.packbits(self._left[0], bitorder="little").tobytes()
        return last + bytes(self._pixels.native_bytes % 2)


def hashed_facts(pixels: Pixels) -> tuple[int, ...]:
    """Return what the pixel hash begins with, but for its version."""
    return pixels.rows, pixels.columns, pixels.samples, pixels.bits_stored, int(pixels.is_signed), pixels.frames


class PixelHash:
    """The pixel hash.

    SHA-256 over the frames in order, colour by pixel, after the inverse of reversible colour transforms only, samples masked
    to BitsStored and sign-extended, little-endian in 1, 2 or 4 bytes, prefixed by format version, rows, columns, samples,
    bits, sign and frames, each in four bytes little-endian.
    """

    def __init__(self, pixels: Pixels) -> None:
        self._digest = hashlib.sha256(struct.pack("<7I", HASH_VERSION, *hashed_facts(pixels)))

    def add(self, frame: Frame) -> None:
        """Add the next frame, in canonical form."""
        self._digest.update(frame.data)

    def hexdigest(self) -> str:
        """Return the hash of all frames added."""
        return self._digest.hexdigest()


def _spread(samples: Frame, pixels: Pixels) -> Frame:
    """Return luminance and chrominance for each pixel of YBR_FULL_422: Y1 Y2 Cb Cr for two pixels side by side."""
    import numpy as np  # noqa: PLC0415 - importing this module must not load numpy in the host

    pairs = samples.reshape(pixels.rows, pixels.columns // 2, 4)
    spread: Frame = np.empty((pixels.rows, pixels.columns, 3), samples.dtype)
    spread[:, 0::2, 0], spread[:, 1::2, 0] = pairs[..., 0], pairs[..., 1]
    spread[:, 0::2, 1:] = spread[:, 1::2, 1:] = pairs[..., 2:]
    return spread


def _masked(samples: Frame, pixels: Pixels) -> Frame:
    above = samples.dtype.itemsize * 8 - pixels.bits_stored - pixels.shift
    # A right shift of signed integers extends the sign, one of unsigned integers fills with zeros.
    return (samples << above) >> (above + pixels.shift) if above or pixels.shift else samples


def _are_within(samples: Frame, low: int, high: int) -> bool:
    """Tell whether no sample is beyond; samples whose type cannot be are not looked at."""
    import numpy as np  # noqa: PLC0415 - importing this module must not load numpy in the host

    possible = np.iinfo(samples.dtype)
    return (low <= possible.min or low <= int(samples.min())) and (possible.max <= high or int(samples.max()) <= high)


def _with_sign(samples: Frame, bits: int, *, is_signed: bool) -> Frame:
    """Return the lowest bits of samples as numbers of that sign, without widening them."""
    above = samples.dtype.itemsize * 8 - bits
    wanted: Frame = samples.view(f"{samples.dtype.byteorder}{'i' if is_signed else 'u'}{samples.dtype.itemsize}")
    # A right shift of signed integers extends the sign, one of unsigned integers fills with zeros.
    return (wanted << above) >> above if above > 0 else wanted


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
        if pixels.bits_stored != 1 or high_bit or pixels.samples != 1 or pixels.is_signed:
            raise CannotTranscodeError("BitsAllocated is 1, and the other elements do not describe single bits")
        return
    if pixels.bits_allocated not in (8, 16, 32):
        raise CannotTranscodeError(f"BitsAllocated is {pixels.bits_allocated}; hostd transcodes 1, 8, 16 and 32")
    if not 0 < pixels.bits_stored <= pixels.bits_allocated:
        raise CannotTranscodeError(
            f"BitsStored is {pixels.bits_stored} of {pixels.bits_allocated} BitsAllocated, which cannot be"
        )
    if not pixels.bits_stored - 1 <= high_bit < pixels.bits_allocated:
        raise CannotTranscodeError(
            f"HighBit is {high_bit} with BitsStored {pixels.bits_stored} of {pixels.bits_allocated} BitsAllocated, which cannot be"
        )


def _refuse_photometric(pixels: Pixels, *, encapsulated: bool) -> None:
    known = ENCAPSULATED_PHOTOMETRICS if encapsulated else NATIVE_PHOTOMETRICS
    if pixels.photometric not in known:
        what = "uncompressed" if not encapsulated and pixels.photometric in ENCAPSULATED_PHOTOMETRICS else "one"
        raise CannotTranscodeError(
            f"PhotometricInterpretation is {pixels.photometric!r}, which is no {what} photometric interpretation that hostd transcodes"
        )
    if known[pixels.photometric] != pixels.samples:
        raise CannotTranscodeError(
            f"PhotometricInterpretation {pixels.photometric} contradicts SamplesPerPixel {pixels.samples}"
        )
    if not encapsulated and pixels.photometric == SUBSAMPLED and pixels.columns % 2:
        raise CannotTranscodeError(f"PhotometricInterpretation is {SUBSAMPLED}, but there is an odd number of columns")


def _embedded_overlays(header: Elements, pixels: Pixels) -> tuple[tuple[int, int], ...]:
    """Return group and bit of each overlay that lies in the pixels. Raises `CannotTranscodeError` when it cannot."""
    found = []
    for group in range(0x6000, 0x6020, 2):
        base = group << 16
        if base | 0x0100 not in header or base | 0x3000 in header:
            continue
        if _number(header, "OverlayBitsAllocated", base | 0x0100, 1) <= 1:
            continue
        bit = _number(header, "OverlayBitPosition", base | 0x0102, 0)
        rows = _number(header, "OverlayRows", base | 0x0010, pixels.rows)
        columns = _number(header, "OverlayColumns", base | 0x0011, pixels.columns)
        is_inside = pixels.shift <= bit < pixels.shift + pixels.bits_stored
        if (
            is_inside
            or bit >= pixels.bits_allocated
            or (rows, columns) != (pixels.rows, pixels.columns)
            or pixels.samples > 1
        ):
            raise CannotTranscodeError(
                f"an overlay ({group:04X},0100) is said to lie in bit {bit} of the samples, where none can be"
            )
        found.append((group, bit))
    return tuple(found)
