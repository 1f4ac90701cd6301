"""How the ingest of an instance is entered: ended before the acknowledgement, put off, or ended afterwards (P1, P4)."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

import sqlalchemy as sa
from sqlalchemy import Connection

from hostd.archive import instances, pending, receipts
from hostd.archive import tables as t
from hostd.archive.instances import INGEST_FAILED, Arrival, OnConflict, Outcome
from hostd.archive.receipts import StoredReceipt
from hostd.archive.records import Blob
from hostd.dicom.header import Header

MADE = "made"
SUPERSEDED = "the instance changed while it was being transcoded"


@dataclass(frozen=True, slots=True)
class Made:
    """A transcode that succeeded: the product, its header, and the receipt (`transcoding.receipt.Receipt` as plain values)."""

    product: Blob
    header: Header
    facts: dict[str, Any]


@dataclass(frozen=True, slots=True)
class Kept:
    """A transcode that gave nothing, and why. `is_final`: trying again would give the same, so that the receipt is kept."""

    reason: str
    facts: dict[str, Any]
    is_final: bool = True


Ended = Made | Kept


def take_in_ended(
    connection: Connection, arrival: Arrival, on_conflict: OnConflict, ended: Ended, transform: str
) -> Outcome:
    """Enter an arrival whose transcode has ended, with its receipt and its event.

    `arrival` is as received; when there is a product, that is taken in, and the file that was received needs no row any more. Neither
    file is wanted when the outcome is "already stored" or "refused".
    """
    told = replace(arrival, receipt=ended.facts)
    if isinstance(ended, Made):
        told = replace(told, header=ended.header, blob=ended.product)
    outcome = instances.take_in(connection, told, on_conflict)
    if outcome in instances.KEPT:
        _note(connection, arrival.blob, ended, transform, arrival.at)
        if isinstance(ended, Kept) and outcome in instances.CURRENT:
            _mark_failed(connection, arrival.header.identity.instance, ended.reason)
    return outcome


def take_in_pending(
    connection: Connection, arrival: Arrival, on_conflict: OnConflict, target: str
) -> tuple[Outcome, int | None]:
    """Enter an arrival as received, and put its event off until its transcode has ended.

    Return the number of what is pending as well; None when the file is not wanted ("already stored", "refused").
    """
    outcome = instances.take_in(connection, replace(arrival, put_off_for=target), on_conflict)
    return outcome, pending.number_of(connection, arrival.blob.name)


def finish(connection: Connection, number: int, ended: Ended, transform: str, at: float) -> bool:
    """End what is pending: swap the current file by compare-and-set, keep the receipt, write the event, let the original go.

    Return whether the product is used. It is not when the instance was deleted or replaced meanwhile: then the event is
    written already, or is written now, about the file as received.
    """
    row = pending.get(connection, number)
    if row is None:
        return False
    if isinstance(ended, Made) and _swap(connection, row.instance, row.blob.name, ended.product, at):
        pending.forget(connection, number)
        _note(connection, row.blob, ended, transform, at)
        pending.tell(connection, row, at, blob=ended.product.name, header=ended.header.encode(), receipt=ended.facts)
        instances.release(connection, [row.blob.name])
        return True
    pending.forget(connection, number)
    if isinstance(ended, Kept):
        facts = ended.facts
        _note(connection, row.blob, ended, transform, at)
        if _is_current(connection, row.instance, row.blob.name):
            _mark_failed(connection, row.instance, ended.reason)
    else:
        facts = pending.kept(row.blob, SUPERSEDED)
    pending.tell(connection, row, at, blob=row.blob.name, header=row.header, receipt=facts)
    return False


def _swap(connection: Connection, instance: str, original: str, product: Blob, at: float) -> bool:
    """Put the product in the place of the original: as the current file, or as that of a version."""
    in_place = [
        sa.update(t.instance).where(t.instance.c.id == instance, t.instance.c.blob == original),
        sa.update(t.version).where(t.version.c.instance == instance, t.version.c.blob == original),
    ]
    savepoint = connection.begin_nested()  # the row of the product must be there before it is named
    instances.add_blob(connection, product, at)
    for update in in_place:
        if connection.execute(update.values(blob=product.name)).rowcount == 1:
            savepoint.commit()
            return True
    savepoint.rollback()
    return False


def _note(connection: Connection, original: Blob, ended: Ended, transform: str, at: float) -> None:
    if isinstance(ended, Made):
        receipts.note(connection, StoredReceipt(original.name, transform, MADE, ended.facts, ended.product), at)
    elif ended.is_final:
        receipts.note(connection, StoredReceipt(original.name, transform, pending.KEPT_ORIGINAL, ended.facts, None), at)


def _is_current(connection: Connection, instance: str, blob: str) -> bool:
    query = sa.select(t.instance.c.id).where(t.instance.c.id == instance, t.instance.c.blob == blob)
    return connection.execute(query).first() is not None


def _mark_failed(connection: Connection, instance: str, reason: str) -> None:
    where = t.instance.c.id == instance
    metadata = connection.execute(sa.select(t.instance.c.metadata).where(where)).scalar_one()
    connection.execute(sa.update(t.instance).where(where).values(metadata={**metadata, INGEST_FAILED: reason}))
