"""What scripts ask and tell other systems by HTTP: asked through what the node hands in, and told as tasks."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

import sqlalchemy as sa
from sqlalchemy import Connection

from hostd.archive import tables as t
from hostd.archive.records import Event
from hostd.archive.tasks import PlannedTask
from hostd.errors import ScriptError
from hostd.sandbox import acts
from hostd.sandbox.requesting import MAX_JSON, fault_of

QUEUE = "http:"
"""What the queue of a target's tasks begins with."""

Get = Callable[[str, str], tuple[int, str]]
"""Asks a target for a path; returns status and body. Raises `HostdError` where there is no answer, or none that may be given."""


def recorded(connection: Connection, event: Event, target: str, path: str) -> tuple[int, str] | None:
    """Return what was answered to that question when the event was run, or one that it repeats; None when it was not asked."""
    numbers = [event.number] if event.repeats is None else [event.number, event.repeats]
    runs = (
        sa.select(t.run.c.asked)
        .where(t.run.c.event.in_(numbers), t.run.c.asked.is_not(None))
        .order_by(t.run.c.id.desc())
    )
    for asked in connection.execute(runs).scalars():
        if (found := among(asked or (), target, path)) is not None:
            return found
    return None


def among(asked: Iterable[dict[str, Any]], target: str, path: str) -> tuple[int, str] | None:
    """Return the recorded answer to that question, None when it was not asked."""
    for one in asked:
        if (one.get("verb"), one.get("target"), one.get("path")) == ("http_get", target, path):
            return int(one["status"]), str(one["body"])
    return None


def planned(position: int, action: acts.Request, skip: str | None) -> PlannedTask:
    """Return what is entered of `post` and `put`. Raises `ScriptError` for what no honest script asks."""
    if (fault := fault_of(action.path)) is not None:
        raise ScriptError(fault)
    if len(action.json.encode()) > MAX_JSON:
        raise ScriptError(f"what is sent has up to {MAX_JSON >> 10} KiB")
    inputs = {"target": action.target, "path": action.path, "line": action.line}
    details = {"method": action.verb.upper(), "path": action.path, "json": action.json}
    return PlannedTask(position, inputs, action.verb, f"{QUEUE}{action.target}", details=details, skip=skip)


def sentence(task: PlannedTask) -> str:
    """Say in words what is to be told to whom."""
    size = len(task.details["json"].encode())
    said = f"{task.verb} {size} bytes to {task.queue.removeprefix(QUEUE)}: {task.details['path'] or '/'}"
    return said if task.skip is None else f"{said}; nothing is sent, {task.skip}"
