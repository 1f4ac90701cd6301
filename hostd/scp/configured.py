"""What the configuration says of whom the DICOM face serves, and of what it accepts."""

from __future__ import annotations

from typing import get_args

from hostd.config.sections import Dicom, Modality
from hostd.config.settings import Settings
from hostd.dicom import patterns
from hostd.scp import accepted, access
from hostd.scp.access import Act, Known

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
            Known(name, modality.aet, modality.host, _may(modality)) for name, modality in settings.modalities.items()
        ),
        everybody=frozenset(act for act in _ACTS if act != _COMMIT and getattr(dicom, f"always_allow_{act}")),
        checks_host=dicom.check_modality_host,
        is_strict=dicom.strict_aet_comparison,
    )


def _may(modality: Modality) -> frozenset[Act]:
    names = {act: "commitment" if act == _COMMIT else act for act in _ACTS}
    return frozenset(act for act in _ACTS if getattr(modality, f"allow_{names[act]}"))
