"""Plans: what one run of a script asked for, entered together with its cursor, or not at all (P2)."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

import sqlalchemy as sa
from sqlalchemy import Connection

from hostd.archive import deletes, deliveries, notices, occurrences, rows, scripts
from hostd.archive import tables as t
from hostd.archive.notices import PlannedNotify
from hostd.archive.records import Event


@dataclass(frozen=True, slots=True)
class PlannedTranscode:
    """A product that other actions may name; it is made when a delivery of it is tried. `inputs` is what the script wrote."""

    position: int
    inputs: dict[str, Any]


@dataclass(frozen=True, slots=True)
class PlannedTool:
    """What an external tool is to make of an instance or a product; see `PlannedTranscode`."""

    position: int
    inputs: dict[str, Any]


@dataclass(frozen=True, slots=True)
class PlannedForward:
    """A delivery to ask for, or, with `skip`, the reason why there is nothing to deliver."""

    position: int
    inputs: dict[str, Any]
    destination: str
    transform: str = ""
    priority: int = deliveries.PRIORITIES["normal"]
    not_before: float = 0.0
    skip: str | None = None


@dataclass(frozen=True, slots=True)
class PlannedDelete:
    """A delete of the event's instance: at once (None), after all its deliveries ("delivered"), or after those of these positions."""

    position: int
    inputs: dict[str, Any]
    after: str | tuple[int, ...] | None


PlannedAction = PlannedTranscode | PlannedTool | PlannedForward | PlannedDelete | PlannedNotify


@dataclass(frozen=True, slots=True)
class Plan:
    """What a run leaves behind. `outcome` is done or parked; one that failed and is to be repeated is not entered."""

    script: str
    version: str
    event: Event
    sop_instance_uid: str
    sop_class_uid: str
    outcome: str
    actions: tuple[PlannedAction, ...]
    tags_read: tuple[str, ...]
    log: tuple[tuple[str, str], ...]
    error: str | None
    at: float
    seconds: float


def enter(connection: Connection, plan: Plan, token: int, *, after: int | None) -> None:
    """Enter a plan's actions and move the script's cursor past its event, in the caller's transaction.

    `after` is where the cursor is expected to stand, everything up to it being done; None for an event that is taken out of order. Raises
    `scripts.StaleTokenError` when the cursor stands elsewhere or another version has taken over.
    """
    if after is None:
        scripts.finish_out_of_order(connection, plan.script, token, plan.event.number)
    else:
        scripts.advance(connection, plan.script, token, after=after, to=plan.event.number)
    if plan.actions or plan.log or plan.error:
        run = write_run(connection, plan)
        _enter_actions(connection, plan, run)
    if plan.outcome == "parked":
        reason, event = plan.error or "", plan.event
        occurrences.script_parked(connection, plan.script, reason, plan.at, event=event.number, kind=event.kind)


def write_run(connection: Connection, plan: Plan) -> int:
    """Write the row of a run and return its number."""
    return rows.insert(
        connection,
        t.run,
        script=plan.script,
        version=plan.version,
        event=plan.event.number,
        outcome=plan.outcome,
        tags_read=list(plan.tags_read),
        log=[list(line) for line in plan.log],
        error=plan.error,
        at=plan.at,
        seconds=plan.seconds,
    )


def write_failure(connection: Connection, plan: Plan) -> None:
    """Write the row of a run that failed and is to be repeated; the cursor stays where it is."""
    write_run(connection, replace(plan, outcome="failed", actions=()))


def failures(connection: Connection, script: str, event: int) -> int:
    """Return how often the script failed on that event."""
    return connection.execute(
        sa.select(sa.func.count())
        .select_from(t.run)
        .where(t.run.c.script == script, t.run.c.event == event, t.run.c.outcome == "failed")
    ).scalar_one()


def _enter_actions(connection: Connection, plan: Plan, run: int) -> None:
    asked: dict[int, int] = {}
    pending_deletes: list[tuple[int, PlannedDelete]] = []
    for planned in plan.actions:
        match planned:
            case PlannedTranscode():
                _insert(connection, plan, run, planned, "transcode", "done")
            case PlannedTool():
                _insert(connection, plan, run, planned, "run_tool", "done")
            case PlannedForward():
                _enter_forward(connection, plan, run, planned, asked)
            case PlannedNotify():
                _enter_notify(connection, plan, run, planned)
            case PlannedDelete():
                inputs = {"instance": plan.event.subject, "content": plan.event.content, **planned.inputs}
                number = _insert(connection, plan, run, planned, "delete", "open", inputs=inputs)
                pending_deletes.append((number, planned))
    # Deletes come last, wherever the script wrote them: a forward of the same plan is meant to be delivered.
    for number, planned in pending_deletes:
        assert plan.event.content is not None
        if planned.after == "delivered":
            deletes.wait_for(connection, number, deletes.all_of(connection, plan.event.subject, plan.event.content))
        elif isinstance(planned.after, tuple):
            deletes.wait_for(connection, number, [asked[position] for position in planned.after if position in asked])
        deletes.settle(connection, number, plan.at)


def _enter_forward(
    connection: Connection, plan: Plan, run: int, planned: PlannedForward, asked: dict[int, int]
) -> None:
    if planned.skip is not None:
        _insert(connection, plan, run, planned, "forward", "skipped", result={"reason": planned.skip})
        return
    assert plan.event.blob is not None
    assert plan.event.content is not None
    action = _insert(connection, plan, run, planned, "forward", "done")
    number, new = deliveries.ask(
        connection,
        instance=plan.event.subject,
        sop_instance_uid=plan.sop_instance_uid,
        sop_class_uid=plan.sop_class_uid,
        destination=planned.destination,
        content=plan.event.content,
        blob=plan.event.blob,
        transform=planned.transform,
        priority=planned.priority,
        not_before=planned.not_before,
        now=plan.at,
        script=plan.script,
        action=action,
    )
    asked[planned.position] = number
    result = {"delivery": number, "absorbed": not new}
    connection.execute(sa.update(t.action).where(t.action.c.id == action).values(result=result))


def _enter_notify(connection: Connection, plan: Plan, run: int, planned: PlannedNotify) -> None:
    action = _insert(connection, plan, run, planned, "notify", "done")
    number, new = notices.ask(
        connection,
        channel=planned.channel,
        text=planned.text,
        key=planned.key,
        every_s=planned.every_s,
        now=plan.at,
        script=plan.script,
        action=action,
    )
    result: dict[str, Any] = {"notification": number, "absorbed": not new}
    if not new:
        result["reason"] = f"at most one of this key every {planned.every_s:g} s, and {number} is younger"
    state = "done" if new else "skipped"
    connection.execute(sa.update(t.action).where(t.action.c.id == action).values(state=state, result=result))


def _insert(
    connection: Connection,
    plan: Plan,
    run: int,
    planned: PlannedAction,
    verb: str,
    state: str,
    *,
    inputs: dict[str, Any] | None = None,
    result: dict[str, Any] | None = None,
) -> int:
    return rows.insert(
        connection,
        t.action,
        run=run,
        script=plan.script,
        event=plan.event.number,
        position=planned.position,
        verb=verb,
        inputs=planned.inputs if inputs is None else inputs,
        state=state,
        result=result,
    )
