"""Storage commitment: which deliveries a peer was asked to commit to, under which transaction, and what it reported (P3, P4).

A delivery's `commitment` is `wanted`, `asked`, `committed` or `refused`, NULL where its destination is not asked. What is not reported in
time is asked for anew under another transaction; a report that comes late settles it all the same.
"""

from __future__ import annotations

from dataclasses import dataclass

import sqlalchemy as sa
from sqlalchemy import Connection

from hostd.archive import deletes
from hostd.archive import tables as t
from hostd.dicom.commitment import Reference, Report


@dataclass(frozen=True, slots=True)
class Transaction:
    """A request: its UID, and the references by the number of their delivery."""

    uid: str
    references: dict[int, Reference]


def ask(
    connection: Connection, destination: str, uid: str, now: float, *, asked_before: float, limit: int
) -> Transaction | None:
    """Enter a transaction over what is wanted, or was asked for before that time and not reported; None when there is nothing."""
    sent_as = (
        sa.select(t.attempt.c.sent_sop_instance_uid)
        .where(t.attempt.c.delivery == t.delivery.c.id, t.attempt.c.outcome.in_(["delivered", "warning"]))
        .order_by(t.attempt.c.id.desc())
        .limit(1)
        .scalar_subquery()
    )
    rows = connection.execute(
        sa.select(t.delivery.c.id, t.delivery.c.sop_class_uid, t.delivery.c.sop_instance_uid, sent_as.label("sent_as"))
        .where(t.delivery.c.destination == destination, _is_open(asked_before))
        .order_by(t.delivery.c.id)
        .limit(limit)
    ).all()
    if not rows:
        return None
    connection.execute(sa.insert(t.commitment).values(uid=uid, destination=destination, asked_at=now, count=len(rows)))
    connection.execute(
        sa.update(t.delivery)
        .where(t.delivery.c.id.in_([row.id for row in rows]))
        .values(commitment="asked", commitment_uid=uid, commitment_asked_at=now)
    )
    return Transaction(uid, {row.id: Reference(row.sop_class_uid, row.sent_as or row.sop_instance_uid) for row in rows})


def next_at(connection: Connection, destination: str, timeout_s: float) -> float | None:
    """Return when something is to be asked for next: 0 at once, None while nothing is."""
    query = sa.select(t.delivery.c.commitment, sa.func.min(t.delivery.c.commitment_asked_at)).where(
        t.delivery.c.destination == destination, t.IS_UNCOMMITTED
    )
    found = dict(connection.execute(query.group_by(t.delivery.c.commitment)).all())
    if "wanted" in found:
        return 0.0
    return found["asked"] + timeout_s if "asked" in found else None


def withdraw(connection: Connection, uid: str) -> None:
    """Note that a transaction never reached the peer: what it was about is wanted again."""
    connection.execute(
        sa.update(t.delivery)
        .where(t.delivery.c.commitment_uid == uid, t.delivery.c.commitment == "asked")
        .values(commitment="wanted", commitment_uid=None, commitment_asked_at=None)
    )
    connection.execute(sa.update(t.commitment).where(t.commitment.c.uid == uid).values(state="withdrawn"))


def settle(connection: Connection, report: Report, now: float) -> int | None:
    """Settle each reference that a report speaks of by itself; return how many were, None when the transaction is unknown.

    What was delivered after the transaction was asked for is ignored, and so is what an earlier report has settled.
    """
    known = connection.execute(sa.select(t.commitment).where(t.commitment.c.uid == report.transaction)).first()
    if known is None:
        return None
    rows = connection.execute(
        sa.select(t.delivery.c.id, t.delivery.c.sop_instance_uid, t.attempt.c.sent_sop_instance_uid)
        .join(t.attempt, t.attempt.c.delivery == t.delivery.c.id)
        .where(
            t.delivery.c.destination == known.destination,
            t.IS_UNCOMMITTED,
            t.delivery.c.commitment == "asked",
            t.delivery.c.finished_at <= known.asked_at,
            t.attempt.c.outcome.in_(["delivered", "warning"]),
        )
        .order_by(t.attempt.c.id)
    ).all()
    count = 0
    for number, uid in {row.id: row.sent_sop_instance_uid or row.sop_instance_uid for row in rows}.items():
        if uid in report.committed:
            values = {"commitment": "committed"}
        elif uid in report.failed:
            why = f"storage commitment was refused, failure reason 0x{report.failed[uid]:04X}"
            values = {"commitment": "refused", "last_error": why}
        else:
            continue
        connection.execute(sa.update(t.delivery).where(t.delivery.c.id == number).values(**values))
        deletes.reconsider(connection, [number], now)
        count += 1
    connection.execute(
        sa.update(t.commitment)
        .where(t.commitment.c.uid == report.transaction)
        .values(state="reported", reported_at=now)
    )
    return count


def reported_at(connection: Connection, uid: str | None) -> float | None:
    """Return when a transaction was reported on, seconds since 1970 UTC; None while it was not."""
    return connection.execute(sa.select(t.commitment.c.reported_at).where(t.commitment.c.uid == uid)).scalar()


def purge(connection: Connection, before: float, after: str, *, limit: int) -> tuple[str, int] | None:
    """Forget transactions of before that time that no delivery names, and of which no report could settle one any more.

    Of those whose UID comes after `after` so many are looked at. Returns the last one's and how many went, None at the end.
    """
    of, delivery = t.commitment.c, t.delivery.c
    looked = connection.execute(sa.select(of.uid).where(of.uid > after).order_by(of.uid).limit(limit)).scalars().all()
    if not looked:
        return None
    is_named = sa.exists().where(delivery.commitment_uid == of.uid)
    could_settle = sa.exists().where(
        of.state == "asked",
        t.IS_UNCOMMITTED,
        delivery.destination == of.destination,
        delivery.commitment == "asked",
        delivery.finished_at <= of.asked_at,
    )
    old = of.uid.in_(looked), of.asked_at < before, ~is_named, ~could_settle
    return looked[-1], connection.execute(sa.delete(t.commitment).where(*old)).rowcount


def _is_open(asked_before: float) -> sa.ColumnElement[bool]:
    late = sa.and_(t.delivery.c.commitment == "asked", t.delivery.c.commitment_asked_at < asked_before)
    return sa.and_(t.IS_UNCOMMITTED, sa.or_(t.delivery.c.commitment == "wanted", late))
