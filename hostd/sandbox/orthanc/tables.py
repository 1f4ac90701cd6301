"""What Orthanc gives its callbacks as Lua tables: tags by name as texts, metadata, origin. Read-only, and nil is None."""

from __future__ import annotations

import datetime as dt
from collections.abc import Callable, Iterator, Mapping
from typing import Any

import msgspec

from hostd.sandbox import frames
from hostd.sandbox.read_only import ReadOnly
from hostd.sandbox.refusals import ValueTooLarge
from hostd.sandbox.run import Run
from hostd.sandbox.tags import Tags

_PIXEL_GROUP = 0x7FE0
_ORIGINS = {"dicom": "DicomProtocol", "http": "RestApi", "script": "Lua", "import": "Plugins"}


class Table(ReadOnly):
    """A table of Lua: `table["Name"]` and `table.Name` give the value, None where there is none."""

    __slots__ = ("_entries",)
    _entries: Mapping[str, Any]

    def __init__(self, entries: Mapping[str, object | Callable[[], object]]) -> None:
        """Take the entries; one that is a function is called when it is read."""
        object.__setattr__(self, "_entries", entries)

    def __getattr__(self, name: str) -> Any:
        if name.startswith("_"):
            raise AttributeError(f"`{name}` is not offered to scripts")
        return self[name]

    def __getitem__(self, name: str) -> Any:
        found = self._entries.get(name) if isinstance(name, str) else None
        return found() if callable(found) else found

    def __contains__(self, name: str) -> bool:
        return isinstance(name, str) and self[name] is not None

    def __iter__(self) -> Iterator[str]:
        return iter(self.keys())

    def __len__(self) -> int:
        return len(self.keys())

    def get(self, name: str, default: Any = None) -> Any:
        """Return the value of a name, or the default where there is none."""
        found = self[name]
        return default if found is None else found

    def keys(self) -> list[str]:
        """Return the names that have a value."""
        return [name for name in self._entries if self[name] is not None]

    def items(self) -> list[tuple[str, Any]]:
        """Return the names that have a value, each with it: `for name, value in table.items()`."""
        return [(name, self[name]) for name in self.keys()]

    def __repr__(self) -> str:
        return f"<table: {', '.join(self.keys())}>"


class Metadata(Table):
    """The metadata of an instance or level: what hostd knows of it, and what was noted of it, which is asked when it is read."""

    __slots__ = ("_of", "_run")
    _of: str
    _run: Run

    def __init__(self, run: Run, of: str, entries: Mapping[str, object | Callable[[], object]]) -> None:
        super().__init__(entries)
        object.__setattr__(self, "_run", run)
        object.__setattr__(self, "_of", of)

    def __getitem__(self, name: str) -> Any:
        if name in self._entries:
            return super().__getitem__(name)
        return self._run.marks(self._of)[0].get(name) if isinstance(name, str) else None

    def keys(self) -> list[str]:
        """Return the names that have a value."""
        return [*super().keys(), *(name for name in sorted(self._run.marks(self._of)[0]) if name not in self._entries)]


class SimplifiedTags(Tags):
    """The elements of a data set as Orthanc's Lua has them: `tags["PatientName"]` is a text, as it stands in the file.

    None where there is no such element, and for binary data; '' where it is empty; several values are joined by a backslash; a
    sequence is a tuple of such tables. A keyword that the standard does not have is an error that names the nearest one.
    """

    __slots__ = ()

    def __getattr__(self, keyword: str) -> Any:
        if keyword.startswith("_"):
            raise AttributeError(f"`{keyword}` is not offered to scripts")
        return super().__getattr__(keyword)

    def __iter__(self) -> Iterator[str]:
        return iter(self.keys())

    def __len__(self) -> int:
        return len(self.keys())

    def keys(self) -> list[str]:
        """Return the keywords of the elements that have a value that a script can read."""
        return [name for name, _ in self.items()]

    def items(self) -> list[tuple[str, Any]]:
        """Return the keywords, each with its value: `for name, value in tags.items()`. What is too large to be read is left out."""
        names = self._run.world.keyword_of
        found = [(names[tag], self._if_small(tag)) for tag in sorted(self._decoded()) if tag in names]
        return [(name, value) for name, value in found if value is not None]

    def _if_small(self, tag: int) -> Any:
        try:
            return self._value(tag)
        except ValueTooLarge:
            return None

    def _value(self, tag: int) -> Any:
        if tag >> 16 == _PIXEL_GROUP or tag not in self._decoded():
            self._note(tag)
            return None
        vr, raw = self._raw(tag)
        if vr == "SQ":
            within = f"{self._within}{self._run.world.name(tag)}."
            return tuple(
                SimplifiedTags(self._run, item, (*self._path, tag, index), within, self._of)
                for index, item in enumerate(raw)
            )
        return None if any(isinstance(one, bytes) for one in raw) else "\\".join(map(str, raw))


def plain(value: Any) -> Any:
    """Return a table, or what holds tables, as dicts and lists."""
    if isinstance(value, (Table, SimplifiedTags)):
        return {name: plain(one) for name, one in value.items()}
    if isinstance(value, dict):
        return {name: plain(one) for name, one in value.items()}
    if isinstance(value, (list, tuple)):
        return [plain(one) for one in value]
    return value


def tags_of(run: Run, instance: frames.Instance, of: str = "") -> SimplifiedTags:
    """Return the tags of an instance: the event's own, or `of` a member of its level."""
    return SimplifiedTags(run, instance.tags, of=of)


def origin_of(origin: frames.Origin) -> Table:
    """Return where an instance came from."""
    entries: dict[str, object] = {"RequestOrigin": _ORIGINS[origin.kind], "RemoteIp": origin.ip}
    if origin.kind == "dicom":
        entries |= {"RemoteAet": origin.calling_aet, "CalledAet": origin.called_aet}
    else:
        entries["Username"] = origin.username
    return Table(entries)


def destination_of(question: frames.Filter) -> Table:
    """Return where an instance is to be sent: its name, and of a modality what Orthanc gives."""
    return Table({
        "Name": question.destination, "RemoteAet": question.destination_aet, "RemoteIp": question.destination_host,
    })  # fmt: skip


def info_of(instance: frames.Instance) -> Table:
    """Return what a filter learns of an instance besides its tags."""
    return Table({"HasPixelData": instance.has_pixels, "TransferSyntaxUID": instance.transfer_syntax.uid})


def metadata_of(run: Run, instance: frames.Instance, now: float) -> Metadata:
    """Return the metadata of an instance; `now` is the time of its event."""
    origin = instance.origin
    return Metadata(run, instance.id, {
        "ReceptionDate": date_of(now),
        "Origin": _ORIGINS[origin.kind],
        "RemoteAET": origin.calling_aet,
        "CalledAET": origin.called_aet,
        "RemoteIP": origin.ip,
        "HttpUsername": origin.username,
        "TransferSyntax": instance.transfer_syntax.uid,
        "SopClassUid": instance.sop_class,
    })  # fmt: skip


def metadata_of_level(run: Run, of: str, now: float) -> Metadata:
    """Return the metadata of the event's series, study or patient; where it came from is asked when it is read."""

    def first(field: str) -> Callable[[], object]:
        def ask() -> object:
            found = msgspec.convert(run.ask([], "origins"), list[frames.Origin])
            return next((value for one in found if (value := getattr(one, field)) is not None), None)

        return ask

    fields = {"RemoteAET": "calling_aet", "CalledAET": "called_aet", "RemoteIP": "ip", "HttpUsername": "username"}
    return Metadata(run, of, {"LastUpdate": date_of(now), **{name: first(field) for name, field in fields.items()}})


def date_of(at: float) -> str:
    """Return a time as Orthanc writes it, in UTC: `20261122T102322`."""
    return dt.datetime.fromtimestamp(at, dt.UTC).strftime("%Y%m%dT%H%M%S")
