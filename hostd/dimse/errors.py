"""How an association can fail. All are `AssociationError`; the side that catches one decides what it means."""

from __future__ import annotations

from hostd.errors import AssociationError, HostdError

SERVICE_USER = 0
"""Source of an A-ABORT that the application asked for (PS3.8 §9.3.8)."""
SERVICE_PROVIDER = 2
"""Source of an A-ABORT that the upper layer asked for, with one of the reasons below."""

REASON_NOT_SPECIFIED = 0
UNRECOGNIZED_PDU = 1
UNEXPECTED_PDU = 2
UNRECOGNIZED_PARAMETER = 4
UNEXPECTED_PARAMETER = 5
INVALID_PARAMETER_VALUE = 6

_ABORT_REASONS = {
    REASON_NOT_SPECIFIED: "reason not specified",
    UNRECOGNIZED_PDU: "unrecognized PDU",
    UNEXPECTED_PDU: "unexpected PDU",
    UNRECOGNIZED_PARAMETER: "unrecognized PDU parameter",
    UNEXPECTED_PARAMETER: "unexpected PDU parameter",
    INVALID_PARAMETER_VALUE: "invalid PDU parameter value",
}


class DimseError(AssociationError):
    """An association could not be made, or did not come to its proper end.

    `answer_lost` says that a request had been sent completely and its answer never came: the peer may have carried it out.
    """

    def __init__(self, message: str, *, answer_lost: bool = False) -> None:
        super().__init__(message)
        self.answer_lost = answer_lost


class CouldNotConnectError(DimseError):
    """No connection to the peer's host and port."""


class RejectedError(DimseError):
    """The peer rejected the association; `result`, `source`, `reason` as in PS3.8 §9.3.4."""

    def __init__(self, message: str, *, result: int, source: int, reason: int) -> None:
        super().__init__(message)
        self.result = result
        self.source = source
        self.reason = reason


class AbortedError(DimseError):
    """The peer sent A-ABORT."""

    def __init__(self, source: int, reason: int) -> None:
        who = "its upper layer" if source == SERVICE_PROVIDER else "its application"
        why = f": {_ABORT_REASONS.get(reason, f'reason {reason}')}" if source == SERVICE_PROVIDER else ""
        super().__init__(f"the peer aborted the association ({who}{why})")
        self.source = source
        self.reason = reason


class TimedOutError(DimseError):
    """The peer was silent, or too slow, for longer than allowed."""


class BrokenError(DimseError):
    """The connection ended without release or abort."""


class InterruptedAssociationError(DimseError):
    """hostd itself cut the association off, because it is stopping."""


class ProtocolError(DimseError):
    """The peer sent what the standard does not allow there.

    Whoever catches it sends the A-ABORT with `abort_source` and `abort_reason` (PS3.8 §9.3.8).
    """

    def __init__(self, message: str, *, source: int = SERVICE_PROVIDER, reason: int = INVALID_PARAMETER_VALUE) -> None:
        super().__init__(message)
        self.abort_source = source
        self.abort_reason = reason


class NoContextError(DimseError):
    """The peer accepted no presentation context for this SOP class and transfer syntax; the association is still good."""


class ShortDataSetError(HostdError):
    """The file ended before the data set's length; the association was aborted so that nothing half-sent is kept."""
