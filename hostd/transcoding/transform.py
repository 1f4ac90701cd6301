"""What is to be done to a file before it goes out, as a value with one canonical form."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass

from hostd.dicom import syntaxes
from hostd.dicom.syntaxes import TransferSyntax


@dataclass(frozen=True, slots=True)
class Transform:
    """Bring a file to the transfer syntax of UID `to`; with `or_original`, what cannot be brought there goes on as it is."""

    to: str
    or_original: bool = True

    @property
    def syntax(self) -> TransferSyntax:
        """The transfer syntax to bring the file to."""
        return syntaxes.by_uid(self.to)

    def canonical(self) -> str:
        """Return the one text of this transform: equal transforms have equal texts, also in years."""
        return json.dumps(asdict(self), sort_keys=True, separators=(",", ":"))

    @staticmethod
    def parse(text: str) -> Transform:
        """Return the transform of its canonical text."""
        return Transform(**json.loads(text))
