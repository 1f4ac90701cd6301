"""The editor: an edit as a receipt. It knows the keys, the projects and their patients, and never looks at pixels."""

from __future__ import annotations

import hmac
from collections.abc import Iterator, Mapping
from collections.abc import Set as AbstractSet
from datetime import UTC, datetime
from pathlib import Path
from typing import Protocol

import msgspec

from hostd.clock import Clock
from hostd.dicom import part10
from hostd.dicom.element_values import Elements
from hostd.dicom.header import read_elements
from hostd.editing import identifiers
from hostd.editing.dates import days_for
from hostd.editing.terms import ChangedAlike, EditJob, Project, Terms, derived_key
from hostd.errors import CannotEditError, CannotTranscodeError, UnparsableError
from hostd.transcoding.edits import Anonymize, Edit, Modify
from hostd.transcoding.messages import MAX_MESSAGE
from hostd.transcoding.receipt import Receipt

WORKER = "hostd.editing.worker"
"""The module that workers must run to edit; they transcode as well."""
_PATIENT_ID, _ISSUER = 0x00100020, 0x00100021
_MAX_VALUE, _MAX_ELEMENTS = 1 << 10, 1 << 20
_REFERENCES_SIZE = 64 << 20
"""Bytes of all values of a data set in which references are looked for."""
_SPARE = 1 << 10


class Pseudonyms(Protocol):
    """Who is who in a project: kept by the host, so that it is the same for ever and on every node."""

    def of(self, project: str, patient_id: str, issuer: str) -> str:
        """Return the patient's pseudonym in that project, made when it is first asked for; no two patients have the same."""
        ...


class Jobs(Protocol):
    """What jobs are about."""

    def among(self, job: str, uids: AbstractSet[str]) -> AbstractSet[str]:
        """Return which of these UIDs are SOP, series or study UIDs of instances that the job of that identifier is about."""
        ...


class CarriesOut(Protocol):
    """What does jobs: `hostd.transcoding.pool.CodecPool` with `WORKER`."""

    def carry_out(self, job: msgspec.Struct, source: Path, result: Path, *, is_new_instance: bool = False) -> Receipt:
        """Write `result`, which must not exist, and return its receipt, with the SOP Instance UID of a new instance.

        Raises `TranscodeError` or `OSError`.
        """
        ...


class Editor:
    """Carries out edits. For any number of threads.

    `key` is the installation's secret; every node on one index must have the same. `system` names it in what is recorded.
    """

    def __init__(
        self,
        pool: CarriesOut,
        key: bytes,
        pseudonyms: Pseudonyms,
        projects: Mapping[str, Project],
        jobs: Jobs,
        clock: Clock,
        *,
        system: str,
    ) -> None:
        self._pool = pool
        self._key = key
        self._pseudonyms = pseudonyms
        self._projects = projects
        self._jobs = jobs
        self._clock = clock
        self._system = system

    def use(self, projects: Mapping[str, Project]) -> None:
        """Go on with these projects. What was asked for by the rules of another is not made by these: it fails."""
        self._projects = projects

    def edit(self, step: Edit, source: Path, result: Path) -> Receipt:
        """Make `result`, which must not exist, of `source`, and return its receipt.

        Raises `CannotEditError` with the reason, `WrongPixelsError`, `CodecCrashedError`, and `OSError`; then there is no result.
        """
        match step:
            case Anonymize():
                terms = self._for_project(step, source)
            case Modify(of=str(of)) if of:
                terms = self._for_job(of, source)
            case _:
                terms = self._terms(derived_key(self._key, "edit"))
        job = EditJob(step, terms)
        if len(msgspec.msgpack.encode(job)) > MAX_MESSAGE - _SPARE:
            raise CannotEditError(
                f"what is to be set, and what the instance refers to, takes more than {MAX_MESSAGE >> 10} KiB; set less at once"
            )
        try:
            return self._pool.carry_out(job, source, result, is_new_instance=True)
        except CannotEditError:
            raise
        except CannotTranscodeError as error:
            raise CannotEditError(str(error)) from error

    def _terms(self, key: bytes) -> Terms:
        at = datetime.fromtimestamp(self._clock.now(), UTC)
        return Terms(key, at.strftime("%Y%m%d%H%M%S") + "+0000", self._system)

    def _for_job(self, job: str, source: Path) -> Terms:
        referred = set(_references(_elements(source, _REFERENCES_SIZE)))
        alike = ChangedAlike.of(referred, self._jobs.among(job, referred))
        return msgspec.structs.replace(self._terms(derived_key(self._key, "edit")), changed_alike=alike)

    def _for_project(self, step: Anonymize, source: Path) -> Terms:
        if step.own:
            return self._for_own(step, source)
        project = self._projects.get(step.project)
        if project is None:
            names = ", ".join(self._projects) or "there is none"
            raise CannotEditError(
                f"there is no [projects.{step.project}] in the configuration; known projects: {names}"
            )
        if step.rules and step.rules != project.fingerprint():
            raise CannotEditError(
                f"the rules of the project {project.name} are others now than when this was asked for; ask for it anew, by the rules of now"
            )
        patient_id, issuer = _patient(source)
        if not patient_id:
            raise CannotEditError(
                "the instance has no PatientID, so that its patient could not be told from others; set one first (modify)"
            )
        key = derived_key(self._key, f"project {project.name}")
        pseudonym = project.patient_prefix + self._pseudonyms.of(project.name, patient_id, issuer)
        days = days_for(key, patient_id, issuer)
        return msgspec.structs.replace(self._terms(key), project=project, pseudonym=pseudonym, days=days)

    def _for_own(self, step: Anonymize, source: Path) -> Terms:
        """Return the terms of rules that are those of one request: nobody keeps who is who, and the way back is not kept either."""
        try:
            project = msgspec.json.decode(step.own, type=Project)
        except msgspec.DecodeError as error:
            raise CannotEditError("these rules are none that this release knows") from error
        patient_id, issuer = _patient(source)
        key = derived_key(self._key, f"request {project.name}")
        digest = hmac.digest(key, f"{patient_id}\0{issuer}".encode("utf-8", "surrogateescape"), "sha256").hex()
        return msgspec.structs.replace(
            self._terms(key), project=project, pseudonym=digest[:32].upper(), days=days_for(key, patient_id, issuer)
        )


def _patient(source: Path) -> tuple[str, str]:
    """Return patient ID and its issuer. Raises `CannotEditError` when the file cannot be read."""
    tags = _elements(source, _MAX_ELEMENTS)
    found = []
    for tag in (_PATIENT_ID, _ISSUER):
        _, values = tags.get(tag, ("LO", []))
        if values is None:
            raise CannotEditError("the patient ID or its issuer is longer than any may be")
        found.append("\\".join(map(str, values)).strip())
    return found[0], found[1]


def _references(tags: Elements) -> Iterator[str]:
    """Yield the SOP, series and study UIDs that an instance has, its own too, as far as they can be changed."""
    for tag, (vr, values) in tags.items():
        if vr == "SQ" and tag not in identifiers.UNCHANGED:
            for item in values or ():
                yield from _references(item)
        elif tag in identifiers.REFERENCES:
            yield from map(str, values or ())


def _elements(source: Path, max_elements: int) -> Elements:
    try:
        with source.open("rb") as file:
            start = part10.data_set_offset(file)
            tags, _ = read_elements(
                file,
                offset=start.offset,
                transfer_syntax=start.transfer_syntax_uid,
                max_value=_MAX_VALUE,
                max_elements=max_elements,
            )
    except (UnparsableError, RecursionError) as error:
        raise CannotEditError(f"{source.name} cannot be read: {error}") from error
    return tags
