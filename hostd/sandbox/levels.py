"""What a script gets to see of a series, a study, a patient and an association: read-only views, as of the event."""

from __future__ import annotations

import datetime as dt
from collections.abc import Iterator
from typing import Any

import msgspec

from hostd.sandbox import frames as wire
from hostd.sandbox.read_only import ReadOnly
from hostd.sandbox.refusals import UnknownKeyword
from hostd.sandbox.run import Run
from hostd.sandbox.tags import Tags
from hostd.sandbox.views import Instance, Origin

_set = object.__setattr__


class LevelTags(Tags):
    """The attributes of a series, study or patient and of the levels above it, as its newest instance has them.

    Read as those of an instance. Only what belongs to these levels is there (PatientName, StudyDescription, Modality and so on); any
    other element is an error that says to read it from an instance, `series.first.tags`.
    """

    __slots__ = ("_known", "_level")
    _known: frozenset[int]
    _level: str

    def __init__(self, run: Run, level: wire.Level) -> None:
        super().__init__(run, level.tags)
        _set(self, "_known", frozenset(level.known))
        _set(self, "_level", level.level)

    def __contains__(self, tag: int | str) -> bool:
        self._check(self._tag(tag))
        return super().__contains__(tag)

    def _raw(self, tag: int, *, note: bool = True) -> tuple[str, list[Any]]:
        self._check(tag)
        return super()._raw(tag, note=note)

    def _check(self, tag: int) -> None:
        if tag not in self._known:
            name = self._run.world.name(tag)
            raise UnknownKeyword(
                f"{name} is not kept of a {self._level}; read it from an instance: {self._level}.first.tags.get({name!r})"
            )


class Instances(ReadOnly):
    """The instances of a series, study or patient as of the event, in the order in which they came.

    `for instance in study.instances` fetches them from the host a few at a time; what was deleted or replaced since the event is left
    out. `len(study.instances)` is how many there were.
    """

    __slots__ = ("_about", "_count", "_new_only", "_run")
    _run: Run
    _new_only: bool
    _count: int
    _about: str

    def __init__(self, run: Run, count: int, *, new_only: bool, about: str = "") -> None:
        _set(self, "_run", run)
        _set(self, "_count", count)
        _set(self, "_new_only", new_only)
        _set(self, "_about", about)

    def __len__(self) -> int:
        return self._count

    def __iter__(self) -> Iterator[Instance]:
        return _Walk(self._run, new_only=self._new_only, about=self._about)

    def __repr__(self) -> str:
        return f"<{self._count} instances>"


class _Walk(ReadOnly):
    """An iterator over members; no generator, whose frame would be in a script's hands."""

    __slots__ = ("_about", "_after", "_fetched", "_is_over", "_new_only", "_run")
    _run: Run
    _new_only: bool
    _about: str
    _after: tuple[int, str]
    _fetched: list[tuple[int, wire.Instance]]
    _is_over: bool

    def __init__(self, run: Run, *, new_only: bool, about: str) -> None:
        _set(self, "_run", run)
        _set(self, "_about", about)
        _set(self, "_new_only", new_only)
        _set(self, "_after", (-1, ""))
        _set(self, "_fetched", [])
        _set(self, "_is_over", False)

    def __iter__(self) -> _Walk:
        return self

    def __next__(self) -> Instance:
        if not self._fetched and not self._is_over:
            place, last = self._after
            answer = self._run.ask([int(self._new_only), place], "members", last, self._about)
            _set(self, "_fetched", msgspec.convert(answer, list[tuple[int, wire.Instance]])[::-1])
            _set(self, "_is_over", not self._fetched)
        if self._is_over:
            raise StopIteration
        place, instance = self._fetched.pop()
        _set(self, "_after", (place, instance.id))
        return Instance(self._run, instance, of=instance.id)


class Level(ReadOnly):
    """A series, a study or a patient as it was at the event, or when it was found."""

    __slots__ = ("_about", "_level", "_run", "_tags")
    _level: wire.Level
    _run: Run
    _tags: LevelTags
    _about: str

    def __init__(self, run: Run, level: wire.Level, *, about: str = "") -> None:
        _set(self, "_run", run)
        _set(self, "_about", about)
        _set(self, "_level", level)
        _set(self, "_tags", LevelTags(run, level))

    @property
    def id(self) -> str:
        """Orthanc's identifier."""
        return self._level.id

    @property
    def patient_id(self) -> str:
        """Patient ID (0010,0020), always text; '' when absent."""
        return self._level.patient_id

    @property
    def tags(self) -> LevelTags:
        """Its attributes and those of the levels above."""
        return self._tags

    @property
    def count(self) -> int:
        """How many instances it had at the event; 0 when it was deleted."""
        return self._level.count

    @property
    def first(self) -> Instance | None:
        """The instance that came first, as it was at the event; None when nothing of it was left."""
        found = msgspec.convert(self._run.ask([], "first", about=self._about), list[wire.Instance])
        return Instance(self._run, found[0], of=found[0].id) if found else None

    @property
    def instances(self) -> Instances:
        """Its instances as of the event, fetched a few at a time."""
        return Instances(self._run, self._level.count, new_only=False, about=self._about)

    @property
    def new_instances(self) -> Instances:
        """For `on_stable_…`: those that came, or whose content did, since it was last told as stable; none otherwise."""
        return Instances(self._run, self._level.new, new_only=True, about=self._about)

    @property
    def occurrence(self) -> int:
        """For `on_stable_…`: how often it was told as stable, from 1; 0 otherwise."""
        return self._level.occurrence

    @property
    def changes(self) -> tuple[str, ...]:
        """For `on_updated_…`: what was changed, "content", "metadata", "labels" or "attachments"; () otherwise."""
        return tuple(self._level.changes)

    @property
    def origins(self) -> tuple[Origin, ...]:
        """Where its instances came from, each origin once, whatever the association. At most 100."""
        return tuple(
            Origin(one) for one in msgspec.convert(self._run.ask([], "origins", about=self._about), list[wire.Origin])
        )

    @property
    def metadata(self) -> dict[str, str]:
        """What was noted of it by `host.set_metadata`; a copy, as it stands when this run first asks. Its instances have their own."""
        return dict(self._run.marks(self._level.id)[0])

    @property
    def labels(self) -> tuple[str, ...]:
        """Its labels, sorted, as they stand when this run first asks. Its instances have their own."""
        return tuple(self._run.marks(self._level.id)[1])

    def __repr__(self) -> str:
        return f"<{self._level.level} {self._level.series_instance_uid or self._level.study_instance_uid or self.id}>"


class Series(Level):
    """A series as it was at the event."""

    __slots__ = ()

    @property
    def series_instance_uid(self) -> str:
        """Series Instance UID (0020,000E)."""
        return self._level.series_instance_uid

    @property
    def study_instance_uid(self) -> str:
        """Study Instance UID (0020,000D)."""
        return self._level.study_instance_uid


class Study(Level):
    """A study as it was at the event."""

    __slots__ = ()

    @property
    def study_instance_uid(self) -> str:
        """Study Instance UID (0020,000D)."""
        return self._level.study_instance_uid


class Patient(Level):
    """A patient as it was at the event: all instances with the same Patient ID."""

    __slots__ = ()


_VIEWS = {"series": Series, "study": Study, "patient": Patient}


def level(run: Run, sent: wire.Level, *, about: str = "") -> Level:
    """Return the view of a level: of the event's own, or of one that was found, `about` being its id."""
    return _VIEWS[sent.level](run, sent, about=about)


class Association(ReadOnly):
    """An association that has ended."""

    __slots__ = ("_association",)
    _association: wire.Association

    def __init__(self, association: wire.Association) -> None:
        _set(self, "_association", association)

    @property
    def id(self) -> int:
        """Its number, which `instance.origin.association` of what came by it names."""
        return self._association.id

    @property
    def calling_aet(self) -> str:
        """The AE title of the sender, by its own word; '' when it never said one."""
        return self._association.calling_aet

    @property
    def called_aet(self) -> str:
        """The AE title the sender asked for."""
        return self._association.called_aet

    @property
    def ip(self) -> str:
        """The address of the sender."""
        return self._association.ip

    @property
    def ended(self) -> str:
        """How it ended: "released", "aborted by peer", "aborted by hostd", "rejected", "lost", "timed out" or "interrupted"."""
        return self._association.ended

    @property
    def reason(self) -> str:
        """Why, in words; '' when it was released."""
        return self._association.reason

    @property
    def begun_at(self) -> dt.datetime:
        """When it began, aware, in UTC."""
        return dt.datetime.fromtimestamp(self._association.at, dt.UTC)

    @property
    def ended_at(self) -> dt.datetime:
        """When it ended, aware, in UTC."""
        return dt.datetime.fromtimestamp(self._association.ended_at, dt.UTC)

    @property
    def received(self) -> int:
        """How many instances the sender offered."""
        return self._association.received

    @property
    def stored(self) -> int:
        """How many of them were answered with success."""
        return self._association.stored

    @property
    def failed(self) -> int:
        """How many of them were not."""
        return self._association.failed

    @property
    def bytes(self) -> int:
        """Bytes of the data sets that came."""
        return self._association.bytes

    def __repr__(self) -> str:
        return f"<association {self.id}>"
