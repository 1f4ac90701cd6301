"""How jobs fail: Orthanc's error numbers, which its clients compare, and their meaning."""

from __future__ import annotations

from typing import Any

from hostd.errors import HostdError

SUCCESS = 0
INTERNAL_ERROR = -1
NOT_IMPLEMENTED = 2
PARAMETER_OUT_OF_RANGE = 3
INEXISTENT_ITEM = 7
NETWORK_PROTOCOL = 9
CANNOT_WRITE_FILE = 14
BAD_FILE_FORMAT = 15
TIMEOUT = 16
UNKNOWN_RESOURCE = 17
FULL_STORAGE = 19
CANCELED = 37
CANNOT_STORE = 2018

MEANINGS = {
    SUCCESS: "Success",
    INTERNAL_ERROR: "Internal error",
    NOT_IMPLEMENTED: "Not implemented yet",
    PARAMETER_OUT_OF_RANGE: "Parameter out of range",
    INEXISTENT_ITEM: "Accessing an inexistent item",
    NETWORK_PROTOCOL: "Error in the network protocol",
    CANNOT_WRITE_FILE: "Cannot write to file",
    BAD_FILE_FORMAT: "Bad file format",
    TIMEOUT: "Timeout",
    UNKNOWN_RESOURCE: "Unknown resource",
    FULL_STORAGE: "The file storage is full",
    CANCELED: "This job was canceled",
    CANNOT_STORE: "Cannot store an instance",
}
"""What each number means, as Orthanc says it."""


class JobFault(HostdError):  # noqa: N818 - as the other verdicts of hostd.errors
    """What a job was asked to do cannot be done: it fails with this number and reason, and is not tried again by itself.

    `payload` is told besides, as Orthanc does of a status of DIMSE: `{"Type": "Dimse", "Content": {"DimseErrorStatus": 0xA700}}`.
    """

    def __init__(self, code: int, message: str, payload: dict[str, Any] | None = None) -> None:
        super().__init__(message)
        self.code = code
        self.payload = payload


def of_dimse(status: int) -> dict[str, Any]:
    """Return what is told besides of a job that a status of DIMSE ended."""
    return {"Type": "Dimse", "Content": {"DimseErrorStatus": status}}
