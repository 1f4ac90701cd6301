"""`[projects.NAME]`: how instances are de-identified for one research project (PS3.15 Annex E)."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import AfterValidator, Field

from hostd.config.section import Section
from hostd.config.values import Strings

_LONGEST_PREFIX = 16


def _prefix(text: str) -> str:
    if len(text) > _LONGEST_PREFIX or not text.isascii() or not text.isprintable() or any(c in "\\^=*?" for c in text):
        raise ValueError(
            f"should be of up to {_LONGEST_PREFIX} printable ASCII characters, without \\, ^, =, * and ?: it becomes part of a patient ID"
        )
    return text


class Project(Section):
    """How `host.anonymize(x, "NAME")` de-identifies: the options of PS3.15 §E.3; see [deidentification.md](deidentification.md)."""

    patient_prefix: Annotated[str, AfterValidator(_prefix)] = Field(
        default="", description="Stands before each pseudonym, as `T7-` in `T7-K3MA5XQ2`."
    )
    dates: Literal["shift", "keep", "remove"] = Field(
        default="shift",
        description="`shift`: all dates of a patient move back by the same number of days; `keep`: they stay; `remove`: no date and no"
        " time stays.",
    )
    retain_uids: bool = Field(
        default=False, description="Keep the UIDs. Whoever has the originals can find them by these."
    )
    retain_device_identity: bool = Field(default=False, description="Keep what says which device made the images.")
    retain_institution: bool = Field(default=False, description="Keep what says which institution made the images.")
    retain_patient_characteristics: bool = Field(default=False, description="Keep age, sex, size, weight and the like.")
    retain_safe_private: bool = Field(
        default=False, description="Keep the private attributes that the standard lists as safe."
    )
    clean_descriptors: bool = Field(
        default=False,
        description="Keep of descriptions and comments the words that are known to be medical. false: they go altogether.",
    )
    clean_structured_content: bool = Field(
        default=False, description="Clean the content of structured reports item by item. false: it goes."
    )
    clean_graphics: bool = Field(
        default=False,
        description="Clean graphic annotations of presentation states. false: they go. Overlays always go.",
    )
    keep: Strings = Field(
        default=(),
        description="Attributes that stay as they are, whatever the profile says: keyword, tag (`0010,0020`) or private creator"
        ' (`0019,xx0C,"SIEMENS MR HEADER"`).',
    )
    remove: Strings = Field(
        default=(),
        description="Attributes that go, whatever the profile says; named as in `keep`, or by a path into"
        " sequences (`AnatomicRegionSequence[*].CodeMeaning`).",
    )
    replace: dict[str, str] = Field(
        default={},
        description='Attributes that get a fixed text, named as in `keep`: `{ ClinicalTrialProtocolID = "TRIAL7" }`.',
    )
    allow_burned_in: bool = Field(
        default=False,
        description="Let images through that may have text burned into their pixels. hostd recognises no text in pixels: say this only where"
        " somebody else sees to it.",
    )
