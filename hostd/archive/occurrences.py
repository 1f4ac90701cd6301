"""Events about deliveries, destinations, scripts and the node: written in the transaction of what they tell, and told to `default`.

Each is one small row. What a person is told without a script names no patient; words of others, which may, are a `detail` that only
channels with `phi = true` get.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import sqlalchemy as sa
from sqlalchemy import Connection

from hostd.archive import conditions, events, notices
from hostd.archive import tables as t
from hostd.archive.records import Attempt, Event

TOPICS = ("event", "notification")
"""What is to be rung for whoever waits for events and notifications."""

_FINAL = {
    "delivered": "delivery_done",
    "warning": "delivery_done",
    "present": "delivery_done",
    "failed": "delivery_failed",
}


def deliveries_ended(connection: Connection, attempts: Sequence[Attempt]) -> None:
    """Tell that deliveries have come to their end with these attempts: delivered, with or without a warning, or failed."""
    found = {row.id: row for row in connection.execute(_ENDED, {"numbers": [one.delivery for one in attempts]})}
    told = [(attempt, found[attempt.delivery]) for attempt in attempts]
    connection.execute(_TELL_ENDED, [_ended(attempt, row) for attempt, row in told])
    for attempt, row in told:
        if attempt.outcome == "failed":
            status = f" with status 0x{attempt.status:04X}" if attempt.status is not None else ""
            text = (
                f"Delivery {row.id} to {row.destination} failed{status} and is not tried again. "
                f"`hostd deliveries show {row.id}` says why, `hostd deliveries retry {row.id}` tries once more."
            )
            key = f"destination:{row.destination}"
            notices.tell_default(connection, key, text, attempt.at, detail=attempt.answer)


_TOLD = "id", "destination", "state", "attempts", "script", "instance", "blob", "content"
_ENDED = (
    sa.select(
        *(t.delivery.c[name] for name in _TOLD),
        t.action.c.event.label("of"),
        t.event.c.study,
        t.event.c.facts.label("told"),
    )
    .outerjoin(t.action, t.action.c.id == t.delivery.c.action)
    .outerjoin(t.event, t.event.c.number == t.action.c.event)
    .where(t.delivery.c.id.in_(sa.bindparam("numbers", expanding=True)))
)
_TELL_ENDED = sa.insert(t.event)


def _ended(attempt: Attempt, row: Any) -> dict[str, Any]:
    facts = {
        "delivery": row.id,
        "destination": row.destination,
        "state": row.state,
        "answer": attempt.answer,
        "status": attempt.status,
        "attempts": row.attempts,
        "sent_syntax": attempt.sent_syntax,
        "script": row.script,
        "of": row.of,
        "hops": (row.told or {}).get("hops", 0) + 1 if row.of is not None else 0,
    }
    return {
        "kind": _FINAL[attempt.outcome],
        "subject": row.instance,
        "at": attempt.at,
        "blob": row.blob,
        "content": row.content,
        "study": row.study,
        "facts": facts,
    }


def action_ended(
    connection: Connection,
    of: int,
    at: float,
    facts: dict[str, Any],
    *,
    instance: str | None,
    content: str | None,
    blob: str | None,
) -> None:
    """Tell that what an action asked for at the event `of` has come to its end, as `facts` say: done, or failed for good."""
    study = connection.execute(sa.select(t.event.c.study).where(t.event.c.number == of)).scalar()
    subject = instance or facts["script"]
    events.append(
        connection, "action_done", subject, at, blob=blob, content=content, study=study, facts=facts | {"of": of}
    )
    if facts["state"] == "failed":
        text = (
            f"What the script {facts['script']} asked for failed: {facts['verb']} (task {facts['task']}). "
            "`hostd actions list --failed` says why, `hostd actions retry` tries once more."
        )
        notices.tell_default(connection, f"action:{facts['verb']}", text, at, detail=facts["reason"])


def transcode_failed(
    connection: Connection,
    instance: str,
    at: float,
    *,
    content: str | None,
    blob: str | None,
    reason: str,
    during: str,
    study: str | None = None,
) -> None:
    """Tell that a transcode gave no result; `during` is ingest or delivery."""
    facts = {"reason": reason, "during": during}
    events.append(connection, "transcode_failed", instance, at, blob=blob, content=content, study=study, facts=facts)


def product_failed(connection: Connection, blob: str, content: str, reason: str, now: float) -> None:
    """Tell that what a delivery of that file was to be could not be made; where only a rehearsal asked for it, nobody is told."""
    query = sa.select(t.delivery.c.instance).where(t.delivery.c.blob == blob, t.delivery.c.content == content)
    instance = connection.execute(query.limit(1)).scalar()
    if instance is not None:
        study = connection.execute(sa.select(t.event.c.study).where(t.event.c.subject == instance).limit(1)).scalar()
        transcode_failed(
            connection, instance, now, content=content, blob=blob, reason=reason, during="delivery", study=study
        )


def destination_down(connection: Connection, destination: str, reason: str, now: float) -> None:
    """Tell that a destination (`kind:name`) fails and its queue is held; once until it works again."""
    if not conditions.begin(connection, f"destination:{destination}", reason, now):
        return
    events.append(connection, "destination_down", destination, now, facts={"since": now, "reason": reason})
    text = f"{destination} fails, and what is to be sent to it waits. `hostd deliveries` shows what, and why."
    notices.tell_default(connection, f"destination:{destination}", text, now, detail=reason)


def destination_up(connection: Connection, destination: str, now: float) -> None:
    """Tell that a destination works again that failed."""
    was = conditions.end(connection, f"destination:{destination}", now)
    if was is not None:
        facts = {"since": was.since, "reason": was.reason}
        events.append(connection, "destination_up", destination, now, facts=facts)


def is_down(connection: Connection, destination: str) -> bool:
    """Tell whether that destination was told as down and not as up since."""
    condition = conditions.get(connection, f"destination:{destination}")
    return condition is not None and condition.is_amiss


def script_parked(connection: Connection, script: str, reason: str, now: float, *, event: Event | None = None) -> None:
    """Tell that a script could not digest an event, which is parked; without an event, the script itself is.

    That a script could not digest being told of this raises no further event: two scripts would never come to an end.
    """
    if event is None or event.kind != "script_parked":
        facts: dict[str, Any] = {"event": None, "handler": "", "reason": reason}
        if event is not None:
            facts |= {"event": event.number, "handler": event.handler}
        events.append(connection, "script_parked", script, now, facts=facts)
    what = f"The script {script} is parked: it rests, and its events wait."
    if event is not None:
        what = f"Event {event.number} of the script {script} is parked: it failed too often."
    text = f"{what} `hostd scripts` says why."
    notices.tell_default(connection, f"script:{script}", text, now, detail=reason)


def disk_low(connection: Connection, free_mb: int, limit_mb: int, now: float) -> bool:
    """Tell that there is little room left for the data folder; return whether that is news."""
    reason = f"{free_mb} MiB are free, less than {limit_mb}"
    if not conditions.begin(connection, "disk", reason, now):
        return False
    _tell_disk(connection, "disk_low", free_mb, limit_mb, now, since=now)
    text = f"The disk of the data folder is nearly full: {free_mb} MiB are left. Nothing is taken in when it is full."
    notices.tell_default(connection, "disk", text, now)
    return True


def disk_recovered(connection: Connection, free_mb: int, limit_mb: int, now: float) -> bool:
    """Tell that there is room again; return whether that is news."""
    was = conditions.end(connection, "disk", now)
    if was is None:
        return False
    _tell_disk(connection, "disk_recovered", free_mb, limit_mb, now, since=was.since)
    return True


def _tell_disk(connection: Connection, kind: str, free_mb: int, limit_mb: int, now: float, *, since: float) -> None:
    facts = {"free_mb": free_mb, "limit_mb": limit_mb, "since": since}
    events.append(connection, kind, "disk", now, facts=facts)


def source_heard_at(connection: Connection, calling_aet: str, ip: str | None) -> float | None:
    """Return when that modality last sent anything by an association, None when no row says so; `ip` where several share the title."""
    sent = (
        t.association.c.calling_aet == calling_aet,
        sa.or_(t.association.c.received > 0, t.association.c.ended.is_(None)),
        *((t.association.c.ip == ip,) if ip is not None else ()),
    )
    at = sa.func.coalesce(t.association.c.ended_at, t.association.c.at)
    heard: float | None = connection.execute(sa.select(sa.func.max(at)).where(*sent)).scalar()
    return heard


def watch_source(
    connection: Connection, source: str, heard_at: float | None, silent_after_s: float, now: float
) -> bool:
    """Tell a modality that has sent nothing for so long, once until it sends again; return whether that is news.

    One that was never heard counts from when it was first watched.
    """
    name = f"source:{source}"
    known = conditions.get(connection, name)
    if known is None:
        known = conditions.Condition(name, False, now, "")
        conditions.note(connection, known)
    if known.is_amiss and heard_at is not None and heard_at > known.since:
        known = conditions.Condition(name, False, heard_at, "")
        conditions.note(connection, known)
    last = known.since if heard_at is None else max(heard_at, known.since)
    if known.is_amiss or now - last < silent_after_s:
        return False
    hours = round((now - last) / 3600, 1)
    conditions.begin(connection, name, f"nothing for {hours:g} h", now)
    events.append(connection, "source_silent", source, now, facts={"since": last})
    text = f"The modality {source} has sent nothing for {hours:g} hours. Look whether it is on, and what it says of its queue."
    notices.tell_default(connection, name, text, now)
    return True
