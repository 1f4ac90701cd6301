"""Carries out `host.retrieve`: a modality is had to send here what it has of a study, by C-MOVE to hostd or by C-GET (P1, P3)."""

from __future__ import annotations

import threading
from collections import OrderedDict
from collections.abc import Collection, Mapping
from dataclasses import dataclass, field
from typing import Any

from hostd.archive import tasks
from hostd.archive.archive import Archive
from hostd.archive.tasks import Task
from hostd.delivery.providers import Provider, Take
from hostd.dicom import statuses
from hostd.dicom.query import UNIQUE_KEYS, Level, Question
from hostd.dimse.retrieval import Counts, Retrieved, said
from hostd.errors import ActionFault, HostdError
from hostd.jobs.carrying import Done, Executor, NotYetError
from hostd.scripting.querying import QUEUE

_REMEMBERED = 1000
_NEVER_WORKS = frozenset({
    statuses.SOP_CLASS_NOT_SUPPORTED, statuses.NOT_AUTHORIZED, statuses.MOVE_DESTINATION_UNKNOWN,
    statuses.DATA_SET_DOES_NOT_MATCH, statuses.UNRECOGNIZED_OPERATION, statuses.NO_SUCH_SOP_CLASS,
})  # fmt: skip


class IncompleteError(HostdError):
    """Something of what was to be retrieved did not come; it is tried again."""


@dataclass(frozen=True, slots=True)
class Here:
    """Where what is retrieved comes to: the AE title that the DICOM face listens under, None where it does not, and what takes what a C-GET brings."""

    aet: str | None
    take: Take


@dataclass(slots=True)
class Retrievals:
    """What the retrieves of all modalities share. `stop` ends those that are under way; the next start does them again."""

    archive: Archive
    here: Here
    _closing: threading.Event = field(default_factory=threading.Event)
    _ended: OrderedDict[tuple[str, str, str, str], tuple[float, dict[str, Any]]] = field(default_factory=OrderedDict)
    _lock: threading.Lock = field(default_factory=threading.Lock)

    def executors(self, providers: Mapping[str, Provider], former: Collection[str] = ()) -> dict[str, Executor]:
        """Return who carries out `retrieve`, by queue: a modality each, and those that the configuration has no more.

        `former` are the modalities that it had before: of these a script may be asking something at this moment.
        """
        found: dict[str, Executor] = {
            f"{QUEUE}{name}": Retrieving(provider, self) for name, provider in providers.items()
        }
        with self.archive.read() as connection:
            gone = {*tasks.orphaned(connection, QUEUE, found.keys()), *(f"{QUEUE}{name}" for name in former)}
        return dict.fromkeys(gone, Gone()) | found

    def stop(self) -> None:
        """Have retrieves that are under way given up."""
        self._closing.set()

    @property
    def is_stopping(self) -> bool:
        """Whether the node ends."""
        return self._closing.is_set()

    def note(self, task: Task, result: dict[str, Any]) -> None:
        """Remember that what a task asked for has come."""
        with self._lock:
            key = _key(task)
            self._ended[key] = self.archive.clock.now(), result
            self._ended.move_to_end(key)
            while len(self._ended) > _REMEMBERED:
                self._ended.popitem(last=False)

    def shared(self, task: Task) -> dict[str, Any] | None:
        """Return what came of the same retrieve where it ended after this task had asked for it; None where there was none."""
        with self._lock:
            at, result = self._ended.get(_key(task), (float("-inf"), {}))
        return result if at >= task.created_at else None


class Retrieving:
    """Carries out the retrieves of one modality."""

    def __init__(self, provider: Provider, retrievals: Retrievals) -> None:
        self._provider = provider
        self._retrievals = retrievals

    def prepare(self, task: Task) -> Done:
        """Have it sent here. What came stays if hostd ends before that is written: it is asked for again, and comes as repeats."""
        shared = self._retrievals
        if (had := shared.shared(task)) is not None:
            return Done(had | {"shared": True})
        retrieved = self._retrieve(question_of(task.details))
        result = result_of(retrieved)
        if shared.is_stopping:
            raise NotYetError("hostd ended in the middle of it; it is done again", 0)
        judge(retrieved, self._provider.name, shared.here.aet if self._provider.by == "move" else None)
        shared.note(task, result)
        return Done(result)

    def _retrieve(self, question: Question) -> Retrieved:
        provider, here = self._provider, self._retrievals.here
        if provider.by == "get":
            return provider.get(question, here.take, is_cancelled=self._is_stopping)
        if here.aet is None:
            raise ActionFault(
                f"hostd does not listen for DICOM (dicom.enabled), so that the modality {provider.name} can send nothing"
                f' by C-MOVE: [modalities.{provider.name}] retrieve_by = "get"'
            )
        return provider.move(question, here.aet, is_cancelled=self._is_stopping)

    def _is_stopping(self) -> bool:
        return self._retrievals.is_stopping


class Gone:
    """Ends what was to be retrieved from a modality that the configuration has no more: it fails, in the open."""

    def prepare(self, task: Task) -> Done:
        """Fail the task with what to do: raises `ActionFault`, always."""
        name = task.queue.removeprefix(QUEUE)
        raise ActionFault(
            f"the modality {name} is no longer in the configuration; put it back, then `hostd actions retry {task.id}`"
        )


def question_of(named: Mapping[str, str]) -> Question:
    """Return what is meant by UIDs by level: the lowest level that is named, and all keys."""
    level: Level = "instance" if "instance" in named else "series" if "series" in named else "study"
    levels: tuple[Level, ...] = ("study", "series", "instance")
    return Question.by_keywords(level, {UNIQUE_KEYS[one]: named[one] for one in levels if one in named})


def result_of(retrieved: Retrieved) -> dict[str, Any]:
    """Return what is told of a retrieve."""
    counts = retrieved.counts
    return {
        "completed": counts.completed,
        "failed": counts.failed,
        "warning": counts.warning,
        "status": f"0x{retrieved.status:04X}",
    }


def judge(retrieved: Retrieved, name: str, destination: str | None) -> None:
    """Let a retrieve pass that brought all there was. Raises `IncompleteError` for what is tried again, `ActionFault` for what is of no use.

    `destination` is the AE title that a C-MOVE named, None for a C-GET.
    """
    answer, counts = said(retrieved.status, retrieved.comment), retrieved.counts
    if retrieved.status == statuses.MOVE_DESTINATION_UNKNOWN and destination is not None:
        raise ActionFault(
            f"the modality {name} does not know {destination!r}: enter that AE title there, with the host and port where it listens",
            result_of(retrieved),
        )
    if retrieved.status in _NEVER_WORKS:
        raise ActionFault(f"the modality {name} answered {answer}", result_of(retrieved))
    is_good = statuses.category(retrieved.status) in ("success", "warning")
    if not is_good or counts.failed:
        raise IncompleteError(f"the modality {name} answered {answer}{_in_words(counts)}")


def _in_words(counts: Counts) -> str:
    return f" ({counts.completed + counts.warning} sent, {counts.failed} failed, {counts.remaining} remain)"


def _key(task: Task) -> tuple[str, str, str, str]:
    named = task.details
    return task.queue, named["study"], named.get("series", ""), named.get("instance", "")
