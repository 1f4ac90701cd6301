"""What a script may import for its annotations: `from hostd.api import Host, Instance`.

This module is for editors and type checkers. In a script's own process the same names are there as well, and nothing else:
types stand for themselves in annotations and in `isinstance`, errors can be caught.
"""

from __future__ import annotations

from hostd.sandbox.api import (
    Delivery,
    Destination,
    Disk,
    EndedAction,
    EndedDelivery,
    FailedTranscode,
    Handle,
    Host,
    HttpAnswer,
    Instance,
    Job,
    Origin,
    ParkedScript,
    Pixels,
    Receipt,
    Source,
    Tags,
    TransferSyntax,
)
from hostd.sandbox.refusals import NotAllowed, PixelsUnknown, TooManyActions, UnknownKeyword, ValueTooLarge
from hostd.sandbox.schedules import cron, every
from hostd.sandbox.values import DateText, DateTimeText, PersonName, TimeText

__all__ = [
    "DateText",
    "DateTimeText",
    "Delivery",
    "Destination",
    "Disk",
    "EndedAction",
    "EndedDelivery",
    "FailedTranscode",
    "Handle",
    "Host",
    "HttpAnswer",
    "Instance",
    "Job",
    "NotAllowed",
    "Origin",
    "ParkedScript",
    "PersonName",
    "Pixels",
    "PixelsUnknown",
    "Receipt",
    "Source",
    "Tags",
    "TimeText",
    "TooManyActions",
    "TransferSyntax",
    "UnknownKeyword",
    "ValueTooLarge",
    "cron",
    "every",
]
