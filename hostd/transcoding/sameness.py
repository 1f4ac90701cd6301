"""Which instance a product is, and whether one that was made again is the same."""

from __future__ import annotations

from pathlib import Path

import msgspec

from hostd.dicom import syntaxes
from hostd.dicom.header import Header, read_file_header
from hostd.dicom.identity import is_uid
from hostd.dicom.recalled_header import Memory
from hostd.errors import UnlikeReceiptError, UnparsableError, WrongPixelsError
from hostd.transcoding import identity
from hostd.transcoding.options import EncodeOptions
from hostd.transcoding.receipt import Receipt
from hostd.transcoding.transform import Transcode


def identified(
    step: Transcode, secret: bytes, sop_instance_uid: str, content: str, syntax: str, before: str = ""
) -> EncodeOptions | None:
    """Return the options of a step with the key of the result's identity, None where nothing is to be lost.

    What it is done to: `sop_instance_uid` and `syntax` (UID) of the file, `content` and `before` as in `identity.Made`.
    """
    if step.options is None:
        return None
    made = identity.Made(sop_instance_uid, content, before, syntax, step.to)
    return msgspec.structs.replace(step.options, identity=identity.key_of(secret, made, step.options))


def require_own_identity(result: Path, receipt: Receipt, source_uid: str) -> None:
    """Raise `WrongPixelsError` when a lossy result is not the instance of its own that its receipt speaks of."""
    try:
        header = _header_of(result)
    except UnparsableError as error:
        raise WrongPixelsError(f"the codec gave what is no DICOM instance: {error}") from error
    uid, syntax = header.sop_instance_uid, header.transfer_syntax
    if (uid, syntax) != (receipt.sop_instance_uid, receipt.result_syntax) or uid == source_uid or not is_uid(uid):
        raise WrongPixelsError("the codec gave another instance, or another transfer syntax, than it was asked for")


def require_same_instance(result: Path, sop_instance_uid: str) -> None:
    """Raise `WrongPixelsError` when a result without loss is not the instance that it was made of.

    Whoever takes over a codec by a hostile file must not be able to pass off another patient's image.
    """
    try:
        found = _header_of(result).sop_instance_uid
    except UnparsableError as error:
        raise WrongPixelsError(f"the codec gave what is no DICOM instance: {error}") from error
    if found != sop_instance_uid:
        raise WrongPixelsError("the codec gave another instance than it was asked for")


def require_same(sop_instance_uid: str, before: Receipt, again: Receipt) -> None:
    """Raise `UnlikeReceiptError` when what was made again of an instance differs from what was made before.

    A lossy result is the same to the byte. Without loss the same pixels will do: another release of a codec may pack them otherwise.
    """
    if before.result_sha256 == again.result_sha256:
        return
    is_lossy = bool(again.sop_instance_uid)
    if not is_lossy and before.pixel_hash_after == again.pixel_hash_after:
        return
    one, other = (f"{receipt.codec} {receipt.codec_version}".strip() for receipt in (before, again))
    advice = (
        f"install {one} again, or ask for it in another way" if one != other else "look for a fault of memory or disk"
    )
    raise UnlikeReceiptError(
        f"instance {sop_instance_uid} was brought to {syntaxes.by_uid(before.result_syntax)} before, by {one}; made again by"
        f" {other} it is not the same, so it is not sent and the receipt stands: {advice}"
    )


def _header_of(path: Path) -> Header:
    return read_file_header(path, _MEMORY)


_MEMORY = Memory()
"""Results are made of one instance of a series after the other."""
