"""How the ingest of an instance is entered: ended before the acknowledgement, put off, or ended afterwards (P1, P4)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import sqlalchemy as sa
import structlog
from sqlalchemy import Connection

from hostd.archive import instances, lossy_ingests, pending, receipts, receiving, rows
from hostd.archive import tables as t
from hostd.archive.receipts import StoredReceipt
from hostd.archive.receiving import INGEST_FAILED, Arrival, OnConflict, Outcome
from hostd.archive.records import Blob
from hostd.dicom.header import Header

_log = structlog.get_logger(__name__)

MADE = "made"
SUPERSEDED = "the instance changed while it was being transcoded"
TAKEN = "other content is stored under the identity that the lossy result would have"


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

    `arrival` is as received; when there is a product, that is taken in, and the file that was received needs no row any more, unless
    the product is lossy. `wanted` tells which of the files are to stay.
    """
    if isinstance(ended, Made) and lossy_ingests.is_derived(arrival.header, ended.header):
        outcome = lossy_ingests.take_in(connection, arrival, on_conflict, ended.product, ended.header, ended.facts)
        if outcome is not None:
            if outcome in receiving.KEPT:
                _note(connection, arrival.blob, ended, transform, arrival.at)
            return outcome
        ended = _taken(arrival.blob, arrival.header)
    told = replace(arrival, receipt=ended.facts)
    if isinstance(ended, Made):
        told = replace(told, header=ended.header, blob=ended.product)
    outcome = receiving.take_in(connection, told, on_conflict)
    if outcome in receiving.KEPT:
        _note(connection, arrival.blob, ended, transform, arrival.at)
        if isinstance(ended, Kept) and outcome in receiving.CURRENT:
            _mark_failed(connection, arrival.header.identity.instance, ended.reason)
    return outcome


def take_in_pending(
    connection: Connection, arrival: Arrival, on_conflict: OnConflict, target: str
) -> tuple[Outcome, int | None]:
    """Enter an arrival as received, and put its event off until its transcode has ended.

    Return the number of what is pending as well; None when the file is not wanted ("already stored", "refused"). What is to become
    an instance of its own takes no other content's place meanwhile.
    """
    if arrival.options is not None:
        on_conflict = lossy_ingests.beside(on_conflict)
    outcome = receiving.take_in(connection, replace(arrival, put_off_for=target), on_conflict)
    return outcome, pending.number_of(connection, arrival.blob.name)


def finish(connection: Connection, number: int, ended: Ended, transform: str, at: float) -> bool:
    """End what is pending: swap the current file by compare-and-set, keep the receipt, write the event, let the original go.

    Return whether the product is used. It is not when the instance was deleted or replaced meanwhile: then the event is
    written already, or is written now, about the file as received.
    """
    row = pending.get(connection, number)
    if row is None:
        return False
    if isinstance(ended, Made) and lossy_ingests.is_derived(Header.decode(row.header), ended.header):
        match lossy_ingests.finish(connection, row, ended.product, ended.header, ended.facts, at):
            case "made":
                _note(connection, row.blob, ended, transform, at)
                return True
            case "made before":
                return False
            case "taken":
                ended = _taken(row.blob, Header.decode(row.header))
            case "superseded":
                pass
    elif isinstance(ended, Made) and _swap(connection, row.instance, row.blob.name, ended.product, at):
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


def wanted(connection: Connection, files: Sequence[str]) -> frozenset[str]:
    """Return which of these files have a row, so that they are to stay."""
    return frozenset(file for file in files if _BLOB.rows(connection, file=file))


_BLOB = rows.Prepared(sa.select(t.blob.c.name).where(t.blob.c.name == sa.bindparam("file")))


def _taken(original: Blob, header: Header) -> Kept:
    _log.warning(
        "not transcoded on ingest, the original is kept", sop_instance_uid=header.sop_instance_uid, reason=TAKEN
    )
    return Kept(TAKEN, pending.kept(original, TAKEN), is_final=False)


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
