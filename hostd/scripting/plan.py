"""From what a script asked for to what is entered: the host trusts nothing that a worker sends (P6)."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import msgspec

from hostd.archive import events
from hostd.archive.deliveries import PRIORITIES
from hostd.archive.fanout import Many
from hostd.archive.levels import LevelFacts
from hostd.archive.notices import PlannedNotify
from hostd.archive.plans import PlannedAction, PlannedDelete, PlannedForward, PlannedTool, PlannedTranscode
from hostd.archive.records import Event, Origin
from hostd.dicom import syntaxes
from hostd.dicom.header import Header, Outline
from hostd.dicom.syntaxes import TransferSyntax
from hostd.errors import HostdError, ScriptError
from hostd.sandbox import acts, frames
from hostd.sandbox.notifying import MAX_KEY, MAX_TEXT
from hostd.sandbox.situations import Notify
from hostd.scripting import dealing, edits, keeping, marking, querying, requesting, situations, subjects
from hostd.scripting.edits import Projects, no_projects
from hostd.scripting.vocabulary import as_frame
from hostd.scripting.withholding import without_patient
from hostd.transcoding.options import DEFAULT_QUALITY
from hostd.transcoding.transform import RunTool, Transcode, Transform

Destinations = Callable[[str], str]
"""Turns a name that a script wrote into `kind:name`; raises `NotFoundError` or `ConfigurationError` when it means none, or several."""

Tools = Callable[[str, Sequence[str]], RunTool]
"""Turns the name of a tool and a script's arguments into a step; raises `ToolError` when the configuration does not allow it."""


Channels = Mapping[str, bool]
"""Channels that the script may use, by name → whether patient data may go there."""

MAX_HOPS = 10
"""How many acts of scripts (deliveries, changes) may follow from one another, each asked for at the event of the one before it.

The default of `scripting.max_hops`.
"""


def no_tools(name: str, args: Sequence[str]) -> RunTool:  # noqa: ARG001 - a `Tools`
    """Refuse every tool."""
    raise ScriptError(f"no tool is called {name[:64]!r}: the configuration has none")


_LATEST = 1e11
"""Seconds since 1970 UTC: the year 5138. Also keeps out infinity and what is not a number."""


def as_frames_event(event: Event) -> frames.Event:
    """Return an event as the worker gets it."""
    instance = None
    if event.header is not None:
        assert event.origin is not None
        changes = (event.facts or {}).get("changes", ())
        header = Outline.decode(event.header)
        instance = as_frames_instance(event.subject, header, event.origin, event.receipt, changes)
    return frames.Event(
        event.number,
        event.handler,
        event.at,
        instance,
        level=subjects.level(event),
        association=subjects.association(event),
        told=situations.situation(event),
    )


def as_frames_instance(
    identifier: str,
    header: Header | Outline,
    origin: Origin,
    receipt: dict[str, Any] | None = None,
    changes: Sequence[str] = (),
) -> frames.Instance:
    """Return an instance as the worker gets it; `receipt` as plain values."""
    return frames.Instance(
        id=identifier,
        sop_instance_uid=header.sop_instance_uid,
        sop_class=header.sop_class_uid,
        series_instance_uid=header.series_instance_uid,
        study_instance_uid=header.study_instance_uid,
        patient_id=header.patient_id,
        transfer_syntax=as_frame(syntaxes.by_uid(header.transfer_syntax)),
        has_pixels=header.has_pixels,
        frames=header.frames,
        size=header.size,
        origin=frames.Origin(**origin.to_json()),
        tags=bytes(header.tags) if isinstance(header, Outline) else frames.packed(header.tags),
        receipt=_receipt(receipt),
        changes=list(changes),
    )


def _receipt(facts: dict[str, Any] | None) -> frames.Receipt | None:
    if facts is None:
        return None
    return frames.Receipt(
        outcome=facts["outcome"],
        reason=facts["reason"],
        codec=facts.get("codec", ""),
        ratio=facts["ratio"],
        verified_by=facts.get("verified_by", ""),
        source_syntax=as_frame(syntaxes.by_uid(facts["source_syntax"])),
        result_syntax=as_frame(syntaxes.by_uid(facts["result_syntax"])),
    )


@dataclass(slots=True)
class Scope:
    """What the actions of a run may name: what its event is about, what was found (`given`, by id), and what it makes.

    `made` and `about` hold, for the index of an action, what it makes and of what.
    """

    event: Event
    given: Mapping[str, Many]
    max_hops: int = MAX_HOPS
    made: dict[int, Transform] = field(default_factory=dict)
    about: dict[int, Many | None] = field(default_factory=dict)

    def source(self, x: str | int) -> Transform:
        """Return what a handle stands for: nothing to do for an instance. Raises `ScriptError` for what is not of this run."""
        if isinstance(x, int):
            if x not in self.made:
                raise ScriptError("the handle is not of this run")
            return self.made[x]
        # The level of the event or one of its instances: what is none of them is not found when the plan is entered.
        is_own = LevelFacts.of(self.event.facts) is not None or (
            x == self.event.subject and self.event.header is not None
        )
        if not is_own and x not in self.given:
            raise ScriptError("only the instance of the event can be acted upon, not one kept from an earlier event")
        return Transform()

    def subject(self, x: str | int) -> Many | None:
        """Return what an action is about: None for the event's own instance, else a level or one of its instances."""
        if isinstance(x, int):
            return self.about[x]
        if x in self.given and x != self.event.subject:
            return self.given[x]
        return Many.of(self.event, x) if LevelFacts.of(self.event.facts) is not None else None

    def cut(self) -> str | None:
        """Say why nothing more may follow from the event; None where it may."""
        if events.hops_of(self.event) < self.max_hops:
            return None
        return f"{self.max_hops} acts of scripts followed from one another already, and nothing follows from this one"

    def make(self, position: int, action: frames.Makes, tools: Tools, projects: Projects) -> None:
        """Note what an action makes. Raises `HostdError` for what cannot be carried out."""
        source = self.source(action.x)
        if isinstance(action, frames.Transcode):
            self.made[position] = source.then(_transcode(action))
        elif isinstance(action, frames.RunTool):
            self.made[position] = source.then(tools(action.name, action.args))
        else:
            self.made[position] = source.then(edits.step_of(action, source, projects))
            edits.refuse_too_long(self.made[position])
        self.about[position] = self.subject(action.x)


def product_of(
    actions: Sequence[frames.Makes], event: Event, tools: Tools, projects: Projects, given: Mapping[str, Many]
) -> tuple[Transform, Many | None]:
    """Return what the last of these actions makes, and of what. Raises `HostdError` for what cannot be carried out."""
    scope = Scope(event, given)
    for position, action in enumerate(actions):
        scope.make(position, action, tools, projects)
    return scope.made[len(actions) - 1], scope.about[len(actions) - 1]


def resolve(
    actions: Sequence[frames.Action],
    event: Event,
    destinations: Destinations,
    tools: Tools = no_tools,
    projects: Projects = no_projects,
    channels: Channels | None = None,
    tags_read: Sequence[str] = (),
    given: Mapping[str, Many] | None = None,
    max_hops: int = MAX_HOPS,
) -> tuple[PlannedAction, ...]:
    """Turn the actions of a run on `event`, which read those elements and was given those subjects besides, into a plan.

    Where more than `max_hops` acts of scripts would follow from one another, the plan says so instead (`skip`).
    Raises `ScriptError`, naming the line of the script, for what cannot be carried out.
    """
    scope = Scope(event, given or {}, max_hops)
    planned: list[PlannedAction] = []
    for position, action in enumerate(actions):
        try:
            match action:
                case frames.Transcode() | frames.RunTool() | frames.Modify() | frames.Anonymize() | frames.Redact():
                    scope.make(position, action, tools, projects)
                    planned.append(_product(position, action))
                case frames.Forward():
                    planned.append(_forward(position, action, scope, destinations))
                case Notify():
                    planned.append(_notify(position, action, event, channels or {}, tags_read))
                case acts.Request():
                    planned.append(requesting.planned(position, action, scope.cut()))
                case acts.Retrieve():
                    planned.append(querying.planned(position, action, scope.cut()))
                case frames.Delete():
                    planned.append(_delete(position, action, scope, planned))
                case acts.Deal():
                    planned.append(dealing.planned(position, action, event, destinations, scope.cut()))
                case _:
                    planned.append(_act(position, action, scope))
        except HostdError as error:
            raise ScriptError(f"line {action.line}: {error}") from error
    return tuple(planned)


def _product(position: int, action: frames.Makes) -> PlannedAction:
    match action:
        case frames.Transcode():
            return PlannedTranscode(position, _inputs(action))
        case frames.RunTool():
            return PlannedTool(position, _inputs(action))
        case _:
            return edits.planned(action, position)


def _act(position: int, action: acts.Mark | acts.Keep | acts.DeclareStable, scope: Scope) -> PlannedAction:
    """Return what is entered of an action on what is stored, or is to be."""
    product, of = scope.source(action.x), scope.subject(action.x)
    skip = _why_not_made(scope, of)
    if isinstance(action, acts.Store):
        return keeping.store(position, _inputs(action), product, of, skip)
    if isinstance(action, acts.Replace):
        product, whose = scope.source(action.product), scope.subject(action.product)
        return keeping.replace(position, _inputs(action), product, of, whose, skip)
    if isinstance(action, acts.DeclareStable):
        return dealing.stable(position, action, of)
    return marking.planned(position, action, of, scope.cut())


def _transcode(action: frames.Transcode) -> Transcode:
    """Return the step, with how lossy its result may be where loss was asked for."""
    quality, ratio, near = action.quality, action.ratio, action.near
    if not action.lossy and (quality, ratio, near) == (None, None, None):
        return Transcode(_lossless(action.to), action.or_original)
    if (quality, ratio, near) == (None, None, None):
        quality = DEFAULT_QUALITY
    syntax = _known(action.to)
    if not syntax.is_lossy:
        raise ScriptError(f"{syntax.keyword} is lossless, so a quality, ratio, near or lossy=True means nothing")
    step = Transcode(syntax.uid, quality=quality, ratio=ratio, near=near)
    assert step.options is not None
    step.options.check(syntax)
    return step


def _known(uid: str) -> TransferSyntax:
    syntax = syntaxes.BY_UID.get(uid)
    if syntax is None:
        raise ScriptError(f"no transfer syntax has the UID {uid[:64]!r}")
    return syntax


def _lossless(uid: str) -> str:
    syntax = _known(uid)
    if syntax.is_lossy:
        raise ScriptError(f"{syntax.keyword} may lose information, and no loss was asked for")
    return uid


def _forward(position: int, action: frames.Forward, scope: Scope, destinations: Destinations) -> PlannedForward:
    transform, of = scope.source(action.x), scope.subject(action.x)
    if action.syntax is not None:
        transform = transform.then(Transcode(_lossless(action.syntax)))
    not_before = action.not_before or 0.0
    if not 0 <= not_before < _LATEST:
        raise ScriptError(f"not_before is not a time: {not_before!r}")
    destination = destinations(action.to)
    return PlannedForward(
        position,
        _inputs(action),
        destination,
        transform=transform.canonical(),
        priority=PRIORITIES[action.priority],
        not_before=not_before,
        skip=_why_skipped(destination, scope, of, back=action.back),
        of=of,
        again=action.again,
        back=action.back,
    )


def _why_not_made(scope: Scope, of: Many | None) -> str | None:
    """Say why nothing can be made of what an action at an event is about; None where it can."""
    event = scope.event
    is_own = of is None or of.id == event.subject
    if is_own and event.kind.startswith("deleted_"):
        return "it was deleted, so there is nothing to send"
    if of is None and event.blob is None:
        return "its content was refused, so there is nothing to send"
    return scope.cut()


def _why_skipped(destination: str, scope: Scope, of: Many | None, *, back: bool) -> str | None:
    if (why := _why_not_made(scope, of)) is not None:
        return why
    if of is not None:
        return None  # each instance of it may have come from elsewhere
    origin = scope.event.origin
    sender = origin.modality if origin else None
    if not back and sender is not None and destination == f"modality:{sender}":
        return f"it came from {destination}; back=True would send it back"
    return None


def _notify(position: int, action: Notify, event: Event, channels: Channels, tags_read: Sequence[str]) -> PlannedNotify:
    if action.channel not in channels:
        raise ScriptError(f"this script may not notify {action.channel[:64]!r}, or there is no such channel")
    if not 0 < len(action.text) <= MAX_TEXT or len(action.key or "") > MAX_KEY:
        raise ScriptError("the text or the key of a notification is too long, or there is none")
    if action.every_s is not None and not 0 < action.every_s < _LATEST:
        raise ScriptError(f"at_most_every is not a duration: {action.every_s!r}")
    text, inputs = action.text, _inputs(action)
    if not channels[action.channel]:
        text, is_left_out = without_patient(text, event, tags_read)
        inputs |= {"withheld": True} if is_left_out else {}
    key = action.key or hashlib.sha256(action.text.encode()).hexdigest()
    return PlannedNotify(position, inputs, action.channel, text, key, action.every_s)


def _delete(position: int, action: frames.Delete, scope: Scope, planned: Sequence[PlannedAction]) -> PlannedDelete:
    scope.source(action.x)
    of = scope.subject(action.x)
    if not isinstance(action.after, list):
        return PlannedDelete(position, _inputs(action), action.after, of)
    for index in action.after:
        if not (0 <= index < position and isinstance(planned[index], PlannedForward)):
            raise ScriptError("after= names something that is no delivery of this run")
    return PlannedDelete(position, _inputs(action), tuple(action.after), of)


def _inputs(action: frames.Action) -> dict[str, Any]:
    return {key: value for key, value in msgspec.to_builtins(action).items() if key != "type" and value is not None}
