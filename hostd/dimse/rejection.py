"""Why an association is rejected (PS3.8 §9.3.4, Table 9-21), in words."""

from __future__ import annotations

from dataclasses import dataclass

_REASONS = {
    (1, 1): "no reason given",
    (1, 2): "the application context name is not supported",
    (1, 3): "the calling AE title is not recognised",
    (1, 7): "the called AE title is not recognised",
    (2, 1): "no reason given",
    (2, 2): "the protocol version is not supported",
    (3, 1): "temporary congestion",
    (3, 2): "the local limit of associations is exceeded",
}


@dataclass(frozen=True, slots=True)
class Rejection:
    """Result (1 permanent, 2 transient), source and reason of an A-ASSOCIATE-RJ."""

    result: int
    source: int
    reason: int

    @property
    def words(self) -> str:
        """The reason in words."""
        known = _REASONS.get((self.source, self.reason))
        return known or f"a reason unknown to the standard (source {self.source}, reason {self.reason})"


NO_REASON = Rejection(1, 1, 1)
APPLICATION_CONTEXT_NOT_SUPPORTED = Rejection(1, 1, 2)
CALLING_AET_NOT_RECOGNISED = Rejection(1, 1, 3)
CALLED_AET_NOT_RECOGNISED = Rejection(1, 1, 7)
PROTOCOL_VERSION_NOT_SUPPORTED = Rejection(1, 2, 2)
TEMPORARY_CONGESTION = Rejection(2, 3, 1)
LOCAL_LIMIT_EXCEEDED = Rejection(2, 3, 2)
