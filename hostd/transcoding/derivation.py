"""What a lossy result says of its making (PS3.3 §C.7.6.1.1.5, §C.12.4), and the identity it gets."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
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
from hostd.transcoding.identity import uid_of
from hostd.transcoding.options import EncodeOptions

SOP_CLASS, SOP_INSTANCE = 0x00080016, 0x00080018
LOSSY, RATIO, METHOD = 0x00282110, 0x00282112, 0x00282114
_IMAGE_TYPE, _DERIVATION, _SOURCE_IMAGES, _DERIVATION_CODES = 0x00080008, 0x00082111, 0x00082112, 0x00089215
_PURPOSE_CODES = 0x0040A170
_REFERENCED_CLASS, _REFERENCED_INSTANCE = 0x00081150, 0x00081155
_STUDY, _SERIES, _REFERENCED_SERIES, _REFERENCED_SOPS = 0x0020000D, 0x0020000E, 0x00081115, 0x00081199
_SHARED_GROUPS, _FRAME_GROUPS, _DERIVATION_GROUP, _EVIDENCE = 0x52009229, 0x52009230, 0x00089124, 0x00089154
_FRAME_TYPE = 0x00089007
_FRAME_TYPE_GROUPS = frozenset(
    (0x00189226, 0x00189329, 0x00189504, 0x00189751, 0x00189806, 0x00189835, 0x00400710, 0x00480116, 0x00520025)
)
"""The functional groups that hold a Frame Type: MR, CT, X-Ray 3D, PET, ultrasound, photoacoustic, microscopy (two), OCT."""
_LOSSY_COMPRESSION = "113040", "Lossy Compression"
_UNCOMPRESSED = "121320", "Uncompressed predecessor"
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


def new_uid(source: BinaryIO, target: TransferSyntax, options: EncodeOptions, codecs: Sequence[str]) -> str:
    """Return the UID of the result (`hostd.transcoding.identity`).

    `codecs` are those, with their versions, that the pixels may depend on. Where the caller gives no key, as no secret stands
    behind it, one is made of the bytes of the file.
    """
    key = options.identity
    if key is None:
        source.seek(0)
        digest = hashlib.sha256(f"hostd lossy\0{target.uid}\0{options.canonical()}\0".encode())
        while chunk := source.read(_CHUNK):
            digest.update(chunk)
        key = digest.digest()
    return uid_of(key, codecs)


def derived(header: el.Elements, source: TransferSyntax, target: TransferSyntax, uid: str, how: str) -> el.Elements:
    """Return the header of a lossy result; its ratio is left open, see `ratio_at`. `how` says in words what was done."""
    original = el.with_text({}, _REFERENCED_CLASS, b"UI", el.text(header, SOP_CLASS))
    original = el.with_text(original, _REFERENCED_INSTANCE, b"UI", el.text(header, SOP_INSTANCE))
    # CID 7202; a predecessor that is compressed itself has no code of its own.
    purpose = ("121322", "Source image for image processing operation") if source.is_compressed else _UNCOMPRESSED
    as_source = el.with_item(original, _PURPOSE_CODES, el.code_item(*purpose))
    if _SHARED_GROUPS in header or _FRAME_GROUPS in header:
        header = _with_derived_frames(header, as_source, how)
        header = el.with_item(header, _EVIDENCE, _evidence(header, original))
    header = el.with_item(header, _SOURCE_IMAGES, as_source)
    header = el.with_item(header, _DERIVATION_CODES, el.code_item(*_LOSSY_COMPRESSION))
    header = el.with_text(header, SOP_INSTANCE, b"UI", uid)
    header = _with_derived_type(header, _IMAGE_TYPE)
    header = _with_appended(header, _DERIVATION, b"ST", how, "; ", _MAX_TEXT)
    header = el.with_text(header, LOSSY, b"CS", "01")
    header = _with_appended(_paired(header), METHOD, b"CS", METHODS[target])
    return _with_appended(header, RATIO, b"DS", " " * _RATIO_WIDTH)


def marked_lossy(header: el.Elements, source: TransferSyntax, ratio: float) -> el.Elements:
    """Return the header of a decoded image that had lost something: what its syntax and its size said, it now says itself.

    `ratio` is that of its uncompressed size to its compressed one. What the header says of the loss already is kept.
    """
    if el.text(header, LOSSY) != "01":
        header = el.with_text(header, LOSSY, b"CS", "01")
    methods, ratios = _values(header, METHOD), _values(header, RATIO)
    if source in METHODS and not methods:
        methods = [b""] * max(0, len(ratios) - 1) + [METHODS[source].encode("ascii")]
        header = _with_values(header, METHOD, b"CS", methods)
    if not ratios:
        ratios = [b""] * max(0, len(methods) - 1) + [ratio_text(ratio).strip()]
        header = _with_values(header, RATIO, b"DS", ratios)
    return header


def _paired(header: el.Elements) -> el.Elements:
    """Have as many ratios as methods, so that what is appended to both corresponds (PS3.3 §C.7.6.1.1.5.2); what is not known is empty."""
    methods, ratios = _values(header, METHOD), _values(header, RATIO)
    for tag, vr, values, others in ((METHOD, b"CS", methods, ratios), (RATIO, b"DS", ratios, methods)):
        if len(values) < len(others):
            header = _with_values(header, tag, vr, values + [b""] * (len(others) - len(values)))
    return header


def _values(header: el.Elements, tag: int) -> list[bytes]:
    """Return values as bytes, so that what is no text comes through too."""
    value = header[tag].value.strip(b" \0") if tag in header else b""
    return value.split(b"\\") if value else []


def _with_values(header: el.Elements, tag: int, vr: bytes, values: Sequence[bytes]) -> el.Elements:
    value = b"\\".join(values)
    return header | {tag: el.Element(tag, vr, value + b" " * (len(value) % 2))}


def ratio_at(header: el.Elements) -> int:
    """Return where, in the encoded header, the ratio of the last compression is to be written."""
    before = {tag: element for tag, element in header.items() if tag <= RATIO}
    return len(el.encode(before, implicit=False)) - _RATIO_WIDTH - len(header[RATIO].value) % 2


def ratio_text(ratio: float) -> bytes:
    """Return a ratio as it is written at that place."""
    return f"{ratio:.6g}"[:_RATIO_WIDTH].ljust(_RATIO_WIDTH).encode("ascii")


def _with_derived_type(header: el.Elements, tag: int) -> el.Elements:
    """Set value 1 of Image Type, or of Frame Type, to DERIVED (PS3.3 §C.7.6.1.1.2, §C.8.16.1.1)."""
    values = el.text(header, tag).split("\\")
    values[0] = "DERIVED"
    return el.with_text(header, tag, b"CS", "\\".join(values if len(values) > 1 else [*values, "SECONDARY"]))


def _with_derived_frames(header: el.Elements, source: el.Elements, how: str) -> el.Elements:
    """Say of each frame what it is derived from (Derivation Image macro, PS3.3 §C.7.6.16.2.6), and that it is.

    A functional group stands either in the shared item or in those of the frames; it stays where it is.
    """
    shared, frames = (_items(header, tag) for tag in (_SHARED_GROUPS, _FRAME_GROUPS))
    derivation = el.with_text({}, _DERIVATION, b"ST", how)
    derivation = el.with_item(derivation, _SOURCE_IMAGES, source)
    derivation = el.with_item(derivation, _DERIVATION_CODES, el.code_item(*_LOSSY_COMPRESSION))
    if any(_DERIVATION_GROUP in item for item in frames):
        frames = [el.with_item(item, _DERIVATION_GROUP, derivation) for item in frames]
    else:
        shared = [el.with_item(item, _DERIVATION_GROUP, derivation) for item in shared or [{}]]
    for tag, groups in ((_SHARED_GROUPS, shared), (_FRAME_GROUPS, frames)):
        if groups:
            header = el.with_items(header, tag, [_with_derived_frame_type(item) for item in groups])
    return header


def _with_derived_frame_type(groups: el.Elements) -> el.Elements:
    """Set the Frame Type that some functional group of a frame has, such as CT Image Frame Type (PS3.3 §C.8.15.3.1)."""
    for tag in _FRAME_TYPE_GROUPS & groups.keys():
        items = [_with_derived_type(item, _FRAME_TYPE) if _FRAME_TYPE in item else item for item in _items(groups, tag)]
        groups = el.with_items(groups, tag, items)
    return groups


def _evidence(header: el.Elements, original: el.Elements) -> el.Elements:
    """Return the item of Source Image Evidence Sequence (PS3.3 §C.7.6.16): where the source that the frames name is."""
    series = el.with_item({}, _REFERENCED_SOPS, original)
    series = el.with_text(series, _SERIES, b"UI", el.text(header, _SERIES))
    return el.with_item(el.with_text({}, _STUDY, b"UI", el.text(header, _STUDY)), _REFERENCED_SERIES, series)


def _items(elements: el.Elements, tag: int) -> list[el.Elements]:
    return el.items(elements[tag]) if tag in elements and elements[tag].value else []


def _with_appended(
    header: el.Elements, tag: int, vr: bytes, value: str, between: str = "\\", most: int = 0
) -> el.Elements:
    """Append a value as bytes, so that what stands there may be in any character set."""
    known = header[tag].value.rstrip(b" \0") if tag in header else b""
    whole = known + between.encode("ascii") + value.encode("ascii") if known else value.encode("ascii")
    if most and len(whole) > most:
        whole = value.encode("ascii")
    return header | {tag: el.Element(tag, vr, whole + b" " * (len(whole) % 2))}
