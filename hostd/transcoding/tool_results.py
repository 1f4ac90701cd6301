"""What an external tool left, before it is believed: whose file it is, in which transfer syntax, and whether it is the same image."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from hostd.dicom import part10, syntaxes
from hostd.dicom.header import Header, read_header
from hostd.dicom.syntaxes import TransferSyntax
from hostd.errors import CannotTranscodeError, ToolError, UnparsableError, WrongPixelsError
from hostd.transcoding.messages import Compared
from hostd.transcoding.receipt import Receipt

NOT_VERIFIED = "not verified"
"""How `verified_by` begins of a result that was sent without proof."""
_PATIENT_GROUP = 0x0010
_SHORTEST_MASKED = 3


class Compares(Protocol):
    """What compares two files behind walls: `hostd.transcoding.pool.CodecPool`."""

    def compare(self, source: Path, result: Path) -> Compared:
        """Return what distinguishes the second file from the first. Raises `TranscodeError`."""
        ...


@dataclass(frozen=True, slots=True)
class Trust:
    """What the configuration lets a tool do beyond giving the same image: see `hostd.config.tools.Tool`."""

    unverified: bool = False
    keeps_identity: bool = False
    changes_patient: bool = False


def judge_recoded(
    source: Path, result: Path, target: TransferSyntax, trust: Trust, codecs: Compares, *, may_be_unverified: bool
) -> Receipt:
    """Return the receipt of a tool's result that is to be the same image in the target syntax; sizes and hashes are the caller's.

    Raises `ToolError` when it is another instance or cannot be proven, `WrongPixelsError` when its pixels differ, and other
    `TranscodeError`s when it cannot be read.
    """
    before, after = _headers(source, result)
    if after.transfer_syntax != target.uid:
        raise ToolError(f"its result is in {syntaxes.by_uid(after.transfer_syntax)}, not in {target}")
    if after.identity != before.identity:
        raise ToolError("its result is another instance")
    compared = _compared(source, result, codecs)
    if compared.changes:
        raise ToolError(f"it changed what another transfer syntax does not change: {', '.join(compared.changes)}")
    if compared.unproven:
        if not may_be_unverified or not trust.unverified:
            raise ToolError(f"its result cannot be proven to be the same image: {compared.unproven}")
        verified = f"{NOT_VERIFIED}, as configured: {compared.unproven}; elements compared"
    elif compared.pixel_hash_before != compared.pixel_hash_after:
        raise WrongPixelsError("the pixels of a tool's result differ from those of its source")
    else:
        verified = _how(compared)
    return _receipt(before, after, compared, verified)


def judge_derived(source: Path, result: Path, trust: Trust, codecs: Compares) -> Receipt:
    """Return the receipt of what a tool made for a script: the same image, or another instance made of it.

    Raises as `judge_recoded` does.
    """
    before, after = _headers(source, result)
    if not trust.changes_patient and (before.patient_id, before.study_instance_uid) != (
        after.patient_id, after.study_instance_uid,
    ):  # fmt: skip
        raise ToolError("its result is of another patient or study, which changes_patient = true would allow")
    compared = _compared(source, result, codecs)
    if before.has_pixels and not after.has_pixels:
        raise ToolError("its result has lost the pixel data")
    if compared.same:
        return _receipt(before, after, compared, _how(compared))
    if before.sop_instance_uid == after.sop_instance_uid and not trust.keeps_identity:
        why = compared.unproven or ", ".join(compared.changes) or "its pixels differ"
        raise ToolError(
            "its result has the SOP Instance UID of its source and is not proven to be the same image"
            f" ({why}); have it give a new UID, or say keeps_identity = true"
        )
    is_seen = bool(compared.pixel_hash_after) or not after.has_pixels
    if not is_seen and not trust.unverified:
        raise ToolError(f"the pixels of its result cannot be proven to be readable: {compared.unproven}")
    verified = "every frame decoded" if is_seen else f"{NOT_VERIFIED}, as configured: {compared.unproven}"
    changes = [*compared.changes]
    if not compared.unproven and compared.pixel_hash_before != compared.pixel_hash_after:
        changes.append("the pixels were changed")
    return _receipt(before, after, compared, verified, note="; ".join(changes))


def owner_texts(source: Path) -> list[str]:
    """Return what a file says of its patient (group 0010), the longest texts first; nothing where it cannot be read."""
    try:
        header = _header_of(source)
    except UnparsableError:
        return []
    values = (
        str(value)
        for tag, (_, found) in header.tags.items()
        if tag >> 16 == _PATIENT_GROUP
        for value in found or ()
        if isinstance(value, (str, int, float))
    )
    return sorted({one for one in values if len(one) >= _SHORTEST_MASKED}, key=len, reverse=True)


def _headers(source: Path, result: Path) -> tuple[Header, Header]:
    try:
        before = _header_of(source)
    except UnparsableError as error:
        raise CannotTranscodeError(f"{source.name}: {error}") from error
    try:
        after = _header_of(result)
    except UnparsableError as error:
        raise ToolError(f"its result cannot be used: {error}") from error
    if before.sop_class_uid != after.sop_class_uid:
        raise ToolError(f"its result is of SOP class {after.sop_class_uid[:64]}, its source of {before.sop_class_uid}")
    return before, after


def _header_of(path: Path) -> Header:
    """Read a header. Raises `UnparsableError`, also where file meta information and data set name different instances."""
    with path.open("rb") as file:
        start = part10.data_set_offset(file)
        header = read_header(
            file, offset=start.offset, transfer_syntax=start.transfer_syntax_uid, size=path.stat().st_size
        )
    named = start.meta.get(part10.META_INSTANCE, header.sop_instance_uid)
    if named != header.sop_instance_uid:
        raise UnparsableError("its file meta information names another SOP instance than its data set")
    return header


def _compared(source: Path, result: Path, codecs: Compares) -> Compared:
    try:
        return codecs.compare(source, result)
    except CannotTranscodeError as error:
        raise ToolError(f"its result cannot be used: {error}") from error


def _how(compared: Compared) -> str:
    return "pixels and elements compared" if compared.pixel_hash_before else "elements compared, no pixel data"


def _receipt(before: Header, after: Header, compared: Compared, verified: str, note: str = "") -> Receipt:
    return Receipt(
        outcome="made",
        reason="",
        source_sha256="",
        result_sha256="",
        source_syntax=before.transfer_syntax,
        result_syntax=after.transfer_syntax,
        pixel_hash_before=compared.pixel_hash_before,
        pixel_hash_after=compared.pixel_hash_after,
        verified_by=verified,
        note=note,
    )
