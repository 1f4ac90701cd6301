"""What a script gets to see of an instance: read-only views over plain values.

Every attribute that holds something begins with an underscore, which the language of scripts cannot name.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, NoReturn

from hostd.sandbox import frames as wire
from hostd.sandbox.run import Run
from hostd.sandbox.values import convert

_Elements = Mapping[int, Sequence[Any]]
_PIXEL_DATA = frozenset({0x7FE00008, 0x7FE00009, 0x7FE00010})


class ReadOnly:
    """A view: its attributes are set once, when it is made."""

    __slots__ = ()

    def __setattr__(self, name: str, value: object) -> NoReturn:
        raise TypeError("what a script is given is read-only")

    def __delattr__(self, name: str) -> NoReturn:
        raise TypeError("what a script is given is read-only")


_set = object.__setattr__


class Tags(ReadOnly):
    """The elements of a data set, or of an item of a sequence.

    - `tags.PatientID`: the value, None when the element is absent or empty. A keyword that the standard does not have is an
      error that names the nearest one.
    - `tags.get("PatientID", default)`: the same, with a default for absent or empty.
    - `"PatientID" in tags`: whether the element is there, also if it is empty.
    - `tags[0x00180050]`: by tag, as by keyword.
    - `tags.private("CREATOR", 0x10)`: a private element by its creator.
    - `tags.text("SliceThickness")`: as text, as it stands in the file; '' when absent or empty.

    One value is given as itself, several as a tuple, whatever the standard's multiplicity; the items of a sequence always
    as a tuple of `Tags`. DS is float, IS is int, names and dates are texts with parts (`PersonName`, `DateText`), bulk data
    is bytes, all other text is str without padding. A value too large to come with the event is fetched when it is first
    read: up to 1 MiB each and 8 MiB a run, otherwise `ValueTooLarge`. Pixel data is never given.
    """

    __slots__ = ("_elements", "_of", "_path", "_run", "_within")
    _elements: _Elements
    _of: str
    _path: tuple[int, ...]
    _run: Run
    _within: str

    def __init__(
        self, run: Run, elements: _Elements, path: tuple[int, ...] = (), within: str = "", of: str = ""
    ) -> None:
        _set(self, "_run", run)
        _set(self, "_of", of)
        _set(self, "_elements", elements)
        _set(self, "_path", path)
        _set(self, "_within", within)

    def __getattr__(self, keyword: str) -> Any:
        return self._value(self._run.world.tag(keyword))

    def __getitem__(self, tag: int | str) -> Any:
        return self._value(self._tag(tag))

    def __contains__(self, tag: int | str) -> bool:
        number = self._tag(tag)
        self._note(number)
        return number in self._elements

    def get(self, tag: int | str, default: Any = None) -> Any:
        """Return the value of a keyword or tag, or the default when the element is absent or empty."""
        value = self._value(self._tag(tag))
        return default if value is None else value

    def text(self, tag: int | str) -> str:
        """Return the value as text: as it stands in the file, several joined by a backslash; '' when absent or empty."""
        number = self._tag(tag)
        vr, raw = self._raw(number)
        if vr == "SQ" or any(isinstance(value, (bytes, dict)) for value in raw):
            raise ValueError(f"{self._run.world.name(number)} has VR {vr}, which has no text")
        return "\\".join(str(value) for value in raw)

    def private(self, creator: str, element: int, group: int | None = None) -> Any:
        """Return the value of a private element (PS3.5 §7.8.1), None when absent or empty.

        `creator` is the text that reserves the block, `element` the last two digits of the tag: 0x10 for (0019,xx10).
        Without a `group`, the first odd group is taken in which the creator has that element.
        """
        if not isinstance(creator, str) or isinstance(element, bool) or not isinstance(element, int):
            raise TypeError(
                'a private element is read by its creator and a number: tags.private("SIEMENS CSA HEADER", 0x10)'
            )
        if not 0 <= element <= 0xFF:
            raise ValueError(f"{element:#x} is not the number of an element within a private block: 0x00 to 0xFF")
        wanted = str.__str__(creator).strip(" ")
        self._run.note(f"{self._within}private {wanted[:64].encode('utf-8', 'replace').decode()!r} {element:02X}")
        for tag in sorted(self._elements):
            odd, block = tag >> 16, tag & 0xFFFF
            if odd % 2 == 0 or not 0x10 <= block <= 0xFF or (group is not None and odd != group):
                continue
            if [str(value).strip(" ") for value in self._elements[tag][1] or ()] == [wanted]:
                found = odd << 16 | block << 8 | element
                if found in self._elements:
                    return self._convert(found, *self._raw(found, note=False))
        return None

    def __repr__(self) -> str:
        return f"<tags: {len(self._elements)} elements>"

    def _tag(self, tag: int | str) -> int:
        if isinstance(tag, str):
            return self._run.world.tag(str.__str__(tag))
        if isinstance(tag, bool) or not isinstance(tag, int) or not 0 <= tag <= 0xFFFFFFFF:
            raise TypeError('an element is named by its keyword ("PatientID") or its tag (0x00100020)')
        return int(tag)

    def _note(self, tag: int) -> None:
        self._run.note(self._within + self._run.world.name(tag))

    def _raw(self, tag: int, *, note: bool = True) -> tuple[str, list[Any]]:
        """Return VR and values as they stand in the file; no values when absent or empty."""
        if note:
            self._note(tag)
        if tag in _PIXEL_DATA:
            raise ValueError(
                "pixel data is not given to scripts; see instance.has_pixels, instance.frames and the tags"
            )
        if tag not in self._elements:
            return "", []
        vr, values = self._elements[tag]
        if values is None:
            values = self._run.fetch((*self._path, tag), self._of)
        return vr, [] if list(values) == [""] else list(values)

    def _value(self, tag: int) -> Any:
        return self._convert(tag, *self._raw(tag))

    def _convert(self, tag: int, vr: str, raw: list[Any]) -> Any:
        if not raw:
            return None
        name = self._run.world.name(tag)
        if vr == "SQ":
            within = f"{self._within}{name}."
            return tuple(
                Tags(self._run, item, (*self._path, tag, index), within, self._of) for index, item in enumerate(raw)
            )
        values = tuple(convert(vr, value, name) for value in raw)
        return values[0] if len(values) == 1 else values


class TransferSyntax(ReadOnly):
    """How an instance is encoded (PS3.5 §10)."""

    __slots__ = ("_syntax",)
    _syntax: wire.Syntax

    def __init__(self, syntax: wire.Syntax) -> None:
        _set(self, "_syntax", syntax)

    @property
    def uid(self) -> str:
        """The UID: "1.2.840.10008.1.2.4.90"."""
        return self._syntax.uid

    @property
    def keyword(self) -> str:
        """The standard's keyword: "JPEG2000Lossless"."""
        return self._syntax.keyword

    @property
    def is_compressed(self) -> bool:
        """Whether its pixel data, or its whole data set, is compressed."""
        return self._syntax.is_compressed

    @property
    def is_lossy(self) -> bool:
        """Whether its codec may lose information, whatever this one file did with it."""
        return self._syntax.is_lossy

    def __repr__(self) -> str:
        return self._syntax.keyword


class Origin(ReadOnly):
    """Where an instance came from."""

    __slots__ = ("_origin",)
    _origin: wire.Origin

    def __init__(self, origin: wire.Origin) -> None:
        _set(self, "_origin", origin)

    @property
    def kind(self) -> str:
        """One of "dicom", "http", "script", "import"."""
        return self._origin.kind

    @property
    def calling_aet(self) -> str | None:
        """The AE title of the sender, by its own word; None unless it came by DICOM."""
        return self._origin.calling_aet

    @property
    def called_aet(self) -> str | None:
        """The AE title the sender asked for; None unless it came by DICOM."""
        return self._origin.called_aet

    @property
    def ip(self) -> str | None:
        """The address of the sender."""
        return self._origin.ip

    @property
    def username(self) -> str | None:
        """The user who sent it by HTTP."""
        return self._origin.username

    @property
    def modality(self) -> str | None:
        """The sender's name in the configuration, when it has one."""
        return self._origin.modality

    @property
    def association(self) -> int | None:
        """The number of the association it came by."""
        return self._origin.association

    def __repr__(self) -> str:
        return f"<origin: {self.kind}>"


class Receipt(ReadOnly):
    """How the transcode of an instance, as it arrived, ended."""

    __slots__ = ("_receipt",)
    _receipt: wire.Receipt

    def __init__(self, receipt: wire.Receipt) -> None:
        _set(self, "_receipt", receipt)

    @property
    def outcome(self) -> str:
        """The word "made", or "kept original": then the stored file is as it was received."""
        return self._receipt.outcome

    @property
    def reason(self) -> str:
        """Why the original was kept; '' when a result was made."""
        return self._receipt.reason

    @property
    def codec(self) -> str:
        """The library that encoded, or else decoded; "none" when pixel bytes were copied, '' when nothing was made."""
        return self._receipt.codec

    @property
    def ratio(self) -> float:
        """Size of the file as received divided by the size of the stored one: 2.0 when half of it is left."""
        return self._receipt.ratio

    @property
    def verified_by(self) -> str:
        """How the result was proven, in words; '' when nothing was made."""
        return self._receipt.verified_by

    @property
    def source_syntax(self) -> TransferSyntax:
        """How the instance was encoded when it arrived."""
        return TransferSyntax(self._receipt.source_syntax)

    @property
    def result_syntax(self) -> TransferSyntax:
        """How the stored file is encoded."""
        return TransferSyntax(self._receipt.result_syntax)

    def __repr__(self) -> str:
        return f"<receipt: {self.outcome}>"


class Instance(ReadOnly):
    """An instance as it was at the event, also if it was replaced since."""

    __slots__ = ("_instance", "_run", "_tags")
    _instance: wire.Instance
    _run: Run
    _tags: Tags

    def __init__(self, run: Run, instance: wire.Instance, *, of: str = "") -> None:
        _set(self, "_run", run)
        _set(self, "_instance", instance)
        _set(self, "_tags", Tags(run, instance.tags, of=of))

    @property
    def id(self) -> str:
        """Orthanc's identifier of the instance."""
        return self._instance.id

    @property
    def sop_instance_uid(self) -> str:
        """SOP Instance UID (0008,0018)."""
        return self._instance.sop_instance_uid

    @property
    def sop_class(self) -> str:
        """SOP Class UID (0008,0016)."""
        return self._instance.sop_class

    @property
    def series_instance_uid(self) -> str:
        """Series Instance UID (0020,000E)."""
        return self._instance.series_instance_uid

    @property
    def study_instance_uid(self) -> str:
        """Study Instance UID (0020,000D)."""
        return self._instance.study_instance_uid

    @property
    def patient_id(self) -> str:
        """Patient ID (0010,0020), always text; '' when absent."""
        return self._instance.patient_id

    @property
    def transfer_syntax(self) -> TransferSyntax:
        """How the stored file is encoded."""
        return TransferSyntax(self._instance.transfer_syntax)

    @property
    def has_pixels(self) -> bool:
        """Whether it has pixel data."""
        return self._instance.has_pixels

    @property
    def frames(self) -> int:
        """How many frames it has; 0 without pixel data."""
        return self._instance.frames

    @property
    def size(self) -> int:
        """Bytes of the stored file."""
        return self._instance.size

    @property
    def tags(self) -> Tags:
        """Its elements."""
        return self._tags

    @property
    def origin(self) -> Origin:
        """Where it came from."""
        return Origin(self._instance.origin)

    @property
    def receipt(self) -> Receipt | None:
        """How its transcode on ingest ended; None when nothing was to be transcoded as it arrived."""
        receipt = self._instance.receipt
        return None if receipt is None else Receipt(receipt)

    @property
    def changes(self) -> tuple[str, ...]:
        """What was changed: "content", "metadata", "labels"; () unless the event is `on_updated_instance`."""
        return tuple(self._instance.changes)

    def __repr__(self) -> str:
        return f"<instance {self.sop_instance_uid}>"


class Handle(ReadOnly):
    """A product that an action of this run will make; later actions may name it."""

    __slots__ = ("_index", "_run")
    _index: int
    _run: Run

    def __init__(self, run: Run, index: int) -> None:
        _set(self, "_run", run)
        _set(self, "_index", index)

    def __repr__(self) -> str:
        return f"<handle of action {self._index}>"


class Delivery(ReadOnly):
    """A delivery that this run asked for; `host.delete(instance, after=[delivery])` may name it."""

    __slots__ = ("_index", "_run")
    _index: int
    _run: Run

    def __init__(self, run: Run, index: int) -> None:
        _set(self, "_run", run)
        _set(self, "_index", index)

    def __repr__(self) -> str:
        return f"<delivery of action {self._index}>"
