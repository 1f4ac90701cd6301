"""Rehearsal: what a script would do on a file, without doing it."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from hostd.archive.plans import PlannedAction, PlannedDelete, PlannedForward
from hostd.archive.records import Event
from hostd.dicom import syntaxes
from hostd.errors import HostdError, ScriptError
from hostd.sandbox import api, frames
from hostd.scripting import made, questions, subjects
from hostd.scripting.execution import why
from hostd.scripting.plan import Destinations, as_frames_event, handler_of, resolve
from hostd.scripting.runtime import ScriptWorker
from hostd.scripting.sources import header_of
from hostd.transcoding.transform import Transform

Answerer = Callable[[frames.Question], frames.Answer]
"""What answers the questions of a run."""


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


def grouped(files: Sequence[Path], kind: str) -> list[tuple[Path, ...]]:
    """Return the files that one event of that kind is about: those of one series, study or patient together, otherwise each alone.

    What cannot be read is alone, and its rehearsal says why.
    """
    found: dict[str, list[Path]] = {}
    for file in files:
        key = str(file)
        if (level := made.level_of(kind)) is not None:
            with contextlib.suppress(HostdError, OSError):
                key = str(getattr(header_of(file).identity, level))
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
) -> Rehearsal:
    """Run the handler of an event (`kind`: "stored_instance") on a file; nothing is stored, sent or changed.

    An event about a series, study, patient or association is about all the files, as `grouped` puts them together.

    Raises `ScriptError` for an event that does not exist, its kind `WorkerLost` when the script had to be killed, `UnparsableError` for
    what is not a DICOM file, and `OSError` for a file that cannot be read.
    """
    if f"on_{kind}" not in api.HANDLERS:
        raise ScriptError(
            f"there is no event {kind!r}; there are: {', '.join(n.removeprefix('on_') for n in api.HANDLERS)}"
        )
    event, source = made.event((file, *more), kind, now)
    handler = handler_of(event)
    if handler not in worker.ready.handlers:
        has = ", ".join(worker.ready.handlers) or "no handler at all"
        return failed(file, kind, f"the script has no {handler}; it has {has}")
    outcome = rehearse_event(
        worker,
        event,
        answer=lambda question: questions.answer_from(source, question),
        destinations=destinations,
        time_limit_s=time_limit_s,
    )
    return Rehearsal(outcome.plan, outcome.log, outcome.tags_read, outcome.error, file, handler)


def failed(file: Path, kind: str, error: object) -> Rehearsal:
    """Return the rehearsal of a file that came to nothing."""
    return Rehearsal((), (), (), str(error), file, f"on_{kind}")


def rehearse_event(
    worker: ScriptWorker, event: Event, *, answer: Answerer, destinations: Destinations, time_limit_s: float
) -> Outcome:
    """Run the handler of an event and carry out nothing of what it asks for. Raises `WorkerLost` when the script had to be killed."""
    result = worker.run(as_frames_event(event), time_limit_s=time_limit_s, answer=answer)
    error = why(result.failure)
    plan: tuple[str, ...] = ()
    if error is None:
        try:
            plan = tuple(sentence(action, event) for action in resolve(result.actions, event, destinations))
        except HostdError as refused:
            error = str(refused)
    return Outcome(plan, tuple(result.log), tuple(result.tags_read), error)


def sentence(action: PlannedAction, event: Event | None = None) -> str:
    """Say a planned action in words."""
    match action:
        case PlannedForward():
            return _forward_sentence(action, event)
        case PlannedDelete(after=None):
            return f"delete{_what(action, event)} at once"
        case PlannedDelete(after="delivered"):
            return f"delete{_what(action, event)} once all its deliveries have arrived"
        case PlannedDelete(after=after):
            return f"delete{_what(action, event)} once {len(after or ())} named deliveries have arrived"
        case _:
            return f"transcode to {syntaxes.by_uid(action.inputs['to']).name}, when a delivery needs it"


def _what(action: PlannedForward | PlannedDelete, event: Event | None) -> str:
    return subjects.named(event, action.of) if event is not None else ""


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
    otherwise = ", or as it is where that cannot be done" if not transform.required else ", or not at all"
    return f"{said} in {syntaxes.by_uid(transform.syntax_of('')).name}{otherwise}"
