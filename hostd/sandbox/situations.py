"""What events about deliveries, destinations, scripts and the node tell, as it goes to a worker."""

from __future__ import annotations

from typing import Any, Literal

import msgspec


class EndedDelivery(msgspec.Struct, frozen=True, forbid_unknown_fields=True, tag="delivery"):
    """A delivery that has come to its end. `sent_syntax` is (UID, keyword, is compressed, is lossy)."""

    id: int
    destination: str
    state: str
    answer: str
    status: int | None
    attempts: int
    script: str | None
    sent_syntax: tuple[str, str, bool, bool] | None = None


class EndedAction(msgspec.Struct, frozen=True, forbid_unknown_fields=True, tag="action"):
    """What a script asked for, and how it ended; `result` has small plain values."""

    id: int
    verb: str
    script: str
    state: str
    reason: str
    result: dict[str, Any]
    attempts: int
    event: int


class FailedTranscode(msgspec.Struct, frozen=True, forbid_unknown_fields=True, tag="transcode"):
    """A transcode that gave no result."""

    reason: str
    during: Literal["ingest", "delivery"]


class Destination(msgspec.Struct, frozen=True, forbid_unknown_fields=True, tag="destination"):
    """A destination that began to fail, or works again. `since` is when it began, in seconds since 1970 UTC."""

    name: str
    since: float
    reason: str


class ParkedScript(msgspec.Struct, frozen=True, forbid_unknown_fields=True, tag="script"):
    """A script that is parked, or one event of it."""

    name: str
    event: int | None
    handler: str
    reason: str


class Disk(msgspec.Struct, frozen=True, forbid_unknown_fields=True, tag="disk"):
    """The room for the data folder, in MiB."""

    free_mb: int
    limit_mb: int
    since: float


class Source(msgspec.Struct, frozen=True, forbid_unknown_fields=True, tag="source"):
    """A modality that has sent nothing since then."""

    name: str
    since: float


class Job(msgspec.Struct, frozen=True, forbid_unknown_fields=True, tag="job"):
    """A job at that event; `content` and `user_data` are plain values."""

    id: str
    kind: str
    state: str
    content: dict[str, Any]
    user_data: Any
    priority: int
    error_code: int
    reason: str


Situation = EndedDelivery | EndedAction | FailedTranscode | Destination | ParkedScript | Disk | Source | Job


class Notify(msgspec.Struct, frozen=True, forbid_unknown_fields=True, tag="notify"):
    """Tell people something by a channel of the configuration."""

    channel: str
    text: str
    key: str | None = None
    every_s: float | None = None
    line: int = 0
