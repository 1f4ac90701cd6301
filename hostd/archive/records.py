"""The stored forms, as plain values."""

from __future__ import annotations

from dataclasses import dataclass, fields
from typing import Any, Literal

SCHEDULE = "schedule"
"""The kind of event that runs a function of one script by the clock; its facts name the `function`."""

NOBODY = ""
"""The script that an event is only for when no script is to have it: it is history, and can be given to one by hand."""


@dataclass(frozen=True, slots=True)
class Origin:
    """Where an instance came from.

    `modality` is the configured name of the sending modality, when there is one; `association` the number of its association. Of what
    a script made, `script` names it, and `hops` counts the acts of scripts that led to it.
    """

    kind: Literal["dicom", "http", "script", "import"]
    calling_aet: str | None = None
    called_aet: str | None = None
    ip: str | None = None
    username: str | None = None
    modality: str | None = None
    association: int | None = None
    script: str | None = None
    hops: int | None = None

    def to_json(self) -> dict[str, Any]:
        """Return what is set, for a JSON column."""
        return {name: value for name in _ORIGIN if (value := getattr(self, name)) is not None}


_ORIGIN = tuple(field.name for field in fields(Origin))


@dataclass(frozen=True, slots=True)
class Blob:
    """One stored file: its random name, size in bytes, digest (`hostd.archive.digests`), and transfer syntax UID."""

    name: str
    size: int
    sha256: str
    transfer_syntax: str


@dataclass(frozen=True, slots=True)
class Current:
    """The current file of the instance with Orthanc's identifier `id`."""

    id: str
    blob: Blob


@dataclass(frozen=True, slots=True)
class Instance:
    """An instance of the archive with its current file. `attributes` holds Orthanc's main tags by level, `revision` counts changes."""

    id: str
    patient: str
    study: str
    series: str
    patient_id: str
    study_instance_uid: str
    series_instance_uid: str
    sop_instance_uid: str
    sop_class_uid: str
    attributes: dict[str, dict[str, str]]
    received_sha256: str
    origin: Origin
    metadata: dict[str, str]
    labels: list[str]
    received_at: float
    blob: Blob


@dataclass(frozen=True, slots=True)
class Event:
    """A row of the event log.

    `subject` is the id of an instance, series, study or patient, a script's name for `start` and `stop`, or the number of an association; `blob` the file that the event speaks of, None when it
    was not kept; `header` an encoded `dicom.header.Header`; `content` the SHA-256 of the data set as received; `receipt` how the
    ingest of the instance ended (`transcoding.receipt.Receipt` as plain values), None when nothing was to be transcoded; `facts` what it
    tells beyond an instance (see `levels.LevelFacts`, `associations.AssociationRow`, `occurrences`, `schedules`). One that `repeats` another is
    `only_for` one script; what is the doing of a script (`by`) is not told to that one.
    """

    number: int
    kind: str
    subject: str
    blob: str | None
    content: str | None
    header: bytes | None
    origin: Origin | None
    at: float
    receipt: dict[str, Any] | None = None
    facts: dict[str, Any] | None = None
    only_for: str | None = None
    repeats: int | None = None
    by: str | None = None
    study: str | None = None
    """Study Instance UID, None where it is about no study."""

    @property
    def handler(self) -> str:
        """The name of the function of a script that takes it."""
        return str((self.facts or {})["function"]) if self.kind == SCHEDULE else f"on_{self.kind}"


Span = tuple[int, int]
"""The numbers from the first to the last, both included."""


@dataclass(frozen=True, slots=True)
class Cursor:
    """A script's place in the event log: all events up to `low_water` are done, and those in the `finished` spans above it.

    `parked_in_a_row` counts the events that it could not digest since the last one that it could.
    """

    script: str
    low_water: int
    finished: tuple[Span, ...]
    token: int
    parked_in_a_row: int = 0

    def has_passed(self, number: int) -> bool:
        """Tell whether the event of that number is done."""
        return number <= self.low_water or any(first <= number <= last for first, last in self.finished)


@dataclass(frozen=True, slots=True)
class Delivery:
    """One instance to one destination.

    `destination` is `kind:name`; `transform` the canonical form of what is to be done to the file first, '' for nothing; `alternate_of`
    the number of the failed delivery for which this one stands in. `commitment` is wanted, asked, committed or refused, None where
    the destination is not asked for it; `commitment_uid` is the transaction with which it was asked last, and `is_original` says
    whether the same instance was sent, without loss.
    """

    id: int
    instance: str
    sop_instance_uid: str
    sop_class_uid: str
    destination: str
    content: str
    blob: str
    transform: str
    priority: int
    state: str
    attempts: int
    not_before: float
    next_attempt_at: float
    last_error: str | None
    possible_doubles: int
    created_at: float
    finished_at: float | None
    script: str | None
    action: int | None = None
    alternate_of: int | None = None
    commitment: str | None = None
    commitment_uid: str | None = None
    commitment_asked_at: float | None = None
    is_original: bool | None = None
    manner: str = ""
    """How it is to be sent where its destination's settings are not to hold: `hostd.archive.manners`."""


@dataclass(frozen=True, slots=True)
class Attempt:
    """One try of a delivery and what the peer said.

    `outcome` is delivered, warning, present (nothing was sent: the peer has it), failed, waiting (to be tried again), unreached (the destination's fault, which counts against no
    instance), lost (the answer was) or stray (the lease was). `sent_syntax` and `sent_sop_instance_uid` are UIDs, None when nothing
    was sent: a lossy result is sent as an instance of its own.
    """

    delivery: int
    number: int
    at: float
    outcome: str
    answer: str
    status: int | None = None
    seconds: float | None = None
    sent_syntax: str | None = None
    sent_sop_instance_uid: str | None = None
