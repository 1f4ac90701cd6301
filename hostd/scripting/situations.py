"""What events about deliveries, destinations, scripts and the node tell, as a worker gets it."""

from __future__ import annotations

from typing import Any

from hostd.archive.records import Event
from hostd.dicom import syntaxes
from hostd.sandbox import situations
from hostd.sandbox.situations import Situation

EXAMPLES: dict[str, dict[str, Any]] = {
    **{
        kind: {
            "delivery": 1, "destination": "modality:example", "state": state, "answer": "an example", "status": status,
            "attempts": 1, "sent_syntax": None, "script": None, "of": None, "hops": 0,
        }
        for kind, state, status in (("delivery_done", "delivered", 0), ("delivery_failed", "failed", 0xC000))
    },
    "action_done": {
        "task": 1, "verb": "store", "script": "example.py", "state": "done", "reason": "", "result": {"outcome": "stored"},
        "attempts": 1, "of": 1, "hops": 1,
    },
    **{
        f"job_{what}": {
            "type": "DicomModalityStore", "state": state, "content": {"RemoteAet": "EXAMPLE"}, "user_data": None, "priority": 0,
            "error_code": code, "reason": "an example" if code else "", "hops": 0,
        }
        for what, state, code in (("submitted", "pending", 0), ("succeeded", "success", 0), ("failed", "failure", 9))
    },
    "transcode_failed": {"reason": "an example", "during": "ingest"},
    "destination_down": {"since": 0.0, "reason": "an example"},
    "destination_up": {"since": 0.0, "reason": "an example"},
    "script_parked": {"event": 1, "handler": "on_stored_instance", "reason": "an example"},
    "disk_low": {"free_mb": 100, "limit_mb": 1024, "since": 0.0},
    "disk_recovered": {"free_mb": 2048, "limit_mb": 1024, "since": 0.0},
    "source_silent": {"since": 0.0},
}  # fmt: skip
"""Kind of event → what it tells when it is only rehearsed."""

_EXAMPLE_SUBJECTS = {
    "destination_down": "modality:example",
    "destination_up": "modality:example",
    "source_silent": "example",
}
ABOUT_AN_INSTANCE = ("delivery_done", "delivery_failed", "transcode_failed", "action_done")
"""Of these, the kinds that are about an instance besides."""


_OF_JOBS = ("state", "content", "user_data", "priority", "error_code", "reason")
_OF_ACTIONS = ("verb", "script", "state", "reason", "result", "attempts")


def example_subject(kind: str) -> str:
    """Return what an event that is only rehearsed is about."""
    return _EXAMPLE_SUBJECTS.get(kind, "an example")


def situation(event: Event) -> Situation | None:
    """Return what an event tells beyond an instance, None when it tells nothing."""
    facts = event.facts
    if facts is None or event.kind not in EXAMPLES:
        return None
    told: Situation
    match event.kind:
        case "delivery_done" | "delivery_failed":
            told = _ended(facts)
        case "action_done":
            told = situations.EndedAction(
                id=facts["task"], event=facts["of"], **{name: facts[name] for name in _OF_ACTIONS}
            )
        case "transcode_failed":
            told = situations.FailedTranscode(facts["reason"], facts["during"])
        case "script_parked":
            handler = facts.get("handler", f"on_{facts.get('kind')}")  # the first releases noted the kind
            told = situations.ParkedScript(event.subject, facts["event"], handler, facts["reason"])
        case "disk_low" | "disk_recovered":
            told = situations.Disk(facts["free_mb"], facts["limit_mb"], facts["since"])
        case "job_submitted" | "job_succeeded" | "job_failed":
            told = situations.Job(id=event.subject, kind=facts["type"], **{name: facts[name] for name in _OF_JOBS})
        case "source_silent":
            told = situations.Source(event.subject, facts["since"])
        case _:
            told = situations.Destination(event.subject, facts["since"], facts["reason"])
    return told


def _ended(facts: dict[str, Any]) -> situations.EndedDelivery:
    sent = syntaxes.by_uid(facts["sent_syntax"]) if facts["sent_syntax"] else None
    return situations.EndedDelivery(
        id=facts["delivery"],
        destination=facts["destination"],
        state=facts["state"],
        answer=facts["answer"],
        status=facts["status"],
        attempts=facts["attempts"],
        script=facts["script"],
        sent_syntax=(sent.uid, sent.keyword, sent.is_compressed, sent.is_lossy) if sent else None,
    )
