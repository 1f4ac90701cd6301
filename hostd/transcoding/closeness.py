"""How far a lossy image is from its source, and how far it must not be."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

from hostd.dicom.syntaxes import JPEG_BASELINE, JPEG_EXTENDED, JPEG_XL, JPEG_XL_RECOMPRESSION, TransferSyntax
from hostd.errors import WrongPixelsError

if TYPE_CHECKING:
    from hostd.transcoding.codecs import Frame
    from hostd.transcoding.pixels import Pixels

_OF_BLOCKS = (JPEG_BASELINE, JPEG_EXTENDED, JPEG_XL, JPEG_XL_RECOMPRESSION)
_BLOCK_SLACK = 1 / 16
"""Of what the bits can hold: codecs of blocks quantise the mean of a block in steps that do not know the image's span."""
_SLACK = 1 / 50
"""Of the span: what other codecs may be off where there is nothing but a flat image to be close to, but at least 2."""
_WORST = 1.5
"""Times the variance of the source. A grey image in its place has 1, another image as varied as it has 2."""


class Closeness:
    """Compares the frames of a source with what a lossy codec made of them.

    Every frame must keep its bound, or else `WrongPixelsError` is raised: where the codestream states one (NEAR), no sample
    is further off; elsewhere the frame is nearer to its source than an image would be that has nothing to do with it.
    """

    def __init__(self, described: Pixels, target: TransferSyntax) -> None:
        self._slack = _BLOCK_SLACK * (1 << described.bits_stored) if target in _OF_BLOCKS else 0.0
        self._low, self._high = math.inf, -math.inf
        self._squares = 0.0
        self._count = 0
        self._largest = 0

    def add(self, original: Frame, seen: Frame, near: int, name: str) -> None:
        """Compare one frame, in canonical form. Raises `WrongPixelsError`."""
        if seen.shape != original.shape:
            raise WrongPixelsError(f"{name} has another size than the original")
        difference = original.astype("f8") - seen
        squares = float((difference * difference).sum())
        largest = int(abs(difference).max())
        self._squares += squares
        self._count += original.size
        self._largest = max(self._largest, largest)
        low, high = int(original.min()), int(original.max())
        self._low, self._high = min(self._low, low), max(self._high, high)
        if near:
            if largest > near:
                raise WrongPixelsError(f"{name} is off by {largest}, over its NEAR of {near}")
        elif (
            squares / original.size
            > _WORST * float(original.astype("f8").var()) + max(2, _SLACK * (high - low), self._slack) ** 2
        ):
            raise WrongPixelsError(f"{name} has nothing to do with the original")

    def __str__(self) -> str:
        if not self._squares:
            return "nothing was lost"
        span = max(1, self._high - self._low)
        ratio = 10 * math.log10(span**2 * self._count / self._squares)
        return f"PSNR {ratio:.2f} dB of the span {span:.0f}, largest error {self._largest}"
