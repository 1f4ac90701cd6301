"""What the configuration says of whom the DICOM face serves, and of what it accepts."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import get_args

from hostd.archive.archive import Archive
from hostd.config.sections import Dicom
from hostd.config.sections import Modality as Section
from hostd.config.settings import Settings
from hostd.delivery.destinations import Destination, modality
from hostd.delivery.destinations.modality import Modality
from hostd.delivery.retry import Waits
from hostd.dicom import patterns
from hostd.scp import accepted, access
from hostd.scp.access import Act, Callers, Known
from hostd.scp.committing import CommitmentService, Promiser
from hostd.scp.getting import GetService
from hostd.scp.moving import MoveService
from hostd.scp.retrieve import Retriever
from hostd.scp.services import Service

_ACTS: tuple[Act, ...] = get_args(Act)
_COMMIT: Act = "commit"


def accepted_of(dicom: Dicom) -> accepted.Rules:
    """Return what is accepted for storage."""
    return accepted.Rules(
        syntaxes=patterns.transfer_syntaxes(dicom.accepted_transfer_syntaxes),
        not_syntaxes=patterns.transfer_syntaxes(dicom.rejected_transfer_syntaxes),
        sop_classes=patterns.sop_classes(dicom.accepted_sop_classes),
        not_sop_classes=patterns.sop_classes(dicom.rejected_sop_classes),
        unknown_sop_classes=dicom.accept_unknown_sop_classes,
    )


def callers_of(settings: Settings) -> access.Rules:
    """Return who may ask for what."""
    dicom = settings.dicom
    return access.Rules(
        modalities=tuple(
            Known(name, section.aet, section.host, _may(section)) for name, section in settings.modalities.items()
        ),
        everybody=frozenset(act for act in _ACTS if act != _COMMIT and getattr(dicom, f"always_allow_{act}")),
        checks_host=dicom.check_modality_host,
        is_strict=dicom.strict_aet_comparison,
    )


def _may(section: Section) -> frozenset[Act]:
    names = {act: "commitment" if act == _COMMIT else act for act in _ACTS}
    return frozenset(act for act in _ACTS if getattr(section, f"allow_{names[act]}"))


def retrieving(
    retriever: Retriever,
    callers: Callers,
    destinations: Callable[[], Mapping[str, Destination]],
    settings: Callable[[], Settings],
) -> list[Service]:
    """Return what serves C-MOVE and C-GET, by what the configuration says when it is asked."""

    def modality_of(aet: str) -> Modality | None:
        for name in callers.modalities_of(aet):
            if not settings().dicom.transcode and (section := settings().modalities.get(name)):
                return modality.configured(name, section.model_copy(update={"allow_transcoding": False}))
            found = destinations().get(f"{Section.KIND}:{name}")
            if isinstance(found, Modality):
                return found
        return None

    def transcodes(name: str | None) -> bool:
        section = settings().modalities.get(name) if name else None
        return settings().dicom.transcode and (section is None or section.allow_transcoding)

    return [
        MoveService(retriever, modality_of),
        GetService(retriever, lambda aet, ip: callers.caller(aet, ip).modality, transcodes),
    ]


def committing(archive: Archive, callers: Callers, aets: Sequence[str]) -> CommitmentService:
    """Return what takes requests for storage commitment, as the node of these AE titles."""
    return CommitmentService(
        archive,
        lambda aet, ip: callers.caller(aet, ip).modality,
        lambda called: next((aet for aet in aets if callers.is_called(called, [aet])), ""),
    )


def promiser(archive: Archive, destinations: Callable[[], Mapping[str, Destination]], policy: Waits) -> Promiser:
    """Return what judges those requests, and reports to the modalities of the configuration."""

    def modality_of(name: str) -> Modality | None:
        found = destinations().get(f"{Section.KIND}:{name}")
        return found if isinstance(found, Modality) else None

    return Promiser(archive, modality_of, policy)
