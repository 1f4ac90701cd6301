"""What is written down about each association, rejected and aborted ones too."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, Protocol

Ending = Literal["released", "aborted by peer", "aborted by hostd", "rejected", "lost", "timed out"]


@dataclass(frozen=True, slots=True)
class ContextFact:
    """A proposed presentation context: the transfer syntax accepted, or why it was refused."""

    abstract_syntax: str
    transfer_syntax: str | None
    refused: str | None


@dataclass(frozen=True, slots=True)
class AssociationOpened:
    """How an association began. Titles are '' and `max_pdu` is None when no valid A-ASSOCIATE-RQ came.

    `at` is in seconds since 1970 UTC; `max_pdu` the peer's maximum length in bytes, 0 for no limit; `modality` the name of the configured
    modality that called, None for one that is not known.
    """

    at: float
    ip: str
    port: int
    calling_aet: str = ""
    called_aet: str = ""
    contexts: tuple[ContextFact, ...] = ()
    max_pdu: int | None = None
    implementation_class_uid: str = ""
    implementation_version_name: str = ""
    modality: str | None = None


@dataclass(frozen=True, slots=True)
class AssociationClosed:
    """How an association ended, why in words, and what was done on it.

    `received` counts C-STORE requests, `stored` those answered with success, `failed` the others; `bytes` those of data sets.
    """

    ended_at: float
    ended: Ending
    reason: str = ""
    received: int = 0
    stored: int = 0
    failed: int = 0
    bytes: int = 0


class AssociationLog(Protocol):
    """Where the rows go. Called from many threads at once."""

    def opened(self, facts: AssociationOpened) -> int:
        """Write the row; return its number, which the origin of each instance names."""
        ...

    def closed(self, association_id: int, facts: AssociationClosed) -> None:
        """Complete the row."""
        ...
