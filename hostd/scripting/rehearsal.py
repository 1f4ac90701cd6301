"""Rehearsal: what a script would do on a file, without doing it."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from hostd.archive.plans import PlannedAction, PlannedDelete, PlannedForward
from hostd.archive.records import Event, Origin
from hostd.dicom import syntaxes
from hostd.dicom.header import element_value, read_header
from hostd.dicom.part10 import data_set_offset
from hostd.errors import HostdError
from hostd.sandbox import frames
from hostd.scripting.plan import Destinations, as_frames_event, handler_of, resolve
from hostd.scripting.runtime import ScriptWorker
from hostd.transcoding.transform import Transform


@dataclass(frozen=True, slots=True)
class Rehearsal:
    """What came of one run on one file. `plan` says each action in words; `error` why there is none."""

    file: Path
    handler: str
    plan: tuple[str, ...]
    log: tuple[tuple[str, str], ...]
    tags_read: tuple[str, ...]
    error: str | None


def rehearse(
    worker: ScriptWorker, file: Path, *, kind: str, now: float, destinations: Destinations, time_limit_s: float
) -> Rehearsal:
    """Run the handler of event `kind` on a file; nothing is stored, sent or changed.

    Raises `WorkerLost` when the script had to be killed, and `UnparsableError` for what is not a DICOM file.
    """
    event, offset = _event(file, kind, now)
    handler = handler_of(event)
    if handler not in worker.ready.handlers:
        return Rehearsal(file, handler, (), (), (), f"the script has no {handler}")

    def answer(question: frames.Question) -> frames.Answer:
        with file.open("rb") as opened:
            syntax = data_set_offset(opened).transfer_syntax_uid
            value = element_value(
                opened, offset=offset, transfer_syntax=syntax, path=question.path, limit=frames.MAX_VALUE
            )
        return frames.Answer(
            question.id, value, too_large=value is None, error=None if value is not None else "too large"
        )

    result = worker.run(as_frames_event(event), time_limit_s=time_limit_s, answer=answer)
    error: str | None = None
    plan: tuple[str, ...] = ()
    if result.failure is not None:
        where = f" (line {result.failure.line})" if result.failure.line else ""
        error = f"{result.failure.type}: {result.failure.message}{where}"
    else:
        try:
            plan = tuple(sentence(action) for action in resolve(result.actions, event, destinations))
        except HostdError as refused:
            error = str(refused)
    return Rehearsal(file, handler, plan, tuple(result.log), tuple(result.tags_read), error)


def sentence(action: PlannedAction) -> str:
    """Say a planned action in words."""
    match action:
        case PlannedForward():
            return _forward_sentence(action)
        case PlannedDelete(after=None):
            return "delete at once"
        case PlannedDelete(after=after):
            return f"delete once {'all its' if after == 'delivered' else 'the named'} deliveries are done"
        case _:
            return f"transcode to {syntaxes.by_uid(action.inputs['to']).name}"


def _forward_sentence(action: PlannedForward) -> str:
    if action.skip is not None:
        return f"forward to {action.destination}: nothing is sent, {action.skip}"
    transform = Transform.parse(action.transform)
    if transform is None:
        return f"forward to {action.destination}"
    otherwise = ", or as it is where that cannot be done" if transform.or_original else ", or not at all"
    return f"forward to {action.destination} in {syntaxes.by_uid(transform.to).name}{otherwise}"


def _event(file: Path, kind: str, now: float) -> tuple[Event, int]:
    with file.open("rb") as opened:
        start = data_set_offset(opened)
        header = read_header(
            opened, offset=start.offset, transfer_syntax=start.transfer_syntax_uid, size=file.stat().st_size
        )
    identity = header.identity
    event = Event(0, kind, identity.instance, str(file), "", header.encode(), Origin("import"), now)
    return event, start.offset
