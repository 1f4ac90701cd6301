"""Jobs that modify or de-identify whole series, studies and patients: all of it, or nothing (P7).

First every instance is made, one after another, as products that are remembered by their receipts, so that a restart goes on; what cannot be
made fails the job, and nothing is stored. Then all of them are stored, and only then, where the sources are not to be kept, those go (P4), each
while it is still what the result was made of.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal, Protocol

import msgspec
import sqlalchemy as sa
from sqlalchemy import Connection

from hostd.archive import derived, instances, jobs, labels, marks, receiving
from hostd.archive import tables as t
from hostd.archive.archive import Archive
from hostd.archive.jobs import Item, Job
from hostd.archive.labels import Subject
from hostd.archive.receiving import Arrival
from hostd.archive.records import Origin
from hostd.errors import StorageError
from hostd.intake.intake import Intake
from hostd.jobs import faults
from hostd.jobs.faults import JobFault
from hostd.jobs.running import Halt, Step
from hostd.transcoding.edits import Anonymize, Modify
from hostd.transcoding.stored import Product, Stored
from hostd.transcoding.transform import Transcode, Transform

TYPE = "ResourceModification"
SPLIT, MERGE = "SplitStudy", "MergeStudy"
"""Types of jobs that have series become part of another study; otherwise as the first."""
LEVELS = ("instance", "series", "study", "patient")
WORDS = {"instance": "Instance", "series": "Series", "study": "Study", "patient": "Patient"}
_PATHS = {"instance": "instances", "series": "series", "study": "studies", "patient": "patients"}

_STORED_AT_ONCE = 10
_TOPICS = ("event",)
_ANONYMIZED_FROM = "AnonymizedFrom"
_PHASES = ("make", "store", "delete")


class Makes(Protocol):
    """What makes products: `hostd.transcoding.products.Products`."""

    def bring(self, stored: Stored, transform: Transform) -> Product:
        """Return a stored file after that transform, made once. Raises `InstanceFault`."""
        ...


class Modification(msgspec.Struct, frozen=True):
    """What is asked: `change` is done to each instance, after it was transcoded.

    `level` is what of it becomes a new one; `bulk` tells whether the answer names all that is made.
    With `keep_labels` what is made has the labels of what it was made of. With `is_restructured` the answer names what was known before.
    """

    change: Modify | Anonymize
    level: Literal["instance", "series", "study", "patient"]
    transcode: Transcode | None = None
    keep_source: bool = True
    bulk: bool = False
    keep_labels: bool = False
    is_restructured: bool = False
    username: str | None = None
    ip: str | None = None

    def transform_of(self, one: Source, job: str = "") -> Transform:
        """Return what is to be done to one instance, of a job of that identifier or by itself."""
        before = Transform().then(self.transcode) if self.transcode is not None else Transform()
        if self.transcode is not None and self.transcode.to == one.transfer_syntax:
            before = Transform()
        change = self.change
        if isinstance(change, Modify):
            source = one.sop_instance_uid if job and not before.is_lossless else ""
            change = msgspec.structs.replace(change, level=self.level, of=job, source=source)
        return before.then(change)


@dataclass(frozen=True, slots=True)
class Source:
    """An instance that is to be changed."""

    id: str
    series: str
    study: str
    patient: str
    study_instance_uid: str
    series_instance_uid: str
    sop_instance_uid: str
    content: str
    blob: str
    transfer_syntax: str

    @property
    def stored(self) -> Stored:
        """Its file."""
        return Stored(self.blob, self.sop_instance_uid, self.content)


def sources(connection: Connection, ids: Sequence[str]) -> list[Source]:
    """Return these instances, in this order. Raises `JobFault` where one is no longer there."""
    query = sa.select(t.instance, t.blob.c.transfer_syntax).join(t.blob, t.blob.c.name == t.instance.c.blob)
    found = {}
    for row in connection.execute(query.where(t.instance.c.id.in_(ids))):
        found[row.id] = Source(
            row.id, row.series, row.study, row.patient, row.study_instance_uid, row.series_instance_uid,
            row.sop_instance_uid, row.received_sha256, row.blob, row.transfer_syntax,
        )  # fmt: skip
    if gone := [one for one in ids if one not in found]:
        raise JobFault(faults.UNKNOWN_RESOURCE, f"the instance {gone[0]} is no longer there")
    return [found[one] for one in ids]


class Modifies:
    """Carries out the jobs that modify, de-identify, split and merge, a few instances a step."""

    def __init__(self, archive: Archive, intake: Intake, products: Makes) -> None:
        self._archive = archive
        self._intake = intake
        self._products = products

    def step(self, job: Job) -> Step:
        """Make one instance, store some, or delete some sources."""
        asked = msgspec.convert(job.asked, Modification)
        phase, position = job.memo.get("phase", "make"), job.memo.get("next", 0)
        limit = 1 if phase == "make" else _STORED_AT_ONCE
        with self._archive.read() as connection:
            count = jobs.count_items(connection, job)
            items = jobs.items(connection, job, start=position, limit=limit)
            some = sources(connection, [item.instance for item in items]) if phase != "delete" else []
        if not items:
            return self._after(job, asked, phase)
        progress = (_PHASES.index(phase) + (position + len(items)) / count) / (2 if asked.keep_source else 3)
        memo = job.memo | {"phase": phase, "next": items[-1].position + 1}
        if phase == "make":
            for one in some:
                self._make(job, asked, one)
            return Step(memo, progress=progress)
        if phase == "delete":
            return self._delete(job, memo, items, progress)
        return self._store(
            job, asked, memo, {item.position: one for item, one in zip(items, some, strict=True)}, progress
        )

    def halted(self, connection: Connection, job: Job, why: Halt, reason: str, now: float) -> None:
        """Leave what there is: nothing has changed before it is stored, all of it has afterwards, and what was stored stays where a later one could not be."""

    def forgotten(self, job: Job) -> None:
        """Leave what it made."""

    def _after(self, job: Job, asked: Modification, phase: str) -> Step:
        """Go on with what comes after a phase."""
        following = {"make": "store", "store": "delete" if not asked.keep_source else None}.get(phase)
        if following is None:
            return Step(job.memo, is_done=True)
        return Step(job.memo | {"phase": following, "next": 0}, progress=job.progress)

    def _make(self, job: Job, asked: Modification, one: Source) -> Product:
        return self._products.bring(one.stored, asked.transform_of(one, job.id))

    def _store(
        self, job: Job, asked: Modification, memo: dict[str, Any], some: dict[int, Source], progress: float
    ) -> Step:
        origin = Origin("http", username=asked.username, ip=asked.ip)
        arrivals: list[tuple[Source, Arrival]] = []
        blobs: list[str] = []
        unwanted: list[str] = []

        def enter(connection: Connection) -> dict[str, Any]:
            made, replaced = dict(job.memo.get("made", {})), list(job.memo.get("replaced", []))
            unwanted.clear()
            _require_unchanged(connection, list(some.values()))
            jobs.note_contents(connection, job, {position: one.content for position, one in some.items()})
            for one, arrival in arrivals:
                made_id = arrival.header.identity.instance
                outcome, _ = self._intake.enter_produced(connection, arrival, in_place=made_id == one.id)
                if outcome == "refused" or receiving.is_taken(connection, made_id, arrival.content):
                    raise JobFault(
                        faults.CANNOT_STORE,
                        f"Error while storing a modified instance: other content is stored as {made_id}, and ingest.on_conflict is not newest",
                    )
                if outcome not in receiving.KEPT:
                    unwanted.append(arrival.blob.name)
                _note_source(connection, one, arrival, asked)
                made = _noted(made, arrival, with_instances=asked.bulk)
                if made_id == one.id:
                    replaced.append(one.id)
            memo["made"], memo["replaced"] = made, replaced
            return _shown(made, asked)

        try:
            for one in some.values():
                arrival = self._intake.produced(self._make(job, asked, one).path, origin)
                arrivals.append((one, arrival))
                blobs.append(arrival.blob.name)
        except BaseException:
            self._let_go(blobs)
            raise
        return Step(
            memo, progress=progress, commit=enter, blobs=blobs, topics=_TOPICS, undo=lambda: self._let_go(blobs),
            after=lambda: self._let_go(unwanted), write=self._intake.within_limits([arrival for _, arrival in arrivals]),
        )  # fmt: skip

    def _let_go(self, blobs: Sequence[str]) -> None:
        for blob in blobs:
            self._archive.blobs.unlink(blob)

    def _delete(self, job: Job, memo: dict[str, Any], items: Sequence[Item], progress: float) -> Step:
        """Delete sources, but for those whose place the result has taken, those that have other content by now, and what hostd has promised to keep."""
        replaced = set(job.memo.get("replaced", ()))

        def delete(connection: Connection) -> dict[str, Any]:
            now = self._archive.clock.now()
            kept = [
                item.instance
                for item in items
                if item.instance not in replaced
                and instances.hide(connection, item.instance, now, content=item.content or "")
                in ("promised", "superseded")
            ]
            return {"KeptSources": [*job.content.get("KeptSources", []), *kept]} if kept else {}

        return Step(memo, progress=progress, commit=delete, topics=_TOPICS)


def _require_unchanged(connection: Connection, some: Sequence[Source]) -> None:
    """Have what was made of content that was replaced meanwhile made anew. Raises `JobFault` where one is no longer there."""
    for before, after in zip(some, sources(connection, [one.id for one in some]), strict=True):
        if before.content != after.content:
            raise StorageError(f"other content of the instance {before.id} came while it was changed")


def _note_source(connection: Connection, one: Source, arrival: Arrival, asked: Modification) -> None:
    """Note of what each level was made, and label it alike where that is wanted."""
    kind = _ANONYMIZED_FROM if isinstance(asked.change, Anonymize) else derived.MODIFIED_FROM
    new = arrival.header.identity
    levels: tuple[tuple[Subject, str, str], ...] = (
        ("instance", new.instance, one.id), ("series", new.series, one.series), ("study", new.study, one.study),
        ("patient", new.patient, one.patient),
    )  # fmt: skip
    for level, made, source in levels:
        if made != source and marks.get(connection, level, made) is not None:
            marks.set_metadata(connection, level, made, kind, source)
            if asked.keep_labels and (kept := labels.of(connection, level, source)):
                labels.add(connection, level, made, kept)


def _noted(made: dict[str, Any], arrival: Arrival, *, with_instances: bool) -> dict[str, Any]:
    new = arrival.header.identity
    found = {"series": new.series, "study": new.study, "patient": new.patient}
    if with_instances:
        found["instance"] = new.instance
    return {level: [*dict.fromkeys([*made.get(level, []), one])] for level, one in found.items()}


def _shown(made: dict[str, list[str]], asked: Modification) -> dict[str, Any]:
    """Return what is shown of what was made: the first of its level, or all of a bulk; of a study that was split or merged it is shown already."""
    if asked.is_restructured:
        return {}
    if asked.bulk:
        return {"Resources": [_resource(level, one) for level in LEVELS for one in made.get(level, [])]}
    return _resource(asked.level, made[asked.level][0]) | {"PatientID": made["patient"][0]}


def _resource(level: str, identifier: str) -> dict[str, str]:
    return {"ID": identifier, "Path": f"/{_PATHS[level]}/{identifier}", "Type": WORDS[level]}
