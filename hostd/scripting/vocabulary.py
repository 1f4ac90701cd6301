"""The words that a script may use: the standard's keywords and the names of transfer syntaxes, as the worker gets them."""

from __future__ import annotations

from functools import cache

from pydicom._dicom_dict import DicomDictionary  # datadict only re-exports it

from hostd.dicom import syntaxes
from hostd.sandbox.frames import Syntax


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
        if syntax.keyword in syntaxes.LOSSLESS_INSTEAD:
            lossless_of[syntax.uid] = syntaxes.LOSSLESS_INSTEAD[syntax.keyword]
    return keywords, names, lossless_of
