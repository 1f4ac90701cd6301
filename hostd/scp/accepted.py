"""Which SOP classes and transfer syntaxes are accepted for storage: one set, which may change while associations run."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field, replace

from hostd.dicom import patterns
from hostd.dicom.identity import is_uid
from hostd.dicom.patterns import UidPatterns
from hostd.dicom.syntaxes import ALL, BY_UID
from hostd.scp.sop_classes import STORAGE_CLASSES, is_storage, is_unknown

_ALL = UidPatterns.of(("*",))
_NONE = UidPatterns.of(())


@dataclass(frozen=True, slots=True)
class Rules:
    """What is accepted, and what of that is not; `unknown_sop_classes`: also those that the standard does not have."""

    syntaxes: UidPatterns = field(default=_ALL)
    not_syntaxes: UidPatterns = field(default=_NONE)
    sop_classes: UidPatterns = field(default=_ALL)
    not_sop_classes: UidPatterns = field(default=_NONE)
    unknown_sop_classes: bool = False


class Accepted:
    """The rules of now. What changes counts for the associations that begin after it; one that is open goes on as it was agreed."""

    def __init__(self, rules: Rules | None = None) -> None:
        self._rules = rules or Rules()

    def use(self, rules: Rules) -> None:
        """Go by other rules from now on."""
        self._rules = rules

    @property
    def unknown_sop_classes(self) -> bool:
        """Whether SOP classes are taken for storage that the standard does not have."""
        return self._rules.unknown_sop_classes

    def accept_unknown_sop_classes(self, accept: bool) -> None:
        """Take SOP classes that the standard does not have, or no more."""
        self._rules = replace(self._rules, unknown_sop_classes=accept)

    def accept_transfer_syntaxes(self, names: Iterable[str]) -> None:
        """Accept these transfer syntaxes, by UID, keyword or short name, wildcards allowed, and no others. Raises `ConfigurationError`."""
        self._rules = replace(self._rules, syntaxes=patterns.transfer_syntaxes(names), not_syntaxes=_NONE)

    def transfer_syntaxes(self) -> list[str]:
        """Return the UIDs of those transfer syntaxes of the standard that are accepted, sorted."""
        return sorted(syntax.uid for syntax in ALL if self._takes_syntax(syntax.uid))

    def sop_classes(self) -> list[str]:
        """Return the UIDs of those storage SOP classes of the standard that are accepted, sorted."""
        return sorted(uid for uid in STORAGE_CLASSES if self.takes_class(uid))

    def takes_class(self, sop_class_uid: str) -> bool:
        """Tell whether instances of a SOP class are taken."""
        rules = self._rules
        is_one = is_storage(sop_class_uid) or (rules.unknown_sop_classes and is_unknown(sop_class_uid))
        return is_one and sop_class_uid in rules.sop_classes and sop_class_uid not in rules.not_sop_classes

    def syntaxes_of(self, proposed: Sequence[str]) -> list[str]:
        """Return those transfer syntaxes that are accepted for storage, in the proposer's order.

        Known ones come first, since only of those the header can surely be read, then private ones.
        """
        taken = [syntax for syntax in proposed if self._takes_syntax(syntax)]
        return [syntax for syntax in taken if syntax in BY_UID] + [
            syntax for syntax in taken if syntax not in BY_UID and is_uid(syntax)
        ]

    def _takes_syntax(self, uid: str) -> bool:
        rules = self._rules
        return uid in rules.syntaxes and uid not in rules.not_syntaxes
