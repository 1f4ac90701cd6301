"""Rehearsal: what a script would do on a file, without doing it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from hostd.archive.plans import PlannedAction, PlannedDelete, PlannedEdit, PlannedForward, PlannedTool
from hostd.archive.records import Event, Origin
from hostd.dicom import syntaxes
from hostd.dicom.header import read_header
from hostd.dicom.part10 import data_set_offset
from hostd.errors import HostdError, ScriptError
from hostd.sandbox import api, frames
from hostd.scripting import questions
from hostd.scripting.edits import Projects, no_projects
from hostd.scripting.execution import why
from hostd.scripting.plan import Destinations, Tools, as_frames_event, handler_of, no_tools, resolve
from hostd.scripting.runtime import ScriptWorker
from hostd.transcoding.edits import Anonymize, Modify, Redact
from hostd.transcoding.transform import RunTool, Step, Transcode, Transform

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
    projects: Projects = no_projects,
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
        projects=projects,
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
    projects: Projects = no_projects,
) -> Outcome:
    """Run the handler of an event and carry out nothing of what it asks for. Raises `WorkerLost` when the script had to be killed."""
    result = worker.run(as_frames_event(event), time_limit_s=time_limit_s, answer=answer)
    error = why(result.failure)
    plan: tuple[str, ...] = ()
    if error is None:
        try:
            plan = tuple(sentence(action) for action in resolve(result.actions, event, destinations, tools, projects))
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
        case PlannedTool():
            return f"have the tool {action.inputs['name']} make something of it, when a delivery needs it"
        case PlannedEdit():
            return f"{_edit_sentence(action)}, when a delivery needs it"
        case _:
            lossy = any(name in action.inputs for name in ("quality", "ratio", "near")) or action.inputs.get("lossy")
            loss = " with loss" if lossy else ""
            return f"transcode to {syntaxes.by_uid(action.inputs['to']).name}{loss}, when a delivery needs it"


def _forward_sentence(action: PlannedForward) -> str:
    if action.skip is not None:
        return f"forward to {action.destination}: nothing is sent, {action.skip}"
    priority = action.inputs.get("priority", "normal")
    said = f"forward to {action.destination}" + (f" with priority {priority}" if priority != "normal" else "")
    transform = Transform.parse(action.transform)
    if not transform:
        return said
    if done := [_step_name(step) for step in transform.steps if not isinstance(step, Transcode)]:
        said += f", after {' and '.join(done)}"
        if not transform.syntax_of(""):
            return f"{said}, or not at all"
    otherwise = ", or as it is where that cannot be done" if not transform.required else ", or not at all"
    return f"{said} in {syntaxes.by_uid(transform.syntax_of('')).name}{otherwise}"


def _delete_sentence(action: PlannedDelete) -> str:
    if action.after is None:
        return "delete at once"
    if action.after == "delivered":
        return "delete once all its deliveries have arrived"
    return f"delete once {len(action.after)} named deliveries have arrived"


def _edit_sentence(action: PlannedEdit) -> str:
    """Name what an edit does: names of attributes, never values."""
    inputs = action.inputs
    if action.verb == "anonymize":
        burned_in = ", whatever may be burned into its pixels" if inputs.get("allow_burned_in") else ""
        return f"anonymize for the project {inputs['project']}{burned_in}"
    if action.verb == "redact":
        count = len(inputs["regions"])
        return f"redact {count} region{'s' * (count != 1)}"
    parts = [f"{part} {', '.join(inputs[part])}" for part in ("set", "remove", "keep") if part in inputs]
    parts += ["remove what is private"] * ("private" in inputs) + ["keep the UIDs"] * ("keep_uids" in inputs)
    return f"modify ({'; '.join(parts)})"


def _step_name(step: Step) -> str:
    match step:
        case RunTool():
            return step.name
        case Modify():
            return "modify"
        case Anonymize():
            return f"anonymize for {step.project}"
        case Redact():
            return "redact"
        case Transcode():
            return f"transcode to {syntaxes.by_uid(step.to).name}"


def _event(file: Path, kind: str, now: float) -> Event:
    if not api.HANDLERS[f"on_{kind}"].__dataclass_fields__:  # about the script itself
        return Event(_FIRST, kind, file.name, None, None, None, None, now)
    with file.open("rb") as opened:
        start = data_set_offset(opened)
        header = read_header(
            opened, offset=start.offset, transfer_syntax=start.transfer_syntax_uid, size=file.stat().st_size
        )
    return Event(_FIRST, kind, header.identity.instance, str(file), "", header.encode(), Origin("import"), now)
