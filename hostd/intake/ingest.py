"""What an arriving instance is to be brought to: decided from its header, its origin and the settings, and nothing else."""

from __future__ import annotations

from dataclasses import dataclass

from hostd.archive.records import Origin
from hostd.dicom import syntaxes
from hostd.dicom.header import Header
from hostd.dicom.loss import EncodeOptions
from hostd.dicom.syntaxes import EXPLICIT_BE, EXPLICIT_LE, IMPLICIT_LE, TransferSyntax
from hostd.transcoding.transform import Transcode, Transform

_UNCOMPRESSED = frozenset((IMPLICIT_LE.uid, EXPLICIT_LE.uid, EXPLICIT_BE.uid))
"""As Orthanc counts; all others are compressed, a deflated data set among them."""
_VIDEO = "1.2.840.10008.1.2.4.10"
"""MPEG-2, MPEG-4 and HEVC begin so: .100 to .108 (PS3.5 §8.2.5 to §8.2.8)."""


@dataclass(frozen=True, slots=True)
class Aim:
    """What an instance is to be brought to.

    `options` say how lossy the result may be, None: not at all; of a lossy one, `keep_original` says whether what was received stays
    as a version.
    """

    target: TransferSyntax
    options: EncodeOptions | None = None
    keep_original: bool = True

    @property
    def step(self) -> Transcode:
        """What is to be done."""
        options = self.options or EncodeOptions()
        return Transcode(self.target.uid, quality=options.quality, ratio=options.ratio, near=options.near)

    @property
    def transform(self) -> str:
        """The name under which the receipt is kept: what a delivery that wants the same would ask for."""
        return Transform((self.step,)).canonical()


@dataclass(frozen=True, slots=True)
class Rule:
    """Where what is bound for another target comes from. None: whatever it is; `target` None: kept as received.

    `options` and `keep_original` are as in `Aim`.
    """

    target: TransferSyntax | None
    calling_aet: str | None = None
    called_aet: str | None = None
    modality: str | None = None
    sop_class: str | None = None
    options: EncodeOptions | None = None
    keep_original: bool = True

    def fits(self, header: Header, origin: Origin) -> bool:
        """Tell whether all that the rule names is so."""
        return all(
            wanted is None or wanted == found
            for wanted, found in (
                (self.calling_aet, origin.calling_aet),
                (self.called_aet, origin.called_aet),
                (self.modality, origin.modality),
                (self.sop_class, header.sop_class_uid),
            )
        )


@dataclass(frozen=True, slots=True)
class Policy:
    """What the configuration says of transcoding on ingest; the first rule that fits decides, then `target`.

    `options` and `keep_original` are as in `Aim`.
    """

    target: TransferSyntax | None = None
    rules: tuple[Rule, ...] = ()
    of_uncompressed: bool = True
    of_compressed: bool = True
    options: EncodeOptions | None = None
    keep_original: bool = True

    @property
    def targets(self) -> frozenset[TransferSyntax]:
        """All transfer syntaxes that something may be brought to."""
        return frozenset(target for target in (self.target, *(rule.target for rule in self.rules)) if target)


@dataclass(frozen=True, slots=True)
class Decision:
    """What to bring an instance to, or why it is kept as received."""

    aim: Aim | None
    reason: str = ""

    @property
    def target(self) -> TransferSyntax | None:
        """The transfer syntax to bring it to."""
        return self.aim.target if self.aim else None


def decide(header: Header, origin: Origin, policy: Policy) -> Decision:
    """Decide about one instance that has arrived, as Orthanc would (its IngestTranscoding)."""
    if origin.kind == "script":
        return Decision(None, "it is the product of a script")
    rule = next((rule for rule in policy.rules if rule.fits(header, origin)), None)
    decisive = rule or policy
    target = decisive.target
    if target is None:
        return Decision(None, "a rule keeps it as received" if rule else "nothing is transcoded on ingest")
    reason = _why_not(header, target, policy)
    return Decision(None, reason) if reason else Decision(Aim(target, decisive.options, decisive.keep_original))


def _why_not(header: Header, target: TransferSyntax, policy: Policy) -> str:
    uid = header.transfer_syntax
    source = syntaxes.BY_UID.get(uid)
    is_uncompressed = uid in _UNCOMPRESSED
    hindrances = (
        (uid == target.uid, "it has that transfer syntax already"),
        (source is None, f"its transfer syntax {uid} is not known"),
        (source is not None and is_video(source), "it is video"),
        (is_uncompressed and not policy.of_uncompressed, "it is uncompressed, and ingest.of_uncompressed is false"),
        (not is_uncompressed and not policy.of_compressed, "it is compressed, and ingest.of_compressed is false"),
        (target.is_encapsulated and not header.has_pixels, "it has no pixel data, so there is nothing to compress"),
    )
    return next((reason for hinders, reason in hindrances if hinders), "")


def is_video(syntax: TransferSyntax) -> bool:
    """Tell whether it is a moving picture's syntax, whose frames cannot be had one by one."""
    return syntax.uid.startswith(_VIDEO)
