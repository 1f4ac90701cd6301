"""What a lossy result says of its making (PS3.3 §C.7.6.1.1.5, §C.12.4), and the identity it gets."""

from __future__ import annotations

import hashlib
from typing import BinaryIO

from hostd.dicom.syntaxes import (
    HTJ2K,
    JPEG2000,
    JPEG_BASELINE,
    JPEG_EXTENDED,
    JPEG_LS_NEAR,
    JPEG_PROGRESSIVE,
    JPEG_SPECTRAL,
    JPEG_XL,
    JPEG_XL_RECOMPRESSION,
    TransferSyntax,
)
from hostd.transcoding import elements as el
from hostd.transcoding.options import EncodeOptions

SOP_CLASS, SOP_INSTANCE = 0x00080016, 0x00080018
LOSSY, RATIO, METHOD = 0x00282110, 0x00282112, 0x00282114
_IMAGE_TYPE, _DERIVATION, _SOURCE_IMAGES, _DERIVATION_CODES = 0x00080008, 0x00082111, 0x00082112, 0x00089215
_PURPOSE_CODES = 0x0040A170
_MAX_TEXT = 1024
_RATIO_WIDTH = 10
_CHUNK = 1 << 20

METHODS = {
    JPEG_BASELINE: "ISO_10918_1",
    JPEG_EXTENDED: "ISO_10918_1",
    JPEG_SPECTRAL: "ISO_10918_1",
    JPEG_PROGRESSIVE: "ISO_10918_1",
    JPEG_LS_NEAR: "ISO_14495_1",
    JPEG2000: "ISO_15444_1",
    HTJ2K: "ISO_15444_15",
    JPEG_XL: "ISO_18181_1",
    JPEG_XL_RECOMPRESSION: "ISO_10918_1",  # what lost information is the JPEG inside
}
"""Lossy Image Compression Method (PS3.3 §C.7.6.1.1.5.1)."""


def new_uid(source: BinaryIO, target: TransferSyntax, options: EncodeOptions, codec: str) -> str:
    """Return the UID of the result: the one asked for, or one derived from everything that its pixels depend on (PS3.5 §B.2).

    So the same file, sent twice, does not become two instances, and other pixels never share a UID.
    """
    if options.sop_instance_uid is not None:
        return options.sop_instance_uid
    source.seek(0)
    digest = hashlib.sha256(f"hostd lossy\0{target.uid}\0{options.canonical()}\0{codec}\0".encode())
    while chunk := source.read(_CHUNK):
        digest.update(chunk)
    return f"2.25.{int.from_bytes(digest.digest()[:16], 'big')}"


def derived(header: el.Elements, source: TransferSyntax, target: TransferSyntax, uid: str, how: str) -> el.Elements:
    """Return the header of a lossy result; its ratio is left open, see `ratio_at`. `how` says in words what was done."""
    original = el.with_text({}, 0x00081150, b"UI", el.text(header, SOP_CLASS))
    original = el.with_text(original, 0x00081155, b"UI", el.text(header, SOP_INSTANCE))
    if not source.is_compressed:
        original = el.with_item(original, _PURPOSE_CODES, _code("121320", "Uncompressed predecessor"))
    header = el.with_item(header, _SOURCE_IMAGES, original)
    header = el.with_item(header, _DERIVATION_CODES, _code("113040", "Lossy Compression"))
    header = el.with_text(header, SOP_INSTANCE, b"UI", uid)
    header = _with_derived_type(header)
    header = _with_appended(header, _DERIVATION, b"ST", how, "; ", _MAX_TEXT)
    header = el.with_text(header, LOSSY, b"CS", "01")
    header = _with_appended(header, METHOD, b"CS", METHODS[target])
    return _with_appended(header, RATIO, b"DS", " " * _RATIO_WIDTH)


def marked_lossy(header: el.Elements, source: TransferSyntax) -> el.Elements:
    """Return the header of a decoded image that had lost something: what the transfer syntax said, it now says itself."""
    if el.text(header, LOSSY) != "01":
        header = el.with_text(header, LOSSY, b"CS", "01")
        if METHOD not in header and source in METHODS:
            header = el.with_text(header, METHOD, b"CS", METHODS[source])
    return header


def ratio_at(header: el.Elements) -> int:
    """Return where, in the encoded header, the ratio of the last compression is to be written."""
    before = {tag: element for tag, element in header.items() if tag <= RATIO}
    return len(el.encode(before, implicit=False)) - _RATIO_WIDTH - len(header[RATIO].value) % 2


def ratio_text(ratio: float) -> bytes:
    """Return a ratio as it is written at that place."""
    return f"{ratio:.6g}"[:_RATIO_WIDTH].ljust(_RATIO_WIDTH).encode("ascii")


def _with_derived_type(header: el.Elements) -> el.Elements:
    """Set value 1 of Image Type to DERIVED (PS3.3 §C.7.6.1.1.2)."""
    values = el.text(header, _IMAGE_TYPE).split("\\")
    values[0] = "DERIVED"
    return el.with_text(header, _IMAGE_TYPE, b"CS", "\\".join(values if len(values) > 1 else [*values, "SECONDARY"]))


def _with_appended(
    header: el.Elements, tag: int, vr: bytes, value: str, between: str = "\\", most: int = 0
) -> el.Elements:
    """Append a value as bytes, so that what stands there may be in any character set."""
    known = header[tag].value.rstrip(b" \0") if tag in header else b""
    whole = known + between.encode("ascii") + value.encode("ascii") if known else value.encode("ascii")
    if most and len(whole) > most:
        whole = value.encode("ascii")
    return header | {tag: el.Element(tag, vr, whole + b" " * (len(whole) % 2))}


def _code(value: str, meaning: str) -> el.Elements:
    item = el.with_text({}, 0x00080100, b"SH", value)
    item = el.with_text(item, 0x00080102, b"SH", "DCM")
    return el.with_text(item, 0x00080104, b"LO", meaning)
