"""N-EVENT-REPORT of the Storage Commitment Push Model (PS3.4 §J.3.3), on whichever association it comes."""

from __future__ import annotations

from collections.abc import Callable

from hostd.dicom import statuses
from hostd.dicom.commitment import PUSH_MODEL, Report, decode_report
from hostd.dimse import commands
from hostd.dimse.commands import CommandSet
from hostd.errors import UnparsableError

_EVENT_TYPES = (1, 2)
"""Storage commitment request successful, and complete with failures."""


def report_status(command: CommandSet, syntax: str, data: bytes, on_report: Callable[[Report], bool]) -> int:
    """Hand a report over; return the status to answer with. `on_report` returns whether the transaction is known."""
    if command.text(commands.AFFECTED_SOP_CLASS_UID) != PUSH_MODEL:
        return statuses.NO_SUCH_SOP_CLASS
    if command.number(commands.EVENT_TYPE_ID) not in _EVENT_TYPES:
        return statuses.NO_SUCH_EVENT_TYPE
    try:
        report = decode_report(data, syntax)
    except UnparsableError:
        return statuses.PROCESSING_FAILURE
    return statuses.SUCCESS if on_report(report) else statuses.INVALID_ARGUMENT_VALUE
