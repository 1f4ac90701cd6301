"""Plans: what one run of a script asked for, entered together with its cursor, or not at all (P2)."""

from __future__ import annotations

from dataclasses import asdict, dataclass, replace
from typing import Any

import sqlalchemy as sa
from sqlalchemy import Connection

from hostd.archive import (
    deletes,
    deliveries,
    events,
    fanout,
    handling,
    marks,
    notices,
    occurrences,
    quieting,
    rows,
    scripts,
    states,
    tasks,
    usage,
)
from hostd.archive import tables as t
from hostd.archive.fanout import Many
from hostd.archive.handling import Deal, PlannedDeal
from hostd.archive.marks import PlannedMark
from hostd.archive.notices import PlannedNotify
from hostd.archive.quieting import PlannedStable
from hostd.archive.records import Cursor, Event
from hostd.archive.states import State
from hostd.archive.tasks import PlannedTask
from hostd.archive.usage import NO_QUOTA, Quota


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
class PlannedEdit:
    """A modified, de-identified or redacted product; see `PlannedTranscode`. `inputs` names attributes, and holds no value of any."""

    position: int
    inputs: dict[str, Any]
    verb: str


@dataclass(frozen=True, slots=True)
class PlannedForward:
    """A delivery to ask for, or, with `skip`, the reason why there is nothing to deliver.

    `of` is a level, of which each member is meant, or one member of it; None for the event's own instance. `again` and
    `back` concern the members of a level.
    """

    position: int
    inputs: dict[str, Any]
    destination: str
    transform: str = ""
    priority: int = deliveries.PRIORITIES["normal"]
    not_before: float = 0.0
    skip: str | None = None
    of: Many | None = None
    again: bool = False
    back: bool = False


@dataclass(frozen=True, slots=True)
class PlannedDelete:
    """A delete of the event's instance: at once (None), or after other things.

    "delivered": after all its deliveries; "committed": when their peers have committed to them; or after those of these positions.
    `of` is as for a forward.
    """

    position: int
    inputs: dict[str, Any]
    after: str | tuple[int, ...] | None
    of: Many | None = None


PlannedAction = (
    PlannedTranscode
    | PlannedTool
    | PlannedEdit
    | PlannedForward
    | PlannedDelete
    | PlannedNotify
    | PlannedMark
    | PlannedTask
    | PlannedDeal
    | PlannedStable
)


_NOTHING_LEFT = "nothing of it is left as it was at the event: what was deleted or replaced since has events of its own"


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
    asked: tuple[dict[str, Any], ...] = ()
    """What the run asked beyond its event, and what was answered."""
    state: State | None = None
    """What the script keeps from now on, in the place of the version that the run read."""

    @property
    def leaves_a_row(self) -> bool:
        """Whether the run did, asked, said or failed something; a change of its state alone stands in the state."""
        return bool(self.actions or self.log or self.error or self.asked)

    @property
    def is_empty(self) -> bool:
        """Whether nothing is to be entered of it but that its event is done."""
        return not self.leaves_a_row and self.state is None and self.outcome == "done"


def enter(
    connection: Connection,
    plan: Plan,
    token: int,
    *,
    after: int | None,
    first: int | None = None,
    quota: Quota = NO_QUOTA,
    park_after: int = 0,
) -> bool:
    """Enter a plan's actions and move the script's cursor past its event, in the caller's transaction.

    Return whether the script itself is parked with it, because so many (`park_after`; 0: never) of its events were parked in a row.
    Raises `QuotaError` when the script has used up what it may do in a day. `after` is the number of an event that must be done before, and with this one all are done from `first` (None: the next) on; `after` is None
    for an event about the script itself, which is taken out of order. Raises `scripts.StaleTokenError` when `after` is not done, when this event is, or
    when another version has taken over.
    """
    before: Cursor | None = None
    if after is None:
        scripts.finish_out_of_order(connection, plan.script, token, plan.event.number)
    else:
        before = scripts.advance(connection, plan.script, token, after=after, first=first, to=plan.event.number)
    if plan.state is not None:
        states.put(connection, plan.script, plan.state.value, over=plan.state.version)
    if plan.leaves_a_row:
        run = write_run(connection, plan)
        _enter_actions(connection, plan, run)
    if plan.actions:
        usage.charge(connection, plan.script, run, plan.at, quota)
    if plan.outcome == "parked":
        occurrences.script_parked(connection, plan.script, plan.error or "", plan.at, event=plan.event)
    if before is None:  # about the script itself
        return False
    count = scripts.count_parked(connection, plan.script, before.parked_in_a_row, parked=plan.outcome == "parked")
    if plan.outcome != "parked" or not park_after or count < park_after:
        return False
    why = f"{count} events were parked in a row, the last because of {plan.error}"
    scripts.park(connection, plan.script, token, plan.version, why, plan.at)
    return True


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
        asked=list(plan.asked),
        error=plan.error,
        at=plan.at,
        seconds=plan.seconds,
    )


def write_failure(connection: Connection, plan: Plan) -> None:
    """Write the row of a run that failed and is to be repeated; the cursor stays where it is."""
    write_run(connection, replace(plan, outcome="failed", actions=(), state=None))


def failures(connection: Connection, script: str, event: int) -> int:
    """Return how often the script failed on that event."""
    return connection.execute(
        sa.select(sa.func.count())
        .select_from(t.run)
        .where(t.run.c.script == script, t.run.c.event == event, t.run.c.outcome == "failed")
    ).scalar_one()


_OF_ACTION = sa.update(t.action).where(t.action.c.id == sa.bindparam("of"))
_RESULT = rows.Prepared(_OF_ACTION.values(result=sa.bindparam("result")))
_STATE = rows.Prepared(_OF_ACTION.values(state=sa.bindparam("state"), result=sa.bindparam("result")))


def _enter_actions(connection: Connection, plan: Plan, run: int) -> None:
    asked: dict[int, list[int]] = {}
    pending_deletes: list[tuple[int, PlannedDelete]] = []
    changes: marks.Changes = {}
    for planned in plan.actions:
        match planned:
            case PlannedTranscode() | PlannedTool() | PlannedEdit():
                _insert(connection, plan, run, planned, _made_by(planned), "done")
            case PlannedForward():
                _enter_forward(connection, plan, run, planned, asked)
            case PlannedNotify():
                _enter_notify(connection, plan, run, planned)
            case PlannedDeal():
                _enter_deal(connection, plan, run, planned)
            case PlannedStable():
                state, result = quieting.declare(connection, planned.of, plan.at)
                _insert(connection, plan, run, planned, "declare_stable", state, result=result)
            case PlannedTask():
                _enter_task(connection, plan, run, planned)
            case PlannedMark():
                state, result = marks.carry_out(connection, planned, plan.event, changes)
                _insert(connection, plan, run, planned, planned.verb, state, result=result)
            case PlannedDelete():
                inputs = {**_target(plan.event, planned.of), **planned.inputs}
                number = _insert(connection, plan, run, planned, "delete", "open", inputs=inputs)
                pending_deletes.append((number, planned))
    marks.tell(connection, changes, plan.event, plan.script, plan.at)
    # Deletes come last, wherever the script wrote them: a forward of the same plan is meant to be delivered.
    _settle_deletes(connection, plan, pending_deletes, asked)


def _made_by(planned: PlannedTranscode | PlannedTool | PlannedEdit) -> str:
    if isinstance(planned, PlannedEdit):
        return planned.verb
    return "transcode" if isinstance(planned, PlannedTranscode) else "run_tool"


def _settle_deletes(
    connection: Connection, plan: Plan, pending: list[tuple[int, PlannedDelete]], asked: dict[int, list[int]]
) -> None:
    for number, planned in pending:
        if planned.after in ("delivered", "committed"):
            deletes.wait_for(connection, number, _all_deliveries(connection, plan.event, planned.of))
        elif isinstance(planned.after, tuple):
            named = [delivery for position in planned.after for delivery in asked.get(position, ())]
            deletes.wait_for(connection, number, named)
        deletes.settle(connection, number, plan.at)


def _target(event: Event, of: Many | None) -> dict[str, Any]:
    """Return what a delete is about, as its action's inputs hold it."""
    return {"many": asdict(of)} if of is not None else {"instance": event.subject, "content": event.content}


def _all_deliveries(connection: Connection, event: Event, of: Many | None) -> list[int]:
    if of is not None:
        return fanout.deliveries_of(connection, of)
    assert event.content is not None
    return deletes.all_of(connection, event.subject, event.content)


def _enter_forward(
    connection: Connection, plan: Plan, run: int, planned: PlannedForward, asked: dict[int, list[int]]
) -> None:
    if planned.skip is not None:
        _insert(connection, plan, run, planned, "forward", "skipped", result={"reason": planned.skip})
        return
    if planned.of is not None:
        asked[planned.position] = _enter_forwards(connection, plan, run, planned, planned.of)
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
    asked[planned.position] = [number]
    result = {"delivery": number, "absorbed": not new}
    _RESULT.change(connection, of=action, result=result)


def _enter_forwards(connection: Connection, plan: Plan, run: int, planned: PlannedForward, many: Many) -> list[int]:
    """Ask for a delivery of each member that is meant; return the deliveries that a delete may wait for."""
    action = _insert(connection, plan, run, planned, "forward", "done")
    result = fanout.forward(
        connection,
        many,
        destination=planned.destination,
        transform=planned.transform,
        priority=planned.priority,
        not_before=planned.not_before,
        now=plan.at,
        script=plan.script,
        action=action,
        again=planned.again or bool(many.instance),
        back=planned.back,
    )
    state = "done" if any(result.values()) else "skipped"
    if state == "skipped":
        result["reason"] = _NOTHING_LEFT
    _STATE.change(connection, of=action, state=state, result=result)
    return fanout.deliveries_of(connection, many, destination=planned.destination, transform=planned.transform)


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
    _STATE.change(connection, of=action, state=state, result=result)


def _enter_deal(connection: Connection, plan: Plan, run: int, planned: PlannedDeal) -> None:
    if planned.skip is not None:
        _insert(connection, plan, run, planned, planned.verb, "skipped", result={"reason": planned.skip})
        return
    action = _insert(connection, plan, run, planned, planned.verb, "done")
    deal = Deal(planned.verb, planned.to, plan.script, plan.event.number, action)
    state, result = handling.deal(connection, planned.delivery, deal, plan.at)
    _STATE.change(connection, of=action, state=state, result=result)


def _enter_task(connection: Connection, plan: Plan, run: int, planned: PlannedTask) -> None:
    if planned.skip is not None:
        _insert(connection, plan, run, planned, planned.verb, "skipped", result={"reason": planned.skip})
        return
    action = _insert(connection, plan, run, planned, planned.verb, "open")
    count = tasks.enter(
        connection,
        planned,
        plan.event,
        action=action,
        script=plan.script,
        sop_instance_uid=plan.sop_instance_uid,
        hops=events.hops_of(plan.event) + 1,
        at=plan.at,
    )
    if count == 0:
        result = {"reason": _NOTHING_LEFT}
        _STATE.change(connection, of=action, state="skipped", result=result)


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
