"""What a modality accepts: asked by C-ECHO (PS3.4 Annex A), and by proposing presentation contexts. Nothing is sent to it."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from pydicom.uid import UID

from hostd.dicom import commitment, data_sets, query, statuses, syntaxes
from hostd.dimse import scu
from hostd.dimse.associate import CONTEXTS_LIMIT
from hostd.dimse.errors import DimseError
from hostd.errors import DestinationFault

_STORAGE = "1.2.840.10008.5.1.4.1.1."
_CLASSES = tuple(
    _STORAGE + end
    for end in (
        "2",
        "2.1",
        "4",
        "4.1",
        "1",
        "1.1",
        "1.2",
        "6.1",
        "3.1",
        "7",
        "20",
        "128",
        "12.1",
        "88.22",
        "104.1",
        "481.2",
    )
)
_SYNTAXES = tuple(
    syntaxes.lookup(name).uid for name in ("implicit", "explicit", "j2k", "jpegls", "jpeg-lossless", "rle", "htj2k")
)
_SERVICES = {"storage commitment": (commitment.PUSH_MODEL,), "queries (C-FIND)": query.ROOTS}
_CONTEXTS = (
    *((sop_class, (syntax,)) for sop_class in _CLASSES for syntax in _SYNTAXES),
    *((sop_class, data_sets.SYNTAXES) for classes in _SERVICES.values() for sop_class in classes),
)
assert len(_CONTEXTS) <= CONTEXTS_LIMIT

Associate = Callable[[Sequence[tuple[str, tuple[str, ...]]]], scu.Requestor]


def examine(associate: Associate) -> list[str]:
    """Return what the peer says, in lines for people. Raises `DestinationFault` when it does not answer or wants no association."""
    uncompressed = tuple(syntax.uid for syntax in (syntaxes.IMPLICIT_LE, syntaxes.EXPLICIT_LE))
    try:
        with associate([(scu.VERIFICATION, uncompressed)]) as association:
            said = [_echo(association)]
        with associate(_CONTEXTS) as association:
            accepted = list(association.accepted)
    except DimseError as error:
        raise DestinationFault(str(error)) from error
    found: dict[tuple[str, ...], list[str]] = {}
    for sop_class in _CLASSES:
        mine = tuple(syntax for abstract, syntax in accepted if abstract == sop_class)
        found.setdefault(mine, []).append(UID(sop_class).name.removesuffix(" Storage"))
    for mine, classes in found.items():
        names = ", ".join(str(syntaxes.by_uid(uid)) for uid in mine)
        said.append(
            f"{'accepts' if mine else 'does not accept'} {', '.join(classes)}" + (f" in {names}" if mine else "")
        )
    offered = {sop_class for sop_class, _ in accepted}
    for service, sop_classes in _SERVICES.items():
        said.append(f"{'offers' if offered.intersection(sop_classes) else 'does not offer'} {service}")
    return said


def _echo(association: scu.Requestor) -> str:
    if not association.accepted:
        return "takes associations, but no C-ECHO"
    return f"C-ECHO: {statuses.describe(association.echo())}"
