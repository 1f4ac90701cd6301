"""Which form a client of WADO-RS is to have, by its Accept header (PS3.18 §8.7.4, §8.7.5)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from fastapi import Request

from hostd.dicom import syntaxes
from hostd.dicom.identity import is_uid
from hostd.dicom.media_types import DICOM, DICOM_JSON, DICOM_XML, OCTETS, default_syntax, frame_type
from hostd.dicom.syntaxes import EXPLICIT_LE, TransferSyntax
from hostd.transcoding import registry
from hostd.web.accepting import Range, ranges
from hostd.web.errors import NOT_ACCEPTABLE, WebError

MULTIPART = "multipart/related"
_ANY = "*"


@dataclass(frozen=True, slots=True)
class Form:
    """What is given: the media type of a part, in several parts or one, and the transfer syntax; None: that in which it is stored."""

    media_type: str
    is_multipart: bool
    syntax: TransferSyntax | None

    def target(self, stored: str) -> TransferSyntax:
        """Return the transfer syntax that an instance is to have which is stored in that one (UID)."""
        return self.syntax or syntaxes.by_uid(stored)


def not_acceptable(details: str) -> WebError:
    """Return the error of a request that wants what cannot be given."""
    return WebError(406, NOT_ACCEPTABLE, details)


def whole_instances(request: Request, stored: Sequence[str]) -> Form:
    """Return how instances are given that are stored in those transfer syntaxes (UIDs). Raises `WebError` (406).

    Without a transfer syntax in the Accept header Explicit VR Little Endian is meant (PS3.18 §8.7.3.5.2), where it can be made.
    """
    for wanted in _wanted(request):
        part = _part_type(wanted, DICOM)
        if part != DICOM:
            continue
        is_multipart = wanted.media_type in {MULTIPART, "*/*"} or len(stored) > 1
        if wanted.media_type not in {MULTIPART, "*/*"} and is_multipart:
            continue  # several instances do not fit into one part
        asked = _syntax_of(wanted)
        if asked == _ANY:
            return Form(DICOM, is_multipart, None)
        target = syntaxes.by_uid(asked or EXPLICIT_LE.uid)
        if all(can_be_made(uid, target) for uid in stored):
            return Form(DICOM, is_multipart, target)
        if asked is None and wanted.media_type != MULTIPART:
            return Form(DICOM, is_multipart, None)
    raise not_acceptable(
        'instances are given as multipart/related; type="application/dicom", one of them as application/dicom too, with a transfer-syntax'
        " that can be made of what is stored without loss, or transfer-syntax=* for what is stored"
    )


def models(request: Request, count: int | None) -> Form:
    """Return how so many models of elements are given, None: any number. Raises `WebError` (406).

    In XML each is a part of its own (PS3.18 §8.7.3.2); one by itself is also given as such.
    """
    for wanted in _wanted(request):
        if wanted.covers(DICOM_JSON) or wanted.covers("application/json"):
            return Form(DICOM_JSON, False, None)
        if wanted.media_type == MULTIPART and _part_type(wanted, DICOM_XML) == DICOM_XML:
            return Form(DICOM_XML, True, None)
        if wanted.media_type == DICOM_XML and count == 1:
            return Form(DICOM_XML, False, None)
    raise not_acceptable(f'this is given as {DICOM_JSON}, or as {MULTIPART}; type="{DICOM_XML}"')


def frames(request: Request, stored: str, count: int, *, prefers_own: bool = False) -> Form:
    """Return how so many frames are given of an instance that is stored in that transfer syntax (UID). Raises `WebError` (406).

    To who takes any they are given uncompressed, or where one `prefers_own`, or they cannot be, as they are stored.
    """
    own = frame_type(syntaxes.by_uid(stored))
    can_be_plain = can_be_made(stored, EXPLICIT_LE)
    for wanted in _wanted(request):
        is_multipart = wanted.media_type in {MULTIPART, "*/*"}
        if not is_multipart and count > 1:
            continue
        asked = _syntax_of(wanted)
        if asked == _ANY or not can_be_plain:
            part = _part_type(wanted, own)
        elif asked is not None:
            part = _part_type(wanted, frame_type(syntaxes.by_uid(asked)))
        else:
            part = _part_type(wanted, *((own, OCTETS) if prefers_own else (OCTETS, own)))
        if part == own and (asked in {None, _ANY, stored} or _are_native(stored, str(asked))):
            return Form(own, is_multipart, None)
        uid = default_syntax(part) if asked in {None, _ANY} else asked
        if uid is None or frame_type(syntaxes.by_uid(uid)) != part:
            continue
        if can_be_made(stored, syntaxes.by_uid(uid)):
            return Form(part, is_multipart, syntaxes.by_uid(uid))
    raise not_acceptable(
        f"frames are given as they are stored ({own}; transfer-syntax={stored}), as {OCTETS}, or in a media type that can be made of that"
        " without loss"
    )


def octets(request: Request) -> Form:
    """Return how one value is given that is no more than its bytes. Raises `WebError` (406)."""
    for wanted in _wanted(request):
        if _part_type(wanted, OCTETS) == OCTETS and _syntax_of(wanted) in {None, _ANY, EXPLICIT_LE.uid}:
            return Form(OCTETS, wanted.media_type in {MULTIPART, "*/*"}, None)
    raise not_acceptable(f"this is given as {OCTETS}, or as a part of that")


def _are_native(*uids: str) -> bool:
    """Tell whether frames are the same bytes in all these transfer syntaxes (UIDs): they are given in little endian."""
    return all(not syntaxes.by_uid(uid).is_encapsulated for uid in uids)


def can_be_made(stored: str, target: TransferSyntax) -> bool:
    """Tell whether what is stored in one transfer syntax (UID) can be brought to another without loss, as far as that can be told beforehand."""
    if stored == target.uid:
        return True
    source = syntaxes.by_uid(stored)
    is_read = not source.is_encapsulated or bool(registry.decoders(source))
    return is_read and not target.is_lossy and (not target.is_encapsulated or bool(registry.encoders(target)))


def _wanted(request: Request) -> tuple[Range, ...]:
    """Return what is asked for; `accept` in the query goes before the header (PS3.18 §8.3.3.1)."""
    asked = request.query_params.get("accept")
    return ranges(asked or request.headers.get("accept"))


def _part_type(wanted: Range, *offered: str) -> str:
    """Return the media type of the parts, or of the one that is all: the first offered one that is wanted, else what is named."""
    is_of_parts = wanted.media_type == MULTIPART
    named = wanted.parameters.get("type", "").lower() or "*/*" if is_of_parts else wanted.media_type
    return next((one for one in offered if Range(named, 1.0).covers(one)), named)


def _syntax_of(wanted: Range) -> str | None:
    """Return the transfer syntax (UID) that is asked for, `*` for any, None where none is named."""
    named = wanted.parameters.get("transfer-syntax")
    if named in {None, "", _ANY}:
        return named or None
    return named if is_uid(str(named)) else "0"
