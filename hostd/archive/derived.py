"""Which instance a lossy ingest made of what was received, so that the same file is known when it comes again.

The instance has an identity of its own (PS3.5 §B.2), which nobody can tell from what is received. A row says it, and goes with the
instance.
"""

from __future__ import annotations

from dataclasses import dataclass

import sqlalchemy as sa
from sqlalchemy import Connection

from hostd.archive import tables as t
from hostd.dicom.header import Header

MODIFIED_FROM = "ModifiedFrom"
"""Metadata of an instance that was made of another: Orthanc's identifier of that."""


@dataclass(frozen=True, slots=True)
class Derived:
    """What was made: its header, and its file, of so many bytes."""

    header: Header
    blob: str
    size: int


def find(connection: Connection, source: str, content: str) -> Derived | None:
    """Return what was made of that content of the instance `source`; None when nothing was, or its file is missing."""
    row = connection.execute(_MADE, {"source": source, "content": content}).first()
    if row is None:
        return None
    held = sa.union_all(
        sa.select(t.instance.c.blob).where(t.instance.c.id == row.instance, t.instance.c.received_sha256 == content),
        sa.select(t.version.c.blob).where(
            t.version.c.instance == row.instance, t.version.c.received_sha256 == content, ~t.version.c.is_original
        ),
    ).subquery()
    present = sa.select(*t.blob.c["name", "size"]).join(held, t.blob.c.name == held.c.blob)
    blob = connection.execute(present.where(t.blob.c.state != "missing")).first()
    return Derived(Header.decode(row.header), *blob) if blob is not None else None


_MADE = sa.select(t.derived.c.instance, t.derived.c.header).where(
    t.derived.c.source == sa.bindparam("source"), t.derived.c.content == sa.bindparam("content")
)


def is_source(connection: Connection, source: str, *, other_than: str = "") -> bool:
    """Tell whether anything is stored that was made of that instance, of another content than that."""
    where = t.derived.c.source == source, t.derived.c.content != other_than
    return connection.execute(sa.select(t.derived.c.source).where(*where)).first() is not None


def note(connection: Connection, source: Header, content: str, product: Header) -> None:
    """Remember what was made; a row that says otherwise is replaced."""
    key = t.derived.c.source == source.identity.instance, t.derived.c.content == content
    connection.execute(sa.delete(t.derived).where(*key))
    connection.execute(
        sa.insert(t.derived).values(
            source=source.identity.instance,
            content=content,
            sop_instance_uid=source.sop_instance_uid,
            instance=product.identity.instance,
            header=product.encode(),
        )
    )
