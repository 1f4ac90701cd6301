"""Answers to what a run asks beyond its event: what is stored, what was delivered, what a product would be, what the script keeps."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import msgspec
import sqlalchemy as sa
from sqlalchemy import Connection

from hostd.archive import events, levels, members, receipts, searching, states
from hostd.archive import tables as t
from hostd.archive.fanout import Many
from hostd.archive.labels import Subject
from hostd.archive.levels import LevelFacts
from hostd.archive.records import Event
from hostd.archive.searching import Search, SearchError
from hostd.archive.states import State
from hostd.dicom.header import Header
from hostd.errors import HostdError, NotFoundError, ScriptError, TranscodeError
from hostd.sandbox import frames, state
from hostd.sandbox.querying import MAX_QUERIES
from hostd.sandbox.requesting import MAX_GETS
from hostd.scripting import plan, querying, requesting, subjects
from hostd.scripting.edits import Projects, no_projects
from hostd.scripting.measuring import Measure
from hostd.scripting.plan import Destinations, Tools, no_tools
from hostd.scripting.querying import Asked, Query
from hostd.scripting.requesting import Get
from hostd.scripting.sources import ArchiveSource, Source
from hostd.transcoding.public import measure, transcode
from hostd.transcoding.stored import Stored
from hostd.transcoding.transform import Transcode, Transform

WorkOut = Callable[[Stored, Transform], int]
"""Makes a product and returns its size in bytes; raises `HostdError` when it cannot be made."""

TIME_LIMIT_S = 5.0
"""Seconds that one search may take."""
_PAGE_BYTES = frames.MAX_VALUE // 2
_PAGE = 50
_MOST_SEARCHES = 100
_MOST_RECORDED = 100
_NOBODY = "no answer to this is recorded, and a rehearsal asks nobody outside"


class AskedError(HostdError):
    """A question that has no answer; the message says why, to the script."""


@dataclass(frozen=True, slots=True)
class Means:
    """What answers are made with. `work_out` is None where nothing is made: then only receipts tell what a product is."""

    destinations: Destinations
    tools: Tools = no_tools
    projects: Projects = no_projects
    work_out: WorkOut | None = None
    get: Get | None = None
    """Asks other systems; None where nobody outside is asked: then only records tell what the answer was."""
    query: Query | None = None
    """Asks modalities what they have; None as for `get`."""
    measure: Measure = measure
    """Works out what the pixels of a file come to."""


class Beyond:
    """The answers for one run: from the archive behind `source`, with these `means`. `asked` records them for whoever reads of the run."""

    def __init__(
        self,
        event: Event,
        source: ArchiveSource,
        read: Callable[[], AbstractContextManager[Connection]],
        path: Callable[[str], Path],
        means: Means,
        read_state: Callable[[], State],
    ) -> None:
        self._event = event
        self._source = source
        self._read = read
        self._path = path
        self._means = means
        self._read_state = read_state
        self._searches: list[tuple[str, list[str], int]] = []
        self._gets = 0
        self._queries = 0
        self.asked: list[dict[str, Any]] = []
        self.state: State | None = None
        """What the script keeps, as this run read it; None when it did not."""

    def about(self, found: str) -> ArchiveSource:
        """Return what answers questions about a level that was found. Raises `LookupError` for one that was not."""
        many = self._source.given.get(found)
        if many is None or many.instance:
            raise LookupError("that is nothing that this run has found")
        with self._read() as connection:
            event = _event_of(connection, many)
        if event is None:
            raise LookupError(f"the {many.level} was deleted since")
        return ArchiveSource(event, self._read, self._path, self._source.given)

    def answer(self, question: frames.Question) -> list[Any]:
        """Return the answer to a question. Raises `HostdError` or `LookupError` with the reason why there is none."""
        match question.verb:
            case "find":
                return self._find(question)
            case "found":
                return self._found(question.path)
            case "delivered_to":
                return [self._delivered_to(question)]
            case "product":
                return list(self._product(question.actions))
            case "http_get" | "query":
                return self._outside(question)
            case _:
                self.state = self.state or self._read_state()
                return [self.state.value]

    def measure(self, file: Path, of: str) -> frames.PixelFacts:
        """Return what the pixels of a file come to, and record it of the instance `of`, '' for the event's own. Raises `HostdError` or `OSError`."""
        about = {"verb": "pixels"} | ({"of": of} if of else {})
        try:
            facts = self._means.measure(file)
        except (HostdError, OSError) as error:
            self._record(about | {"error": str(error)})
            raise
        self._record(
            about | {"min": facts.min, "max": facts.max, "mean": round(facts.mean, 3), "is_blank": facts.is_blank}
        )
        return facts

    def changed(self, value: dict[str, Any] | None) -> State | None:
        """Return what the script is to keep in the place of what this run read. Raises `ScriptError` for what cannot be kept."""
        if value is None:
            return None
        try:
            kept = state.plain(value)
        except (TypeError, ValueError) as error:
            raise ScriptError(f"the state cannot be kept: {error}") from error
        if self.state is None:
            raise ScriptError("the state was changed and never read")
        return State(self.state.version, kept)

    # -- finding

    def _find(self, question: frames.Question) -> list[Any]:
        search = _search(question.more, self._means.destinations)
        if len(self._searches) >= _MOST_SEARCHES:
            raise AskedError(f"one run may look for something {_MOST_SEARCHES} times, and this one has")
        with self._read() as connection:
            ids = searching.find(connection, search, time_limit_s=TIME_LIMIT_S)
            number = events.last_number(connection) + 1
        self._searches.append((search.level, ids, number))
        sought = {name: value for name, value in question.more.items() if value not in (None, {})}
        self._record({"verb": "find", **sought, "found": len(ids)})
        return [len(self._searches) - 1, len(ids)]

    def _found(self, path: Sequence[int]) -> list[Any]:
        if len(path) != 2 or not 0 <= path[0] < len(self._searches) or path[1] < 0:
            raise AskedError("that is no place in what was found")
        level, ids, number = self._searches[path[0]]
        answered: list[Any] = []
        size = 0
        for identifier in ids[path[1] : path[1] + _PAGE]:
            one = self._described(level, identifier, number)
            size += len(msgspec.msgpack.encode(one))
            if answered and size > _PAGE_BYTES:
                break
            answered.append(one)
        return answered

    def _described(self, level: str, identifier: str, number: int) -> frames.Instance | frames.Level | None:
        with self._read() as connection:
            if level == "instance":
                found = members.of_instance(connection, identifier)
                if found is None:
                    return None
                series, member = found
                self._source.given[identifier] = Many("series", series, number, identifier)
                return self._source.described(member)
            many = Many(_LEVELS[level], identifier, number)
            event = _event_of(connection, many)
        if event is None:
            return None
        self._source.given[identifier] = many
        return subjects.level(event)

    # -- deliveries

    def _delivered_to(self, question: frames.Question) -> bool:
        name = str(question.more.get("destination", ""))
        destination, committed = self._means.destinations(name), bool(question.more.get("committed"))
        own = question.of == self._event.subject and LevelFacts.of(self._event.facts) is None
        with self._read() as connection:
            if own and question.of not in self._source.given:
                content = self._event.content or ""
                had = searching.content_had(connection, question.of, content, destination, committed=committed)
            else:
                many = plan.Scope(self._event, self._source.given).subject(question.of)
                had = many is not None and searching.has_had(connection, many, destination, committed=committed)
        self._record(
            {"verb": "delivered_to", "of": question.of, "destination": name, "committed": committed, "answer": had}
        )
        return had

    # -- products

    def _product(self, actions: Sequence[frames.Makes]) -> tuple[int, int]:
        if not actions:
            raise AskedError("that is no product")
        means = self._means
        transform, of = plan.product_of(actions, self._event, means.tools, means.projects, self._source.given)
        with self._read() as connection:
            stored = self._stored(connection, of)
            source = connection.execute(sa.select(t.blob.c.size).where(t.blob.c.name == stored.blob)).scalar()
            receipt = receipts.find(connection, stored.blob, transform.canonical())
        if source is None:
            raise AskedError("the file of which it is made is not kept any more")
        if means.work_out is not None:
            size = means.work_out(stored, transform)
        elif receipt is not None:
            size = int(receipt.facts["bytes_after"])
        else:
            raise AskedError(
                "the product was never made here, and a rehearsal makes none: what it would be is not known"
            )
        self._record({"verb": "product", "size": size, "source": source})
        return size, source

    def _stored(self, connection: Connection, of: Many | None) -> Stored:
        if of is None:
            if self._event.header is None or self._event.blob is None:
                raise AskedError("there is nothing to make it of")
            uid = Header.decode(self._event.header).sop_instance_uid
            return Stored(self._event.blob, uid, self._event.content or "")
        if not of.instance:
            raise AskedError(
                f"it stands for all instances of the {of.level}: transcode one of them to see what comes of it"
            )
        row = connection.execute(sa.select(t.instance).where(of.condition)).first()
        if row is None:
            raise NotFoundError("the instance was deleted or replaced since")
        return Stored(row.blob, row.sop_instance_uid, row.received_sha256)

    # -- other systems

    def _outside(self, question: frames.Question) -> list[Any]:
        if question.verb == "http_get":
            return list(self._http_get(question.more))
        return [querying.as_elements(match) for match in self._query(Asked.of(question.more))]

    def _http_get(self, more: dict[str, Any]) -> tuple[int, str]:
        target, path = str(more.get("target", "")), str(more.get("path", ""))
        if (had := requesting.among(self.asked, target, path)) is not None:
            return had  # the same question is asked once
        if self._means.get is None:
            with self._read() as connection:
                had = requesting.recorded(connection, self._event, target, path)
            if had is None:
                raise AskedError(_NOBODY)
            return had
        if self._gets >= MAX_GETS:
            raise AskedError(f"one run may ask other systems {MAX_GETS} questions, and this one has")
        self._gets += 1
        status, body = self._means.get(target, path)
        # Beside the limit of what is recorded: an answer that was not would be another one in rehearsal.
        self.asked.append({"verb": "http_get", "target": target, "path": path, "status": status, "body": body})
        return status, body

    def _query(self, asked: Asked) -> list[querying.Plain]:
        if (had := querying.among(self.asked, asked)) is not None:
            return had  # the same question is asked once
        if self._means.query is None:
            with self._read() as connection:
                had = querying.recorded(connection, self._event, asked)
            if had is None:
                raise AskedError(_NOBODY)
            return had
        if self._queries >= MAX_QUERIES:
            raise AskedError(f"one run may ask other archives {MAX_QUERIES} questions, and this one has")
        self._queries += 1
        answers = querying.plain(self._means.query(asked.modality, asked.question(), asked.limit))
        self.asked.append({"verb": "query", **msgspec.to_builtins(asked), "answers": answers})
        return answers

    def _record(self, facts: dict[str, Any]) -> None:
        if len(self.asked) < _MOST_RECORDED:
            self.asked.append(facts)


class OfFiles:
    """The answers for a rehearsal on files: nothing is stored or delivered beyond them; `kept` is what the script has kept for itself."""

    def __init__(self, event: Event, means: Means, kept: dict[str, Any] | None = None) -> None:
        self._event = event
        self._means = means
        self._kept = kept or {}
        self.given: dict[str, Many] = {}

    def about(self, found: str) -> Source:
        """Raise `LookupError`: nothing is found."""
        raise LookupError(f"nothing that was found is called {found[:64]!r}")

    def answer(self, question: frames.Question) -> list[Any]:
        """Return the answer to a question. Raises `HostdError` or `LookupError` with the reason why there is none."""
        match question.verb:
            case "find":
                _search(question.more, self._means.destinations)
                return [0, 0]
            case "delivered_to":
                return [False]
            case "state":
                return [self._kept]
            case "product":
                return list(self._product(question.actions))
            case "query" if self._means.query is not None:
                asked = Asked.of(question.more)
                found = querying.plain(self._means.query(asked.modality, asked.question(), asked.limit))
                return [querying.as_elements(match) for match in found]
            case "http_get" | "query":
                raise AskedError(_NOBODY)
            case _:
                return []

    def measure(self, file: Path, of: str) -> frames.PixelFacts:
        """Return what the pixels of a file come to. Raises `HostdError` or `OSError`."""
        del of
        return self._means.measure(file)

    def _product(self, actions: Sequence[frames.Makes]) -> tuple[int, int]:
        """Transcode the file, in memory; nothing else is made in a rehearsal on files."""
        if not actions or self._event.blob is None:
            raise AskedError("there is nothing to make it of")
        transform, _ = plan.product_of(actions, self._event, self._means.tools, self._means.projects, {})
        content = Path(self._event.blob).read_bytes()
        source = len(content)
        for step in transform.steps:
            if not isinstance(step, Transcode):
                raise AskedError(
                    "a rehearsal on files makes no other products than transcodes, so that this one is not known"
                )
            try:
                content = transcode(content, step.to, quality=step.quality, ratio=step.ratio, near=step.near).content
            except TranscodeError:
                if not step.may_stay:
                    raise
        return len(content), source


def kept_by(read: Callable[[], AbstractContextManager[Connection]], script: str) -> Callable[[], State]:
    """Return what reads a script's state from the index."""

    def get() -> State:
        with read() as connection:
            return states.get(connection, script)

    return get


_LEVELS: dict[str, levels.Level] = {level: level for level in levels.LEVELS}


def _event_of(connection: Connection, many: Many) -> Event | None:
    """Return a level that was found in the form of an event about it, as all questions about levels are answered; None when it is gone."""
    facts = levels.facts_of(connection, many.level, many.id)
    return Event(many.number, "found", many.id, None, None, None, None, 0.0, facts=facts.to_json()) if facts else None


class _Sought(msgspec.Struct, forbid_unknown_fields=True):
    level: str
    keys: dict[str, str]
    label: str | None
    stored_before: float | None
    origin: str | None
    delivered_to: str | None
    limit: int


def _search(more: dict[str, Any], destinations: Destinations) -> Search:
    try:
        sought = msgspec.convert(more, _Sought)
    except msgspec.ValidationError as error:
        raise SearchError(f"that is nothing that can be looked for: {error}") from error
    if sought.level not in (*_LEVELS, "instance"):
        raise SearchError(f"there is no level {sought.level[:64]!r}")
    had = destinations(sought.delivered_to) if sought.delivered_to is not None else None
    level: Subject = _LEVELS.get(sought.level, "instance")
    limit = max(1, min(sought.limit, searching.MOST))
    return Search(level, sought.keys, sought.label, sought.stored_before, sought.origin, had, limit)
