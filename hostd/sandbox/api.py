"""What scripts see, declared once: the events of this release, and the objects that handlers are given.

A handler is a function of a script named after its event: the class `StoredInstance` gives `on_stored_instance`. It takes
the event's fields and `host`, by position. Documentation, `hostd check`, the host and the sandbox all read this module.

A script's module body runs once, when the script is loaded; its globals live as long as the worker and are lost with it.
The plan, the log and the record of what was read begin anew with each run.
"""

from __future__ import annotations

import datetime as dt
from collections.abc import Mapping, Sequence
from typing import Any, Literal, get_args

from hostd.sandbox import edited, frames
from hostd.sandbox.dealing import Dealing
from hostd.sandbox.events import (
    EVENTS,
    HANDLERS,
    ActionDone,
    AssociationClosed,
    ConflictingInstance,
    DeletedInstance,
    DeletedPatient,
    DeletedSeries,
    DeletedStudy,
    DeliveryDone,
    DeliveryFailed,
    DestinationDown,
    DestinationUp,
    DiskLow,
    DiskRecovered,
    JobFailed,
    JobSubmitted,
    JobSucceeded,
    NewPatient,
    NewSeries,
    NewStudy,
    Notification,
    ReceivedAgain,
    ScriptParked,
    SourceSilent,
    StablePatient,
    StableSeries,
    StableStudy,
    Start,
    Stop,
    StoredInstance,
    TranscodeFailed,
    UpdatedInstance,
    UpdatedPatient,
    UpdatedSeries,
    UpdatedStudy,
    handler_name,
    parameters,
)
from hostd.sandbox.granted import line, moment, shown
from hostd.sandbox.keeping import Keeping
from hostd.sandbox.levels import Association, Instances, Level, LevelTags, Patient, Series, Study
from hostd.sandbox.marking import Marking
from hostd.sandbox.notifying import Notifying
from hostd.sandbox.pixels import Pixels
from hostd.sandbox.querying import Querying
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
from hostd.sandbox.told import (
    Destination,
    Disk,
    EndedAction,
    EndedDelivery,
    FailedTranscode,
    Job,
    ParkedScript,
    Source,
    copied,
)
from hostd.sandbox.values import DateText, DateTimeText, PersonName, TimeText
from hostd.sandbox.views import Delivery, Handle, Instance, Origin, Receipt, TransferSyntax

__all__ = [
    "EVENTS", "HANDLERS", "LEVELS", "SCRIPT_EXCEPTIONS", "TYPES", "VALUES", "ActionDone", "Association", "AssociationClosed", "ConflictingInstance", "DateText", "DateTimeText", "DeletedInstance", "DeletedPatient", "DeletedSeries", "DeletedStudy", "Delivery", "DeliveryDone", "DeliveryFailed", "Destination", "DestinationDown", "DestinationUp", "Disk", "DiskLow", "DiskRecovered", "EndedAction", "EndedDelivery", "FailedTranscode", "Handle", "Host", "HttpAnswer", "Instance", "Instances", "Job", "JobFailed", "JobSubmitted", "JobSucceeded", "LevelTags", "NewPatient", "NewSeries", "NewStudy", "NotAllowed", "Notification", "Origin", "ParkedScript", "Patient", "PersonName", "Pixels", "PixelsUnknown", "Receipt", "ReceivedAgain", "ScriptParked", "Series", "Source", "SourceSilent", "StablePatient", "StableSeries", "StableStudy", "Start", "Stop", "StoredInstance", "Study", "Tags", "TimeText", "TooManyActions", "TranscodeFailed", "TransferSyntax", "UnknownKeyword", "UpdatedInstance", "UpdatedPatient", "UpdatedSeries", "UpdatedStudy", "ValueTooLarge", "World", "handler_name", "parameters",
]  # fmt: skip


# -- host -------------------------------------------------------------------------------------------------------------

Priority = Literal["low", "normal", "high", "stat"]
LEVELS = ("debug", "info", "warning", "error")
_MAX_ARGUMENTS = 10


class Host(Notifying, Marking, Keeping, Searching, Dealing, Requesting, Querying):
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
        patient's are others; the same whenever the same is done to the same instance, so that a study stays one. What it refers to is taken to be
        modified alike, and references follow, but for UIDs that `set` gives. With `keep_uids`
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

        `to` is the name of a destination of the configuration: a modality, a peer, a DICOMweb server, a folder.
        `priority` is "low", "normal", "high" or "stat". `not_before` is an aware datetime, or seconds since 1970 UTC. `syntax` names the (lossless) transfer syntax to send
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
        copy: dict[str, Any] = copied(self._run.world.load.config)
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
    EndedDelivery, EndedAction, FailedTranscode, Job, Destination, ParkedScript, Disk, Source, HttpAnswer,
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
