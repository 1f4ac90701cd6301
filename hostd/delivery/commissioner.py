"""Asks one destination for storage commitment of what it took, and again where it does not report in time."""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence
from typing import Protocol, runtime_checkable

import structlog
from pydicom.uid import generate_uid
from sqlalchemy import Connection

from hostd.archive import commitments, inquiries
from hostd.archive.archive import Archive
from hostd.archive.turning import turn_after_turn
from hostd.clock import Clock
from hostd.delivery.ledger import TOPIC
from hostd.delivery.retry import Waits
from hostd.dicom.commitment import Reference, Report
from hostd.errors import DestinationFault

_AT_ONCE = 500
"""References in one transaction."""
_LONGEST_WAIT_S = 3600.0

_log = structlog.get_logger(__name__)


@runtime_checkable
class Commits(Protocol):
    """A destination that can be asked for storage commitment."""

    def ask_commitment(
        self, transaction: str, references: Sequence[Reference], on_report: Callable[[Report], bool]
    ) -> None:
        """Ask, and hand over what is reported on the same association. Raises `DestinationFault` when the request was not taken."""
        ...


def settle(archive: Archive, report: Report) -> bool:
    """Record what a peer reported; return whether the transaction is one of ours."""
    topics = (TOPIC, "event")

    def unit(connection: Connection) -> tuple[int | None, bool]:
        return commitments.settle(connection, report, archive.clock.now()), inquiries.settle(connection, report)

    count, is_inquiry = archive.writer.do(unit, topics=topics)
    if is_inquiry:
        return True
    if count is None:
        _log.warning("storage commitment was reported under a transaction that was never asked for")
    elif report.failed:
        _log.warning("a peer did not commit to what it took", transaction=report.transaction, count=len(report.failed))
    return count is not None


class Commissioner:
    """Asks until it is stopped; only while `owns` says that this node carries the destination's deliveries."""

    def __init__(
        self,
        archive: Archive,
        destination: Commits,
        name: str,
        policy: Waits,
        clock: Clock,
        owns: Callable[[], bool],
    ) -> None:
        self.destination = destination
        self.timeout_s: float | None = None
        self._archive = archive
        self._name = name
        self._policy = policy
        self._clock = clock
        self._owns = owns
        self._failures = 0
        self._not_before = 0.0
        self._log = _log.bind(destination=name)

    def serve(self, closing: threading.Event) -> None:
        """Ask for what is wanted, as it comes."""
        turn_after_turn(self._archive.bulletin, TOPIC, closing, self._turn, self._failed)

    def _failed(self) -> float:
        """Log it; what was asked for in vain is asked for anew."""
        self._log.exception("asking for storage commitment failed; it goes on after a pause")
        return self._policy.first_s

    def _turn(self) -> float | None:
        """Make one request if one is due; return the seconds until the next, None for until it is rung."""
        if self.timeout_s is None:
            return None
        timeout_s, now = self.timeout_s, self._clock.now()
        with self._archive.read() as connection:
            due = commitments.next_at(connection, self._name, timeout_s)
        if due is None:
            return None
        due = max(due, self._not_before)
        if due > now or not self._owns():
            return min(max(due - now, self._policy.first_s), _LONGEST_WAIT_S)
        uid = str(generate_uid())
        transaction = self._archive.writer.do(
            lambda c: commitments.ask(c, self._name, uid, now, asked_before=now - timeout_s, limit=_AT_ONCE)
        )
        if transaction is not None:
            self._ask(transaction)
        return 0

    def _ask(self, transaction: commitments.Transaction) -> None:
        references = list(dict.fromkeys(transaction.references.values()))
        try:
            self.destination.ask_commitment(transaction.uid, references, lambda report: settle(self._archive, report))
        except DestinationFault as fault:
            self._failures += 1
            now = self._clock.now()
            self._not_before = now + self._policy.longest_wait(self._failures)
            self._archive.writer.do(lambda c: commitments.withdraw(c, transaction.uid))
            self._log.warning("a request for storage commitment was not taken", error=str(fault))
        else:
            self._failures, self._not_before = 0, 0.0
