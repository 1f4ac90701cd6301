"""`[ingest]`: what is decided when an instance arrives, and to which transfer syntax it is brought."""

from __future__ import annotations

from typing import Annotated, Literal, Self

from pydantic import AfterValidator, Field, model_validator
from pydicom._uid_dict import UID_dictionary  # pydicom.uid knows names by UID, but not UIDs by name

from hostd.config.sections import Section
from hostd.config.values import AeTitle, Wait
from hostd.dicom import syntaxes
from hostd.dicom.identity import is_uid
from hostd.dicom.syntaxes import TransferSyntax, UnknownSyntaxError

AS_RECEIVED = ("", "none")
"""What `transcode_to` says to leave instances as they are."""

_NEVER_WRITTEN = frozenset(
    (
        "ExplicitVRBigEndian",
        "JPEG2000MCLossless",
        "JPIPReferenced",
        "JPIPReferencedDeflate",
        "JPIPHTJ2KReferenced",
        "JPIPHTJ2KReferencedDeflate",
    )
)


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
    if syntax.is_lossy:
        raise ValueError(
            f"{syntax.keyword} may lose information, and this release transcodes on ingest without loss only:"
            " name a lossless transfer syntax, such as j2k"
        )
    if syntax.keyword in _NEVER_WRITTEN:
        raise ValueError(f"{syntax.keyword} is received and kept, but never written: name another, such as explicit")
    return syntax


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


class IngestRule(Section):
    """What instances of one source are brought to. All that a rule names must be so; the first rule that fits decides."""

    calling_aet: AeTitle | None = Field(default=None, description="The AE title of the sender.")
    called_aet: AeTitle | None = Field(default=None, description="The AE title that the sender called.")
    modality: str | None = Field(default=None, description="The sender's name under `[modalities]`.")
    sop_class: SopClass | None = Field(default=None, description="The SOP class, by UID or keyword.")
    transcode_to: Target = Field(
        description='The transfer syntax to bring them to, as `ingest.transcode_to`; `"none"`: as received.'
    )

    @model_validator(mode="after")
    def _says_whose(self) -> Self:
        if (self.calling_aet, self.called_aet, self.modality, self.sop_class) == (None, None, None, None):
            raise ValueError(
                "fits everything: add calling_aet, called_aet, modality or sop_class; what no rule fits is ingest.transcode_to's"
            )
        return self

    @property
    def target(self) -> TransferSyntax | None:
        """The transfer syntax that `transcode_to` names, None: as received."""
        return ingest_target(self.transcode_to)


class Ingest(Section):
    """What is decided when an instance arrives."""

    on_conflict: Literal["newest", "first", "refuse"] = Field(
        default="newest",
        description="Other content under a known identity: `newest` becomes the current one and the earlier is kept as a"
        " version, `first` stays and the newer is kept as a version, `refuse` tells the sender 0x0111.",
    )
    transcode_to: Target | None = Field(
        default=None,
        description="The transfer syntax that what arrives is brought to, without loss: UID, keyword or short name. Absent:"
        " as received. What cannot be brought to it stays as it was received, which the log, the metadata"
        " `IngestTranscodingFailed` and the receipt in the event tell.",
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
