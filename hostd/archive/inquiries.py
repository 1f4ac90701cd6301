"""Inquiries: requests for storage commitment that somebody had hostd make by HTTP, and what the other system reported.

They are about instances by UID, whether hostd has them or not; deliveries have commitments of their own (`commitments`).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import sqlalchemy as sa
from sqlalchemy import Connection

from hostd.archive import tables as t
from hostd.dicom.commitment import Reference, Report


@dataclass(frozen=True, slots=True)
class Asked:
    """An instance that is asked about; where hostd has it, Orthanc's identifier, and the SHA-256 of its data set as received."""

    reference: Reference
    instance: str | None = None
    content: str | None = None


@dataclass(frozen=True, slots=True)
class Inquiry:
    """What was asked of whom, and what it reported: None until it has."""

    uid: str
    modality: str
    remote_aet: str
    asked: tuple[Asked, ...]
    committed: frozenset[str] | None
    failed: dict[str, int] | None

    @property
    def is_pending(self) -> bool:
        """Whether no report has come."""
        return self.committed is None


def enter(connection: Connection, uid: str, modality: str, remote_aet: str, asked: Sequence[Asked], now: float) -> None:
    """Note what is asked, before it is: a report may come at once."""
    listed = [[one.reference.sop_class_uid, one.reference.sop_instance_uid, one.instance, one.content] for one in asked]
    connection.execute(
        sa.insert(t.inquiry).values(uid=uid, modality=modality, remote_aet=remote_aet, asked=listed, asked_at=now)
    )


def withdraw(connection: Connection, uid: str) -> None:
    """Forget an inquiry that the other system did not take."""
    connection.execute(sa.delete(t.inquiry).where(t.inquiry.c.uid == uid))


def settle(connection: Connection, report: Report) -> bool:
    """Note what was reported, the first time; return whether the transaction is an inquiry."""
    known = connection.execute(sa.select(t.inquiry.c.uid).where(t.inquiry.c.uid == report.transaction)).first()
    connection.execute(
        sa.update(t.inquiry)
        .where(t.inquiry.c.uid == report.transaction, t.inquiry.c.committed.is_(None))
        .values(committed=sorted(report.committed), failed=report.failed)
    )
    return known is not None


def get(connection: Connection, uid: str) -> Inquiry | None:
    """Return an inquiry."""
    row = connection.execute(sa.select(t.inquiry).where(t.inquiry.c.uid == uid)).first()
    if row is None:
        return None
    return Inquiry(
        row.uid,
        row.modality,
        row.remote_aet,
        tuple(Asked(Reference(one[0], one[1]), one[2], one[3]) for one in row.asked),
        frozenset(row.committed) if row.committed is not None else None,
        row.failed,
    )


def purge(connection: Connection, *, older_than: float, limit: int) -> int:
    """Forget some that were asked before that time; return how many."""
    old = sa.select(t.inquiry.c.uid).where(t.inquiry.c.asked_at < older_than).limit(limit)
    return connection.execute(sa.delete(t.inquiry).where(t.inquiry.c.uid.in_(old))).rowcount
