"""What may be done to an instance besides a change of its syntax: steps of a transform, as values.

What they mean in detail is carried out by `hostd.editing`.
"""

from __future__ import annotations

from typing import Annotated, Literal

import msgspec

from hostd.dicom.syntaxes import (
    HTJ2K,
    HTJ2K_LOSSLESS,
    JPEG2000,
    JPEG2000_LOSSLESS,
    JPEG_BASELINE,
    JPEG_EXTENDED,
    JPEG_LOSSLESS_SV1,
    JPEG_LS_LOSSLESS,
    JPEG_LS_NEAR,
    JPEG_PROGRESSIVE,
    JPEG_SPECTRAL,
    JPEG_XL,
    JPEG_XL_LOSSLESS,
    JPEG_XL_RECOMPRESSION,
)

Scalar = str | int | float | None
Value = Scalar | list[Scalar | dict[str, Scalar | list[Scalar | dict[str, Scalar | list[Scalar]]]]]
"""A value as it is set: text, a number, None for an empty one, a list for several; a sequence is a list of items by keyword."""

Coordinate = Annotated[int, msgspec.Meta(ge=0, le=0x7FFFFFFF)]
Extent = Annotated[int, msgspec.Meta(ge=1, le=0x7FFFFFFF)]
Region = tuple[Coordinate, Coordinate, Extent, Extent]
"""A rectangle of pixels: x and y of its upper left corner, counted from 0; width and height."""


class Modify(
    msgspec.Struct, frozen=True, omit_defaults=True, forbid_unknown_fields=True, tag_field="verb", tag="modify"
):
    """Set and remove attributes.

    Attributes are named by keyword, by tag (`0010,0020`), by private creator (`0019,xx0C,"SIEMENS MR HEADER"`), and inside
    sequences by a path (`RequestAttributesSequence[0].ScheduledProcedureStepID`; `[*]` means every item). `keep` names what
    neither `remove`, nor `private="remove"`, nor a new UID may take. The result is a new instance; with a new patient ID, study or
    series all identifiers below are new too. With `keep_uids` no identifier changes but those that are set.

    `level` is from where on identifiers are new whatever is set. `of` says which references are changed as what they refer to is: None
    all, since whatever is referred to is taken to be changed alike; the identifier of a job those to what the job is about; '' those to the
    instance itself. `source` is the SOP Instance UID of an instance of a job before it lost information.
    """

    set: dict[str, Value] = {}
    remove: tuple[str, ...] = ()
    keep: tuple[str, ...] = ()
    private: Literal["keep", "remove"] = "keep"
    keep_uids: bool = False
    level: Literal["instance", "series", "study", "patient"] = "instance"
    of: str | None = None
    source: str = ""

    def __post_init__(self) -> None:
        # One text for one change, in whatever order it was written.
        msgspec.structs.force_setattr(self, "set", dict(sorted(self.set.items())))
        msgspec.structs.force_setattr(self, "remove", tuple(sorted({*self.remove})))
        msgspec.structs.force_setattr(self, "keep", tuple(sorted({*self.keep})))

    @property
    def may_stay(self) -> bool:
        """Never (P7): what was to be changed is not sent unchanged."""
        return False


class Anonymize(
    msgspec.Struct, frozen=True, omit_defaults=True, forbid_unknown_fields=True, tag_field="verb", tag="anonymize"
):
    """De-identify as the named project of the configuration says (PS3.15 Annex E).

    `redacted`: regions that could hold burned-in text were blanked before. `allow_burned_in`: whoever asks knows that there is none.
    `rules` is the project's `fingerprint`, so that what was made by other rules is not taken for this. `own` are the rules themselves, as
    JSON, where no project of the configuration is meant.
    """

    project: str
    redacted: bool = False
    allow_burned_in: bool = False
    rules: str = ""
    own: str = ""

    @property
    def may_stay(self) -> bool:
        """Never (P7)."""
        return False


class Redact(
    msgspec.Struct, frozen=True, omit_defaults=True, forbid_unknown_fields=True, tag_field="verb", tag="redact"
):
    """Blank rectangles in every frame. `no_text_left`: say in the result that no text is burned in any more."""

    regions: tuple[Region, ...]
    no_text_left: bool = False

    def __post_init__(self) -> None:
        msgspec.structs.force_setattr(self, "regions", tuple(sorted({tuple(region) for region in self.regions})))

    @property
    def may_stay(self) -> bool:
        """Never (P7)."""
        return False


Edit = Modify | Anonymize | Redact

LOSSLESS_KIN = {
    JPEG_BASELINE: JPEG_LOSSLESS_SV1, JPEG_EXTENDED: JPEG_LOSSLESS_SV1, JPEG_SPECTRAL: JPEG_LOSSLESS_SV1,
    JPEG_PROGRESSIVE: JPEG_LOSSLESS_SV1, JPEG_LS_NEAR: JPEG_LS_LOSSLESS, JPEG2000: JPEG2000_LOSSLESS,
    HTJ2K: HTJ2K_LOSSLESS, JPEG_XL: JPEG_XL_LOSSLESS, JPEG_XL_RECOMPRESSION: JPEG_LOSSLESS_SV1,
}  # fmt: skip
"""In which syntax an image is written again whose own may lose information."""
_REDACTED = {lossy.uid: lossless.uid for lossy, lossless in LOSSLESS_KIN.items()}


def redacted_syntax(own: str) -> str:
    """Return the UID of the transfer syntax in which an image of the syntax `own` is expected to be once regions are blanked."""
    return _REDACTED.get(own, own)


def impossible(edit: Edit) -> str:
    """Return the words that say that an edit could not be done."""
    match edit:
        case Modify():
            return "the instance could not be modified"
        case Anonymize():
            return "the instance could not be de-identified"
        case Redact():
            return "regions of the image could not be blanked"


def canonical(edit: Edit) -> str:
    """Return the one text of an edit: equal edits have equal texts."""
    return msgspec.json.encode(edit, order="deterministic").decode()
