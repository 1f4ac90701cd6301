"""What scripts ask other archives, and what they have them send: asked through what the node hands in, and retrieved as tasks."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import Any

import msgspec
import sqlalchemy as sa
from sqlalchemy import Connection

from hostd.archive import tables as t
from hostd.archive.records import Event
from hostd.archive.tasks import PlannedTask
from hostd.dicom.element_values import Elements
from hostd.dicom.query import LEVELS, RETURN_KEYS, Level, Question
from hostd.errors import ScriptError
from hostd.sandbox import acts
from hostd.sandbox.querying import MOST, is_uid

QUEUE = "retrieve:"
"""What the queue of a modality's tasks begins with."""
MAX_BYTES = 256 << 10
"""Bytes of the answers to one question, as they are recorded."""

Plain = dict[str, list[Any]]
"""A match as it is recorded: tag in eight hexadecimal digits → [VR, values]."""
Query = Callable[[str, Question, int], list[Elements]]
"""Asks a modality for so many matches. Raises `HostdError` where there is no answer."""


class Asked(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A question of a script, as it travels and as it is recorded."""

    modality: str
    level: str
    keys: dict[str, str]
    limit: int

    @classmethod
    def of(cls, more: Mapping[str, Any]) -> Asked:
        """Return what a worker asks. Raises `ScriptError` for what no honest script asks."""
        try:
            asked = msgspec.convert(more, cls)
        except msgspec.ValidationError as error:
            raise ScriptError(f"that is nothing that can be asked: {error}") from error
        if asked.level not in LEVELS or not 1 <= asked.limit <= MOST:
            raise ScriptError(f"there is no level {asked.level[:64]!r}, or the limit is none")
        return asked

    def question(self) -> Question:
        """Return the question with what names a match, and what is commonly said of that level. Raises `QueryError`."""
        level: Level = self.level  # type: ignore[assignment]  # it is one of them, or `of` had refused it
        return Question.by_keywords(level, self.keys).complete().with_keys(RETURN_KEYS[level])


def plain(matches: Iterable[Elements]) -> list[Plain]:
    """Return matches as they are recorded: without bytes. Raises `ScriptError` when they are too large for that."""
    found = [_plain(match) for match in matches]
    if len(msgspec.json.encode(found)) > MAX_BYTES:
        raise ScriptError(f"the answer has more than {MAX_BYTES >> 10} KiB: ask for less, by keys or limit")
    return found


def _plain(match: Elements) -> Plain:
    found = {}
    for tag, (vr, values) in match.items():
        kept = [value for value in values or () if not isinstance(value, (bytes, bytearray))]
        found[f"{tag:08x}"] = [vr, [_plain(item) for item in kept] if vr == "SQ" else kept]
    return found


def as_elements(match: Plain) -> Elements:
    """Return a recorded match as its elements."""
    return {
        int(tag, 16): (vr, [as_elements(item) for item in values] if vr == "SQ" else values)
        for tag, (vr, values) in match.items()
    }


def recorded(connection: Connection, event: Event, asked: Asked) -> list[Plain] | None:
    """Return what was answered to that question when the event was run, or one that it repeats; None when it was not asked."""
    numbers = [event.number] if event.repeats is None else [event.number, event.repeats]
    runs = (
        sa.select(t.run.c.asked)
        .where(t.run.c.event.in_(numbers), t.run.c.asked.is_not(None))
        .order_by(t.run.c.id.desc())
    )
    for one in connection.execute(runs).scalars():
        if (found := among(one or (), asked)) is not None:
            return found
    return None


def among(questions: Iterable[Mapping[str, Any]], asked: Asked) -> list[Plain] | None:
    """Return the recorded answer to that question, None when it was not asked."""
    sought = {"verb": "query", **msgspec.to_builtins(asked)}
    for one in questions:
        if sought.items() <= one.items():
            found: list[Plain] = one["answers"]
            return found
    return None


def planned(position: int, action: acts.Retrieve, skip: str | None) -> PlannedTask:
    """Return what is entered of `retrieve`. Raises `ScriptError` for what no honest script asks."""
    named = {"study": action.study, "series": action.series, "instance": action.instance}
    details = {what: uid for what, uid in named.items() if uid}
    if not action.study or not all(map(is_uid, details.values())) or (action.instance and not action.series):
        raise ScriptError("what is retrieved is named by the UIDs of its study, its series and itself")
    inputs = {"modality": action.modality, **details, "line": action.line}
    return PlannedTask(position, inputs, "retrieve", f"{QUEUE}{action.modality}", details=details, skip=skip)


def sentence(task: PlannedTask) -> str:
    """Say in words what is to be sent here."""
    what = next(what for what in ("instance", "series", "study") if what in task.details)
    said = f"retrieve {what} {task.details[what]} from {task.queue.removeprefix(QUEUE)}"
    return said if task.skip is None else f"{said}: nothing is retrieved, {task.skip}"
