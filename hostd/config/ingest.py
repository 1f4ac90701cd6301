"""`[ingest]`: what is decided when an instance arrives, and to which transfer syntax it is brought."""

from __future__ import annotations

from typing import Annotated, Literal, Self

from pydantic import AfterValidator, Field, model_validator
from pydicom._uid_dict import UID_dictionary  # pydicom.uid knows names by UID, but not UIDs by name

from hostd.config.section import Section
from hostd.config.values import AeTitle, Wait
from hostd.dicom import syntaxes
from hostd.dicom.identity import is_uid
from hostd.dicom.loss import DEFAULT_QUALITY, EncodeOptions
from hostd.dicom.syntaxes import TransferSyntax, UnknownSyntaxError
from hostd.errors import CannotTranscodeError

AS_RECEIVED = ("", "none")
"""What `transcode_to` says to leave instances as they are."""

_NEVER_WRITTEN = frozenset(
    (
        "ExplicitVRBigEndian",
        "JPEGSpectralSelectionNonHierarchical68",
        "JPEGFullProgressionNonHierarchical1012",
        "JPEG2000MCLossless",
        "JPEG2000MC",
        "JPIPReferenced",
        "JPIPReferencedDeflate",
        "JPIPHTJ2KReferenced",
        "JPIPHTJ2KReferencedDeflate",
    )
)
_VIDEO = ("MPEG", "HEVC")


def ingest_target(name: str) -> TransferSyntax | None:
    """Return the transfer syntax that `transcode_to` names, None for one of `AS_RECEIVED`.

    The one place that says what may be a target. Raises `ValueError`.
    """
    if name.strip().lower() in AS_RECEIVED:
        return None
    try:
        syntax = syntaxes.lookup(name)
    except UnknownSyntaxError as error:
        raise ValueError(str(error)) from error
    if syntax.keyword in _NEVER_WRITTEN or syntax.keyword.startswith(_VIDEO):
        raise ValueError(f"{syntax.keyword} is received and kept, but never written: name another, such as explicit")
    return syntax


def ingest_loss(
    target: TransferSyntax | None, quality: int | None, ratio: float | None, near: int | None
) -> EncodeOptions | None:
    """Return how lossy what is brought to a target may be; None: not at all. Raises `ValueError`.

    Loss is never assumed: a target that may lose information needs one of the three, and no other target may have one.
    """
    options = EncodeOptions(quality, ratio, near)
    is_asked = options != EncodeOptions()
    if target is None or not target.is_lossy:
        if is_asked:
            raise ValueError(
                f"quality, ratio and near are for a transcode_to that may lose information, which {target or 'none'} is not:"
                " remove them, or name another transfer syntax"
            )
        return None
    if not is_asked:
        raise ValueError(
            f"{target.keyword} may lose information: say how much, such as quality = {DEFAULT_QUALITY},"
            " or name a lossless transfer syntax, such as j2k"
        )
    try:
        options.check(target)
    except CannotTranscodeError as error:
        raise ValueError(str(error)) from error
    return options


def _names_a_target(name: str) -> str:
    ingest_target(name)
    return name


def _storage_class(name: str) -> str:
    if is_uid(name):
        return name
    for uid, (_, kind, _, _, keyword) in UID_dictionary.items():
        if keyword.lower() == name.lower() and kind == "SOP Class":
            return str(uid)
    raise ValueError("should be the UID of a SOP class, or its keyword in PS3.6 Table A-1, such as CTImageStorage")


Target = Annotated[str, AfterValidator(_names_a_target)]
"""A transfer syntax by UID, keyword or short name, or one of `AS_RECEIVED`."""

SopClass = Annotated[str, AfterValidator(_storage_class)]
"""A SOP Class UID; a keyword is turned into it."""

Quality = Annotated[int, Field(ge=1, le=100)]
Ratio = Annotated[float, Field(gt=1, le=1000)]
Near = Annotated[int, Field(ge=1, le=255)]


class IngestRule(Section):
    """What instances of one source are brought to. All that a rule names must be so; the first rule that fits decides."""

    calling_aet: AeTitle | None = Field(default=None, description="The AE title of the sender.")
    called_aet: AeTitle | None = Field(default=None, description="The AE title that the sender called.")
    modality: str | None = Field(default=None, description="The sender's name under `[modalities]`.")
    sop_class: SopClass | None = Field(default=None, description="The SOP class, by UID or keyword.")
    transcode_to: Target = Field(
        description='The transfer syntax to bring them to, as `ingest.transcode_to`; `"none"`: as received.'
    )

    quality: Quality | None = Field(default=None, description="As `ingest.quality`.")
    ratio: Ratio | None = Field(default=None, description="As `ingest.ratio`.")
    near: Near | None = Field(default=None, description="As `ingest.near`.")
    keep_original: bool | None = Field(
        default=None, description="As `ingest.keep_original`; absent: what that says holds here too."
    )

    @model_validator(mode="after")
    def _says_whose(self) -> Self:
        if (self.calling_aet, self.called_aet, self.modality, self.sop_class) == (None, None, None, None):
            raise ValueError(
                "fits everything: add calling_aet, called_aet, modality or sop_class; what no rule fits is ingest.transcode_to's"
            )
        return self

    @model_validator(mode="after")
    def _says_how_lossy(self) -> Self:
        self.options  # noqa: B018 - raises what is wrong with it
        return self

    @property
    def target(self) -> TransferSyntax | None:
        """The transfer syntax that `transcode_to` names, None: as received."""
        return ingest_target(self.transcode_to)

    @property
    def options(self) -> EncodeOptions | None:
        """How lossy the result may be; None: not at all."""
        return ingest_loss(self.target, self.quality, self.ratio, self.near)


class Ingest(Section):
    """What is decided when an instance arrives."""

    on_conflict: Literal["newest", "first", "refuse"] = Field(
        default="newest",
        description="Other content under a known identity: `newest` becomes the current one and the earlier is kept as a"
        " version, `first` stays and the newer is kept as a version, `refuse` tells the sender 0x0111. What is brought to a"
        " lossy transfer syntax is an instance of its own beside the earlier one, unless it is refused.",
    )
    transcode_to: Target | None = Field(
        default=None,
        description="The transfer syntax that what arrives is brought to: UID, keyword or short name. Absent:"
        " as received. One that may lose information needs `quality`, `ratio` or `near`; the result is then an instance with"
        " a SOP Instance UID of its own. What cannot be brought to it stays as it was received, which the log, the metadata"
        " `IngestTranscodingFailed` and the receipt in the event tell.",
    )
    quality: Quality | None = Field(
        default=None,
        description="How good a lossy result is to be; what it means for each transfer syntax is in transcoding.md.",
    )
    ratio: Ratio | None = Field(
        default=None, description="JPEG 2000 only: how many times smaller than uncompressed a lossy result is to be."
    )
    near: Near | None = Field(
        default=None, description="JPEG-LS only: how far any sample of a lossy result may be from its original."
    )
    keep_original: bool = Field(
        default=True,
        description="Keep what was received as a version of its lossy result. false: it is removed once the result is proven"
        " and `node.trash_days` have passed.",
    )
    of_uncompressed: bool = Field(
        default=True, description="Transcode what arrives uncompressed: implicit, explicit, and big endian."
    )
    of_compressed: bool = Field(
        default=True, description="Transcode what arrives compressed; a deflated data set counts as compressed."
    )
    ack_budget_s: Wait = Field(
        default=5.0,
        description="Seconds that a sender waits for the transcode. What takes longer, or finds others waiting for their"
        " turn, is acknowledged as received and finished afterwards. 0: never wait.",
    )
    rules: tuple[IngestRule, ...] = Field(
        default=(),
        description="Other targets for some sources, each in `[[ingest.rules]]`; the first that fits decides.",
    )

    @property
    def target(self) -> TransferSyntax | None:
        """The transfer syntax that `transcode_to` names, None: as received."""
        return None if self.transcode_to is None else ingest_target(self.transcode_to)

    @property
    def options(self) -> EncodeOptions | None:
        """How lossy the result may be; None: not at all."""
        return ingest_loss(self.target, self.quality, self.ratio, self.near)

    @model_validator(mode="after")
    def _says_how_lossy(self) -> Self:
        self.options  # noqa: B018 - raises what is wrong with it
        return self
