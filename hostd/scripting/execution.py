"""One run: an event goes to the worker, and what comes back becomes a plan, whatever it is."""

from __future__ import annotations

from dataclasses import dataclass, field

import structlog

from hostd.archive import states
from hostd.archive.archive import Archive
from hostd.archive.plans import Plan, PlannedAction
from hostd.archive.records import Event
from hostd.archive.states import State
from hostd.archive.usage import NO_QUOTA, Quota
from hostd.errors import HostdError
from hostd.sandbox import frames
from hostd.scripting import questions
from hostd.scripting.asking import Beyond, Means
from hostd.scripting.plan import MAX_HOPS, Channels, resolve
from hostd.scripting.processes import WorkerLost
from hostd.scripting.runtime import ScriptWorker
from hostd.scripting.sources import ArchiveSource, with_header
from hostd.scripting.travelling import travelling

_log = structlog.get_logger(__name__)


@dataclass(frozen=True, slots=True)
class Rules:
    """How runs are judged: wall seconds a run, failures of one event before it is parked, and what names mean.

    So many events parked in a row (`park_after`; 0: never) park the script itself, and so does more than its `quota`.
    After `max_hops` acts of scripts that followed from one another nothing more follows.
    """

    time_limit_s: float
    attempts: int
    means: Means
    park_after: int = 0
    quota: Quota = NO_QUOTA
    channels: Channels = field(default_factory=dict)
    max_hops: int = MAX_HOPS


def execute(
    archive: Archive, worker: ScriptWorker, event: Event, rules: Rules, *, script: str, version: str
) -> tuple[Plan, bool]:
    """Run the handler of an event once; return its plan, and whether the worker was lost and must be replaced.

    A run that failed gives a plan without actions, with the reason in `error` and outcome "parked": it is for the caller to enter it as
    such, or to have it run again. Nothing is raised.
    """
    begun = archive.clock.now()
    result = frames.Result(event.number, [], [], [])
    actions: tuple[PlannedAction, ...] = ()
    error: str | None = None
    is_lost = False
    beyond: Beyond | None = None
    state: State | None = None
    about: frames.Instance | None = None
    try:
        event = with_header(event, archive.blobs.path)
        told, body = travelling(event)
        about = told.instance
        source = ArchiveSource(event, archive.read, archive.blobs.path)
        means = rules.means
        # Through the writer, so that it is read as the plans of this script leave it that are not committed yet.
        beyond = further = Beyond(
            event, source, archive.read, archive.blobs.path, means,
            lambda: archive.writer.do(lambda c: states.get(c, script)),
        )  # fmt: skip
        result = worker.run(
            told,
            body=body,
            time_limit_s=rules.time_limit_s,
            answer=lambda question: questions.answer_from(source, question, further),
            given=source.given,
        )
        error = why(result.failure)
        if not error:
            actions = resolve(
                result.actions, event, means.destinations, means.tools, means.projects, rules.channels, result.tags_read,
                source.given, rules.max_hops,
            )  # fmt: skip
            state = further.changed(result.state)
    except WorkerLost as lost:
        error, is_lost = str(lost), True
    except HostdError as refused:
        error = str(refused)
    except Exception as fault:  # noqa: BLE001 - an event that hostd itself stumbles over must not hold up the script for ever
        _log.exception("hostd failed to run a script", script=script, number=event.number)
        error, is_lost = f"hostd failed: {type(fault).__name__}: {fault}", True
    plan = Plan(
        script=script,
        version=version,
        event=event,
        sop_instance_uid=about.sop_instance_uid if about else "",
        sop_class_uid=about.sop_class if about else "",
        outcome="parked" if error else "done",
        actions=actions,
        tags_read=tuple(result.tags_read),
        log=tuple(result.log),
        error=error,
        at=begun,
        seconds=archive.clock.now() - begun,
        asked=tuple(beyond.asked) if beyond is not None else (),
        state=state,
    )
    return plan, is_lost


def why(failure: frames.Failure | None) -> str | None:
    """Say how a run failed, with the line of the script; None when it did not."""
    if failure is None:
        return None
    where = " ".join(filter(None, (failure.file, f"line {failure.line}")))
    return f"{failure.type}: {failure.message}" + (f" ({where})" if failure.line else "")
