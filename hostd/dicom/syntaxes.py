"""Transfer syntaxes (PS3.6 Table A-1, PS3.5 §8 and §10): what each is, and the names people may give it."""

from __future__ import annotations

from dataclasses import dataclass
from difflib import get_close_matches

from hostd.errors import HostdError

_ROOT = "1.2.840.10008.1.2"


class UnknownSyntaxError(HostdError):
    """A transfer syntax was named that does not exist."""


@dataclass(frozen=True, slots=True)
class TransferSyntax:
    """One transfer syntax.

    `is_compressed`: its pixel data or its whole data set is compressed. `is_lossy`: its codec may lose information, whatever
    a given file did with it. `is_encapsulated`: pixel data comes in fragments (PS3.5 Annex A.4).
    """

    uid: str
    keyword: str
    name: str
    short: str | None = None
    is_compressed: bool = False
    is_lossy: bool = False
    is_encapsulated: bool = False
    is_implicit_vr: bool = False
    is_little_endian: bool = True
    is_deflated: bool = False

    def __str__(self) -> str:
        return f"{self.name} ({self.uid})"

    def __hash__(self) -> int:
        return hash(self.uid)  # that of all fields takes ten times as long, and is asked for at every turn


def _native(suffix: str, keyword: str, name: str, **facts: bool | str | None) -> TransferSyntax:
    return TransferSyntax(_ROOT + suffix, keyword, name, **facts)  # type: ignore[arg-type]  # keywords are the fields'


def _encapsulated(
    suffix: str, keyword: str, name: str, short: str | None = None, *, lossy: bool = False
) -> TransferSyntax:
    return TransferSyntax(
        _ROOT + suffix, keyword, name, short, is_compressed=True, is_lossy=lossy, is_encapsulated=True
    )


IMPLICIT_LE = _native("", "ImplicitVRLittleEndian", "Implicit VR Little Endian", short="implicit", is_implicit_vr=True)
EXPLICIT_LE = _native(".1", "ExplicitVRLittleEndian", "Explicit VR Little Endian", short="explicit")
ENCAPSULATED_UNCOMPRESSED = TransferSyntax(
    _ROOT + ".1.98", "EncapsulatedUncompressedExplicitVRLittleEndian", "Encapsulated Uncompressed Explicit VR Little Endian",
    is_encapsulated=True,
)  # fmt: skip
DEFLATED = _native(
    ".1.99", "DeflatedExplicitVRLittleEndian", "Deflated Explicit VR Little Endian", short="deflated",
    is_compressed=True, is_deflated=True,
)  # fmt: skip
EXPLICIT_BE = _native(".2", "ExplicitVRBigEndian", "Explicit VR Big Endian (retired)", is_little_endian=False)
JPEG_BASELINE = _encapsulated(".4.50", "JPEGBaseline8Bit", "JPEG Baseline", lossy=True)
JPEG_EXTENDED = _encapsulated(".4.51", "JPEGExtended12Bit", "JPEG Extended", lossy=True)
JPEG_SPECTRAL = _encapsulated(
    ".4.53", "JPEGSpectralSelectionNonHierarchical68", "JPEG Spectral Selection (retired)", lossy=True
)
JPEG_PROGRESSIVE = _encapsulated(
    ".4.55", "JPEGFullProgressionNonHierarchical1012", "JPEG Full Progression (retired)", lossy=True
)
JPEG_LOSSLESS = _encapsulated(".4.57", "JPEGLossless", "JPEG Lossless")
JPEG_LOSSLESS_SV1 = _encapsulated(".4.70", "JPEGLosslessSV1", "JPEG Lossless SV1", "jpeg-lossless")
JPEG_LS_LOSSLESS = _encapsulated(".4.80", "JPEGLSLossless", "JPEG-LS Lossless", "jpegls")
JPEG_LS_NEAR = _encapsulated(".4.81", "JPEGLSNearLossless", "JPEG-LS Near-Lossless", lossy=True)
JPEG2000_LOSSLESS = _encapsulated(".4.90", "JPEG2000Lossless", "JPEG 2000 Lossless", "j2k")
JPEG2000 = _encapsulated(".4.91", "JPEG2000", "JPEG 2000", lossy=True)
JPEG_XL_LOSSLESS = _encapsulated(".4.110", "JPEGXLLossless", "JPEG XL Lossless", "jxl")
JPEG_XL_RECOMPRESSION = _encapsulated(".4.111", "JPEGXLJPEGRecompression", "JPEG XL JPEG Recompression", lossy=True)
JPEG_XL = _encapsulated(".4.112", "JPEGXL", "JPEG XL", lossy=True)
HTJ2K_LOSSLESS = _encapsulated(".4.201", "HTJ2KLossless", "High-Throughput JPEG 2000 Lossless")
HTJ2K_LOSSLESS_RPCL = _encapsulated(
    ".4.202", "HTJ2KLosslessRPCL", "High-Throughput JPEG 2000 with RPCL Lossless", "htj2k"
)
HTJ2K = _encapsulated(".4.203", "HTJ2K", "High-Throughput JPEG 2000", lossy=True)
RLE_LOSSLESS = _encapsulated(".5", "RLELossless", "RLE Lossless", "rle")
DEFLATED_FRAMES = _encapsulated(".8.1", "DeflatedImageFrameCompression", "Deflated Image Frame Compression")

ALL: tuple[TransferSyntax, ...] = (
    IMPLICIT_LE,
    EXPLICIT_LE,
    ENCAPSULATED_UNCOMPRESSED,
    DEFLATED,
    EXPLICIT_BE,
    JPEG_BASELINE,
    JPEG_EXTENDED,
    JPEG_SPECTRAL,
    JPEG_PROGRESSIVE,
    JPEG_LOSSLESS,
    JPEG_LOSSLESS_SV1,
    JPEG_LS_LOSSLESS,
    JPEG_LS_NEAR,
    JPEG2000_LOSSLESS,
    JPEG2000,
    _encapsulated(".4.92", "JPEG2000MCLossless", "JPEG 2000 Multi-component Lossless"),
    _encapsulated(".4.93", "JPEG2000MC", "JPEG 2000 Multi-component", lossy=True),
    _native(".4.94", "JPIPReferenced", "JPIP Referenced", is_compressed=True),
    _native(".4.95", "JPIPReferencedDeflate", "JPIP Referenced Deflate", is_compressed=True, is_deflated=True),
    _encapsulated(".4.100", "MPEG2MPML", "MPEG2 Main Profile / Main Level", lossy=True),
    _encapsulated(".4.100.1", "MPEG2MPMLF", "Fragmentable MPEG2 Main Profile / Main Level", lossy=True),
    _encapsulated(".4.101", "MPEG2MPHL", "MPEG2 Main Profile / High Level", lossy=True),
    _encapsulated(".4.101.1", "MPEG2MPHLF", "Fragmentable MPEG2 Main Profile / High Level", lossy=True),
    _encapsulated(".4.102", "MPEG4HP41", "MPEG-4 AVC/H.264 High Profile / Level 4.1", lossy=True),
    _encapsulated(".4.102.1", "MPEG4HP41F", "Fragmentable MPEG-4 AVC/H.264 High Profile / Level 4.1", lossy=True),
    _encapsulated(".4.103", "MPEG4HP41BD", "MPEG-4 AVC/H.264 BD-compatible High Profile / Level 4.1", lossy=True),
    _encapsulated(".4.103.1", "MPEG4HP41BDF", "Fragmentable MPEG-4 AVC/H.264 BD-compatible High Profile / Level 4.1", lossy=True),
    _encapsulated(".4.104", "MPEG4HP422D", "MPEG-4 AVC/H.264 High Profile / Level 4.2 For 2D Video", lossy=True),
    _encapsulated(".4.104.1", "MPEG4HP422DF", "Fragmentable MPEG-4 AVC/H.264 High Profile / Level 4.2 For 2D Video", lossy=True),
    _encapsulated(".4.105", "MPEG4HP423D", "MPEG-4 AVC/H.264 High Profile / Level 4.2 For 3D Video", lossy=True),
    _encapsulated(".4.105.1", "MPEG4HP423DF", "Fragmentable MPEG-4 AVC/H.264 High Profile / Level 4.2 For 3D Video", lossy=True),
    _encapsulated(".4.106", "MPEG4HP42STEREO", "MPEG-4 AVC/H.264 Stereo High Profile / Level 4.2", lossy=True),
    _encapsulated(".4.106.1", "MPEG4HP42STEREOF", "Fragmentable MPEG-4 AVC/H.264 Stereo High Profile / Level 4.2", lossy=True),
    _encapsulated(".4.107", "HEVCMP51", "HEVC/H.265 Main Profile / Level 5.1", lossy=True),
    _encapsulated(".4.108", "HEVCM10P51", "HEVC/H.265 Main 10 Profile / Level 5.1", lossy=True),
    JPEG_XL_LOSSLESS,
    JPEG_XL_RECOMPRESSION,
    JPEG_XL,
    HTJ2K_LOSSLESS,
    HTJ2K_LOSSLESS_RPCL,
    HTJ2K,
    _native(".4.204", "JPIPHTJ2KReferenced", "JPIP HTJ2K Referenced", is_compressed=True),
    _native(".4.205", "JPIPHTJ2KReferencedDeflate", "JPIP HTJ2K Referenced Deflate", is_compressed=True, is_deflated=True),
    RLE_LOSSLESS,
    DEFLATED_FRAMES,
)  # fmt: skip

BY_UID = {syntax.uid: syntax for syntax in ALL}
_BY_NAME = {name.lower(): syntax for syntax in ALL for name in (syntax.keyword, syntax.short) if name}

LOSSLESS_INSTEAD = {
    "JPEGBaseline8Bit": "jpeg-lossless",
    "JPEGExtended12Bit": "jpeg-lossless",
    "JPEGSpectralSelectionNonHierarchical68": "jpeg-lossless",
    "JPEGFullProgressionNonHierarchical1012": "jpeg-lossless",
    "JPEGLSNearLossless": "jpegls",
    "JPEG2000": "j2k",
    "JPEG2000MC": "j2k",
    "HTJ2K": "htj2k",
    "JPEGXL": "jxl",
    "JPEGXLJPEGRecompression": "jxl",
}
"""Keyword of a syntax that may lose information → short name of the one of its family that does not."""


def by_uid(uid: str) -> TransferSyntax:
    """Return the syntax of that UID; one that is not known is taken for encapsulated, and is left untouched by hostd."""
    return BY_UID.get(uid) or TransferSyntax(
        uid, uid, "unknown transfer syntax", is_compressed=True, is_encapsulated=True
    )


def named(uid: str) -> str:
    """Return the name and the UID of a transfer syntax, for people."""
    return str(by_uid(uid))


def lookup(name: str) -> TransferSyntax:
    """Return the syntax that a person named by UID, keyword or short name.

    Raises `UnknownSyntaxError`, with the nearest names, when there is none.
    """
    found = BY_UID.get(name) or _BY_NAME.get(name.lower())
    if found is None:
        near = get_close_matches(name.lower(), _BY_NAME, n=3, cutoff=0.5) or [s.short for s in ALL if s.short]
        names = ", ".join(_BY_NAME[n].short or _BY_NAME[n].keyword for n in near)
        raise UnknownSyntaxError(f"no transfer syntax is called {name!r}; did you mean {names}?")
    return found


def short_names() -> dict[str, TransferSyntax]:
    """Return the short names, all of lossless syntaxes, by which scripts and configurations name a syntax."""
    return {syntax.short: syntax for syntax in ALL if syntax.short}
