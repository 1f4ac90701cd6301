"""A history as plain values, for JSON and for people; with or without what says who the patient is."""

from __future__ import annotations

from dataclasses import asdict
from datetime import UTC, datetime
from typing import Any

from pydicom.datadict import tag_for_keyword

from hostd.archive.history import ActionTold, DeliveryTold, EventTold, History, RunTold, per_destination
from hostd.archive.retrievals import Retrieval, Sent
from hostd.archive.tasks import Task
from hostd.dicom import syntaxes
from hostd.dicom.header import Header

_ACCESSION_NUMBER = 0x00080050
_MODALITY = 0x00080060


def plain(histories: list[History], *, phi: bool) -> dict[str, Any]:
    """Return histories as plain values, and for how many of the instances each destination has what.

    Without `phi` no value of any element is among them besides UIDs, SOP class and modality, and nothing that a script wrote or a peer
    answered in words, which may hold such a value.
    """
    return {
        "instances": [_history(history, phi=phi) for history in histories],
        "destinations": per_destination(histories),
    }


def _history(history: History, *, phi: bool) -> dict[str, Any]:
    stored, header = history.instance, history.header
    facts: dict[str, Any] = {"id": history.id, "stored": stored is not None}
    if header is not None:
        facts |= {
            "sop_instance_uid": header.sop_instance_uid,
            "series_instance_uid": header.series_instance_uid,
            "study_instance_uid": header.study_instance_uid,
            "sop_class": header.sop_class_uid,
            "modality": header.text(_MODALITY),
        }
        if phi:
            facts |= {"patient_id": header.patient_id, "accession_number": header.text(_ACCESSION_NUMBER)}
    if stored is not None:
        facts |= {
            "transfer_syntax": syntaxes.named(stored.blob.transfer_syntax),
            "size": stored.blob.size,
            "received": iso(stored.received_at),
            "metadata": stored.metadata if phi else sorted(stored.metadata),
            "labels": stored.labels,
        }
    facts["events"] = [_event(told, phi=phi) for told in history.events]
    facts["other_deliveries"] = [_delivery(one, phi=phi) for one in history.others]
    facts["retrieved"] = [_retrieved(*one, phi=phi) for one in history.retrieved]
    return facts


def _event(told: EventTold, *, phi: bool) -> dict[str, Any]:
    event = told.event
    header = Header.decode(event.header) if event.header is not None else None
    facts = event.facts or {}
    return {
        "number": event.number,
        "kind": event.kind,
        "at": iso(event.at),
        "repeats": event.repeats,
        "only_for": event.only_for,
        "origin": event.origin.to_json() if event.origin else None,
        "file": facts.get("file") if phi else None,
        "destination": facts.get("destination"),
        "transfer_syntax": syntaxes.named(header.transfer_syntax) if header else None,
        "receipt": _receipt(event.receipt, phi=phi),
        "runs": [_run(run, header, phi=phi) for run in told.runs],
        "without_effect": list(told.without_effect),
        "not_yet_had_by": list(told.ahead_of),
    }


def _run(run: RunTold, header: Header | None, *, phi: bool) -> dict[str, Any]:
    facts: dict[str, Any] = {
        "script": run.script,
        "version": run.version,
        "outcome": run.outcome,
        "at": iso(run.at),
        "seconds": run.seconds,
        "tags_read": {name: _value(header, name) for name in run.tags_read} if phi else list(run.tags_read),
        "actions": [_action(action, phi=phi) for action in run.actions],
    }
    if phi:
        facts |= {"log": [list(line) for line in run.log], "error": run.error, "asked": list(run.asked)}
    else:
        facts |= {
            "log_lines": len(run.log),
            "failed": run.error is not None,
            "asked": [one["verb"] for one in run.asked],
        }
    return facts


def _action(action: ActionTold, *, phi: bool) -> dict[str, Any]:
    return {
        "position": action.position,
        "verb": action.verb,
        "inputs": action.inputs
        if phi
        else {name: action.inputs[name] for name in ("x", "to") if name in action.inputs},
        "state": action.state,
        "result": action.result,
        "delivery": _delivery(action.delivery, phi=phi) if action.delivery else None,
        "tasks": [_task(task, phi=phi) for task in action.tasks],
    }


def _task(task: Task, *, phi: bool) -> dict[str, Any]:
    """Say how far something is that is done after a run; why it failed only with `phi`: a tool or a peer may have said it."""
    facts = {
        "id": task.id,
        "verb": task.verb,
        "state": task.state,
        "attempts": task.attempts,
        "asked": iso(task.created_at),
        "finished": iso(task.finished_at),
        "result": task.result,
    }
    return facts | ({"last_error": task.last_error} if phi else {})


def _delivery(told: DeliveryTold, *, phi: bool) -> dict[str, Any]:
    delivery = told.delivery
    return {
        "id": delivery.id,
        "destination": delivery.destination,
        "state": delivery.state,
        "asked": iso(delivery.created_at),
        "finished": iso(delivery.finished_at),
        "possible_doubles": delivery.possible_doubles,
        "receipt": _receipt(told.receipt, phi=phi),
        "attempts": [
            {
                **{name: value for name, value in asdict(attempt).items() if name not in {"delivery", "at", "answer"}},
                "at": iso(attempt.at),
                **({"answer": attempt.answer} if phi else {}),
            }
            for attempt in told.attempts
        ],
    }


def _retrieved(retrieval: Retrieval, sent: Sent, *, phi: bool) -> dict[str, Any]:
    return {
        "retrieval": retrieval.id,
        "kind": {"move": "C-MOVE", "get": "C-GET"}[retrieval.kind],
        "at": iso(sent.at),
        "calling_aet": retrieval.calling_aet,
        "ip": retrieval.ip,
        "association": retrieval.association,
        "destination": retrieval.destination,
        "outcome": sent.outcome,
        "status": sent.status,
        "sent_syntax": syntaxes.named(sent.sent_syntax) if sent.sent_syntax else None,
        **({"answer": sent.answer} if phi else {}),
    }


def _receipt(facts: dict[str, Any] | None, *, phi: bool) -> dict[str, Any] | None:
    if facts is None or phi:
        return facts
    return {name: value for name, value in facts.items() if name not in {"reason", "note"}}


def _value(header: Header | None, name: str) -> list[Any] | None:
    """Return the values of an element as they stand in the header of the event; None when they are not there."""
    tag = tag_for_keyword(name)
    if header is None or tag is None:
        return None
    return header.tags.get(tag, ("", None))[1]


def iso(at: float | None) -> str | None:
    """Return a time of the index in ISO 8601 with its zone."""
    return None if at is None else datetime.fromtimestamp(at, UTC).isoformat(timespec="milliseconds")
