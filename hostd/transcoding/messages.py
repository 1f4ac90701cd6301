"""What the host and a codec worker say to each other, in frames of `hostd.sandbox.channel`.

The descriptors of a job follow its frame as SCM_RIGHTS over the same socket, with one byte: source, then result if there is one;
of several, one pair after the other.
"""

from __future__ import annotations

from typing import Annotated, Literal

import msgspec

from hostd.sandbox.frames import PixelFacts
from hostd.transcoding.options import EncodeOptions
from hostd.transcoding.receipt import Facts

MAX_MESSAGE = 1 << 16
"""Bytes of one frame, in both directions."""
MOST_AT_ONCE = 8
"""Images that one job may be about."""


class Job(msgspec.Struct, frozen=True, forbid_unknown_fields=True, tag="job"):
    """Transcode to `target` (UID), or work out the pixel hash when there is none."""

    target: str | None
    options: EncodeOptions | None = None
    verify: bool = True
    """Decode the result again, and compare it with its source."""
    at_leisure: bool = False
    """Do it when nothing else wants the processor: nobody waits for it."""
    has_receipt: bool = True
    """Work out the pixel hashes that a receipt has; those of the facts may be empty otherwise."""


class Several(msgspec.Struct, frozen=True, forbid_unknown_fields=True, tag="several"):
    """Transcode so many images to `target` (UID) without loss, each verified; none of them gets a receipt."""

    target: str
    count: Annotated[int, msgspec.Meta(ge=1, le=MOST_AT_ONCE)]


class Compare(msgspec.Struct, frozen=True, forbid_unknown_fields=True, tag="compare"):
    """Compare two files; the second is what an external tool made of the first."""


class Measure(msgspec.Struct, frozen=True, forbid_unknown_fields=True, tag="measure"):
    """Work out what the samples come to."""


class Draw(msgspec.Struct, frozen=True, forbid_unknown_fields=True, tag="draw"):
    """Draw a frame (from 0) into the result.

    `kind` is "rendered", as its header or `window` (center, width, function; None: that of the header) has it; "preview", from its least sample to its
    greatest; or its samples cut to a number, or ("samples", form "raw") as uncompressed pixel data has them, or ("values", form "raw") as what
    they mean, as 32-bit floats in little endian; colours are then red, green and blue of 8 bits, by pixel. `region` is the part of it that is drawn: the column and row where it begins, from 0, how
    many columns and rows it has, less than 0 where these are to be in reverse order. `columns` and `rows` are what it must fit into, 0 for its own size.
    """

    frame: int
    kind: Literal["rendered", "preview", "uint8", "uint16", "int16", "samples", "values"]
    form: Literal["png", "jpeg", "pam", "raw"]
    quality: int = 90
    window: tuple[float | None, float | None, str] | None = None
    columns: int = 0
    rows: int = 0
    region: tuple[int, int, int, int] | None = None


class ReadPicture(msgspec.Struct, frozen=True, forbid_unknown_fields=True, tag="read picture"):
    """Decode a PNG or JPEG file into the result: samples as uncompressed pixel data has them, colours by pixel."""

    form: Literal["png", "jpeg"]


class Picture(msgspec.Struct, frozen=True, forbid_unknown_fields=True, tag="picture"):
    """The samples are written: of which size, how many a pixel (1, or 3 for red, green and blue), of how many bits (8 or 16).

    `baseline` is the Photometric Interpretation of the file itself where it is a codestream of JPEG Baseline (Process 1), else ''.
    """

    rows: int
    columns: int
    samples: int
    bits: int
    baseline: str = ""


class Drawn(msgspec.Struct, frozen=True, forbid_unknown_fields=True, tag="drawn"):
    """The picture is written."""


class Ready(msgspec.Struct, frozen=True, forbid_unknown_fields=True, tag="ready"):
    """The worker is in its jail; which layers are in force, and the number of the thread that does what is done at leisure."""

    layers: dict[str, int]
    leisure: int


class Made(msgspec.Struct, frozen=True, forbid_unknown_fields=True, tag="made"):
    """The result is written."""

    facts: Facts


class MadeSeveral(msgspec.Struct, frozen=True, forbid_unknown_fields=True, tag="made several"):
    """What became of each of several, in their order; of those after the last nothing was done."""

    outcomes: tuple[Made | Failed, ...]

    @property
    def leaves_usable(self) -> bool:
        """Whether the worker is what it was before."""
        return all(isinstance(outcome, Made) or outcome.leaves_usable for outcome in self.outcomes)


class Hash(msgspec.Struct, frozen=True, forbid_unknown_fields=True, tag="hash"):
    """The pixel hash."""

    value: str


class Measured(msgspec.Struct, frozen=True, forbid_unknown_fields=True, tag="measured"):
    """What the samples come to."""

    facts: PixelFacts


class Compared(msgspec.Struct, frozen=True, forbid_unknown_fields=True, tag="compared"):
    """What distinguishes two files beyond their transfer syntax."""

    changes: tuple[str, ...]
    """What the second lacks, has more or has otherwise than the first, by tag; never a value."""
    pixel_hash_before: str
    """As `hostd.transcoding.pixels` defines it; empty where there is no pixel data or it cannot be decoded."""
    pixel_hash_after: str
    unproven: str
    """Why pixels could not be decoded, so that they could not be compared; empty when they were, or there are none."""

    @property
    def same(self) -> bool:
        """Whether both are proven to be the same image."""
        return not self.changes and not self.unproven and self.pixel_hash_before == self.pixel_hash_after


class Failed(msgspec.Struct, frozen=True, forbid_unknown_fields=True, tag="failed"):
    """There is no result. `number` is the errno of kind `system`."""

    kind: Literal["cannot", "wrong", "memory", "system", "defect"]
    message: str
    number: int = 0

    @property
    def leaves_usable(self) -> bool:
        """Whether the worker is what it was before; otherwise it ends itself."""
        return self.kind not in ("memory", "defect")


ToWorker = Job | Several | Compare | Measure | Draw | ReadPicture
FromWorker = Ready | Made | MadeSeveral | Hash | Measured | Compared | Drawn | Picture | Failed
