"""What a script gets to see of deliveries, destinations, scripts and the node: read-only views over plain values."""

from __future__ import annotations

import datetime as dt
from typing import Any

from hostd.sandbox import frames, levels, situations
from hostd.sandbox.read_only import ReadOnly
from hostd.sandbox.run import Run
from hostd.sandbox.views import Instance, TransferSyntax

_set = object.__setattr__


class EndedDelivery(ReadOnly):
    """A delivery that has come to its end."""

    __slots__ = ("_facts", "_instance", "_run")
    _facts: situations.EndedDelivery
    _instance: Instance | None
    _run: Run

    def __init__(self, run: Run, facts: situations.EndedDelivery, instance: Instance | None) -> None:
        _set(self, "_run", run)
        _set(self, "_facts", facts)
        _set(self, "_instance", instance)

    @property
    def id(self) -> int:
        """Its number, as `hostd deliveries` has it."""
        return self._facts.id

    @property
    def destination(self) -> str:
        """The destination, as `to=` names it."""
        return _name(self._run, self._facts.destination)

    @property
    def state(self) -> str:
        """One of "delivered", "warning" (stored, with a remark of the receiver), "present" (it said that it has one of these UIDs, whatever its content, and took nothing), "failed"."""
        return self._facts.state

    @property
    def answer(self) -> str:
        """What the receiver said last, in words, or why nothing could be sent. It may name a patient."""
        return self._facts.answer

    @property
    def status(self) -> int | None:
        """The status of the last answer: of C-STORE (PS3.4 §B.2.3) or of HTTP; None when there was no answer."""
        return self._facts.status

    @property
    def attempts(self) -> int:
        """How often it was tried, what was the destination's fault not counted."""
        return self._facts.attempts

    @property
    def sent_syntax(self) -> TransferSyntax | None:
        """The transfer syntax in which it was sent last; None when nothing was sent."""
        sent = self._facts.sent_syntax
        return None if sent is None else TransferSyntax(frames.Syntax(*sent))

    @property
    def script(self) -> str | None:
        """The script that asked for it; None when a person did."""
        return self._facts.script

    @property
    def instance(self) -> Instance | None:
        """The instance as it was at the event for which the delivery was asked; None when that event is no longer kept."""
        return self._instance

    def __repr__(self) -> str:
        return f"<delivery {self.id} to {self.destination}: {self.state}>"


class EndedAction(ReadOnly):
    """An action that has come to its end."""

    __slots__ = ("_facts", "_instance")
    _facts: situations.EndedAction
    _instance: Instance | None

    def __init__(self, facts: situations.EndedAction, instance: Instance | None) -> None:
        _set(self, "_facts", facts)
        _set(self, "_instance", instance)

    @property
    def id(self) -> int:
        """Its number, as `hostd actions` has it."""
        return self._facts.id

    @property
    def verb(self) -> str:
        """What was asked for: "store", "replace"."""
        return self._facts.verb

    @property
    def script(self) -> str:
        """The script that asked for it."""
        return self._facts.script

    @property
    def event(self) -> int:
        """The number of the event at which it was asked for."""
        return self._facts.event

    @property
    def state(self) -> str:
        """One of "done", "failed", "discarded": given up by a person before it was done."""
        return self._facts.state

    @property
    def reason(self) -> str:
        """Why it failed or was given up, in words; '' when it is done. It may name a patient."""
        return self._facts.reason

    @property
    def result(self) -> dict[str, Any]:
        """What came of it, a copy: of `store` and `replace` the "outcome", of `store` also the new "instance" and "sop_instance_uid"."""
        return dict(self._facts.result)

    @property
    def attempts(self) -> int:
        """How often it was tried."""
        return self._facts.attempts

    @property
    def instance(self) -> Instance | None:
        """The instance that it was about, as it was at the event at which it was asked for; None where it was about none, or that event is no longer kept."""
        return self._instance

    def __repr__(self) -> str:
        return f"<action {self.id}, {self.verb}: {self.state}>"


class FailedTranscode(ReadOnly):
    """A transcode that gave no result."""

    __slots__ = ("_facts", "_instance")
    _facts: situations.FailedTranscode
    _instance: Instance | None

    def __init__(self, facts: situations.FailedTranscode, instance: Instance | None) -> None:
        _set(self, "_facts", facts)
        _set(self, "_instance", instance)

    @property
    def reason(self) -> str:
        """Why there is no result, in words."""
        return self._facts.reason

    @property
    def during(self) -> str:
        """The word "ingest" (the original was kept), or "delivery" (it was sent as it is, or failed)."""
        return self._facts.during

    @property
    def instance(self) -> Instance | None:
        """The instance that was to be transcoded; None when its event is no longer kept."""
        return self._instance

    def __repr__(self) -> str:
        return f"<transcode that failed during {self.during}>"


class Destination(ReadOnly):
    """A destination that fails, or works again."""

    __slots__ = ("_facts", "_run")
    _facts: situations.Destination
    _run: Run

    def __init__(self, run: Run, facts: situations.Destination) -> None:
        _set(self, "_run", run)
        _set(self, "_facts", facts)

    @property
    def name(self) -> str:
        """The destination, as `to=` names it."""
        return _name(self._run, self._facts.name)

    @property
    def since(self) -> dt.datetime:
        """When it began to fail, aware, in UTC."""
        return _time(self._facts.since)

    @property
    def reason(self) -> str:
        """How it failed then, in words."""
        return self._facts.reason

    def __repr__(self) -> str:
        return f"<destination {self.name}>"


class ParkedScript(ReadOnly):
    """A script that is parked, or one event of it."""

    __slots__ = ("_facts",)
    _facts: situations.ParkedScript

    def __init__(self, facts: situations.ParkedScript) -> None:
        _set(self, "_facts", facts)

    @property
    def name(self) -> str:
        """The script's file name."""
        return self._facts.name

    @property
    def event(self) -> int | None:
        """The number of the event that is parked; None when the whole script is."""
        return self._facts.event

    @property
    def handler(self) -> str:
        """The handler that failed, such as "on_stored_instance"; '' when the whole script is parked."""
        return self._facts.handler

    @property
    def reason(self) -> str:
        """How it failed last, in words; it may quote what the script read."""
        return self._facts.reason

    def __repr__(self) -> str:
        return f"<parked: {self.name}>"


class Disk(ReadOnly):
    """The room for the data folder."""

    __slots__ = ("_facts",)
    _facts: situations.Disk

    def __init__(self, facts: situations.Disk) -> None:
        _set(self, "_facts", facts)

    @property
    def free_mb(self) -> int:
        """Megabytes (MiB) that are free."""
        return self._facts.free_mb

    @property
    def limit_mb(self) -> int:
        """Megabytes (MiB) below which it is low: `node.min_free_mb`."""
        return self._facts.limit_mb

    @property
    def since(self) -> dt.datetime:
        """Since when it was low, aware, in UTC."""
        return _time(self._facts.since)

    def __repr__(self) -> str:
        return f"<disk: {self.free_mb} MiB free>"


class Source(ReadOnly):
    """A modality that is expected to send."""

    __slots__ = ("_facts",)
    _facts: situations.Source

    def __init__(self, facts: situations.Source) -> None:
        _set(self, "_facts", facts)

    @property
    def name(self) -> str:
        """The modality's name in the configuration."""
        return self._facts.name

    @property
    def since(self) -> dt.datetime:
        """When it sent last, or when it was first watched; aware, in UTC."""
        return _time(self._facts.since)

    def __repr__(self) -> str:
        return f"<source {self.name}>"


class Job(ReadOnly):
    """What somebody asked hostd to do that takes a while."""

    __slots__ = ("_facts",)
    _facts: situations.Job

    def __init__(self, facts: situations.Job) -> None:
        _set(self, "_facts", facts)

    @property
    def id(self) -> str:
        """Its identifier, as `GET /jobs` has it."""
        return self._facts.id

    @property
    def type(self) -> str:
        """What kind of job it is, in Orthanc's word: "DicomModalityStore", "ResourceModification" and so on."""
        return self._facts.kind

    @property
    def state(self) -> str:
        """One of "pending", "success", "failure", as of this event."""
        return self._facts.state

    @property
    def content(self) -> dict[str, Any]:
        """What `GET /jobs/{id}` shows as its `Content`, a copy. It may name a patient."""
        content: dict[str, Any] = copied(self._facts.content)
        return content

    @property
    def user_data(self) -> Any:
        """What whoever asked for it gave as `UserData`, a copy; None when nothing."""
        return copied(self._facts.user_data)

    @property
    def priority(self) -> int:
        """Its priority; 0 unless something else was asked for, more is more urgent."""
        return self._facts.priority

    @property
    def error_code(self) -> int:
        """Why it failed, by Orthanc's number: 9 of the network, 37 when it was cancelled; 0 when it has not failed."""
        return self._facts.error_code

    @property
    def reason(self) -> str:
        """Why it failed, in words; '' when it has not. It may name a patient."""
        return self._facts.reason

    def __repr__(self) -> str:
        return f"<job {self.id}, {self.type}: {self.state}>"


def subject(run: Run, event: frames.Event) -> tuple[object, ...]:
    """Return what the handler of an event is given before `host`: nothing for an event about the script itself."""
    instance = None if event.instance is None else Instance(run, event.instance)
    view: object = instance
    if event.level is not None:
        view = levels.level(run, event.level)
    if event.association is not None:
        view = levels.Association(event.association)
    match event.told:
        case situations.EndedDelivery():
            view = EndedDelivery(run, event.told, instance)
        case situations.EndedAction():
            view = EndedAction(event.told, instance)
        case situations.FailedTranscode():
            view = FailedTranscode(event.told, instance)
        case situations.Destination():
            view = Destination(run, event.told)
        case None:
            pass
        case _:
            view = _of_facts_alone(event.told)
    return () if view is None else (view,)


def _of_facts_alone(facts: situations.ParkedScript | situations.Disk | situations.Source | situations.Job) -> object:
    match facts:
        case situations.ParkedScript():
            return ParkedScript(facts)
        case situations.Disk():
            return Disk(facts)
        case situations.Source():
            return Source(facts)
        case situations.Job():
            return Job(facts)


def copied(value: Any) -> Any:
    """Return a copy of plain values, which a script may change."""
    if isinstance(value, dict):
        return {key: copied(item) for key, item in value.items()}
    if isinstance(value, list):
        return [copied(item) for item in value]
    return value


def _name(run: Run, destination: str) -> str:
    """Return a destination's name as a script writes it: with its kind only where two share the name."""
    plain = destination.partition(":")[2]
    return plain if plain in run.world.load.known_destinations else destination


def _time(at: float) -> dt.datetime:
    return dt.datetime.fromtimestamp(at, dt.UTC)
