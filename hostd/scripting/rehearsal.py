"""Rehearsal: what a script would do on a file, without doing it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from hostd.archive.notices import PlannedNotify
from hostd.archive.plans import PlannedAction, PlannedDelete, PlannedForward, PlannedTool
from hostd.archive.records import Event, Origin
from hostd.dicom import syntaxes
from hostd.dicom.header import read_header
from hostd.dicom.part10 import data_set_offset
from hostd.errors import HostdError, ScriptError
from hostd.sandbox import api, frames
from hostd.scripting import questions, situations
from hostd.scripting.execution import why
from hostd.scripting.interest import concerns
from hostd.scripting.plan import Channels, Destinations, Tools, as_frames_event, handler_of, no_tools, resolve
from hostd.scripting.runtime import ScriptWorker
from hostd.transcoding.transform import RunTool, Transform

Answerer = Callable[[frames.Question], frames.Answer]
"""What answers the questions of a run."""

_FIRST = 1
"""The number of a rehearsed event; each is the first of a log of its own."""


@dataclass(frozen=True, slots=True)
class Outcome:
    """What came of one run. `plan` says each action in words; `error` why there is none."""

    plan: tuple[str, ...]
    log: tuple[tuple[str, str], ...]
    tags_read: tuple[str, ...]
    error: str | None


@dataclass(frozen=True, slots=True)
class Rehearsal(Outcome):
    """What came of one run on one file."""

    file: Path
    handler: str


def rehearse(
    worker: ScriptWorker,
    file: Path,
    *,
    kind: str,
    now: float,
    destinations: Destinations,
    time_limit_s: float,
    tools: Tools = no_tools,
    channels: Channels | None = None,
) -> Rehearsal:
    """Run the handler of an event (`kind`: "stored_instance") on a file; nothing is stored, sent or changed.

    Raises `ScriptError` for an event that does not exist, its kind `WorkerLost` when the script had to be killed, `UnparsableError` for
    what is not a DICOM file, and `OSError` for a file that cannot be read.
    """
    if f"on_{kind}" not in api.HANDLERS:
        raise ScriptError(
            f"there is no event {kind!r}; there are: {', '.join(n.removeprefix('on_') for n in api.HANDLERS)}"
        )
    event = _event(file, kind, now)
    handler = handler_of(event)
    if handler not in worker.ready.handlers:
        has = ", ".join(worker.ready.handlers) or "no handler at all"
        return failed(file, kind, f"the script has no {handler}; it has {has}")
    outcome = rehearse_event(
        worker,
        event,
        answer=lambda question: questions.answer(question, file),
        destinations=destinations,
        time_limit_s=time_limit_s,
        tools=tools,
        channels=channels,
    )
    return Rehearsal(outcome.plan, outcome.log, outcome.tags_read, outcome.error, file, handler)


def failed(file: Path, kind: str, error: object) -> Rehearsal:
    """Return the rehearsal of a file that came to nothing."""
    return Rehearsal((), (), (), str(error), file, f"on_{kind}")


def rehearse_event(
    worker: ScriptWorker,
    event: Event,
    *,
    answer: Answerer,
    destinations: Destinations,
    time_limit_s: float,
    tools: Tools = no_tools,
    channels: Channels | None = None,
) -> Outcome:
    """Run the handler of an event and carry out nothing of what it asks for. Raises `WorkerLost` when the script had to be killed."""
    if not concerns(worker.ready.handles, event):
        unasked = ("info", "the script is not asked: by its `handles`, this instance does not concern it")
        return Outcome((), (unasked,), (), None)
    result = worker.run(as_frames_event(event), time_limit_s=time_limit_s, answer=answer)
    error = why(result.failure)
    plan: tuple[str, ...] = ()
    if error is None:
        try:
            planned = resolve(result.actions, event, destinations, tools, channels, result.tags_read)
            plan = tuple(sentence(action) for action in planned)
        except HostdError as refused:
            error = str(refused)
    return Outcome(plan, tuple(result.log), tuple(result.tags_read), error)


def sentence(action: PlannedAction) -> str:
    """Say a planned action in words."""
    match action:
        case PlannedForward():
            return _forward_sentence(action)
        case PlannedDelete():
            return _delete_sentence(action)
        case PlannedNotify():
            return _notify_sentence(action)
        case PlannedTool():
            return f"have the tool {action.inputs['name']} make something of it, when a delivery needs it"
        case _:
            lossy = any(name in action.inputs for name in ("quality", "ratio", "near")) or action.inputs.get("lossy")
            loss = " with loss" if lossy else ""
            return f"transcode to {syntaxes.by_uid(action.inputs['to']).name}{loss}, when a delivery needs it"


def _delete_sentence(action: PlannedDelete) -> str:
    if action.after is None:
        return "delete at once"
    if action.after == "delivered":
        return "delete once all its deliveries have arrived"
    return f"delete once {len(action.after)} named deliveries have arrived"


def _notify_sentence(action: PlannedNotify) -> str:
    limit = f", at most one every {action.every_s:g} s" if action.every_s is not None else ""
    return f"notify {action.channel}{limit}: {action.text}"


def _forward_sentence(action: PlannedForward) -> str:
    if action.skip is not None:
        return f"forward to {action.destination}: nothing is sent, {action.skip}"
    priority = action.inputs.get("priority", "normal")
    said = f"forward to {action.destination}" + (f" with priority {priority}" if priority != "normal" else "")
    transform = Transform.parse(action.transform)
    if not transform:
        return said
    if tools := [step.name for step in transform.steps if isinstance(step, RunTool)]:
        said += f", after {' and '.join(tools)}"
        if not transform.syntax_of(""):
            return f"{said}, or not at all"
    otherwise = ", or as it is where that cannot be done" if not transform.required else ", or not at all"
    return f"{said} in {syntaxes.by_uid(transform.syntax_of('')).name}{otherwise}"


def _event(file: Path, kind: str, now: float) -> Event:
    if not api.HANDLERS[f"on_{kind}"].__dataclass_fields__:  # about the script itself
        return Event(_FIRST, kind, file.name, None, None, None, None, now)
    facts = situations.EXAMPLES.get(kind)
    if facts is not None and kind not in situations.ABOUT_AN_INSTANCE:
        return Event(_FIRST, kind, situations.example_subject(kind), None, None, None, None, now, facts=facts)
    with file.open("rb") as opened:
        start = data_set_offset(opened)
        header = read_header(
            opened, offset=start.offset, transfer_syntax=start.transfer_syntax_uid, size=file.stat().st_size
        )
    identifier, origin = header.identity.instance, Origin("import")
    return Event(_FIRST, kind, identifier, str(file), "", header.encode(), origin, now, facts=facts)
