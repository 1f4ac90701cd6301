"""What the samples of an image come to: the least, the greatest and the mean of them, how they spread, whether there is anything to see.

Runs inside the worker. Frames go through one at a time, and a frame in parts, so memory is bounded by a few frames.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, BinaryIO

from hostd.errors import CannotTranscodeError
from hostd.sandbox.frames import MAX_BINS, PixelFacts
from hostd.transcoding import elements as el
from hostd.transcoding.pixels import Pixels
from hostd.transcoding.source import open_frames, open_source

if TYPE_CHECKING:
    from hostd.transcoding.codecs import Frame

_PADDING, _PADDING_LIMIT = 0x00280120, 0x00280121
_PART = 1 << 20
"""Pixels that are looked at together."""


def measure(source: BinaryIO) -> PixelFacts:
    """Return the facts of all frames together, as `hostd.sandbox.frames.PixelFacts` says what they are.

    Raises `CannotTranscodeError` with the reason when the pixels cannot be read.
    """
    try:
        opened = open_source(source)
        if opened.pixel is None:
            raise CannotTranscodeError("the instance has no pixel data")
        frames = open_frames(opened)
        seen = _Seen(frames.decoded, _padding(opened.header, frames.decoded))
        for frame in frames:
            seen.add(frame)
        if seen.counts is not None:
            bins = seen.bins()
        else:  # samples of more than 16 bits have too many values to count each: where they lie must be known first
            spread = _Spread(seen)
            for frame in frames:
                spread.add(frame)
            bins = spread.bins
    except RecursionError as error:
        raise CannotTranscodeError("its sequences are nested too deep to be read") from error
    return PixelFacts(
        min=seen.low,
        max=seen.high,
        mean=seen.total / seen.number,
        histogram=tuple(int(count) for count in bins),
        bin_width=seen.bin_width,
        is_blank=seen.is_blank,
    )


class _Seen:
    """What was seen of the samples, those of all channels together; and of each channel whether it is of one value."""

    def __init__(self, pixels: Pixels, padding: tuple[int, int] | None) -> None:
        import numpy as np  # noqa: PLC0415 - importing this module must not load numpy in the host

        self.pixels = pixels
        self.low, self.high = pixels.limits[::-1]
        self.total = self.number = 0
        size = np.dtype(pixels.canonical).itemsize
        self.counts: Frame | None = np.zeros(1 << 8 * size, "i8") if size <= 2 else None
        """How often there is each value, those below 0 after all others."""
        self._padding = padding
        self._shades: list[tuple[int, int] | None] = [None] * pixels.samples

    def add(self, frame: Frame) -> None:
        """See the next frame, in canonical form."""
        import numpy as np  # noqa: PLC0415 - importing this module must not load numpy in the host

        for part in parts(frame, self.pixels):
            self.low, self.high = min(self.low, int(part.min())), max(self.high, int(part.max()))
            self.total += int(part.sum(dtype="i8"))
            self.number += part.size
            if self.counts is not None:
                unsigned = part.view(part.dtype.str.replace("i", "u"))
                self.counts += np.bincount(unsigned.ravel(), minlength=len(self.counts))
            for channel in range(self.pixels.samples):
                self._see(channel, part[:, channel])

    def _see(self, channel: int, samples: Frame) -> None:
        if self._padding is not None:
            samples = samples[(samples < self._padding[0]) | (samples > self._padding[1])]
        if samples.size:
            low, high = int(samples.min()), int(samples.max())
            before = self._shades[channel] or (low, high)
            self._shades[channel] = min(low, before[0]), max(high, before[1])

    @property
    def is_blank(self) -> bool:
        """Whether all pixels that are no padding are alike."""
        return all(shades is None or shades[0] == shades[1] for shades in self._shades)

    @property
    def bin_width(self) -> int:
        """How many values one bin takes."""
        return (self.high - self.low) // MAX_BINS + 1

    @property
    def bin_count(self) -> int:
        """How many bins there are from the least value to the greatest."""
        return (self.high - self.low) // self.bin_width + 1

    def bins(self) -> Frame:
        """Return the histogram of counted values."""
        import numpy as np  # noqa: PLC0415 - importing this module must not load numpy in the host

        assert self.counts is not None
        values = np.arange(self.low, self.high + 1)
        filled = np.zeros(self.bin_count * self.bin_width, "i8")
        filled[: len(values)] = self.counts[values]  # an index below 0 counts from the end, as they lie there
        bins: Frame = filled.reshape(self.bin_count, self.bin_width).sum(axis=1)
        return bins


class _Spread:
    """The histogram of samples whose least and greatest value is known."""

    def __init__(self, seen: _Seen) -> None:
        import numpy as np  # noqa: PLC0415 - importing this module must not load numpy in the host

        self._seen = seen
        self.bins: Frame = np.zeros(seen.bin_count, "i8")

    def add(self, frame: Frame) -> None:
        """Count the next frame, in canonical form."""
        import numpy as np  # noqa: PLC0415 - importing this module must not load numpy in the host

        for part in parts(frame, self._seen.pixels):
            placed = (part.ravel().astype("i8") - self._seen.low) // self._seen.bin_width
            self.bins += np.bincount(placed, minlength=len(self.bins))


def parts(frame: Frame, pixels: Pixels) -> Iterator[Frame]:
    """Yield the pixels of a canonical frame, so many together, by channels; colours as red, green and blue."""
    flat = frame.reshape(-1, pixels.samples)
    for begin in range(0, len(flat), _PART):
        part = flat[begin : begin + _PART]
        yield _rgb(part, pixels) if pixels.photometric == "YBR_FULL" else part


def _rgb(part: Frame, pixels: Pixels) -> Frame:
    """Return the colours of YBR_FULL (PS3.3 §C.7.6.3.1.2) as RGB, rounded to the nearest value that there is."""
    import numpy as np  # noqa: PLC0415 - importing this module must not load numpy in the host

    low, high = pixels.limits
    y, cb, cr = part.astype("f8").T
    cb, cr = cb - (1 << pixels.bits_stored - 1), cr - (1 << pixels.bits_stored - 1)
    colours = np.stack([y + 1.402 * cr, y - (0.114 * 1.772 * cb + 0.299 * 1.402 * cr) / 0.587, y + 1.772 * cb], axis=1)
    rounded: Frame = np.clip(np.floor(colours + 0.5), low, high).astype(part.dtype)
    return rounded


def _padding(header: el.Elements, pixels: Pixels) -> tuple[int, int] | None:
    """Return the values that are padding (PS3.3 §C.7.5.1.1.2), the least and the greatest; None where none are."""
    if pixels.samples > 1:
        return None
    try:
        value, limit = el.number(header, _PADDING), el.number(header, _PADDING_LIMIT)
    except ValueError as error:
        raise CannotTranscodeError("the header's PixelPaddingValue is no number") from error
    if value is None:
        return None
    ends = [_signed(one) if pixels.is_signed else one for one in (value, value if limit is None else limit)]
    return min(ends), max(ends)


def _signed(number: int) -> int:
    """Return a number of 16 bits with its sign, whichever VR its element has."""
    return number - (1 << 16) if number >= 1 << 15 else number
