"""What a codec is: one file here for each library, found by `hostd.transcoding.registry`.

A codec file states `SYNTAXES` (what it can do), `NAME` and `REQUIRES` (what must be installed) and has the functions of
`Codec`. It imports its library inside the functions, so that the host can list abilities without loading any codec.
Names with a leading underscore are shared parts, not codecs.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Protocol

from hostd.dicom.syntaxes import TransferSyntax

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

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


@dataclass(frozen=True, slots=True)
class EncodeOptions:
    """How a frame is encoded: significant bits of a sample, and whether its colours are RGB, so that they may be decorrelated."""

    bits: int
    is_signed: bool
    is_rgb: bool


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


class Codec(Protocol):
    """The names of a codec file."""

    NAME: str
    """The distribution that is installed, as its version is asked for by."""
    REQUIRES: str
    """What to install, with its oldest usable version."""
    SYNTAXES: Mapping[TransferSyntax, Ability]

    def begins_frame(self, head: bytes) -> bool:
        """Tell whether the first bytes of a fragment begin a codestream (at least 12 bytes are given where there are)."""
        ...

    def inspect(self, encoded: bytes) -> Stream:
        """Read what the codestream says of itself. Raises `CodecError` when it is not whole or not supported."""
        ...

    def why_not(self, bits: int, samples: int, *, is_signed: bool) -> str:
        """Say why frames of this kind cannot be encoded; empty when they can."""
        ...

    def encoded_photometric(self, photometric: str) -> str:
        """Return the Photometric Interpretation of the encoded image of an uncompressed one."""
        ...

    def decoded_photometric(self, photometric: str, stream: Stream) -> str:
        """Return the Photometric Interpretation of the decoded image. Raises `CodecError` when header and codestream contradict."""
        ...

    def encode(self, frame: Frame, options: EncodeOptions) -> bytes:
        """Encode one frame without loss. Raises `CodecError`."""
        ...

    def decode(self, stream: Stream) -> Frame:
        """Decode one frame to the values that the codestream holds. Raises `CodecError`."""
        ...
