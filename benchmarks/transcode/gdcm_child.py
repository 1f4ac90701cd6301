"""GDCM's library call, in a process of its own: it ends the interpreter on some images. Run by `peers.GdcmLibrary`.

Reads lines of JSON, [source, result, UID of a transfer syntax], and answers each with an empty line, or with what is wrong.
"""

from __future__ import annotations

import sys

import gdcm
import msgspec


def transcode(source: str, result: str, syntax: str) -> str:
    """Write the source in another transfer syntax. Return what went wrong, or an empty text."""
    reader = gdcm.ImageReader()
    reader.SetFileName(source)
    if not reader.Read():
        return "GDCM cannot read it"
    change = gdcm.ImageChangeTransferSyntax()
    change.SetTransferSyntax(gdcm.TransferSyntax(gdcm.TransferSyntax.GetTSType(syntax)))
    change.SetInput(reader.GetImage())
    if not change.Change():
        return "GDCM cannot change its transfer syntax"
    writer = gdcm.ImageWriter()
    writer.SetFile(reader.GetFile())
    writer.SetImage(change.GetOutput())
    writer.SetFileName(result)
    return "" if writer.Write() else "GDCM cannot write it"


for line in sys.stdin:
    print(transcode(*msgspec.json.decode(line, type=tuple[str, str, str])), flush=True)  # noqa: T201 - the answer
