"""Replay: what a script would do on events of the past, and what another version of it would do otherwise. Nothing is carried out."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from pathlib import Path

from sqlalchemy import Connection

from hostd.archive.records import Event
from hostd.dicom.header import Header
from hostd.errors import HostdError
from hostd.scripting import questions
from hostd.scripting.asking import Beyond, Means, kept_by
from hostd.scripting.edits import Projects, no_projects
from hostd.scripting.measuring import Measure
from hostd.scripting.plan import MAX_HOPS, Channels, Destinations, Tools, no_tools
from hostd.scripting.rehearsal import Outcome, rehearse_event
from hostd.scripting.runtime import ScriptWorker
from hostd.scripting.sources import ArchiveSource, with_header
from hostd.transcoding.public import measure

FAILS = "fail"
"""The sentence of a run that came to no plan."""


@dataclass(frozen=True, slots=True)
class Replayed:
    """What came of a script on one event of the past; `outcome` is None where the script does not handle such an event."""

    event: Event
    outcome: Outcome | None

    @property
    def sop_instance_uid(self) -> str:
        """That of the event's instance, '' when it is about none."""
        return Header.decode(self.event.header).sop_instance_uid if self.event.header is not None else ""

    @property
    def sentences(self) -> Counter[str]:
        """What it would do, in words."""
        if self.outcome is None:
            return Counter()
        return Counter([FAILS]) if self.outcome.error else Counter(self.outcome.plan)


@dataclass(frozen=True, slots=True)
class Difference:
    """One thing that a version would do on these events and the other would not; `is_new`: it is the new one that would."""

    sentence: str
    is_new: bool
    replayed: tuple[Replayed, ...]

    def __str__(self) -> str:
        count = len(self.replayed)
        would = "would now" if self.is_new else "would no longer"
        return f"{would} {self.sentence}: {count} {'event' if count == 1 else 'events'}"


class Replayer:
    """Runs one version of a script over events.

    `start` gives a worker that has it loaded, and is asked again when one is lost; `file_of` tells where a stored file is, or was;
    `read` gives a connection to the index, `script` is the name under which the script has kept something for itself; `measure` works out
    what pixels come to.
    """

    def __init__(
        self,
        start: Callable[[], ScriptWorker],
        *,
        file_of: Callable[[str], Path],
        read: Callable[[], AbstractContextManager[Connection]],
        destinations: Destinations,
        time_limit_s: float,
        tools: Tools = no_tools,
        projects: Projects = no_projects,
        channels: Channels | None = None,
        script: str = "",
        max_hops: int = MAX_HOPS,
        measure: Measure = measure,
    ) -> None:
        self._measure = measure
        self._script = script
        self._start = start
        self._file_of = file_of
        self._read = read
        self._destinations = destinations
        self._time_limit_s = time_limit_s
        self._tools = tools
        self._projects = projects
        self._channels = channels
        self._max_hops = max_hops

    def replay(self, events: Iterable[Event]) -> Iterator[Replayed]:
        """Run the script on each event. Raises `ScriptError` when it cannot be loaded; what it does wrong is in the outcomes."""
        worker = self._start()
        try:
            for event in events:
                if event.handler not in worker.ready.handlers:
                    yield Replayed(event, None)
                    continue
                try:
                    outcome = self._rehearse(worker, event)
                except HostdError as error:  # the worker is gone; the next event gets another
                    outcome = Outcome((), (), (), str(error))
                    worker.stop()
                    worker = self._start()
                yield Replayed(event, outcome)
        finally:
            worker.stop()

    def _rehearse(self, worker: ScriptWorker, event: Event) -> Outcome:
        try:
            complete = with_header(event, self._file_of)
        except HostdError as error:
            return Outcome((), (), (), str(error))
        source = ArchiveSource(event, self._read, self._file_of)
        means = Means(self._destinations, self._tools, self._projects, measure=self._measure)
        further = Beyond(complete, source, self._read, self._file_of, means, kept_by(self._read, self._script))
        return rehearse_event(
            worker,
            complete,
            answer=lambda question: questions.answer_from(source, question, further),
            destinations=self._destinations,
            time_limit_s=self._time_limit_s,
            tools=self._tools,
            projects=self._projects,
            channels=self._channels,
            given=source.given,
            max_hops=self._max_hops,
        )


def differences(new: Sequence[Replayed], old: Sequence[Replayed]) -> list[Difference]:
    """Return what the new version would do otherwise than the old one on the same events, what concerns most events first."""
    found: dict[tuple[str, bool], list[Replayed]] = {}
    for now, before in zip(new, old, strict=True):
        for sentence in now.sentences - before.sentences:
            found.setdefault((sentence, True), []).append(now)
        for sentence in before.sentences - now.sentences:
            found.setdefault((sentence, False), []).append(now)
    listed = [Difference(sentence, is_new, tuple(replayed)) for (sentence, is_new), replayed in found.items()]
    return sorted(listed, key=lambda one: (-len(one.replayed), one.sentence, not one.is_new))
