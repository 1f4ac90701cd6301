"""What the DICOM face accepts, and from whom: the part of `[dicom]` that may change while the node runs."""

from __future__ import annotations

from pydantic import Field, field_validator

from hostd.config.section import Section
from hostd.config.values import Strings
from hostd.dicom import patterns
from hostd.errors import ConfigurationError


class Accepting(Section):
    """What is accepted of whom. It is looked at when an association begins."""

    accepted_transfer_syntaxes: Strings = Field(
        default=("*",),
        description="The transfer syntaxes in which instances are taken by C-STORE: UID, keyword or short name, with `*` and `?` in UIDs and keywords."
        ' A sender whose syntax is refused transcodes, or does not send. `["*"]`: all, private ones too.',
    )
    rejected_transfer_syntaxes: Strings = Field(
        default=(), description="Those of them that are refused all the same, written as they are."
    )
    accepted_sop_classes: Strings = Field(
        default=("*",), description="The storage SOP classes that are taken: UID or keyword, with `*` and `?`."
    )
    rejected_sop_classes: Strings = Field(
        default=(), description="Those of them that are refused all the same, written as they are."
    )
    accept_unknown_sop_classes: bool = Field(
        default=False,
        description="Take SOP classes for storage that the standard does not have, as private ones. Those of the standard's storage root are always known.",
    )
    always_allow_echo: bool = Field(default=True, description="Answer C-ECHO to those who are no configured modality.")
    always_allow_store: bool = Field(
        default=True,
        description="Take instances by C-STORE from those who are no configured modality. Their associations are recorded as such.",
    )
    always_allow_find: bool = Field(
        default=False, description="Answer queries by C-FIND of those who are no configured modality."
    )
    always_allow_move: bool = Field(
        default=False,
        description="Serve C-MOVE to those who are no configured modality. It goes to configured modalities in any case.",
    )
    always_allow_get: bool = Field(
        default=False, description="Serve C-GET to those who are no configured modality: what they ask for, they get."
    )
    check_modality_host: bool = Field(
        default=True,
        description="Take a caller for the modality whose AE title it gives only if it calls from that modality's `host`. An AE title is no secret.",
    )
    strict_aet_comparison: bool = Field(
        default=True, description="Whether `ARCHIVE` and `archive` are different AE titles, as the standard has it."
    )

    transcode: bool = Field(
        default=True,
        description="Bring what is asked for by C-MOVE and C-GET to a transfer syntax that the other side accepts, never to one that loses information."
        " false: what it does not accept fails. A modality's `allow_transcoding` says it for that modality.",
    )

    @field_validator("accepted_transfer_syntaxes", "rejected_transfer_syntaxes")
    @classmethod
    def _syntaxes_exist(cls, names: tuple[str, ...]) -> tuple[str, ...]:
        try:
            patterns.transfer_syntaxes(names)
        except ConfigurationError as error:
            raise ValueError(str(error)) from error
        return names

    @field_validator("accepted_sop_classes", "rejected_sop_classes")
    @classmethod
    def _classes_exist(cls, names: tuple[str, ...]) -> tuple[str, ...]:
        try:
            patterns.sop_classes(names)
        except ConfigurationError as error:
            raise ValueError(str(error)) from error
        return names


class Allowed(Section):
    """What a modality may ask hostd for."""

    allow_echo: bool = Field(default=True, description="Answer its C-ECHO.")
    allow_store: bool = Field(default=True, description="Take what it sends by C-STORE.")
    allow_find: bool = Field(default=True, description="Answer its queries by C-FIND.")
    allow_move: bool = Field(default=True, description="Serve its C-MOVE, to any modality of the configuration.")
    allow_get: bool = Field(default=True, description="Serve its C-GET.")
    allow_commitment: bool = Field(
        default=True, description="Commit to what it stored, when it asks for storage commitment (PS3.4 Annex J)."
    )
