"""A script under test: in the real sandbox, over made events, and what came of each run."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, TypeVar

from hostd.archive.deliveries import PRIORITIES
from hostd.archive.notices import PlannedNotify
from hostd.archive.plans import PlannedAction, PlannedDelete, PlannedForward
from hostd.archive.records import Event
from hostd.archive.tasks import PlannedTask
from hostd.clock import Clock
from hostd.dicom import syntaxes
from hostd.dicom.element_values import Elements
from hostd.dicom.query import Level, Question, elements_of
from hostd.dicom.syntaxes import EXPLICIT_LE
from hostd.errors import HostdError, ScriptError
from hostd.intake.element_values import name_of
from hostd.intake.filtering import Changes
from hostd.sandbox import frames
from hostd.sandbox.filters import QUERIES
from hostd.scripting import made, questions
from hostd.scripting.asking import Means, OfFiles
from hostd.scripting.configured import Configuration
from hostd.scripting.execution import why
from hostd.scripting.filters import as_keys, changes_of, keys_of
from hostd.scripting.folder import Source
from hostd.scripting.plan import as_frames_event
from hostd.scripting.processes import WorkerLost
from hostd.scripting.querying import QUEUE
from hostd.scripting.rehearsal import Outcome, rehearse_event, step_name
from hostd.scripting.runtime import ScriptWorker
from hostd.scripting.sources import FilesSource
from hostd.testing.instances import Sample
from hostd.transcoding.transform import Transcode, Transform

_Action = TypeVar("_Action", bound=PlannedAction)


@dataclass(frozen=True, slots=True)
class Forward:
    """A delivery that a run asked for. `skipped` says why nothing will be sent, None when something will be."""

    to: str
    """The destination's plain name."""
    syntax: str | None
    """The transfer syntax that it was asked for in, by its short name; None: as it is."""
    priority: str
    after: tuple[str, ...]
    """What is done to it before, in words: "modify", "anonymize for TRIAL7"."""
    skipped: str | None = None


@dataclass(frozen=True, slots=True)
class Retrieve:
    """What another archive is to send here, by UIDs; None for what is not named."""

    modality: str
    study: str
    series: str | None
    instance: str | None
    skipped: str | None = None
    """Why it will not be asked to; None when it will."""


@dataclass(frozen=True, slots=True)
class Run:
    """What came of one run. What it asked for can be looked at only where it did not fail: otherwise `AssertionError` says how it failed."""

    handler: str
    outcome: Outcome

    @property
    def error(self) -> str | None:
        """How the run failed, with the line of the script; None when it did not."""
        return self.outcome.error

    @property
    def log(self) -> tuple[str, ...]:
        """What it logged and printed, a text a call; `outcome.log` has the levels."""
        return tuple(text for _, text in self.outcome.log)

    @property
    def tags_read(self) -> tuple[str, ...]:
        """The names of the attributes that it read."""
        return self.outcome.tags_read

    @property
    def plan(self) -> tuple[str, ...]:
        """What it asked for, in the words of `hostd try`."""
        self._must_have_worked()
        return self.outcome.plan

    @property
    def actions(self) -> tuple[PlannedAction, ...]:
        """What it asked for, as it would be entered."""
        self._must_have_worked()
        return self.outcome.actions

    @property
    def forwards(self) -> tuple[Forward, ...]:
        """The deliveries that it asked for."""
        return tuple(_forward(action) for action in self._of(PlannedForward))

    @property
    def sent_to(self) -> tuple[str, ...]:
        """The destinations of its deliveries, without those of which nothing will be sent."""
        return tuple(forward.to for forward in self.forwards if forward.skipped is None)

    @property
    def deletes(self) -> tuple[PlannedDelete, ...]:
        """The deletes that it asked for."""
        return self._of(PlannedDelete)

    @property
    def notifications(self) -> tuple[PlannedNotify, ...]:
        """What it wants people to be told, as it would go out: without patient data where the channel may have none."""
        return self._of(PlannedNotify)

    @property
    def retrieves(self) -> tuple[Retrieve, ...]:
        """What it wants other archives to send."""
        return tuple(
            Retrieve(
                task.queue.removeprefix(QUEUE),
                task.details["study"],
                task.details.get("series"),
                task.details.get("instance"),
                task.skip,
            )
            for task in self._of(PlannedTask)
            if task.queue.startswith(QUEUE)
        )

    def _of(self, kind: type[_Action]) -> tuple[_Action, ...]:
        return tuple(action for action in self.actions if isinstance(action, kind))

    def _must_have_worked(self) -> None:
        if self.error is not None:
            raise AssertionError(
                f"{self.handler} failed: {self.error}" + "".join(f"\n  log: {line}" for line in self.log)
            )


@dataclass(frozen=True, slots=True)
class Decision:
    """What a filter decided."""

    verdict: str
    """One of "accept", "discard", "refuse"."""
    reason: str
    status: int
    """The status of a refusal; 0 otherwise."""
    set: dict[str, Any]
    """Keyword → the value that it sets; a tuple of several, None where it empties the element."""
    remove: tuple[str, ...]
    """Keywords."""
    log: tuple[str, ...]
    tags_read: tuple[str, ...]
    error: str | None
    """How the filter failed: then what it was asked about is refused."""


class Script:
    """One version of a script, loaded as a node would load it. Its globals live as long as it does, as they do in a node."""

    def __init__(self, name: str, source: Source, configuration: Configuration, clock: Clock) -> None:
        """Load it. Raises `ScriptError`, with lines, when it breaks the policy or does not compile."""
        if source.problem:
            raise ScriptError(source.problem)
        self.name = name
        self._source = source
        self._configuration = configuration
        self._clock = clock
        self._worker = self._start()
        self.has: dict[str, Sequence[Mapping[str, str]]] = {}
        """What other archives have, by the name of the modality: each match as keywords with their text, as `host.query` finds it.

        A key that is asked for with a text leaves out what has another one; wildcards, ranges and lists leave out nothing.
        """
        self.state: dict[str, Any] = {}
        """What it has kept for itself by `host.state`, for the next event that is raised."""

    @property
    def handlers(self) -> tuple[str, ...]:
        """The functions that hostd would call."""
        return tuple(self._worker.ready.handlers)

    @property
    def warnings(self) -> tuple[str, ...]:
        """What `hostd check` would say of it: unknown keywords, handlers, arguments and destinations and their like, with lines."""
        told = (self._configuration.explain(finding) for finding in self._worker.ready.findings)
        return tuple(f"{one.place}: {one.message}" for one in told if one.is_fault)

    # -- events

    def stored(self, instance: Sample) -> Run:
        """Raise `on_stored_instance`."""
        return self.on("stored_instance", instance)

    def on(self, kind: str, *instances: Sample, **told: Any) -> Run:
        """Raise an event: `script.on("stable_series", first, second, occurrence=2)`, or have a function run that runs by the clock, by its name.

        One about a series, study or patient is about all the instances. `told` replaces what the event tells besides: of a level `count`,
        `new`, `occurrence`; of a delivery `destination`, `state`, `answer`, `status`, `attempts`; of a destination `destination`,
        `reason`; of a source `source`. Raises `ScriptError` for an event or a fact that does not exist, and for one that wants instances
        and has none.
        """
        event, source = self._event(kind.removeprefix("on_"), instances, told)
        configuration = self._configuration
        means = Means(
            configuration.resolve_destination,
            configuration.resolve_tool,
            configuration.resolve_project,
            measure=configuration.measure,
            query=self._query,
        )
        further = OfFiles(event, means, self.state)
        handler = event.handler
        if handler not in self.handlers:
            raise ScriptError(f"{self.name} has no {handler}; it has {', '.join(self.handlers) or 'no handler at all'}")
        settings = self._configuration
        try:
            outcome = rehearse_event(
                self._worker,
                event,
                answer=lambda question: questions.answer_from(source, question, further),
                destinations=settings.resolve_destination,
                time_limit_s=settings.settings.script(self.name).time_limit_s,
                tools=settings.resolve_tool,
                projects=settings.resolve_project,
                channels=settings.channels_of(self.name),
            )
        except WorkerLost as lost:
            self._again()
            outcome = Outcome((), (), (), str(lost))
        if outcome.state is not None:
            self.state = outcome.state
        return Run(handler, outcome)

    # -- filters

    def received(self, instance: Sample) -> Decision:
        """Ask `filter_received_instance`."""
        return self._ask("filter_received_instance", instance)

    def outgoing(self, instance: Sample, to: str) -> Decision:
        """Ask `filter_outgoing_instance` about a delivery to that destination."""
        return self._ask("filter_outgoing_instance", instance, destination=to)

    def requested(
        self,
        method: str,
        uri: str,
        *,
        username: str | None = None,
        ip: str = "192.0.2.1",
        headers: Mapping[str, str] | None = None,
    ) -> Decision:
        """Ask `filter_http_request`; names of headers are in lower case."""
        request = frames.HttpRequest(method, uri, ip, username, dict(headers or {}))
        return self._ask("filter_http_request", None, request=request)

    def queried(self, level: Level, modality: str, **keys: str) -> Decision:
        """Ask `filter_outgoing_find` about what that modality is to be asked; `set` has the keys as texts."""
        question = Question.by_keywords(level, keys)
        query = frames.FindQuery(level, as_keys(question))
        return self._ask("filter_outgoing_find", None, query=query, destination=modality)

    def asked(self, level: Level, *, calling_aet: str = "ASKER", ip: str = "192.0.2.1", **keys: str) -> Decision:
        """Ask `filter_find` about what somebody asks hostd for; `set` has the keys as texts."""
        origin = frames.Origin("dicom", calling_aet=calling_aet, called_aet="HOSTD", ip=ip)
        query = frames.FindQuery(level, as_keys(Question.by_keywords(level, keys)), origin)
        return self._ask("filter_find", None, query=query)

    def close(self) -> None:
        """End its worker."""
        self._worker.stop()

    # -- parts

    def _start(self) -> ScriptWorker:
        return self._configuration.start(self.name, self._source)

    def _query(self, modality: str, question: Question, limit: int) -> list[Elements]:
        if modality not in self.has:
            raise ScriptError(f"the test does not say what {modality} has: script.has[{modality!r}] = […]")
        matches = [Question.by_keywords(question.level, match) for match in self.has[modality]]
        return [_as_match(one, question) for one in matches if _fits(one, question)][:limit]

    def _again(self) -> None:
        self._worker.stop()
        self._worker = self._start()

    def _event(self, kind: str, instances: Sequence[Sample], told: dict[str, Any]) -> tuple[Event, FilesSource]:
        by_the_clock = [one.function for one in self._worker.ready.schedules]
        if kind not in (*made.KINDS, *by_the_clock):
            raise ScriptError(f"there is no event {kind!r}; there are: {', '.join((*made.KINDS, *by_the_clock))}")
        subject = None
        if (destination := told.get("destination")) is not None:
            told["destination"] = self._configuration.resolve_destination(destination)
            if kind.startswith("destination_"):
                subject = told.pop("destination")
        for key in ("source", "script"):
            if kind in {"source_silent", "script_parked"} and key in told:
                subject = told.pop(key)
        files = [one.file for one in instances]
        if not files and kind in made.KINDS and made.wants_files(kind):
            raise ScriptError(f"on_{kind} is about instances: give it some")
        origin = instances[-1].origin if instances else None
        return made.event(files, kind, self._clock.now(), origin=origin, told=told, subject=subject)

    def _ask(self, handler: str, instance: Sample | None, **more: Any) -> Decision:
        if handler not in self.handlers:
            raise ScriptError(f"{self.name} has no {handler}; it has {', '.join(self.handlers) or 'no handler at all'}")
        answer: Callable[[frames.Question], frames.Answer] = _no_answer
        if instance is not None:
            event, source = made.event([instance.file], "stored_instance", self._clock.now(), origin=instance.origin)
            more["instance"] = as_frames_event(event).instance
            answer = lambda question: questions.answer_from(source, question)  # noqa: E731 - one of two
        limit = self._configuration.settings.scripting.filter_time_limit_s
        try:
            verdict = self._worker.judge(frames.Filter(1, handler, **more), time_limit_s=limit, answer=answer)
            error = why(verdict.failure)
        except WorkerLost as lost:
            self._again()
            verdict, error = frames.Verdict(1, "accept", [], []), str(lost)
        return _decision(verdict, error, keys_of if handler in QUERIES else changes_of)


def _fits(match: Question, question: Question) -> bool:
    plain = {tag: text for tag, text in question.keys.items() if text and not set(text) & set("*?-\\")}
    return all(match.keys.get(tag, text) == text for tag, text in plain.items())


def _as_match(match: Question, question: Question) -> Elements:
    """Return a match as an archive gives it: what was asked for, and nothing of what was not."""
    keys = {tag: text for tag, text in match.keys.items() if tag in question.keys}
    return elements_of(Question(question.level, keys).encode(EXPLICIT_LE.uid), EXPLICIT_LE.uid)


def _no_answer(question: frames.Question) -> frames.Answer:
    return frames.Answer(question.id, error="a request has no instance to ask about")


def _decision(
    verdict: frames.Verdict, error: str | None, read_changes: Callable[[frames.Verdict], Changes] = changes_of
) -> Decision:
    try:
        changes = read_changes(verdict)
    except (ValueError, HostdError) as wrong:
        error, changes = error or str(wrong), None
    values = {name_of(tag): given for tag, given in changes.set.items()} if changes and not error else {}
    return Decision(
        verdict="refuse" if error else verdict.verdict,
        reason=verdict.reason,
        status=0xA700 if error else verdict.status,
        set={name: given[0] if len(given) == 1 else given or None for name, given in values.items()},
        remove=tuple(name_of(tag) for tag in sorted(changes.remove)) if changes and not error else (),
        log=tuple(text for _, text in verdict.log),
        tags_read=tuple(verdict.tags_read),
        error=error,
    )


def _forward(action: PlannedForward) -> Forward:
    transform = Transform.parse(action.transform)
    uid = transform.syntax_of("")
    syntax = syntaxes.by_uid(uid) if uid else None
    return Forward(
        to=action.destination.partition(":")[2],
        syntax=(syntax.short or syntax.keyword) if syntax else None,
        priority=next(word for word, value in PRIORITIES.items() if value == action.priority),
        after=tuple(step_name(step) for step in transform.steps if not isinstance(step, Transcode)),
        skipped=action.skip,
    )
