"""Whose fault it is when a delivery is not taken: pure judgement of statuses and recorded attempts (P3).

What the destination is to blame for holds its queue and counts against no instance. What the instance is to blame for fails it
at once, because sending it again unchanged would fail again. What may be either is tried again, but not for ever.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Literal

from hostd.archive.records import Attempt
from hostd.dicom import statuses
from hostd.intake.filtering import Judgement

Verdict = Literal["delivered", "warning", "instance", "destination", "later"]

MAX_TRIES = 10
"""How often an instance is tried again where it is not known who is to blame; then it is failed."""

UNREACHED = "unreached"
"""Outcome of an attempt that the destination is to blame for."""

_COUNTED = ("waiting", "lost")
_INSTANCE_HTTP = frozenset({400, 409, 413, 415, 422})
_DESTINATION_HTTP = frozenset({401, 403, 404, 405, 407, 410, 429})


def of_status(status: int) -> Verdict:
    """Judge the status of a C-STORE response (PS3.4 §B.2.3, PS3.7 Annex C)."""
    category = statuses.category(status)
    if category == "success" or status == statuses.DUPLICATE_SOP_INSTANCE:
        return "delivered"
    if category == "warning":
        return "warning"
    is_about_instance = status >> 8 in (0x01, 0xA9) or status >> 12 == 0xC
    return "instance" if is_about_instance and status != statuses.PROCESSING_FAILURE else "later"


def of_http(status: int) -> Verdict:
    """Judge the HTTP status of an answer that is not 2xx: whether the destination as a whole or this instance is refused."""
    if status in _INSTANCE_HTTP:
        return "instance"
    if status in _DESTINATION_HTTP or 300 <= status < 400 or status >= 500:
        return "destination"
    return "later"


def of_store_answer(answer: Any) -> tuple[Verdict, str]:
    """Judge the JSON of a 2xx answer to Orthanc's `POST /instances`; return the verdict, and the answer in words.

    Anything that does not say that the instance is stored is no delivery.
    """
    said = answer.get("Status") if isinstance(answer, dict) else None
    if said == "Success":
        return "delivered", "stored"
    if said == "AlreadyStored":
        return "delivered", "already stored"
    if said == "FilteredOut":
        return "instance", "the peer's filter refused the instance (FilteredOut)"
    if isinstance(said, str):
        return "later", f"the peer answered with Status {said[:64]!r}, which does not say that it stored the instance"
    return "later", "the peer answered 200 but did not say it stored the instance"


def of_filters(judgement: Judgement | None) -> tuple[Verdict, str] | None:
    """Judge what filters say of an instance before it is sent: None lets it go, anything else keeps it back, and is no delivery.

    A filter that failed may do better at the next try.
    """
    if judgement is None or judgement.verdict == "accept":
        return None
    if judgement.verdict == "discard":
        return "instance", f"filtered out by {judgement.script}: {judgement.reason}"
    return "later", f"the filter {judgement.script} failed, so nothing was sent: {judgement.reason}"


def tries(attempts: Sequence[Attempt]) -> int:
    """Count the tries that are held against an instance: those since it last failed for good.

    The destination's faults are left out, and so are tries that hostd itself did not finish: those have no duration.
    """
    counted = 0
    for attempt in attempts:
        if attempt.outcome == "failed":
            counted = 0
        elif attempt.outcome in _COUNTED and attempt.seconds is not None:
            counted += 1
    return counted


def is_alone_in_failing(attempts: Sequence[Attempt], last_delivered_at: float | None) -> bool:
    """Tell whether a destination that seems at fault with this instance took others since it was last sent this one.

    Then it is not the destination as a whole that fails, and the instance must not hold up its queue for ever.
    """
    sent = [a.at for a in attempts if a.outcome == UNREACHED and a.sent_syntax is not None]
    return bool(sent) and last_delivered_at is not None and last_delivered_at > sent[-1]
