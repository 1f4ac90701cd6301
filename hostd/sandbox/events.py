"""The events of this release: what happens, and is told to every script that handles it.

A handler is a function of a script named after its event: the class `StoredInstance` gives `on_stored_instance`. It takes
the event's fields and `host`, by position.
"""

from __future__ import annotations

import re

import msgspec

from hostd.sandbox.levels import Association, Patient, Series, Study
from hostd.sandbox.told import Destination, Disk, EndedAction, EndedDelivery, FailedTranscode, Job, ParkedScript, Source
from hostd.sandbox.views import Instance


class Notification(msgspec.Struct, frozen=True):
    """Something that has happened, told to every script that handles it, at least once, in the order in which it happened."""


class StoredInstance(Notification, frozen=True):
    """A new instance is safely stored.

    Raised once for each new instance that hostd keeps, whichever way it came, after file and index are committed and
    ingest transcoding has ended, well or badly: `instance.receipt` says how, and is None when nothing was to be
    transcoded. An identical repeat raises `on_received_again`, other content under the same identity
    `on_conflicting_instance`.
    """

    instance: Instance


class ReceivedAgain(Notification, frozen=True):
    """An instance was received that is stored already, with the same content.

    Nothing was stored and nothing was changed; `instance` is the one that is stored, its `origin` who sent it again.
    """

    instance: Instance


class ConflictingInstance(Notification, frozen=True):
    """An instance was received whose identity is taken by other content.

    `instance` is what arrived. What became of it is up to `on_conflict` in the section `[ingest]` of the configuration:
    "newest" (the default) makes it the current one and keeps the former as a version; "first" keeps the former current and
    what arrived as a version; "refuse" keeps nothing of what arrived, so that it can be looked at but not forwarded.
    """

    instance: Instance


class UpdatedInstance(Notification, frozen=True):
    """A stored instance was changed: `instance.changes` says whether its content, its metadata or its labels.

    When other content came under its identity, this comes besides `on_conflicting_instance`.
    """

    instance: Instance


class DeletedInstance(Notification, frozen=True):
    """An instance was deleted; `instance` is as it was before.

    Nothing of it can be forwarded any more. Its bytes stay until every script has passed this event.
    """

    instance: Instance


class NewPatient(Notification, frozen=True):
    """The first instance of a patient was stored.

    It comes after the `on_stored_instance` of that instance, which is `patient.first`, and before `on_new_study`. After all of a patient
    was deleted, the next instance begins it anew; so it is for a study and a series.
    """

    patient: Patient


class NewStudy(Notification, frozen=True):
    """The first instance of a study was stored; it is `study.first`. More are to be expected: see `on_stable_study`."""

    study: Study


class NewSeries(Notification, frozen=True):
    """The first instance of a series was stored; it is `series.first`. More are to be expected: see `on_stable_series`."""

    series: Series


class StableSeries(Notification, frozen=True):
    """Nothing more of a series has come for its quiet time, and all of it has been transcoded on ingest.

    The quiet time is a setting, `[stable]`, which may differ by modality. When more instances, or other content, come afterwards, the
    event is raised again, after another quiet time: `series.occurrence` counts from 1, and `series.new_instances` are those that came
    since the last time. A series that is deleted before is never stable. The event of a series comes before that of its study.
    """

    series: Series


class StableStudy(Notification, frozen=True):
    """Nothing more of a study has come for its quiet time: the longest of its modalities'. Otherwise as `on_stable_series`."""

    study: Study


class StablePatient(Notification, frozen=True):
    """Nothing more of a patient has come for its quiet time. Otherwise as `on_stable_series`."""

    patient: Patient


class UpdatedSeries(Notification, frozen=True):
    """Content of a stored instance of a series was replaced, or metadata or labels of the series itself changed: see `series.changes`."""

    series: Series


class UpdatedStudy(Notification, frozen=True):
    """As `on_updated_series`, for the study."""

    study: Study


class UpdatedPatient(Notification, frozen=True):
    """As `on_updated_series`, for the patient."""

    patient: Patient


class DeletedSeries(Notification, frozen=True):
    """The last instance of a series was deleted: `series` has the attributes of that one, and no instances."""

    series: Series


class DeletedStudy(Notification, frozen=True):
    """The last instance of a study was deleted: `study` has the attributes of that one, and no instances."""

    study: Study


class DeletedPatient(Notification, frozen=True):
    """The last instance of a patient was deleted: `patient` has the attributes of that one, and no instances."""

    patient: Patient


class AssociationClosed(Notification, frozen=True):
    """An association of the DICOM face has ended, well or badly, or was rejected.

    The instances that came by it are stored; where some are still being transcoded on ingest, their own events come later.
    """

    association: Association


class DeliveryDone(Notification, frozen=True):
    """A delivery has arrived: the destination said that it stored the instance, perhaps with a warning.

    Or it said that it has one of these UIDs already, whatever its content, and took nothing: `delivery.state` is "present". It was asked before, where
    its `if_present` is "skip", or refused a duplicate (0x0111). Every script is told, whichever asked for it. `delivery.instance` can be acted upon as in any event about an instance. What is asked
    for in answer to a delivery is one hop further from what arrived; after `scripting.max_hops` hops (10) nothing more is done, so that no two scripts go on for ever.
    """

    delivery: EndedDelivery


class DeliveryFailed(Notification, frozen=True):
    """A delivery failed for good: it is not tried again unless somebody asks for it. Otherwise as `on_delivery_done`.

    While a destination is down its deliveries wait and do not fail: see `on_destination_down`.
    """

    delivery: EndedDelivery


class ActionDone(Notification, frozen=True):
    """What a script asked for has been carried out after its run, or failed for good: `store`, `replace` and their like.

    Told once for each instance that was meant, to every script, whichever asked for it. `action.state` says how it ended; `action.instance`
    can be acted upon as in any event about an instance.
    """

    action: EndedAction


class JobSubmitted(Notification, frozen=True):
    """Somebody asked for a job: by HTTP, to send, modify, pack or retrieve many instances at a time. It may have begun, or ended, since."""

    job: Job


class JobSucceeded(Notification, frozen=True):
    """A job has done all that it was asked for."""

    job: Job


class JobFailed(Notification, frozen=True):
    """A job has failed, or was cancelled: `job.error_code` and `job.reason` say which. Somebody may submit it again."""

    job: Job


class DestinationDown(Notification, frozen=True):
    """A destination does not answer, or says that it takes nothing, and what is to be sent to it waits.

    Raised once until it works again, also over restarts of the node.
    """

    destination: Destination


class DestinationUp(Notification, frozen=True):
    """A destination that was told as down answers again. `destination` says since when it was down, and why."""

    destination: Destination


class TranscodeFailed(Notification, frozen=True):
    """A transcode gave no result, on ingest or for a delivery.

    On ingest the original was kept: this comes after the event of its instance. For a delivery the instance is sent as it is, where
    that was allowed, else the delivery fails: then `on_delivery_failed` follows. Told once for each file and transcode.
    """

    failure: FailedTranscode


class ScriptParked(Notification, frozen=True):
    """A script failed too often: at one event, which is parked while the script goes on, or at all, and then the script itself is parked.

    A script that fails at being told of this raises it no further.
    """

    parked: ParkedScript


class DiskLow(Notification, frozen=True):
    """There is less room for the data folder than `node.min_free_mb`. Raised once until there is room again."""

    disk: Disk


class DiskRecovered(Notification, frozen=True):
    """There is room again: a quarter more than `node.min_free_mb`."""

    disk: Disk


class SourceSilent(Notification, frozen=True):
    """A modality has sent nothing for as long as its entry says: `[sources.ct1] silent_after_h`. Raised once until it sends again."""

    source: Source


class Start(Notification, frozen=True):
    """This version of the script begins to run: once a version, not with every restart of the node.

    It comes before the first event that this version gets. A script whose file was away and returns begins anew.
    """


class Stop(Notification, frozen=True):
    """This version of the script is replaced by another, or its file was deleted: once a version, after its last event.

    An edit that was made while no node ran is noticed when the next one starts.
    """


def handler_name(event: type[Notification]) -> str:
    """Return the name of an event's handler: `StoredInstance` gives `on_stored_instance`."""
    return "on" + re.sub(r"([A-Z])", lambda letter: "_" + letter[1].lower(), event.__name__)


def parameters(event: type[Notification]) -> list[str]:
    """Return the names of what an event's handler takes, in order."""
    return [*event.__struct_fields__, "host"]


EVENTS: tuple[type[Notification], ...] = (
    StoredInstance, ReceivedAgain, ConflictingInstance, UpdatedInstance, DeletedInstance,
    NewSeries, StableSeries, UpdatedSeries, DeletedSeries,
    NewStudy, StableStudy, UpdatedStudy, DeletedStudy,
    NewPatient, StablePatient, UpdatedPatient, DeletedPatient,
    AssociationClosed, DeliveryDone, DeliveryFailed, TranscodeFailed, ActionDone,
    JobSubmitted, JobSucceeded, JobFailed,
    DestinationDown, DestinationUp, ScriptParked, DiskLow, DiskRecovered, SourceSilent, Start, Stop,
)  # fmt: skip
HANDLERS: dict[str, type[Notification]] = {handler_name(event): event for event in EVENTS}
"""Handler's name → event."""
