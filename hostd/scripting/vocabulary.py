"""The words that a script may use: the standard's keywords and the names of transfer syntaxes, as the worker gets them."""

from __future__ import annotations

from functools import cache

from pydicom._dicom_dict import DicomDictionary  # datadict only re-exports it

from hostd.dicom import syntaxes
from hostd.sandbox.frames import Syntax

_LOSSLESS_INSTEAD = {
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


def as_frame(syntax: syntaxes.TransferSyntax) -> Syntax:
    """Return a transfer syntax as the worker gets it."""
    return Syntax(syntax.uid, syntax.keyword, syntax.is_compressed, syntax.is_lossy)


@cache
def vocabulary() -> tuple[dict[str, tuple[int, str]], dict[str, Syntax], dict[str, str]]:
    """Return `keywords`, `syntaxes` and `lossless_of` of a `frames.Load`. Not to be changed: they are shared."""
    keywords = {entry[4]: (tag, entry[0]) for tag, entry in DicomDictionary.items() if entry[4]}
    names: dict[str, Syntax] = {}
    lossless_of: dict[str, str] = {}
    for syntax in syntaxes.ALL:
        frame = as_frame(syntax)
        names |= {name: frame for name in (syntax.uid, syntax.keyword, syntax.short) if name}
        if syntax.keyword in _LOSSLESS_INSTEAD:
            lossless_of[syntax.uid] = _LOSSLESS_INSTEAD[syntax.keyword]
    return keywords, names, lossless_of
