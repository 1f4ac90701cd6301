"""Instances that were acknowledged as received while their transcode goes on: their events come when it has ended.

What is told later is told with the reason, and never left out: a script sees an instance that was deleted or replaced meanwhile as
it was received, before it sees the delete or what took its place (P2).
"""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass
from typing import Any

import sqlalchemy as sa
from sqlalchemy import Connection, Row

from hostd.archive import events, levels, occurrences, rows
from hostd.archive import tables as t
from hostd.archive.records import Blob, Origin

KEPT_ORIGINAL = "kept original"
"""The outcome of a receipt that says why there is no product."""


@dataclass(frozen=True, slots=True)
class Pending:
    """A transcode on ingest that has not ended: bring the file `blob` to `target` (UID), then tell it as an event of `kind`.

    `options` say how lossy the product may be (`dicom.loss.EncodeOptions.canonical`), None: not at all; `keep_original` whether what
    was received stays as a version of a lossy one. `content`, `header` and `origin` are those of the event, as received; `number` grows in the order of arrival.
    """

    number: int
    instance: str
    blob: Blob
    content: str
    target: str
    kind: str
    header: bytes
    origin: Origin
    at: float
    options: str | None = None
    keep_original: bool = True


def put_off(
    connection: Connection,
    *,
    instance: str,
    blob: str,
    content: str,
    target: str,
    kind: str,
    header: bytes,
    origin: Origin,
    at: float,
    options: str | None = None,
    keep_original: bool = True,
) -> int:
    """Put an event off until the transcode of its file has ended; return the number of what is pending."""
    return rows.insert(
        connection,
        t.ingest,
        instance=instance,
        blob=blob,
        content=content,
        target=target,
        kind=kind,
        header=header,
        origin=origin.to_json(),
        at=at,
        options=options,
        keep_original=keep_original,
    )


def get(connection: Connection, number: int) -> Pending | None:
    """Return what is pending under that number, None when it has ended."""
    row = connection.execute(_WITH_BLOB.where(t.ingest.c.id == number)).first()
    return _pending(row) if row else None


def number_of(connection: Connection, blob: str) -> int | None:
    """Return the number of what is pending for that file."""
    return connection.execute(sa.select(t.ingest.c.id).where(t.ingest.c.blob == blob)).scalar()


def first(connection: Connection, limit: int, *, leave_to: Collection[str] = ()) -> list[Pending]:
    """Return what is pending, in the order of arrival, but what came to those other nodes."""
    others = (~t.ingest.c.blob.startswith(f"{node}/", autoescape=True) for node in leave_to)
    query = _WITH_BLOB.where(*others).order_by(t.ingest.c.id).limit(limit)
    return [_pending(row) for row in connection.execute(query)]


def end_early(connection: Connection, instance: str, reason: str, at: float) -> None:
    """Tell what is pending for an instance as it was received, before something else happens to the instance.

    The receipts in the events say that the original was kept, and why.
    """
    for row in connection.execute(_WITH_BLOB.where(t.ingest.c.instance == instance).order_by(t.ingest.c.id)).all():
        pending = _pending(row)
        forget(connection, pending.number)
        receipt = kept(pending.blob, reason)
        tell(connection, pending, at, blob=pending.blob.name, header=pending.header, receipt=receipt, given_up=True)


def forget(connection: Connection, number: int) -> None:
    """Take a row away, which also unpins its file."""
    connection.execute(sa.delete(t.ingest).where(t.ingest.c.id == number))


def tell(
    connection: Connection,
    pending: Pending,
    at: float,
    *,
    blob: str,
    header: bytes,
    receipt: dict[str, Any],
    given_up: bool = False,
) -> None:
    """Write the event that was put off, about the file that the instance has now; `given_up`: its transcode did not fail, it ended."""
    number = events.append(
        connection,
        pending.kind,
        pending.instance,
        at,
        blob=blob,
        content=pending.content,
        header=header,
        origin=pending.origin,
        receipt=receipt,
    )
    levels.told(connection, pending.instance, blob, number, pending.kind, at)
    if not given_up:
        study = events.study_of(header)
        tell_kept(connection, pending.instance, at, blob=blob, content=pending.content, receipt=receipt, study=study)


def tell_kept(
    connection: Connection,
    instance: str,
    at: float,
    *,
    blob: str,
    content: str,
    receipt: dict[str, Any] | None,
    study: str | None = None,
) -> None:
    """Tell that ingest kept an original which it was to transcode, where the receipt says so."""
    if receipt is not None and receipt["outcome"] == KEPT_ORIGINAL:
        reason = str(receipt.get("reason", ""))
        occurrences.transcode_failed(
            connection, instance, at, content=content, blob=blob, reason=reason, during="ingest", study=study
        )


def kept(blob: Blob, reason: str) -> dict[str, Any]:
    """Return the facts of a receipt that says why the file stays as it was received."""
    return {
        "outcome": KEPT_ORIGINAL,
        "reason": reason,
        "source_sha256": blob.sha256,
        "result_sha256": blob.sha256,
        "source_syntax": blob.transfer_syntax,
        "result_syntax": blob.transfer_syntax,
        "bytes_before": blob.size,
        "bytes_after": blob.size,
        "ratio": 1.0,
    }


_WITH_BLOB = sa.select(t.ingest, t.blob.c.size, t.blob.c.sha256, t.blob.c.transfer_syntax).join(
    t.blob, t.blob.c.name == t.ingest.c.blob
)


def _pending(row: Row[Any]) -> Pending:
    return Pending(
        number=row.id,
        instance=row.instance,
        blob=Blob(row.blob, row.size, row.sha256, row.transfer_syntax),
        content=row.content,
        target=row.target,
        kind=row.kind,
        header=row.header,
        origin=Origin(**row.origin),
        at=row.at,
        options=row.options,
        keep_original=row.keep_original,
    )
