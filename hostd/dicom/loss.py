"""What a caller may ask of a lossy encoder. Without such options a target that loses information is refused.

`quality` runs from 1 to 100 and means for each codec:

| syntax | meaning of `quality` |
|---|---|
| JPEG .50 .51, JPEG XL .111 | the IJG scale of libjpeg; colour is stored 4:2:2 |
| JPEG-LS .81 | NEAR = (100 - quality) * span / 2560, at least 1, at most 255 |
| JPEG 2000 .91 | a peak signal-to-noise ratio of 20 + 0.4 * quality dB, its peak being the span; frames of fewer than 32 rows or columns keep everything |
| HTJ2K .203 | quantisation steps of 2^-(1 + quality / 12) of the span: 12 points more halve them |
| JPEG XL .112 | the quality scale of libjxl: 90 is a Butteraugli distance of 1 |

The span of a frame is its largest sample minus its smallest, never what BitsStored could hold: a CT of 12 bits that is
stored in 16 must not lose 16 times as much.
"""

from __future__ import annotations

import json

import msgspec

from hostd.dicom.syntaxes import JPEG2000, JPEG_LS_NEAR, TransferSyntax
from hostd.errors import CannotTranscodeError

DEFAULT_QUALITY = 90
"""What is meant where loss is asked for without saying how much."""
IDENTITY_BYTES = 32


class EncodeOptions(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """How lossy a lossy result may be; exactly one of `quality`, `ratio` and `near` is given."""

    quality: int | None = None
    """1 to 100, see the module."""
    ratio: float | None = None
    """JPEG 2000 only: uncompressed size of a frame divided by its compressed size, above 1."""
    near: int | None = None
    """JPEG-LS only: the largest error of any sample, 1 to 255."""
    identity: bytes | None = None
    """A key that the UID of the result follows from, together with the codec (`hostd.transcoding.identity`). Without one it
    follows from the source file, the syntax, these options and the codec."""

    def check(self, target: TransferSyntax) -> None:
        """Raise `CannotTranscodeError` when these options do not suit that lossy target."""
        if sum(value is not None for value in (self.quality, self.ratio, self.near)) != 1:
            raise CannotTranscodeError(f"{target} needs exactly one of quality, ratio and near")
        if self.quality is not None and not 1 <= self.quality <= 100:
            raise CannotTranscodeError(f"quality is {self.quality}; it goes from 1 to 100")
        if self.ratio is not None and target is not JPEG2000:
            raise CannotTranscodeError(f"a ratio can be asked of {JPEG2000} only; give {target} a quality")
        if self.ratio is not None and not 1 < self.ratio <= 1000:
            raise CannotTranscodeError(f"ratio is {self.ratio}; it goes from above 1 to 1000")
        if self.near is not None and target is not JPEG_LS_NEAR:
            raise CannotTranscodeError(f"near can be asked of {JPEG_LS_NEAR} only; give {target} a quality")
        if self.near is not None and not 1 <= self.near <= 255:
            raise CannotTranscodeError(
                f"near is {self.near}; it goes from 1 to 255 (without loss there is JPEG-LS Lossless)"
            )
        if self.identity is not None and len(self.identity) != IDENTITY_BYTES:
            raise CannotTranscodeError(f"the key of the result's UID should have {IDENTITY_BYTES} bytes")

    def in_words(self) -> str:
        """Return for people what is asked of the encoder: "quality 90"."""
        asked = {"quality": self.quality, "ratio": self.ratio, "near": self.near}
        return ", ".join(f"{name} {value:g}" for name, value in asked.items() if value is not None)

    def canonical(self) -> str:
        """Return the one text of what is asked of the encoder: equal options have equal texts. The key is not part of it."""
        asked = {"quality": self.quality, "ratio": self.ratio, "near": self.near}
        return json.dumps({name: value for name, value in asked.items() if value is not None}, separators=(",", ":"))
