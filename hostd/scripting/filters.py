"""The filters of a node: every script that has one is asked before something happens, in the order of file names.

What a filter cannot decide is refused: one that fails, takes too long or loses its worker keeps nothing and lets nothing go, and so
does one that should be there and cannot be loaded (fail closed).
"""

from __future__ import annotations

import itertools
import threading
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import NamedTuple

import structlog
from pydicom._dicom_dict import DicomDictionary  # datadict only re-exports it

from hostd.archive import events, filterings, instances
from hostd.archive.archive import Archive
from hostd.archive.filterings import Filtering, FilterRun
from hostd.archive.records import Delivery, Origin
from hostd.archive.scripts import Version
from hostd.dicom import statuses
from hostd.dicom.header import Header, read_file_header
from hostd.dicom.query import Question
from hostd.errors import FilterRefusedError, HostdError, ScriptError
from hostd.intake import element_values
from hostd.intake.filtering import Changes, Judgement, Opinion, Values, combine
from hostd.sandbox import frames
from hostd.sandbox.filters import FILTERS, QUERIES
from hostd.scripting import questions
from hostd.scripting.execution import why
from hostd.scripting.filter_workers import FilterWorkers, WorkersClosedError
from hostd.scripting.plan import as_frames_instance
from hostd.scripting.runtime import ScriptWorker

_log = structlog.get_logger(__name__)

_UNAVAILABLE = 503
_RECEIVED, _OUTGOING, _REQUEST = "filter_received_instance", "filter_outgoing_instance", "filter_http_request"
_FIND, _OUTGOING_FIND = "filter_find", "filter_outgoing_find"
_MAX_KEY = 1024
_NO_KEYS = frozenset({0x00080005, 0x00080052})
"""What a query says of itself, which no filter changes: its character set and its level."""

Answerer = Callable[[frames.Question], frames.Answer]


@dataclass(frozen=True, slots=True)
class _Script:
    """One script's filters: its workers, or why there are none although there should be."""

    name: str
    version: str
    handlers: frozenset[str]
    workers: FilterWorkers | None
    problem: str = ""


class Reached(NamedTuple):
    """A destination as filters know it: its name in the configuration, and of a modality AE title and host."""

    name: str
    aet: str | None = None
    host: str | None = None


def filters_among(handlers: tuple[str, ...]) -> frozenset[str]:
    """Return those functions of a script that are filters."""
    return frozenset(FILTERS) & frozenset(handlers)


class Filters:
    """Asks the filters of all scripts. For any number of threads.

    `time_limit_s` is for one filter; `workers` processes serve each script; `reached` says by `kind:name` how scripts know a destination.
    """

    def __init__(
        self, archive: Archive, *, time_limit_s: float, workers: int, reached: Mapping[str, Reached] | None = None
    ) -> None:
        self._archive = archive
        self.time_limit_s = time_limit_s
        """May be changed at any time."""
        self._count = workers
        self._reached = reached or {}
        self._guard = threading.Lock()
        self._scripts: dict[str, _Script] = {}
        self._ids = itertools.count(1)

    def know(self, reached: Mapping[str, Reached]) -> None:
        """Go on with other destinations."""
        self._reached = reached

    # -- which there are

    def use(self, name: str, version: Version, start: Callable[[], ScriptWorker], *, anew: bool = False) -> None:
        """From now on ask this version of a script, which may have no filter at all; what the former is deciding counts still.

        With `anew` its workers are started anew also if it is asked already.

        Raises `ScriptError` when no worker can be started; then what was asked before is asked on.
        """
        handlers = filters_among(version.handlers)
        with self._guard:
            present = self._scripts.get(name)
        if not anew and present is not None and present.workers is not None and present.version == version.hash:
            return
        workers = FilterWorkers(name, start, self._count) if handlers else None
        self._put(name, _Script(name, version.hash, handlers, workers) if handlers else None)
        if handlers:
            _log.info("script filters", script=name, version=version.hash[:12], filters=sorted(handlers))

    def withdraw(self, name: str, why: str) -> None:
        """Do not ask a script any more, for the reason in `why`."""
        if self._put(name, None):
            _log.warning("script filters no more", script=name, reason=why)

    def block(self, name: str, version: str, handlers: tuple[str, ...], problem: str) -> None:
        """Refuse what a script would filter, unless an earlier version of it goes on: it is there and cannot be loaded."""
        with self._guard:
            present = self._scripts.get(name)
        if present is not None and present.workers is not None:
            return
        found = filters_among(handlers)
        self._put(name, _Script(name, version, found, None, problem) if found else None)
        if found:
            _log.error("a filter cannot be loaded: what it would decide about is refused", script=name, reason=problem)

    def is_blocked(self, name: str) -> bool:
        """Tell whether a script's filters refuse everything, because they cannot be loaded."""
        with self._guard:
            present = self._scripts.get(name)
        return present is not None and present.workers is None

    def close(self) -> None:
        """End all workers. What is filtered is refused from now on."""
        with self._guard:
            left = self._scripts
            self._scripts = {
                name: replace(script, workers=None, problem="hostd stops") for name, script in left.items()
            }
        for script in left.values():
            if script.workers is not None:
                script.workers.close()

    def _put(self, name: str, script: _Script | None) -> bool:
        with self._guard:
            former = self._scripts.get(name)
            changed = {other: one for other, one in self._scripts.items() if other != name}
            self._scripts = changed | ({name: script} if script else {})
        if former is not None and former.workers is not None:
            former.workers.close()
        return former is not None

    def _of(self, handler: str) -> list[_Script]:
        with self._guard:
            found = [script for script in self._scripts.values() if handler in script.handlers]
        return sorted(found, key=lambda script: script.name)

    # -- what is asked

    def received(self, header: Header, origin: Origin, file: Path) -> Judgement | None:
        """Judge an instance that has arrived in `file`; None where nothing filters."""
        asked = self._of(_RECEIVED)
        if not asked:
            return None
        instance = as_frames_instance(header.identity.instance, header, origin)
        question = frames.Filter(next(self._ids), _RECEIVED, instance=instance)
        return self._judge(asked, question, lambda one: questions.answer(one, file))

    def outgoing(self, delivery: Delivery) -> Judgement | None:
        """Judge an instance that is about to be sent; None where nothing filters. What filters did is entered."""
        asked = self._of(_OUTGOING)
        if not asked:
            return None
        file = self._archive.blobs.path(delivery.blob)
        try:
            header, origin = read_file_header(file), self._origin_of(delivery)
        except (OSError, HostdError) as error:
            reason = f"the file cannot be shown to filters: {error}"
            return Judgement("refuse", asked[0].name, reason, statuses.OUT_OF_RESOURCES, Changes(), (), has_failed=True)
        instance = as_frames_instance(delivery.instance, header, origin)
        to = self._reached.get(delivery.destination) or Reached(delivery.destination)
        question = frames.Filter(
            next(self._ids),
            _OUTGOING,
            instance=instance,
            destination=to.name,
            destination_aet=to.aet,
            destination_host=to.host,
        )
        judgement = self._judge(asked, question, lambda one: questions.answer(one, file))
        now = self._archive.clock.now()
        filtering = Filtering("filtered_outgoing", header.encode(), delivery.content, origin, now, judgement.runs)
        self._enter(filtering, delivery.instance)
        return judgement

    def request(
        self, *, method: str, uri: str, ip: str | None, username: str | None, headers: Mapping[str, str]
    ) -> Judgement | None:
        """Judge a request to the HTTP face; None where nothing filters. A failure is entered; what is logged goes to the node's log."""
        asked = self._of(_REQUEST)
        if not asked:
            return None
        request = frames.HttpRequest(method, uri, ip, username, dict(headers))
        question = frames.Filter(next(self._ids), _REQUEST, request=request)
        judgement = self._judge(asked, question, lambda one: frames.Answer(one.id, error="a request has no elements"))
        for run in judgement.runs:
            for level, text in run.log:
                _log.info("filter says", script=run.script, level_of_line=level, text=text)
            if run.error:
                self._enter(Filtering("refused_request", None, None, None, run.at, (run,)), run.script)
        return judgement

    def outgoing_find(self, modality: str, question: Question) -> Question:
        """Return what a modality is to be asked, as the filters want it. Raises `FilterRefusedError` where it is not to be asked."""
        asked = self._of(_OUTGOING_FIND)
        if not asked:
            return question
        to = self._reached.get(f"modality:{modality}") or Reached(modality)
        filtering = frames.Filter(
            next(self._ids),
            _OUTGOING_FIND,
            query=frames.FindQuery(question.level, as_keys(question)),
            destination=to.name,
            destination_aet=to.aet,
            destination_host=to.host,
        )
        return self._of_query(asked, filtering, question, "nobody was asked")

    def find(self, question: Question, origin: Origin) -> Question:
        """Return what hostd is asked for, as the filters want it. Raises `FilterRefusedError` where it is not to answer."""
        asked = self._of(_FIND)
        if not asked:
            return question
        query = frames.FindQuery(question.level, as_keys(question), frames.Origin(**origin.to_json()))
        return self._of_query(asked, frames.Filter(next(self._ids), _FIND, query=query), question, "nothing is told")

    def _of_query(self, asked: list[_Script], filtering: frames.Filter, question: Question, so: str) -> Question:
        judgement = self._judge(asked, filtering, lambda one: frames.Answer(one.id, error="a query has no more"))
        for run in judgement.runs:
            for level, text in run.log:
                _log.info("filter says", script=run.script, level_of_line=level, text=text)
        if judgement.verdict != "accept":
            failed = f"failed, so {so}" if judgement.has_failed else "refused the query"
            raise FilterRefusedError(f"the filter {judgement.script} {failed}: {judgement.reason}", judgement.status)
        changes = judgement.changes
        kept = {tag: text for tag, text in question.keys.items() if tag not in changes.remove}
        return replace(question, keys=kept | {tag: _key(values) for tag, values in changes.set.items()})

    def has_request_filters(self) -> bool:
        """Tell whether requests are filtered."""
        return bool(self._of(_REQUEST))

    def _judge(self, asked: list[_Script], question: frames.Filter, answer: Answerer) -> Judgement:
        opinions: list[Opinion] = []
        for script in asked:
            opinions.append(self._ask(script, question, answer))
            if opinions[-1].verdict == "refuse":
                break
        return combine(opinions)

    def _ask(self, script: _Script, question: frames.Filter, answer: Answerer) -> Opinion:
        began = self._archive.clock.now()
        verdict = frames.Verdict(question.id, "accept", [], [])
        try:
            script, verdict = self._run(script, question, answer)
            error = why(verdict.failure)
            read_changes = keys_of if question.handler in QUERIES else changes_of
            changes = read_changes(verdict) if error is None else Changes()
        except (ScriptError, ValueError) as failure:
            changes, error = Changes(), str(failure)
        except Exception as fault:  # noqa: BLE001 - whatever it is, what was to be filtered must not pass
            _log.exception("hostd failed to ask a filter", script=script.name)
            changes, error = Changes(), f"hostd failed: {type(fault).__name__}: {fault}"
        return self._opinion(script, question, verdict, changes, error, began)

    def _run(self, script: _Script, question: frames.Filter, answer: Answerer) -> tuple[_Script, frames.Verdict]:
        """Run a filter; return the verdict and the version that gave it, for another may take over in between."""
        while True:
            if script.workers is None:
                raise ScriptError(f"{script.name} cannot be loaded: {script.problem}")
            try:
                worker = script.workers.take()
                break
            except WorkersClosedError:
                newer = [one for one in self._of(question.handler) if one.name == script.name]
                if not newer:
                    return script, frames.Verdict(question.id, "accept", [], [])
                script = newer[0]
        is_lost = True
        try:
            verdict = worker.judge(question, time_limit_s=self.time_limit_s, answer=answer)
            is_lost = False
        finally:
            script.workers.give_back(worker, is_lost=is_lost)
        return script, verdict

    def _opinion(
        self,
        script: _Script,
        question: frames.Filter,
        verdict: frames.Verdict,
        changes: Changes,
        error: str | None,
        began: float,
    ) -> Opinion:
        is_discard, is_change = verdict.verdict == "discard", bool(changes)
        inputs: dict[str, object] = {"reason": verdict.reason} if is_discard else {}
        if is_change:
            inputs = {
                what: sorted(map(element_values.name_of, tags))
                for what, tags in (("set", changes.set), ("remove", changes.remove))
                if tags
            }
        run = FilterRun(
            script=script.name,
            version=script.version,
            outcome="failed" if error else "done",
            verb=None if error else "discard" if is_discard else "accept" if is_change else None,
            inputs={} if error else inputs,
            tags_read=tuple(verdict.tags_read),
            log=tuple(verdict.log),
            error=error,
            at=began,
            seconds=self._archive.clock.now() - began,
        )
        if error:
            _log.error("filter failed", script=script.name, filter=question.handler, reason=error)
            status = _UNAVAILABLE if question.handler == _REQUEST else statuses.OUT_OF_RESOURCES
            return Opinion("refuse", run, reason=error, status=status)
        return Opinion(verdict.verdict, run, changes, verdict.reason, verdict.status)

    # -- parts

    def _origin_of(self, delivery: Delivery) -> Origin:
        with self._archive.read() as connection:
            stored = instances.get(connection, delivery.instance)
            told = None if stored else events.last_origin(connection, delivery.instance)
        return stored.origin if stored else told or Origin("import")

    def _enter(self, filtering: Filtering, subject: str) -> None:
        if not any(run.is_worth_a_row for run in filtering.runs):
            return
        try:
            self._archive.writer.do(lambda c: filterings.enter(c, filtering, subject))
        except Exception as error:  # noqa: BLE001 - the decision stands; it is in the log and, for a delivery, in its attempt
            _log.error("what a filter did could not be entered", subject=subject, reason=str(error))


def keys_of(verdict: frames.Verdict) -> Changes:
    """Return what a verdict wants changed of a query's keys. Raises `ValueError` for what no key may be."""
    changes = Changes({tag: tuple(values) for tag, values in verdict.set.items()}, frozenset(verdict.remove))
    if _NO_KEYS & (changes.set.keys() | changes.remove):
        raise ValueError("the level and the character set of a query cannot be changed")
    for values in changes.set.values():
        if len(_key(values)) > _MAX_KEY:
            raise ValueError(f"the text of a key has up to {_MAX_KEY} characters")
    return changes


def _key(values: Values) -> str:
    return "\\".join(map(str, values))


def as_keys(question: Question) -> frames.Elements:
    """Return the keys of a query as a filter sees them: texts, whatever the VR."""
    return {tag: (_vr_of(tag), text.split("\\") if text else []) for tag, text in question.keys.items()}


def _vr_of(tag: int) -> str:
    """Return a VR whose values are shown as they stand: of a key a date may be a range, and a number anything."""
    vr = DicomDictionary.get(tag, ("LO",))[0]
    return vr if vr in ("PN", "UI", "CS", "LO", "SH", "AE") else "LO"


def changes_of(verdict: frames.Verdict) -> Changes:
    """Return what a verdict wants changed. Raises `ValueError` for what no filter may change, or not to such a value."""
    changes = Changes({tag: tuple(values) for tag, values in verdict.set.items()}, frozenset(verdict.remove))
    for tag, values in changes.set.items():
        element_values.check(tag, values)
    for tag in changes.remove:
        element_values.check_tag(tag)
    return changes
