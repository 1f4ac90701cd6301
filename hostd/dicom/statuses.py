"""DIMSE statuses (PS3.7 Annex C, PS3.4 §B.2.3): what each is called, and whether it means success."""

from __future__ import annotations

from typing import Literal

Category = Literal["success", "warning", "failure", "cancel", "pending"]

SUCCESS = 0x0000
INVALID_ATTRIBUTE_VALUE = 0x0106
PROCESSING_FAILURE = 0x0110
DUPLICATE_SOP_INSTANCE = 0x0111
NO_SUCH_SOP_INSTANCE = 0x0112
NO_SUCH_EVENT_TYPE = 0x0113
INVALID_ARGUMENT_VALUE = 0x0115
NO_SUCH_SOP_CLASS = 0x0118
CLASS_INSTANCE_CONFLICT = 0x0119
SOP_CLASS_NOT_SUPPORTED = 0x0122
NO_SUCH_ACTION = 0x0123
NOT_AUTHORIZED = 0x0124
DUPLICATE_INVOCATION = 0x0210
UNRECOGNIZED_OPERATION = 0x0211
RESOURCE_LIMITATION = 0x0213
OUT_OF_RESOURCES = 0xA700
UNABLE_TO_PERFORM_SUB_OPERATIONS = 0xA702
MOVE_DESTINATION_UNKNOWN = 0xA801
DATA_SET_DOES_NOT_MATCH = 0xA900
SUB_OPERATIONS_COMPLETE_WITH_FAILURES = 0xB000
CANNOT_UNDERSTAND = 0xC000
CANCELLED = 0xFE00
PENDING = 0xFF00
PENDING_WITHOUT_OPTIONAL_KEYS = 0xFF01

_NAMES = {
    SUCCESS: "success",
    0x0001: "requested optional attributes are not supported",
    0x0105: "no such attribute",
    INVALID_ATTRIBUTE_VALUE: "invalid attribute value",
    0x0107: "attribute list error",
    PROCESSING_FAILURE: "processing failure",
    DUPLICATE_SOP_INSTANCE: "duplicate SOP instance",
    NO_SUCH_SOP_INSTANCE: "no such SOP instance",
    NO_SUCH_EVENT_TYPE: "no such event type",
    0x0114: "no such argument",
    INVALID_ARGUMENT_VALUE: "invalid argument value",
    0x0116: "attribute value out of range",
    0x0117: "invalid SOP instance",
    NO_SUCH_SOP_CLASS: "no such SOP class",
    CLASS_INSTANCE_CONFLICT: "class-instance conflict",
    0x0120: "missing attribute",
    0x0121: "missing attribute value",
    SOP_CLASS_NOT_SUPPORTED: "SOP class not supported",
    NO_SUCH_ACTION: "no such action",
    NOT_AUTHORIZED: "not authorized",
    DUPLICATE_INVOCATION: "duplicate invocation",
    UNRECOGNIZED_OPERATION: "unrecognized operation",
    0x0212: "mistyped argument",
    RESOURCE_LIMITATION: "resource limitation",
    UNABLE_TO_PERFORM_SUB_OPERATIONS: "out of resources, unable to perform sub-operations",
    MOVE_DESTINATION_UNKNOWN: "move destination unknown",
    0xB000: "coercion of data elements",
    0xB006: "elements discarded",
    0xB007: "data set does not match SOP class",
    CANCELLED: "cancelled",
    PENDING: "pending",
    PENDING_WITHOUT_OPTIONAL_KEYS: "pending, optional keys not supported",
}

# PS3.4 Table B.2-1 gives whole ranges of statuses one meaning.
_RANGES = {
    0xA700: "out of resources",
    0xA900: "data set does not match SOP class",
    0xC000: "cannot understand",
}


_NAMES_OF_QUERIES = {
    0xA701: "out of resources, unable to calculate the number of matches",
    DATA_SET_DOES_NOT_MATCH: "identifier does not match SOP class",
    SUB_OPERATIONS_COMPLETE_WITH_FAILURES: "sub-operations complete, one or more failures",
}
"""Of C-FIND, C-MOVE and C-GET (PS3.4 §C.4), where that is another than of C-STORE."""
_UNABLE_TO_PROCESS = "unable to process"


def category(status: int) -> Category:
    """Return what kind of answer the status is (PS3.7 §C.1 to §C.5); one that the standard does not know is a failure."""
    if status == SUCCESS:
        return "success"
    if status in (0x0001, 0x0107, 0x0116) or 0xB000 <= status <= 0xBFFF:
        return "warning"
    if status == CANCELLED:
        return "cancel"
    if status in (PENDING, PENDING_WITHOUT_OPTIONAL_KEYS):
        return "pending"
    return "failure"


def describe(status: int) -> str:
    """Return the status in hexadecimal with its name, as `0xA700 (out of resources)`."""
    name = _NAMES.get(status) or _RANGES.get(status & 0xFF00) or (_RANGES[0xC000] if status >> 12 == 0xC else None)
    return f"0x{status:04X} ({name or 'not a status of the standard'})"


def describe_of_query(status: int) -> str:
    """Return the status of a C-FIND, C-MOVE or C-GET as `describe` does: some mean there what they mean of no C-STORE."""
    name = _NAMES_OF_QUERIES.get(status) or (_UNABLE_TO_PROCESS if status >> 12 == 0xC else None)
    return f"0x{status:04X} ({name})" if name else describe(status)
