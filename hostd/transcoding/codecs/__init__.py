"""What a codec is: one file here for each library and family of codestreams, found by `hostd.transcoding.registry`.

A codec file states `SYNTAXES` (what it can do), `NAME` and `REQUIRES` (what must be installed) and has the functions of
`Codec`. It imports its library inside the functions, so that the host can list abilities without loading any codec.
Names with a leading underscore are shared parts, not codecs.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Protocol

from hostd.dicom.syntaxes import TransferSyntax
from hostd.transcoding.options import EncodeOptions

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from hostd.transcoding.pixels import Pixels

    Frame = NDArray[np.integer[Any]]
    """Integers, by rows and columns, or by rows, columns and samples."""


class CodecError(Exception):
    """The library refused a frame or a codestream in an orderly way; another may be tried."""


@dataclass(frozen=True, slots=True)
class Ability:
    """What a library can do with one transfer syntax.

    Libraries are asked in ascending `order`. Whatever one encodes is decoded by another one, if there is one, to verify it.
    """

    decode: bool = False
    encode: bool = False
    order: int = 0
    own_only: bool = False
    """It decodes only what hostd has just encoded, to verify it: what strangers wrote crashes it or passes unnoticed."""
    second_opinion: bool = False
    """With `own_only`: it may also see what strangers wrote once another library has decoded that without complaint."""


@dataclass(frozen=True, slots=True)
class FrameKind:
    """How a frame is encoded: for which syntax, what the samples are, and how lossy it may be (None: not at all)."""

    syntax: TransferSyntax
    pixels: Pixels
    """Of the encoded image."""
    is_rgb: bool
    """Whether the colours are RGB, so that they may be decorrelated."""
    options: EncodeOptions | None = None

    @property
    def bits(self) -> int:
        """Significant bits of a sample."""
        return self.pixels.bits_stored

    @property
    def is_signed(self) -> bool:
        """Whether samples are signed."""
        return self.pixels.is_signed


@dataclass(frozen=True, slots=True)
class Stream:
    """What a codestream says of itself; it is trusted over the data set's elements."""

    codestream: bytes
    """Without container and padding."""
    rows: int
    columns: int
    samples: int
    bits: int
    is_signed: bool
    is_reversible: bool
    is_colour_transformed: bool
    """Whether decoding undoes a colour transformation, so that what comes out is RGB."""
    is_raw: bool = False
    """Whether samples come out as in uncompressed pixel data, with all allocated bits and arranged by `planar`."""
    near: int = 0
    """JPEG-LS: the error that each sample may have."""


class Codec(Protocol):
    """The names of a codec file."""

    NAME: str
    """The distribution that is installed, as its version is asked for by."""
    REQUIRES: str
    """What to install, with its oldest usable version."""
    SYNTAXES: Mapping[TransferSyntax, Ability]
    """What the installed version can do."""
    LACKS: Mapping[TransferSyntax, str]
    """What a newer version could encode, and what to install for it."""
    begins_frame: Callable[[bytes], bool] | None
    """Tells whether the first bytes of a fragment begin a codestream (at least 12 bytes are given where there are).
    None: its codestreams have no mark, so that frames are found by fragments and offset tables alone."""

    def inspect(self, encoded: bytes, described: Pixels, syntax: TransferSyntax) -> Stream:
        """Read what the codestream says of itself. Raises `CodecError` when it is not whole or not supported."""
        ...

    def why_not(self, described: Pixels, syntax: TransferSyntax, options: EncodeOptions | None) -> str:
        """Say why frames of this kind cannot be encoded; empty when they can."""
        ...

    def encoded_as(self, described: Pixels, syntax: TransferSyntax) -> Pixels:
        """Return what the encoded image is, given the uncompressed one: its Photometric Interpretation differs, or its bits."""
        ...

    def decoded_photometric(self, photometric: str, stream: Stream) -> str:
        """Return the Photometric Interpretation of the decoded image. Raises `CodecError` when header and codestream contradict."""
        ...

    def encode(self, frame: Frame, kind: FrameKind) -> bytes:
        """Encode one frame. Raises `CodecError`."""
        ...

    def decode(self, stream: Stream) -> Frame:
        """Decode one frame to the values that the codestream holds. Raises `CodecError`."""
        ...
