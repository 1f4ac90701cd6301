"""How samples of 32 bits lie in big endian pixel data of VR OW.

By PS3.5 (2016b) §6.2 and §8.1.1 such a sample is two words of 16 bits, the low one first, and each word is turned by itself: DCMTK and
GDCM write and read it so. Others turn the whole sample, as in pydicom's test files. Nothing in the header says which.
"""

from __future__ import annotations

from collections.abc import Iterable

WORD, SAMPLE = 2, 4
"""Bytes that are turned round together."""
_CLEARLY = 4
NOTE = "the samples of 32 bits were turned whole; by words of 16 bits, as PS3.5 has it, neighbours would have nothing in common"


def turned_together(chunks: Iterable[bytes]) -> int:
    """Return the bytes that are turned together, seen in pixel data that comes in chunks of whole samples.

    The standard's order, unless it is clear that the other was meant: the high half of a sample changes little from one to the
    next, the low half a lot. Where the second word is the restless one, and by far, samples were turned whole.
    """
    import numpy as np  # noqa: PLC0415 - importing this module must not load numpy in the host

    first = second = 0
    for chunk in chunks:
        words = np.frombuffer(chunk[: len(chunk) // SAMPLE * SAMPLE], ">i2").astype("i8")
        first += int(np.abs(np.diff(words[0::2])).sum())
        second += int(np.abs(np.diff(words[1::2])).sum())
    return SAMPLE if _CLEARLY * first < second else WORD
