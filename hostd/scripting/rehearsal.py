"""Rehearsal: what a script would do on a file, without doing it."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from hostd.archive.fanout import Many
from hostd.archive.handling import PlannedDeal
from hostd.archive.marks import PlannedMark
from hostd.archive.notices import PlannedNotify
from hostd.archive.plans import PlannedAction, PlannedDelete, PlannedEdit, PlannedForward, PlannedTool, PlannedTranscode
from hostd.archive.quieting import PlannedStable
from hostd.archive.records import Event, Origin
from hostd.archive.tasks import PlannedTask
from hostd.dicom import statuses, syntaxes
from hostd.dicom.header import read_file_header
from hostd.errors import HostdError, ScriptError
from hostd.intake.element_values import name_of
from hostd.jobs.dealing import QUEUE
from hostd.sandbox import frames
from hostd.scripting import dealing, keeping, made, marking, querying, questions, requesting, subjects
from hostd.scripting.asking import Means, OfFiles
from hostd.scripting.edits import Projects, no_projects
from hostd.scripting.execution import why
from hostd.scripting.filters import changes_of
from hostd.scripting.interest import concerns
from hostd.scripting.measuring import Measure
from hostd.scripting.plan import MAX_HOPS, Channels, Destinations, Tools, as_frames_event, no_tools, resolve
from hostd.scripting.runtime import ScriptWorker
from hostd.transcoding.edits import Anonymize, Modify, Redact
from hostd.transcoding.public import measure
from hostd.transcoding.transform import RunTool, Step, Transcode, Transform

Answerer = Callable[[frames.Question], frames.Answer]
"""What answers the questions of a run."""

_RECEIVED = "filter_received_instance"


@dataclass(frozen=True, slots=True)
class Outcome:
    """What came of one run. `plan` says each action in words, `actions` has them; `error` why there is none.

    `state` is what the script would keep for itself, None where that is what it kept before.
    """

    plan: tuple[str, ...]
    log: tuple[tuple[str, str], ...]
    tags_read: tuple[str, ...]
    error: str | None
    actions: tuple[PlannedAction, ...] = field(default=(), kw_only=True)
    state: dict[str, Any] | None = field(default=None, kw_only=True)


@dataclass(frozen=True, slots=True)
class Rehearsal(Outcome):
    """What came of one run on one file."""

    file: Path
    handler: str


def grouped(files: Sequence[Path], kind: str) -> list[tuple[Path, ...]]:
    """Return the files that one event of that kind is about: those of one series, study or patient together, otherwise each alone.

    What cannot be read is alone, and its rehearsal says why.
    """
    found: dict[str, list[Path]] = {}
    for file in files:
        key = str(file)
        if (level := made.level_of(kind)) is not None:
            with contextlib.suppress(HostdError, OSError):
                key = str(getattr(read_file_header(file).identity, level))
        elif kind == "association_closed":
            key = kind
        found.setdefault(key, []).append(file)
    return [tuple(group) for group in found.values()]


def rehearse(
    worker: ScriptWorker,
    file: Path,
    *more: Path,
    kind: str,
    now: float,
    destinations: Destinations,
    time_limit_s: float,
    tools: Tools = no_tools,
    projects: Projects = no_projects,
    channels: Channels | None = None,
    origin: Origin | None = None,
    measure: Measure = measure,
) -> Rehearsal:
    """Run the handler of an event (`kind`: "stored_instance") on a file; nothing is stored, sent or changed.

    An event about a series, study, patient or association is about all the files, as `grouped` puts them together. Of filters,
    `filter_received_instance` can be rehearsed: by that name, and of a script that does not handle "stored_instance". `origin` is where
    the files are said to come from; `measure` works out what their pixels come to.

    Raises `ScriptError` for an event that does not exist, its kind `WorkerLost` when the script had to be killed, `UnparsableError` for
    what is not a DICOM file, and `OSError` for a file that cannot be read.
    """
    has = worker.ready.handlers
    if kind == _RECEIVED or (kind == "stored_instance" and _RECEIVED in has and "on_stored_instance" not in has):
        return _rehearse_filter(worker, file, now, time_limit_s, origin)
    by_the_clock = [one.function for one in worker.ready.schedules]
    if kind not in (*made.KINDS, *by_the_clock):
        of_it = f", and by the clock: {', '.join(by_the_clock)}" if by_the_clock else ""
        raise ScriptError(f"there is no event {kind!r}; there are: {', '.join(made.KINDS)}{of_it}")
    event, source = made.event((file, *more), kind, now, origin=origin)
    further = OfFiles(event, Means(destinations, tools, projects, measure=measure))
    handler = event.handler
    if handler not in worker.ready.handlers:
        there_are = ", ".join(has) or "no handler at all"
        events = [name.removeprefix("on_") for name in has if name.removeprefix("on_") in made.KINDS] + by_the_clock
        hint = f"; say --event {events[0]} to try that one" if events else ""
        return failed(file, kind, f"the script has no {handler}; it has {there_are}{hint}")
    outcome = rehearse_event(
        worker,
        event,
        answer=lambda question: questions.answer_from(source, question, further),
        destinations=destinations,
        time_limit_s=time_limit_s,
        tools=tools,
        projects=projects,
        channels=channels,
    )
    return Rehearsal(
        outcome.plan, outcome.log, outcome.tags_read, outcome.error, file, handler, actions=outcome.actions
    )


def _rehearse_filter(
    worker: ScriptWorker, file: Path, now: float, time_limit_s: float, origin: Origin | None
) -> Rehearsal:
    if _RECEIVED not in worker.ready.handlers:
        return Rehearsal((), (), (), f"the script has no {_RECEIVED}", file, _RECEIVED)
    event = as_frames_event(made.event((file,), "stored_instance", now, origin=origin)[0])
    verdict = worker.judge(
        frames.Filter(event.id, _RECEIVED, instance=event.instance),
        time_limit_s=time_limit_s,
        answer=lambda question: questions.answer(question, file),
    )
    error = why(verdict.failure)
    plan: tuple[str, ...] = ()
    try:
        plan = () if error else tuple(decision(verdict))
    except ValueError as wrong:
        error = str(wrong)
    return Rehearsal(plan, tuple(verdict.log), tuple(verdict.tags_read), error, file, _RECEIVED)


def decision(verdict: frames.Verdict) -> list[str]:
    """Say in words what a filter decided. Raises `ValueError` for changes that cannot be made."""
    if verdict.verdict == "discard":
        return [f"discard it: {verdict.reason}"]
    if verdict.verdict == "refuse":
        return [f"refuse it with {statuses.describe(verdict.status)}: {verdict.reason}"]
    changes = changes_of(verdict)
    sets = [f"set {name_of(tag)} to {', '.join(map(repr, values)) or 'nothing'}" for tag, values in changes.set.items()]
    return [*sets, *(f"remove {name_of(tag)}" for tag in sorted(changes.remove))]


def failed(file: Path, kind: str, error: object) -> Rehearsal:
    """Return the rehearsal of a file that came to nothing."""
    return Rehearsal((), (), (), str(error), file, f"on_{kind}" if kind in made.KINDS else kind)


def rehearse_event(
    worker: ScriptWorker,
    event: Event,
    *,
    answer: Answerer,
    destinations: Destinations,
    time_limit_s: float,
    tools: Tools = no_tools,
    projects: Projects = no_projects,
    channels: Channels | None = None,
    given: Mapping[str, Many] | None = None,
    max_hops: int = MAX_HOPS,
) -> Outcome:
    """Run the handler of an event, which answers may have `given` more to act upon, and carry out nothing of what it asks for. Raises `WorkerLost` when the script had to be killed."""
    if not concerns(worker.ready.handles, event):
        unasked = ("info", "the script is not asked: by its `handles`, this instance does not concern it")
        return Outcome((), (unasked,), (), None)
    found_besides = given or {}
    result = worker.run(as_frames_event(event), time_limit_s=time_limit_s, answer=answer, given=found_besides)
    error = why(result.failure)
    found: tuple[PlannedAction, ...] = ()
    plan: tuple[str, ...] = ()
    if error is None:
        try:
            found = resolve(
                result.actions,
                event,
                destinations,
                tools,
                projects,
                channels,
                result.tags_read,
                found_besides,
                max_hops,
            )
            kept = (
                [f"keep for itself: {', '.join(sorted(result.state)) or 'nothing'}"] if result.state is not None else []
            )
            plan = (*(sentence(action, event) for action in found), *kept)
        except HostdError as refused:
            error = str(refused)
    return Outcome(
        plan, tuple(result.log), tuple(result.tags_read), error, actions=found, state=None if error else result.state
    )


def sentence(action: PlannedAction, event: Event | None = None) -> str:
    """Say a planned action in words."""
    match action:
        case PlannedForward():
            said = _forward_sentence(action, event)
        case PlannedDelete():
            said = _delete_sentence(action, event)
        case PlannedMark():
            said = marking.sentence(action, _what(action, event) or " the instance")
        case PlannedDeal() | PlannedTask():
            said = _later_sentence(action, event)
        case PlannedStable():
            said = f"tell{_what(action, event)} as stable now"
        case PlannedNotify():
            said = _notify_sentence(action)
        case PlannedTool():
            said = f"have the tool {action.inputs['name']} make something of it, when a delivery needs it"
        case PlannedEdit():
            said = f"{_edit_sentence(action)}, when a delivery needs it"
        case PlannedTranscode():
            lossy = any(name in action.inputs for name in ("quality", "ratio", "near")) or action.inputs.get("lossy")
            loss = " with loss" if lossy else ""
            said = f"transcode to {syntaxes.by_uid(action.inputs['to']).name}{loss}, when a delivery needs it"
    return said


def _later_sentence(action: PlannedDeal | PlannedTask, event: Event | None) -> str:
    if isinstance(action, PlannedDeal) or action.queue == QUEUE:
        return dealing.sentence(action)
    if action.queue.startswith(requesting.QUEUE):
        return requesting.sentence(action)
    if action.queue.startswith(querying.QUEUE):
        return querying.sentence(action)
    return keeping.sentence(action, _what(action, event) or " the instance")


def _what(
    action: PlannedForward | PlannedDelete | PlannedMark | PlannedTask | PlannedStable, event: Event | None
) -> str:
    return subjects.named(action.of, event) if event is not None else ""


def _delete_sentence(action: PlannedDelete, event: Event | None) -> str:
    what = f"delete{_what(action, event)}"
    if action.after is None:
        return f"{what} at once"
    if action.after == "delivered":
        return f"{what} once all its deliveries have arrived"
    return f"{what} once {len(action.after)} named deliveries have arrived"


def _notify_sentence(action: PlannedNotify) -> str:
    limit = f", at most one every {action.every_s:g} s" if action.every_s is not None else ""
    return f"notify {action.channel}{limit}: {action.text}"


def _forward_sentence(action: PlannedForward, event: Event | None) -> str:
    if action.skip is not None:
        return f"forward{_what(action, event)} to {action.destination}: nothing is sent, {action.skip}"
    priority = action.inputs.get("priority", "normal")
    said = f"forward{_what(action, event)} to {action.destination}" + (
        f" with priority {priority}" if priority != "normal" else ""
    )
    transform = Transform.parse(action.transform)
    if not transform:
        return said
    if done := [step_name(step) for step in transform.steps if not isinstance(step, Transcode)]:
        said += f", after {' and '.join(done)}"
        if not transform.syntax_of(""):
            return f"{said}, or not at all"
    otherwise = ", or as it is where that cannot be done" if not transform.required else ", or not at all"
    return f"{said} in {syntaxes.by_uid(transform.syntax_of('')).name}{otherwise}"


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


def step_name(step: Step) -> str:
    """Say in words what is done to an instance before it is sent."""
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
