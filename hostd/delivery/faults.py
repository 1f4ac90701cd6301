"""Whose fault it is when a delivery is not taken: pure judgement of statuses and recorded attempts (P3).

What the destination is to blame for holds its queue and counts against no instance. What the instance is to blame for fails it
at once, because sending it again unchanged would fail again. What may be either is tried again, but not for ever.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal

from hostd.archive.records import Attempt
from hostd.dicom import statuses
from hostd.intake.filtering import Judgement

Verdict = Literal["delivered", "warning", "present", "instance", "destination", "later", "unnegotiated"]
"""What an answer means.

`delivered`, or with a `warning`; `present`: the peer has one of these UIDs already, whatever its content, and took nothing; the fault of the `instance`, of the `destination`, or of either (`later`); `unnegotiated`: this
association has no transfer syntax for the instance, another may have.
"""

MAX_TRIES = 10
"""How often an instance is tried again where it is not known who is to blame; then it is failed."""
SCARCE_S = 86_400.0
"""Seconds for which an instance is tried at least where the peer says that it has no room for it: a disk that filled up at night is seen to by day."""
IN_A_ROW = 20
"""How many instances the peer may fail to take one after another; with one more it is taken for the destination's fault."""
SCARCE_IN_A_ROW = 3
"""How many different instances one after another must find the peer without room for it to be the destination's fault."""

UNREACHED = "unreached"
"""Outcome of an attempt that the destination is to blame for."""
UNNEGOTIATED = "unnegotiated"
"""Outcome of an attempt on an association that had no transfer syntax for the instance; it is repeated on another."""

FINAL = ("delivered", "warning", "present", "failed")
"""Outcomes after which an instance is not tried again."""

_COUNTED = ("waiting", "lost")

# The first row that fits decides; a status in none of them may be anybody's fault.
_DIMSE: tuple[tuple[int, int, Verdict], ...] = (
    (0x0000, 0x0000, "delivered"),
    (0x0111, 0x0111, "present"),  # duplicate SOP instance: said of other content under its UID, too
    (0x0001, 0x0001, "warning"),
    (0x0107, 0x0107, "warning"),
    (0x0116, 0x0116, "warning"),
    (0xB000, 0xBFFF, "warning"),
    (0x0110, 0x0110, "later"),  # processing failure: said of a broken data set as well as of a broken database
    (0x0100, 0x01FF, "instance"),
    (0xA700, 0xA7FF, "later"),  # out of resources
    (0xA900, 0xA9FF, "instance"),
    (0xC000, 0xCFFF, "instance"),
)
_HTTP: tuple[tuple[int, int, Verdict], ...] = (
    (300, 399, "destination"),
    (400, 400, "instance"),
    (401, 401, "destination"),
    (403, 405, "destination"),
    (407, 407, "destination"),
    (409, 409, "instance"),
    (410, 410, "destination"),
    (413, 413, "instance"),
    (415, 415, "instance"),
    (422, 422, "instance"),
    (429, 429, "destination"),
    (500, 599, "destination"),
)


def of_status(status: int) -> Verdict:
    """Judge the status of a C-STORE response (PS3.4 §B.2.3, PS3.7 Annex C)."""
    return _judged(_DIMSE, status)


def of_http(status: int) -> Verdict:
    """Judge the HTTP status of an answer that is not 2xx: whether the destination as a whole or this instance is refused."""
    return _judged(_HTTP, status)


def _judged(table: Sequence[tuple[int, int, Verdict]], status: int) -> Verdict:
    return next((verdict for first, last, verdict in table if first <= status <= last), "later")


def is_scarce(status: int | None) -> bool:
    """Tell whether a DIMSE status says that the peer has no room (PS3.4 §B.2.3, 0xA7xx)."""
    return status is not None and status >> 8 == statuses.OUT_OF_RESOURCES >> 8


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
    return len(_held_against(attempts))


@dataclass(frozen=True, slots=True)
class Tried:
    """What came of a try. `counts` is off while the destination's queue is held; `lost`: all was sent, and no answer came."""

    verdict: Verdict
    status: int | None = None
    lost: bool = False
    counts: bool = True


def outcome(tried: Tried, earlier: Sequence[Attempt], now: float) -> str:
    """Return what becomes of an instance after a try, as its attempt records it, given the attempts before."""
    match tried.verdict:
        case "delivered" | "warning" | "present":
            return tried.verdict
        case "instance":
            return "failed"
        case "unnegotiated":
            is_settled = tried.counts and bool(earlier) and earlier[-1].outcome == UNNEGOTIATED
            return "failed" if is_settled else UNNEGOTIATED
    if not tried.counts and not tried.lost:
        return UNREACHED
    if _must_give_up(earlier, tried.status, now):
        return "failed"
    return "lost" if tried.lost else "waiting"


def _must_give_up(earlier: Sequence[Attempt], status: int | None, now: float) -> bool:
    held_against = _held_against(earlier)
    if len(held_against) + 1 < MAX_TRIES:
        return False
    return not is_scarce(status) or now - held_against[0].at >= SCARCE_S


def _held_against(attempts: Sequence[Attempt]) -> list[Attempt]:
    found: list[Attempt] = []
    for attempt in attempts:
        if attempt.outcome == "failed":
            found.clear()
        elif attempt.outcome in _COUNTED and attempt.seconds is not None:
            found.append(attempt)
    return found


def is_alone_in_failing(attempts: Sequence[Attempt], last_delivered_at: float | None) -> bool:
    """Tell whether a destination that seems at fault with this instance took others since it was last sent this one.

    Then it is not the destination as a whole that fails, and the instance must not hold up its queue for ever.
    """
    sent = [a.at for a in attempts if a.outcome == UNREACHED and a.sent_syntax is not None]
    return bool(sent) and last_delivered_at is not None and last_delivered_at > sent[-1]
