"""Receipts: proof of what a transform made of a file, one for each (file, transform) (P4)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import sqlalchemy as sa
from sqlalchemy import ColumnElement, Connection

from hostd.archive import rows
from hostd.archive import tables as t
from hostd.archive.instances import add_blob
from hostd.archive.lookups import document
from hostd.archive.records import Blob


@dataclass(frozen=True, slots=True)
class StoredReceipt:
    """`result` is the product's file: None when the original was kept (`outcome` "kept original"), or the product was let go."""

    source: str
    transform: str
    outcome: str
    facts: dict[str, Any]
    result: Blob | None


def find(connection: Connection, source: str, transform: str) -> StoredReceipt | None:
    """Return the receipt of that transform of that file."""
    row = next(iter(_FIND.rows(connection, of_source=source, of_transform=transform)), None)
    if row is None:
        return None
    outcome, facts, name, size, sha256, transfer_syntax = row
    result = Blob(name, size, sha256, transfer_syntax) if name and size is not None else None
    return StoredReceipt(source, transform, outcome, document(facts), result)


# Made once, as are those below: they are executed for each instance that is transcoded as it comes, or is sent.
_OF = (t.receipt.c.source == sa.bindparam("of_source"), t.receipt.c.transform == sa.bindparam("of_transform"))
_FIND = rows.Prepared(
    sa.select(
        t.receipt.c.outcome,
        t.receipt.c.facts,
        t.receipt.c.result,
        t.blob.c.size,
        t.blob.c.sha256,
        t.blob.c.transfer_syntax,
    )
    .outerjoin(t.blob, t.blob.c.name == t.receipt.c.result)
    .where(*_OF)
)


def is_on_the_way(transform: ColumnElement[str]) -> ColumnElement[bool]:
    """Tell whether what a receipt speaks of is that transform, or its first steps: their texts begin as its own does."""
    line = t.receipt.c.transform + "\n"
    return sa.or_(
        transform == t.receipt.c.transform,
        sa.and_(t.receipt.c.transform != "", sa.func.substr(transform, 1, sa.func.length(line)) == line),
    )


def keep(connection: Connection, receipt: StoredReceipt, at: float) -> None:
    """Enter a receipt, and its product's file, which the collector removes once no delivery wants it."""
    if receipt.result is not None:
        add_blob(connection, receipt.result, at)
        _RELEASE.change(connection, file=receipt.result.name)
    note(connection, receipt, at)


def note(connection: Connection, receipt: StoredReceipt, at: float) -> None:
    """Enter a receipt whose product, if any, is in the index already."""
    values = {
        "result": receipt.result.name if receipt.result else None,
        "outcome": receipt.outcome,
        "facts": receipt.facts,
        "at": at,
    }
    if not _CHANGE.change(connection, of_source=receipt.source, of_transform=receipt.transform, **values):
        rows.insert(connection, t.receipt, source=receipt.source, transform=receipt.transform, **values)


_RELEASE = rows.Prepared(sa.update(t.blob).where(t.blob.c.name == sa.bindparam("file")).values(released=sa.true()))
_CHANGE = rows.Prepared(
    sa.update(t.receipt)
    .where(*_OF)
    .values({name: sa.bindparam(name, type_=t.receipt.c[name].type) for name in ("result", "outcome", "facts", "at")})
)
