"""What DICOM allows of the samples of each codec (PS3.5 §8.2), said once for all libraries."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from hostd.transcoding.codecs import Frame
    from hostd.transcoding.pixels import Pixels

DECODED_COLOUR = {"YBR_FULL_422": "YBR_FULL"}
"""Photometric Interpretation of the header → of the samples, for codestreams that hold every chrominance sample."""


def why_not_bits(described: Pixels, codec: str, least: int, most: int) -> str:
    """Refuse what is not of 8 or 16 bits allocated, or has other numbers of bits stored than the codec does."""
    if described.bits_allocated not in (8, 16):
        return f"{codec} is defined for BitsAllocated 8 and 16 (PS3.5 §8.2), and these samples have {described.bits_allocated}"
    if not least <= described.bits_stored <= most:
        return f"{codec} is done for {least} to {most} bits a sample, and these samples have {described.bits_stored}"
    return ""


def why_not_lossy(described: Pixels, codec: str) -> str:
    """Refuse what no lossy codec may touch: indices into a palette, and single bits."""
    if described.photometric == "PALETTE COLOR":
        return f"{codec} with loss would change the indices of a palette into other colours"
    if described.bits_stored == 1:
        return f"{codec} with loss means nothing for samples of 1 bit"
    return ""


def span_of(frame: Frame) -> int:
    """Return the largest sample minus the smallest, at least 1."""
    return max(1, int(frame.max()) - int(frame.min()))
