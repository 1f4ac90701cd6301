"""What a script gets to see of an instance: read-only views over plain values.

Every attribute that holds something begins with an underscore, which the language of scripts cannot name.
"""

from __future__ import annotations

from hostd.sandbox import frames as wire
from hostd.sandbox.pixels import Pixels
from hostd.sandbox.read_only import ReadOnly
from hostd.sandbox.run import Run
from hostd.sandbox.tags import Tags

_set = object.__setattr__


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

    @property
    def script(self) -> str | None:
        """The script that made it, by `host.store`."""
        return self._origin.script

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

    __slots__ = ("_instance", "_of", "_run", "_tags")
    _instance: wire.Instance
    _of: str
    _run: Run
    _tags: Tags

    def __init__(self, run: Run, instance: wire.Instance, *, of: str = "") -> None:
        _set(self, "_run", run)
        _set(self, "_instance", instance)
        _set(self, "_of", of)
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
        self._run.note("PatientID")
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
    def pixels(self) -> Pixels | None:
        """What its pixels come to, worked out by hostd when a script first asks; None when it has no pixel data."""
        return Pixels(self._run, self._of) if self._instance.has_pixels else None

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
        """What was changed: "content", "metadata", "labels", "attachments"; () unless the event is `on_updated_instance`."""
        return tuple(self._instance.changes)

    @property
    def metadata(self) -> dict[str, str]:
        """What was noted of it by `host.set_metadata` and by hostd itself; a copy, as it stands when this run first asks."""
        return dict(self._run.marks(self._instance.id)[0])

    @property
    def labels(self) -> tuple[str, ...]:
        """Its labels, sorted, as they stand when this run first asks."""
        return tuple(self._run.marks(self._instance.id)[1])

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

    @property
    def size(self) -> int:
        """Bytes of the product. It is made for that now, which takes its time but not the script's; `ValueError` when it cannot be made."""
        return self._run.product(self._index)[0]

    @property
    def ratio(self) -> float:
        """Size of what it is made of divided by its own: 2.0 when half of it is left. Otherwise as `size`."""
        size, source = self._run.product(self._index)
        return source / size

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
