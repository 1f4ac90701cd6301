"""What scripts see, declared once: the events of this release, and the objects that handlers are given.

A handler is a function of a script named after its event: the class `StoredInstance` gives `on_stored_instance`. It takes
the event's fields and `host`, by position. Documentation, `hostd check`, the host and the sandbox all read this module.

A script's module body runs once, when the script is loaded; its globals live as long as the worker and are lost with it.
The plan, the log and the record of what was read begin anew with each run.
"""

from __future__ import annotations

import datetime as dt
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields
from typing import Any, Literal, get_args

from hostd.sandbox import edited, frames
from hostd.sandbox.dealing import Dealing
from hostd.sandbox.granted import line, moment, shown
from hostd.sandbox.keeping import Keeping
from hostd.sandbox.levels import Association, Instances, Level, LevelTags, Patient, Series, Study
from hostd.sandbox.marking import Marking
from hostd.sandbox.notifying import Notifying
from hostd.sandbox.pixels import Pixels
from hostd.sandbox.refusals import (
    SCRIPT_EXCEPTIONS,
    NotAllowed,
    PixelsUnknown,
    TooManyActions,
    UnknownKeyword,
    ValueTooLarge,
)
from hostd.sandbox.requesting import HttpAnswer, Requesting
from hostd.sandbox.run import Run, World, missing, near
from hostd.sandbox.searching import Searching
from hostd.sandbox.tags import Tags
from hostd.sandbox.told import Destination, Disk, EndedAction, EndedDelivery, FailedTranscode, ParkedScript, Source
from hostd.sandbox.values import DateText, DateTimeText, PersonName, TimeText
from hostd.sandbox.views import Delivery, Handle, Instance, Origin, Receipt, TransferSyntax

__all__ = [
    "EVENTS", "HANDLERS", "LEVELS", "SCRIPT_EXCEPTIONS", "TYPES", "VALUES", "ActionDone", "Association", "AssociationClosed", "ConflictingInstance", "DateText", "DateTimeText", "DeletedInstance", "DeletedPatient", "DeletedSeries", "DeletedStudy", "Delivery", "DeliveryDone", "DeliveryFailed", "Destination", "DestinationDown", "DestinationUp", "Disk", "DiskLow", "DiskRecovered", "EndedAction", "EndedDelivery", "FailedTranscode", "Handle", "Host", "HttpAnswer", "Instance", "Instances", "LevelTags", "NewPatient", "NewSeries", "NewStudy", "NotAllowed", "Notification", "Origin", "ParkedScript", "Patient", "PersonName", "Pixels", "PixelsUnknown", "Receipt", "ReceivedAgain", "ScriptParked", "Series", "Source", "SourceSilent", "StablePatient", "StableSeries", "StableStudy", "Start", "Stop", "StoredInstance", "Study", "Tags", "TimeText", "TooManyActions", "TranscodeFailed", "TransferSyntax", "UnknownKeyword", "UpdatedInstance", "UpdatedPatient", "UpdatedSeries", "UpdatedStudy", "ValueTooLarge", "World", "handler_name", "parameters",
]  # fmt: skip


# -- events -----------------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Notification:
    """Something that has happened, told to every script that handles it, at least once, in the order in which it happened."""


@dataclass(frozen=True, slots=True)
class StoredInstance(Notification):
    """A new instance is safely stored.

    Raised once for each new instance that hostd keeps, whichever way it came, after file and index are committed and
    ingest transcoding has ended, well or badly: `instance.receipt` says how, and is None when nothing was to be
    transcoded. An identical repeat raises `on_received_again`, other content under the same identity
    `on_conflicting_instance`.
    """

    instance: Instance


@dataclass(frozen=True, slots=True)
class ReceivedAgain(Notification):
    """An instance was received that is stored already, with the same content.

    Nothing was stored and nothing was changed; `instance` is the one that is stored, its `origin` who sent it again.
    """

    instance: Instance


@dataclass(frozen=True, slots=True)
class ConflictingInstance(Notification):
    """An instance was received whose identity is taken by other content.

    `instance` is what arrived. What became of it is up to `on_conflict` in the section `[ingest]` of the configuration:
    "newest" (the default) makes it the current one and keeps the former as a version; "first" keeps the former current and
    what arrived as a version; "refuse" keeps nothing of what arrived, so that it can be looked at but not forwarded.
    """

    instance: Instance


@dataclass(frozen=True, slots=True)
class UpdatedInstance(Notification):
    """A stored instance was changed: `instance.changes` says whether its content, its metadata or its labels.

    When other content came under its identity, this comes besides `on_conflicting_instance`.
    """

    instance: Instance


@dataclass(frozen=True, slots=True)
class DeletedInstance(Notification):
    """An instance was deleted; `instance` is as it was before.

    Nothing of it can be forwarded any more. Its bytes stay until every script has passed this event.
    """

    instance: Instance


@dataclass(frozen=True, slots=True)
class NewPatient(Notification):
    """The first instance of a patient was stored.

    It comes after the `on_stored_instance` of that instance, which is `patient.first`, and before `on_new_study`. After all of a patient
    was deleted, the next instance begins it anew; so it is for a study and a series.
    """

    patient: Patient


@dataclass(frozen=True, slots=True)
class NewStudy(Notification):
    """The first instance of a study was stored; it is `study.first`. More are to be expected: see `on_stable_study`."""

    study: Study


@dataclass(frozen=True, slots=True)
class NewSeries(Notification):
    """The first instance of a series was stored; it is `series.first`. More are to be expected: see `on_stable_series`."""

    series: Series


@dataclass(frozen=True, slots=True)
class StableSeries(Notification):
    """Nothing more of a series has come for its quiet time, and all of it has been transcoded on ingest.

    The quiet time is a setting, `[stable]`, which may differ by modality. When more instances, or other content, come afterwards, the
    event is raised again, after another quiet time: `series.occurrence` counts from 1, and `series.new_instances` are those that came
    since the last time. A series that is deleted before is never stable. The event of a series comes before that of its study.
    """

    series: Series


@dataclass(frozen=True, slots=True)
class StableStudy(Notification):
    """Nothing more of a study has come for its quiet time: the longest of its modalities'. Otherwise as `on_stable_series`."""

    study: Study


@dataclass(frozen=True, slots=True)
class StablePatient(Notification):
    """Nothing more of a patient has come for its quiet time. Otherwise as `on_stable_series`."""

    patient: Patient


@dataclass(frozen=True, slots=True)
class UpdatedSeries(Notification):
    """Content of a stored instance of a series was replaced, or metadata or labels of the series itself changed: see `series.changes`."""

    series: Series


@dataclass(frozen=True, slots=True)
class UpdatedStudy(Notification):
    """As `on_updated_series`, for the study."""

    study: Study


@dataclass(frozen=True, slots=True)
class UpdatedPatient(Notification):
    """As `on_updated_series`, for the patient."""

    patient: Patient


@dataclass(frozen=True, slots=True)
class DeletedSeries(Notification):
    """The last instance of a series was deleted: `series` has the attributes of that one, and no instances."""

    series: Series


@dataclass(frozen=True, slots=True)
class DeletedStudy(Notification):
    """The last instance of a study was deleted: `study` has the attributes of that one, and no instances."""

    study: Study


@dataclass(frozen=True, slots=True)
class DeletedPatient(Notification):
    """The last instance of a patient was deleted: `patient` has the attributes of that one, and no instances."""

    patient: Patient


@dataclass(frozen=True, slots=True)
class AssociationClosed(Notification):
    """An association of the DICOM face has ended, well or badly, or was rejected.

    The instances that came by it are stored; where some are still being transcoded on ingest, their own events come later.
    """

    association: Association


@dataclass(frozen=True, slots=True)
class DeliveryDone(Notification):
    """A delivery has arrived: the destination said that it stored the instance, perhaps with a warning.

    Or it said that it has one of these UIDs already, whatever its content, and nothing was sent: `delivery.state` is "present", where
    its `if_present` is "skip". Every script is told, whichever asked for it. `delivery.instance` can be acted upon as in any event about an instance. What is asked
    for in answer to a delivery is one hop further from what arrived; after `scripting.max_hops` hops (10) nothing more is done, so that no two scripts go on for ever.
    """

    delivery: EndedDelivery


@dataclass(frozen=True, slots=True)
class DeliveryFailed(Notification):
    """A delivery failed for good: it is not tried again unless somebody asks for it. Otherwise as `on_delivery_done`.

    While a destination is down its deliveries wait and do not fail: see `on_destination_down`.
    """

    delivery: EndedDelivery


@dataclass(frozen=True, slots=True)
class ActionDone(Notification):
    """What a script asked for has been carried out after its run, or failed for good: `store`, `replace` and their like.

    Told once for each instance that was meant, to every script, whichever asked for it. `action.state` says how it ended; `action.instance`
    can be acted upon as in any event about an instance.
    """

    action: EndedAction


@dataclass(frozen=True, slots=True)
class DestinationDown(Notification):
    """A destination does not answer, or says that it takes nothing, and what is to be sent to it waits.

    Raised once until it works again, also over restarts of the node.
    """

    destination: Destination


@dataclass(frozen=True, slots=True)
class DestinationUp(Notification):
    """A destination that was told as down answers again. `destination` says since when it was down, and why."""

    destination: Destination


@dataclass(frozen=True, slots=True)
class TranscodeFailed(Notification):
    """A transcode gave no result, on ingest or for a delivery.

    On ingest the original was kept: this comes after the event of its instance. For a delivery the instance is sent as it is, where
    that was allowed, else the delivery fails: then `on_delivery_failed` follows. Told once for each file and transcode.
    """

    failure: FailedTranscode


@dataclass(frozen=True, slots=True)
class ScriptParked(Notification):
    """A script failed too often: at one event, which is parked while the script goes on, or at all, and then the script itself is parked.

    A script that fails at being told of this raises it no further.
    """

    parked: ParkedScript


@dataclass(frozen=True, slots=True)
class DiskLow(Notification):
    """There is less room for the data folder than `node.min_free_mb`. Raised once until there is room again."""

    disk: Disk


@dataclass(frozen=True, slots=True)
class DiskRecovered(Notification):
    """There is room again: a quarter more than `node.min_free_mb`."""

    disk: Disk


@dataclass(frozen=True, slots=True)
class SourceSilent(Notification):
    """A modality has sent nothing for as long as its entry says: `[sources.ct1] silent_after_h`. Raised once until it sends again."""

    source: Source


@dataclass(frozen=True, slots=True)
class Start(Notification):
    """This version of the script begins to run: once a version, not with every restart of the node.

    It comes before the first event that this version gets. A script whose file was away and returns begins anew.
    """


@dataclass(frozen=True, slots=True)
class Stop(Notification):
    """This version of the script is replaced by another, or its file was deleted: once a version, after its last event.

    An edit that was made while no node ran is noticed when the next one starts.
    """


def handler_name(event: type[Notification]) -> str:
    """Return the name of an event's handler: `StoredInstance` gives `on_stored_instance`."""
    return "on" + re.sub(r"([A-Z])", lambda letter: "_" + letter[1].lower(), event.__name__)


def parameters(event: type[Notification]) -> list[str]:
    """Return the names of what an event's handler takes, in order."""
    return [*(field.name for field in fields(event)), "host"]


EVENTS: tuple[type[Notification], ...] = (
    StoredInstance, ReceivedAgain, ConflictingInstance, UpdatedInstance, DeletedInstance,
    NewSeries, StableSeries, UpdatedSeries, DeletedSeries,
    NewStudy, StableStudy, UpdatedStudy, DeletedStudy,
    NewPatient, StablePatient, UpdatedPatient, DeletedPatient,
    AssociationClosed, DeliveryDone, DeliveryFailed, TranscodeFailed, ActionDone,
    DestinationDown, DestinationUp, ScriptParked, DiskLow, DiskRecovered, SourceSilent, Start, Stop,
)  # fmt: skip
HANDLERS: dict[str, type[Notification]] = {handler_name(event): event for event in EVENTS}
"""Handler's name → event."""

# -- host -------------------------------------------------------------------------------------------------------------

Priority = Literal["low", "normal", "high", "stat"]
LEVELS = ("debug", "info", "warning", "error")
_MAX_ARGUMENTS = 10


class Host(Notifying, Marking, Keeping, Searching, Dealing, Requesting):
    """What a script may do. Actions enter the plan of this run and are carried out after it: all of them, or none if it fails."""

    __slots__ = ()

    # -- actions

    def transcode(
        self,
        x: Instance | Handle | Level,
        to: str,
        quality: int | None = None,
        ratio: float | None = None,
        near: int | None = None,
        or_original: bool = True,
        lossy: bool = False,
    ) -> Handle:
        """Make the same image in another transfer syntax; return a handle, which `forward` takes. Of a series, study or patient: each.

        `to` is a UID, a keyword or a short name; short names ("j2k", "htj2k", "jpegls", "jpeg-lossless", "jxl", "rle",
        "explicit", "implicit", "deflated") are always lossless. The work is done when a delivery needs it. With
        `or_original`, what cannot be brought to that syntax without loss is delivered as it is, and its receipt says why;
        with `or_original=False` such a delivery fails instead.

        One of `quality` (a whole number from 1 to 100), `ratio` (JPEG 2000: 20 for 20:1) and `near` (JPEG-LS: the largest
        difference of a pixel, 1 to 255) asks for a lossy result, and so does `lossy=True`, which means a quality of 90. That
        needs the capability "lossy" and a syntax that may lose information, such as "JPEG2000", "HTJ2K", "JPEGLSNearLossless"
        or "JPEGBaseline8Bit". A lossy result is an instance of its own: it has a SOP Instance UID of its own, the same whenever
        it is made of the same instance in the same way, and says what it was derived from. It is never replaced by its
        source: if it cannot be made, whatever names it fails, and `or_original` means nothing.

        Raises `ValueError` for an unknown syntax, or one that may lose information when no loss was asked for, and
        `NotAllowed` without the capability.
        """
        source = self._source(x, "transcode")
        syntax = self._syntax(to)
        quality = _whole("quality", quality, 1, 100)
        ratio = _number("ratio", ratio, 1, 1000)
        near = _whole("near", near, 1, 255)
        given = sum(value is not None for value in (quality, ratio, near))
        if given > 1:
            raise ValueError("give one of quality, ratio and near, not several")
        is_lossy = bool(lossy)
        self._check_loss(syntax, asked=is_lossy or given > 0)
        action = frames.Transcode(source, syntax.uid, quality, ratio, near, bool(or_original), is_lossy, line())
        return Handle(self._run, self._run.add(action))

    def run_tool(self, name: str, x: Instance | Handle, args: Sequence[str] = ()) -> Handle:
        """Have an external tool of the configuration make something of an instance; return a handle, which `forward` takes.

        `name` is that of `[tools.NAME]`, `args` are the texts that its configuration lets scripts pass. Needs the capability
        "tools". The tool runs when a delivery needs its result. Where it fails, gives no result, or one that does not stand up to
        verification, everything that names the handle fails with it: the instance is never sent without it.

        Raises `ValueError` for an unknown tool, and `NotAllowed` without the capability; an argument that the configuration does
        not allow fails the run.
        """
        source = self._source(x, "run_tool")
        self._need("tools")
        known = self._run.world.load.tools
        if not isinstance(name, str):
            raise TypeError(f"a tool is named by a text, not {shown(name)}")
        if str.__str__(name) not in known:
            raise ValueError(missing("tool", str.__str__(name), known))
        if not isinstance(args, (list, tuple)) or not all(isinstance(one, str) for one in args):
            raise TypeError(f"args must be a list of texts, not {shown(args)}")
        if len(args) > _MAX_ARGUMENTS:
            raise ValueError(f"a tool takes up to {_MAX_ARGUMENTS} arguments, and was given {len(args)}")
        texts = [str.__str__(one) for one in args]
        action = frames.RunTool(source, str.__str__(name), texts, line())
        return Handle(self._run, self._run.add(action))

    def modify(
        self,
        x: Instance | Handle,
        set: Mapping[str, Any] | None = None,  # noqa: A002 - the name is part of the public interface
        remove: Sequence[str] = (),
        keep: Sequence[str] = (),
        private: Literal["keep", "remove"] = "keep",
        keep_uids: bool = False,
    ) -> Handle:
        """Set and remove attributes of an instance; return a handle, which `forward` takes.

        Attributes are named by keyword, by tag ("0010,0020"), by private creator ('0019,xx0C,"SIEMENS MR HEADER"'), and in
        sequences by a path ("RequestAttributesSequence[0].ScheduledProcedureStepID"; "[*]" means every item). `set` gives each a
        text, a number, None for an empty value, a list of them, or for a sequence a list of dicts. `remove` names what goes, and
        `private="remove"` takes all private attributes; `keep` names what neither these nor a new UID may take.

        The result is an instance of its own, with a new SOP Instance UID, and new study and series where their identifiers or the
        patient's are others; the same whenever the same is done to the same instance, so that a study stays one. With `keep_uids`
        no identifier changes but those that are set: whoever has the original takes the result for a repeat of it, or mixes them
        up. What was replaced is in its Original Attributes Sequence, so that a value that was replaced is not gone from it; one that
        was removed is. To hide who somebody is, use `anonymize`.

        Needs the capability "modify". The work is done when a delivery needs it; if it cannot be done, everything that names the
        handle fails with it: the instance is never sent unchanged. A name that no attribute has fails the run.

        Raises `TypeError` and `ValueError` for what cannot be set, and `NotAllowed` without the capability.
        """
        source = self._source(x, "modify")
        self._need("modify")
        if not isinstance(private, str) or private not in ("keep", "remove"):
            raise ValueError(f'private must be "keep" or "remove", not {shown(private)}')
        wanted, gone = edited.values(set), edited.names(remove, "remove")
        if not wanted and not gone and private == "keep":
            raise ValueError('nothing is to be modified: give set, remove, or private="remove"')
        action = frames.Modify(
            source, wanted, gone, edited.names(keep, "keep"),
            "remove" if private == "remove" else "keep", bool(keep_uids), line(),
        )  # fmt: skip
        return Handle(self._run, self._run.add(action))

    def anonymize(self, x: Instance | Handle, project: str, allow_burned_in: bool = False) -> Handle:
        """De-identify an instance for a project of the configuration; return a handle, which `forward` takes.

        `project` is the NAME of `[projects.NAME]`, which says how: the Basic Application Level Confidentiality Profile of PS3.15
        Annex E and its options. Within a project a patient has one pseudonym, all dates of a patient move by the same number of
        days, and UIDs are replaced alike, over restarts and on every node: a study stays one, whenever its instances come.

        It fails on images that may have text burned into their pixels, unless regions were blanked before (`redact`), the project
        lets such images through, or `allow_burned_in` says that there is no such text.

        Needs the capability "anonymize". The work is done when a delivery needs it; if it cannot be done, everything that names
        the handle fails with it, and nothing of the instance is sent.

        Raises `ValueError` for an unknown project, and `NotAllowed` without the capability.
        """
        source = self._source(x, "anonymize")
        self._need("anonymize")
        known = self._run.world.load.projects
        if not isinstance(project, str):
            raise TypeError(f"a project is named by a text, not {shown(project)}")
        if str.__str__(project) not in known:
            raise ValueError(missing("project", str.__str__(project), known))
        action = frames.Anonymize(source, str.__str__(project), bool(allow_burned_in), line())
        return Handle(self._run, self._run.add(action))

    def redact(self, x: Instance | Handle, regions: Sequence[Sequence[int]]) -> Handle:
        """Blank rectangles in every frame of an image; return a handle, which `forward` takes.

        `regions` are up to 100 of (x, y, width, height) in pixels, x and y being those of the upper left corner, counted from 0.
        Everything outside of them stays as it is, which is proven by reading the result again. It is written without further loss:
        in its own transfer syntax, or, where that one loses information, in the lossless one of its kind. The result is an instance of its own,
        with a new SOP Instance UID. To say so in a de-identified image, call `anonymize` on what this returns.

        Needs the capability "modify". The work is done when a delivery needs it; if it cannot be done (a region that is not inside
        the image, an image that hostd cannot decode), everything that names the handle fails with it.

        Raises `TypeError` and `ValueError` for what are no regions, and `NotAllowed` without the capability.
        """
        source = self._source(x, "redact")
        self._need("modify")
        return Handle(self._run, self._run.add(frames.Redact(source, edited.regions(regions), line())))

    def forward(
        self,
        x: Instance | Handle | Level,
        to: str,
        priority: Priority = "normal",
        not_before: dt.datetime | float | None = None,
        syntax: str | None = None,
        again: bool = False,
        back: bool = False,
    ) -> Delivery:
        """Deliver an instance, or what a handle stands for, to a destination; return a delivery handle.

        `to` is the name of a modality or peer of the configuration. `priority` is "low", "normal", "high" or "stat".
        `not_before` is an aware datetime, or seconds since 1970 UTC. `syntax` names the (lossless) transfer syntax to send
        in, as `transcode` would. Nothing is sent to the modality it came from, unless `back` is true. While the same content
        waits for the same destination in the same form, asking again adds nothing; once it was delivered, asking again sends
        it again.

        A series, study or patient means its instances as of the event. What the destination has had of it in this form is
        left out, unless `again` is true; `again` changes nothing for a single instance. What was deleted or replaced since
        the event is left out too: what took its place has events of its own.

        Raises `ValueError` for an unknown destination, `NotAllowed` for one that this script is not given.
        """
        source = self._source(x, "forward")
        destination = self._destination(to)
        # Only a text is compared: a script's own class may say that it equals anything.
        if not isinstance(priority, str) or priority not in get_args(Priority):
            raise ValueError(f'priority must be "low", "normal", "high" or "stat", not {shown(priority)}')
        uid = None
        if syntax is not None:
            resolved = self._syntax(syntax)
            self._check_loss(resolved, asked=False)
            uid = resolved.uid
        action = frames.Forward(source, destination, priority, moment(not_before), uid, bool(again), bool(back), line())
        return Delivery(self._run, self._run.add(action))

    def delete(
        self, x: Instance | Level, after: Literal["delivered", "committed"] | Sequence[Delivery] | None = "delivered"
    ) -> None:
        """Delete an instance, or the instances of a series, study or patient as of the event. Needs the capability "delete".

        `after` names what must have happened before: "delivered", all its deliveries have arrived; "committed", they have,
        every destination that commits to what it stores (`commitment = true`) has reported so, and one of these at least
        got the instance itself, without loss; a list of deliveries of this run, these have arrived; None, nothing. If one of
        them fails, or there is none, the instance stays and the delete is held, visibly. What arrives under the same identity
        meanwhile is not deleted. Of a series, study or patient all instances go together, once all that holds for all of
        them, or none.

        Raises `NotAllowed` without the capability.
        """
        self._run.check_open()
        if not isinstance(x, (Instance, Level)):
            raise TypeError(f"host.delete takes the instance, a series, study or patient, not {shown(x)}")
        source = self._source(x, "delete")
        assert isinstance(source, str)
        waits = self._after(after)
        self._need("delete")
        self._run.add(frames.Delete(source, waits, line()))

    # -- questions

    def log(self, text: object, level: str = "info") -> None:
        """Write a line to the log of this run; `level` is "debug", "info", "warning" or "error". `print(...)` writes at "info"."""
        self._run.check_open()
        if not isinstance(level, str) or level not in LEVELS:
            raise ValueError(f"level must be one of {', '.join(LEVELS)}, not {shown(level)}")
        self._run.log.write(str.__str__(level), str(text))

    def now(self) -> dt.datetime:
        """Return the time of the event, aware, in UTC: the same again when the event is rehearsed."""
        self._run.check_open()
        return dt.datetime.fromtimestamp(self._run.now, dt.UTC)

    @property
    def config(self) -> dict[str, Any]:
        """The script's own settings, from `[scripts."x.py".config]`; a copy."""
        copy: dict[str, Any] = _copy(self._run.world.load.config)
        return copy

    def __repr__(self) -> str:
        return "<host>"

    # -- checks

    def _source(self, x: object, verb: str) -> str | int:
        if not isinstance(x, (Instance, Handle, Level)):
            hint = "; a delivery cannot be sent on" if isinstance(x, Delivery) else ""
            raise TypeError(f"host.{verb} takes an instance or the handle of a product, not {shown(x)}{hint}")
        run: Run = object.__getattribute__(x, "_run")
        self._run.check_open()
        if run is not self._run:
            raise RuntimeError(f"host.{verb} was given something of an earlier event")
        return x.id if isinstance(x, (Instance, Level)) else int(object.__getattribute__(x, "_index"))

    def _syntax(self, name: object) -> frames.Syntax:
        if not isinstance(name, str):
            raise TypeError(f'a transfer syntax is named by a text such as "j2k", not {shown(name)}')
        world = self._run.world
        found = world.syntaxes.get(str.__str__(name).lower())
        if found is None:
            raise ValueError(f"no transfer syntax is called {shown(name)}{near(name, world.load.syntaxes)}")
        return found

    def _check_loss(self, syntax: frames.Syntax, *, asked: bool) -> None:
        world = self._run.world
        lossless = world.load.lossless_of.get(syntax.uid)
        if syntax.is_lossy and not asked:
            instead = f'say "{lossless}" for the lossless one, or ' if lossless else ""
            raise ValueError(
                f"{syntax.keyword} may lose information: {instead}ask for loss with a quality or lossy=True"
            )
        if asked:
            self._need("lossy")
            if not syntax.is_lossy:
                lossy = [world.load.syntaxes[uid].keyword for uid, short in world.load.lossless_of.items()
                         if uid in world.load.syntaxes and world.syntaxes.get(short) == syntax]  # fmt: skip
                instead = f"; for a lossy result name {lossy[0]}" if lossy else ""
                raise ValueError(f"{syntax.keyword} is lossless, so a quality or lossy=True means nothing{instead}")

    def _after(self, after: object) -> Literal["delivered", "committed"] | list[int] | None:
        if after is None:
            return None
        if isinstance(after, str) and after in ("delivered", "committed"):
            return "delivered" if after == "delivered" else "committed"
        if isinstance(after, (list, tuple)) and all(isinstance(one, Delivery) for one in after):
            if any(object.__getattribute__(one, "_run") is not self._run for one in after):
                raise RuntimeError("after= was given a delivery of an earlier event")
            if len(after) > len(self._run.actions):
                raise ValueError("after= names a delivery twice")
            return [int(object.__getattribute__(one, "_index")) for one in after]
        raise TypeError(f'after must be "delivered", "committed", None or a list of deliveries, not {shown(after)}')


TYPES: tuple[type, ...] = (
    Host, Instance, Tags, Pixels, TransferSyntax, Origin, Receipt, Handle, Delivery,
    EndedDelivery, EndedAction, FailedTranscode, Destination, ParkedScript, Disk, Source, HttpAnswer,
)  # fmt: skip
"""What scripts are given and cannot make: `from hostd.api import Instance` gives a name for annotations and `isinstance`."""
VALUES: tuple[type, ...] = (PersonName, DateText, TimeText, DateTimeText)
"""Texts with parts, which scripts can make as well."""


def _number(name: str, value: object, low: float, high: float) -> float | None:
    if value is None:
        return None
    if isinstance(value, bool) or not isinstance(value, (int, float)) or not low <= value <= high:
        raise ValueError(f"{name} must be a number from {low} to {high}, not {shown(value)}")
    return float(value)


def _whole(name: str, value: object, low: int, high: int) -> int | None:
    if value is None:
        return None
    if type(value) is not int or not low <= value <= high:
        raise ValueError(f"{name} must be a whole number from {low} to {high}, not {shown(value)}")
    return value


def _copy(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _copy(item) for key, item in value.items()}
    if isinstance(value, list):
        return [_copy(item) for item in value]
    return value
