"""What is to be done to a file before it is sent, as a value and as the text that stands in the index."""

from __future__ import annotations

import json
from dataclasses import dataclass

from hostd.dicom.identity import is_uid
from hostd.errors import CannotTranscodeError


@dataclass(frozen=True, slots=True)
class Transform:
    """Bring an image to the transfer syntax `to` (a UID), without loss.

    `or_original`: where that cannot be done the original is sent in its own syntax, and a receipt says why (P7). Otherwise what
    was to be changed is never sent unchanged.
    """

    to: str
    or_original: bool = True

    def canonical(self) -> str:
        """Return the one text for this transform: equal transforms have equal texts, so the index can compare them."""
        return json.dumps({"or_original": self.or_original, "to": self.to}, sort_keys=True, separators=(",", ":"))

    @classmethod
    def parse(cls, text: str) -> Transform | None:
        """Return the transform of that text, None for '', which is nothing to do.

        Raises `CannotTranscodeError` when the text is no transform that this release knows.
        """
        if not text:
            return None
        try:
            found = json.loads(text)
        except ValueError:
            found = None
        match found:
            case {"to": str(to), "or_original": bool(or_original), **rest} if is_uid(to) and not rest:
                return cls(to, or_original)
        raise CannotTranscodeError(f"this release does not know what to do with the transform {text[:200]!r}")
