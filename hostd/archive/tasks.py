"""Tasks: what actions ask hostd to do later, one row for each instance that is meant, carried out by `hostd.jobs.carrying` (P7).

A task waits in a `queue`, which names who carries it out. It is claimed under a lease's token, tried again with growing waits, and
ends in the open: done with its result, or failed with its reason, which `on_action_done` tells. As long as it is neither done nor
discarded it pins its file, and what is on the way to its product. A failed one waits for somebody to try it again, or to discard it.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Sequence
from dataclasses import dataclass, field
from typing import Any

import sqlalchemy as sa
from sqlalchemy import ColumnElement, Connection, Row

from hostd.archive import occurrences, rows
from hostd.archive import tables as t
from hostd.archive.fanout import Many
from hostd.archive.records import Event
from hostd.errors import NotFoundError

TOPIC = "action"
"""What is to be rung for whoever carries tasks out."""
OPEN = ("waiting", "running")
PINNING = (*OPEN, "failed")
"""States in which a task pins its file."""
DISCARDED = "discarded"
"""State of a task that was given up by a person."""
_DECIDED = ("failed", "waiting")


@dataclass(frozen=True, slots=True)
class PlannedTask:
    """What is to be done later, by whoever serves `queue`, with `details`, which are the queue's own.

    `of` is as for a forward: None for the event's own instance (or none, where the event is about none). `transform` is what makes the
    product that is meant. With `skip` there is nothing to do, for that reason.
    """

    position: int
    inputs: dict[str, Any]
    verb: str
    queue: str
    of: Many | None = None
    transform: str = ""
    details: dict[str, Any] = field(default_factory=dict)
    skip: str | None = None


@dataclass(frozen=True, slots=True)
class Task:
    """One thing to be done. `instance`, `content` and `blob` are None where it is about no instance.

    `hops` counts the acts of scripts that led to it, itself included.
    """

    id: int
    action: int
    script: str
    verb: str
    queue: str
    instance: str | None
    sop_instance_uid: str | None
    content: str | None
    blob: str | None
    transform: str
    details: dict[str, Any]
    hops: int
    state: str
    attempts: int
    next_attempt_at: float
    last_error: str | None
    result: dict[str, Any] | None
    created_at: float
    finished_at: float | None


# -- asking -----------------------------------------------------------------------------------------------------------


def enter(
    connection: Connection,
    planned: PlannedTask,
    event: Event,
    *,
    action: int,
    script: str,
    sop_instance_uid: str,
    hops: int,
    at: float,
) -> int:
    """Enter what is planned at an event as tasks of an action; return how many there are."""
    common = {
        "action": action, "script": script, "verb": planned.verb, "queue": planned.queue, "transform": planned.transform,
        "details": planned.details, "hops": hops, "state": "waiting", "attempts": 0, "next_attempt_at": at, "created_at": at,
    }  # fmt: skip
    if planned.of is None:
        own = {"instance": event.subject, "sop_instance_uid": sop_instance_uid} if event.header is not None else {}
        rows.insert(connection, t.task, **common, **own, content=event.content, blob=event.blob)
        return 1
    names = ("instance", "sop_instance_uid", "content", "blob")
    members = t.instance.c["id", "sop_instance_uid", "received_sha256", "blob"]
    given = [sa.literal(value, t.task.c[name].type) for name, value in common.items()]
    chosen = sa.select(*members, *given).where(planned.of.condition).order_by(t.instance.c.told, t.instance.c.id)
    insert = sa.insert(t.task).from_select([*names, *common], chosen)
    return connection.execute(insert, execution_options={"preserve_rowcount": True}).rowcount


def asked_together(connection: Connection, task: Task) -> list[tuple[str, str, str]]:
    """Return (blob, SOP Instance UID, content) of what else its action asked of that queue, and is not given up or done."""
    query = sa.select(*t.task.c["blob", "sop_instance_uid", "content"]).where(
        t.task.c.action == task.action,
        t.task.c.queue == task.queue,
        t.task.c.state.in_(PINNING),
        t.task.c.blob.is_not(None),
        t.task.c.id != task.id,
    )
    return [tuple(row) for row in connection.execute(query.order_by(t.task.c.id))]


# -- carrying out -----------------------------------------------------------------------------------------------------


def next_due(connection: Connection, queue: str) -> float | None:
    """Return when the next task of a queue is due, None when none waits."""
    query = sa.select(sa.func.min(t.task.c.next_attempt_at)).where(t.task.c.queue == queue, t.task.c.state == "waiting")
    return connection.execute(query).scalar()


def claim(connection: Connection, queue: str, token: int, now: float) -> Task | None:
    """Take the task of a queue that has been due for the longest."""
    due = t.task.c.queue == queue, t.task.c.state == "waiting", t.task.c.next_attempt_at <= now
    number = connection.execute(
        sa.select(t.task.c.id).where(*due).order_by(t.task.c.next_attempt_at, t.task.c.id).limit(1)
    ).scalar()
    if number is None:
        return None
    values = {"state": "running", "token": token, "attempts": t.task.c.attempts + 1}
    connection.execute(sa.update(t.task).where(t.task.c.id == number).values(**values))
    return get(connection, number)


def recover(connection: Connection, queue: str, token: int, now: float) -> int:
    """Give back what an earlier holder of the lease was doing when it ended; return how many."""
    stranded = t.task.c.queue == queue, t.task.c.state == "running", t.task.c.token != token
    reason = "hostd ended before the outcome was recorded; it is done again"
    values = {"state": "waiting", "next_attempt_at": now, "last_error": reason}
    return connection.execute(sa.update(t.task).where(*stranded).values(**values)).rowcount


def is_mine(connection: Connection, number: int, token: int) -> bool:
    """Tell whether a task is still being carried out under that token."""
    mine = t.task.c.id == number, t.task.c.token == token, t.task.c.state == "running"
    return connection.execute(sa.select(t.task.c.id).where(*mine)).first() is not None


def finish(connection: Connection, number: int, result: dict[str, Any], at: float) -> None:
    """End a task well, in the transaction of its effect."""
    _end(connection, number, at, state="done", result=result, last_error=None)


def fail(connection: Connection, number: int, reason: str, at: float, result: dict[str, Any] | None = None) -> None:
    """Give a task up, for that reason; `result` is what came of it all the same."""
    _end(connection, number, at, state="failed", last_error=reason, **({"result": result} if result else {}))


def orphaned(connection: Connection, prefix: str, served: Collection[str]) -> list[str]:
    """Return the queues whose names begin so, that hold open tasks, and that are not among those served."""
    query = sa.select(t.task.c.queue).distinct().where(t.task.c.queue.startswith(prefix), t.task.c.state.in_(OPEN))
    return sorted(set(connection.execute(query).scalars()) - set(served))


def put_off(connection: Connection, number: int, until: float, reason: str) -> None:
    """Have a task tried again at `until`."""
    values = {"state": "waiting", "next_attempt_at": until, "last_error": reason}
    connection.execute(sa.update(t.task).where(t.task.c.id == number).values(**values))


def _end(connection: Connection, number: int, at: float, **values: Any) -> None:
    connection.execute(sa.update(t.task).where(t.task.c.id == number).values(finished_at=at, **values))
    task = get(connection, number)
    assert task is not None
    _settle_action(connection, task.action)
    of = connection.execute(sa.select(t.action.c.event).where(t.action.c.id == task.action)).scalar_one()
    occurrences.action_ended(
        connection, of, at,
        {
            "task": task.id, "verb": task.verb, "script": task.script, "state": task.state, "reason": task.last_error or "",
            "result": task.result or {}, "attempts": task.attempts, "hops": task.hops,
        },
        instance=task.instance, content=task.content, blob=task.blob,
    )  # fmt: skip
    _release(connection, task)


def _release(connection: Connection, task: Task) -> None:
    """Have the collector look again at what a task pinned."""
    if task.blob is not None:
        made = sa.select(t.receipt.c.result).where(t.receipt.c.source == task.blob)
        freed = sa.or_(t.blob.c.name == task.blob, t.blob.c.name.in_(made))
        connection.execute(sa.update(t.blob).where(freed, t.blob.c.released).values(unpinned_at=None))


def _settle_action(connection: Connection, action: int) -> None:
    """Bring an action up to date with its tasks: open while one is, failed where one failed, otherwise done."""
    query = (
        sa.select(t.task.c.state, sa.func.count().label("number"))
        .where(t.task.c.action == action)
        .group_by(t.task.c.state)
    )
    counted: Counter[str] = Counter({row.state: row.number for row in connection.execute(query)})
    is_whole = not (counted["failed"] or counted[DISCARDED])
    state = "open" if any(counted[one] for one in OPEN) else "done" if is_whole else "failed"
    values: dict[str, Any] = {"state": state, "result": dict(counted)}
    if counted.total() == 1:
        only = connection.execute(sa.select(t.task).where(t.task.c.action == action)).one()
        values["result"] = only.result if state == "done" else {"reason": only.last_error} if only.last_error else None
    connection.execute(sa.update(t.action).where(t.action.c.id == action).values(**values))


def retry(connection: Connection, number: int, now: float) -> None:
    """Try a task again at once that failed, or waits. Raises `NotFoundError` when it is in another state, or its file is gone."""
    task = _decidable(connection, number, "tried again")
    if (
        task.blob is not None
        and connection.execute(sa.select(t.blob.c.name).where(t.blob.c.name == task.blob)).first() is None
    ):
        raise NotFoundError(f"the file of task {number} is no longer in the archive")
    values = {"state": "waiting", "next_attempt_at": now, "finished_at": None}
    connection.execute(sa.update(t.task).where(t.task.c.id == number).values(**values))
    _settle_action(connection, task.action)


def discard(connection: Connection, number: int, by: str, why: str, now: float) -> None:
    """Give up a task that failed, or waits, as `by` decided; its file is no longer kept for it. Raises `NotFoundError` as `retry` does.

    One that waited is told by `on_action_done`, one that failed was told already.
    """
    task = _decidable(connection, number, "discarded")
    reason = f"discarded by {by}: {why}"
    if task.state == "waiting":
        _end(connection, number, now, state=DISCARDED, last_error=reason)
        return
    reason += f"; it had failed: {task.last_error}"
    values = {"state": DISCARDED, "last_error": reason}
    connection.execute(sa.update(t.task).where(t.task.c.id == number).values(**values))
    _settle_action(connection, task.action)
    _release(connection, task)


def _decidable(connection: Connection, number: int, decided: str) -> Task:
    task = get(connection, number)
    if task is None:
        raise NotFoundError(f"there is no action {number}")
    if task.state not in _DECIDED:
        raise NotFoundError(f"action {number} is {task.state}, only one that failed or waits can be {decided}")
    return task


# -- reading ----------------------------------------------------------------------------------------------------------


def pins(name: ColumnElement[str]) -> ColumnElement[bool]:
    """Tell whether a task needs the file of that name."""
    return sa.exists().where(t.task.c.blob == name, t.task.c.state.in_(PINNING))


def get(connection: Connection, number: int) -> Task | None:
    """Return one task."""
    row = connection.execute(sa.select(t.task).where(t.task.c.id == number)).first()
    return _task(row) if row else None


def listing(connection: Connection, *, states: Sequence[str] = (), limit: int = 100) -> list[Task]:
    """Return the newest tasks that are in one of these states, or in any."""
    query = sa.select(t.task).order_by(t.task.c.id.desc()).limit(limit)
    if states:
        query = query.where(t.task.c.state.in_(states))
    return [_task(row) for row in connection.execute(query)]


def of_action(connection: Connection, action: int, instance: str) -> list[Task]:
    """Return the tasks of an action that are about an instance, or about none."""
    about = sa.or_(t.task.c.instance == instance, t.task.c.instance.is_(None))
    query = sa.select(t.task).where(t.task.c.action == action, about).order_by(t.task.c.id)
    return [_task(row) for row in connection.execute(query)]


def counts(connection: Connection) -> dict[str, int]:
    """Return state → how many tasks."""
    query = sa.select(t.task.c.state, sa.func.count().label("number")).group_by(t.task.c.state).order_by(t.task.c.state)
    return {row.state: row.number for row in connection.execute(query)}


def _task(row: Row[Any]) -> Task:
    return Task(**{name: getattr(row, name) for name in Task.__dataclass_fields__})
