"""Jobs that have other archives send something: `DicomMoveScu` to any AE, `DicomGetScu` here."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from typing import Any

from sqlalchemy import Connection

from hostd.archive import jobs
from hostd.archive.jobs import Job
from hostd.delivery.providers import Provider, provider_of
from hostd.delivery.retrieving import IncompleteError, Retrievals, judge
from hostd.dicom.query import LEVELS, Level, Question
from hostd.dimse.retrieval import Counts, Retrieved
from hostd.errors import ActionFault, DestinationFault
from hostd.jobs import faults
from hostd.jobs.faults import JobFault
from hostd.jobs.running import Halt, Step

MOVE, GET = "DicomMoveScu", "DicomGetScu"
_LOOK_S = 0.5


def asked(
    modality: str,
    questions: list[Question],
    *,
    target: str = "",
    local_aet: str | None = None,
    timeout_s: float | None = None,
) -> dict[str, Any]:
    """Return what a job is to know: which modality is to send what, one after another, to the AE title `target`."""
    said = [{"level": one.level, "keys": {f"{tag:08x}": text for tag, text in one.keys.items()}} for one in questions]
    return {"modality": modality, "questions": said, "target": target, "local_aet": local_aet, "timeout_s": timeout_s}


class Retrieves:
    """Carries out the jobs of one of the two types, a question a step. What is under way is given up when the job is cancelled."""

    def __init__(self, kind: str, providers: Callable[[], Mapping[str, Provider]], retrievals: Retrievals) -> None:
        self._kind = kind
        self._providers = providers
        self._retrievals = retrievals

    def step(self, job: Job) -> Step:
        """Have the next of what is meant sent. What came stays when a job fails, and is a repeat when it is done again."""
        place, questions = int(job.memo.get("next", 0)), job.asked["questions"]
        if place >= len(questions):
            return Step(job.memo, is_done=True, progress=1.0)
        provider = provider_of(self._providers(), job.asked["modality"])
        watch = _Watch(job, self._retrievals)
        try:
            retrieved = self._retrieve(provider, job.asked, _question(questions[place]), watch)
        except (DestinationFault, ActionFault) as fault:
            raise JobFault(faults.NETWORK_PROTOCOL, str(fault)) from fault
        if watch.has_cancelled:
            return Step(job.memo, progress=job.progress)  # whoever wants that is heard next
        try:
            judge(retrieved, provider.name, job.asked["target"] if self._kind == MOVE else None)
        except (IncompleteError, ActionFault) as fault:
            raise JobFault(faults.NETWORK_PROTOCOL, str(fault), faults.of_dimse(retrieved.status)) from fault
        place += 1
        return Step({"next": place}, progress=place / len(questions), is_done=place == len(questions))

    def halted(self, connection: Connection, job: Job, why: Halt, reason: str, now: float) -> None:
        """Nothing follows: what came is stored."""

    def forgotten(self, job: Job) -> None:
        """Nothing is left."""

    def _retrieve(self, provider: Provider, asked: dict[str, Any], question: Question, watch: _Watch) -> Retrieved:
        options = {
            "timeout_s": asked["timeout_s"],
            "calling_aet": asked["local_aet"],
            "is_cancelled": watch,
            "on_progress": watch.note,
        }
        if self._kind == GET:
            return provider.get(question, self._retrievals.here.take, **options)
        return provider.move(question, asked["target"], **options)


class _Watch:
    """Tells whether a job is to be given up, and has it show how far it is."""

    def __init__(self, job: Job, retrievals: Retrievals) -> None:
        self._job = job
        self._retrievals = retrievals
        self._looked = time.monotonic()
        self.has_cancelled = False
        self._counts = self._shown = Counts()

    def note(self, counts: Counts) -> None:
        """Take note of how far the archive says it is."""
        self._counts = counts

    def __call__(self) -> bool:
        now, archive = time.monotonic(), self._retrievals.archive
        if self._retrievals.is_stopping:
            self.has_cancelled = True
        if self.has_cancelled or now - self._looked < _LOOK_S:
            return self.has_cancelled
        self._looked = now
        with archive.read() as connection:
            found = jobs.get(connection, self._job.id)
        self.has_cancelled = found is None or found.wanted is not None
        if not self.has_cancelled and self._counts != self._shown:
            self._show()
        return self.has_cancelled

    def _show(self) -> None:
        """Write down how far it is: the questions before, and the part of this one that is done."""
        job, counts = self._job, self._counts
        done = counts.completed + counts.failed + counts.warning
        part = done / (done + counts.remaining) if done else 0.0
        progress = (int(job.memo.get("next", 0)) + part) / max(1, len(job.asked["questions"]))
        self._shown = counts

        def note(connection: Connection) -> None:
            if jobs.is_mine(connection, job, self._retrievals.archive.clock.now()):
                jobs.proceed(connection, job, job.memo, {}, progress)

        self._retrievals.archive.writer.do(note)


def _question(said: Mapping[str, Any]) -> Question:
    level: Level = next(level for level in LEVELS if level == said["level"])
    return Question(level, {int(tag, 16): text for tag, text in said["keys"].items()})
