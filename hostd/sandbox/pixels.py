"""What a script gets to know of pixels: facts that the host works out, never the pixels."""

from __future__ import annotations

from hostd.sandbox.read_only import ReadOnly
from hostd.sandbox.run import Run

_set = object.__setattr__


class Pixels(ReadOnly):
    """What the pixels of an instance come to, all its frames together: `if instance.pixels and instance.pixels.is_blank:`.

    A script never gets pixels. hostd decodes them when the first of these facts is asked for, in a codec process with limits of its own;
    that time is not the script's, and the answer is the same all through the run.

    - The values are those that are stored (PS3.5 §8.1.1), of Bits Stored bits and with their sign. No lookup table is applied: in a CT,
      `pixels.min * slope + intercept`, by its Rescale Slope and Intercept, is in Hounsfield units. PALETTE COLOR has its indices,
      MONOCHROME1 its values as they are, an image of single bits 0 and 1.
    - Colours are red, green and blue, whatever they are stored as (YBR is converted, PS3.3 §C.7.6.3.1.2). `min`, `max`, `mean` and
      `histogram` are of all three together.
    - Padding counts as any other value, but for `is_blank`: pixels do not count there that have Pixel Padding Value (0028,0120), or lie
      between it and Pixel Padding Range Limit (0028,0121). All others must be alike, in all frames. There is no tolerance: one pixel
      of another value, such as one of noise, and it is not blank.

    An instance without pixel data has None for `pixels`. Where the pixels cannot be decoded (a transfer syntax without a decoder, floating
    point pixel data, damage, a codec that crashes or takes too long), or the file is gone by now, each fact raises `PixelsUnknown` with the
    reason, and so it does in filters, which see the header only: a filter that asks for `pixels` by its own parameter is not loaded.
    """

    __slots__ = ("_of", "_run")
    _of: str
    _run: Run

    def __init__(self, run: Run, of: str) -> None:
        _set(self, "_run", run)
        _set(self, "_of", of)

    @property
    def min(self) -> int:
        """The least value of a sample."""
        return self._run.pixels(self._of).min

    @property
    def max(self) -> int:
        """The greatest value of a sample."""
        return self._run.pixels(self._of).max

    @property
    def mean(self) -> float:
        """The mean of all samples."""
        return self._run.pixels(self._of).mean

    @property
    def histogram(self) -> tuple[int, ...]:
        """How many samples there are of which values, in up to 256 bins of one width: the first begins at `min`, the last has `max`."""
        return self._run.pixels(self._of).histogram

    @property
    def bin_width(self) -> int:
        """How many values one bin of `histogram` takes: bin i has those from `min + i * bin_width` on. 1 where `max - min` is below 256."""
        return self._run.pixels(self._of).bin_width

    @property
    def is_blank(self) -> bool:
        """Whether there is nothing to see: all pixels that are no padding have one and the same value, or colour, in all frames."""
        return self._run.pixels(self._of).is_blank

    def __repr__(self) -> str:
        return "<pixels>"
