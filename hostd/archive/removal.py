"""The one place where bytes of the archive are removed, whoever asked (P4)."""

from __future__ import annotations

import sqlalchemy as sa
from sqlalchemy import ColumnElement, Connection

from hostd.archive import receipts, tasks
from hostd.archive import tables as t
from hostd.archive.deliveries import PINNING


def collect(connection: Connection, *, now: float, trash_seconds: float, limit: int = 200) -> list[str]:
    """Forget the files that were let go and that nothing has pinned for `trash_seconds`; return their names.

    The caller removes the files after the commit: a file without a row is swept, a row without a file would be a loss. A product that
    can be made again, because its source stays, does not wait, nor does what was let go to make room. At most `limit` at a time, so that the writer stays free.
    """
    name = t.blob.c.name
    pinned = _is_pinned(name)
    source = t.blob.alias("source")
    can_be_made_again = sa.exists().where(
        t.receipt.c.result == name, source.c.name == t.receipt.c.source, ~source.c.released
    )
    freed = t.IS_RELEASED, t.blob.c.unpinned_at.is_(None), ~pinned
    connection.execute(sa.update(t.blob).where(*freed).values(unpinned_at=now))
    connection.execute(
        sa.update(t.blob).where(t.IS_RELEASED, t.blob.c.unpinned_at.is_not(None), pinned).values(unpinned_at=None)
    )
    due = sa.or_(t.blob.c.unpinned_at <= now - trash_seconds, t.blob.c.recycled, can_be_made_again)
    names = list(
        connection.execute(
            sa.select(name).where(t.IS_RELEASED, t.blob.c.unpinned_at.is_not(None), due).limit(limit)
        ).scalars()
    )
    connection.execute(sa.update(t.receipt).where(t.receipt.c.result.in_(names)).values(result=None))
    connection.execute(sa.delete(t.blob).where(name.in_(names)))
    return names


def _is_pinned(name: ColumnElement[str]) -> ColumnElement[bool]:
    """Tell whether an instance, a version, an ingest, an attachment, an event not yet passed, or an open or failed delivery or task needs the file."""
    lowest_cursor = sa.select(sa.func.min(t.cursor.c.low_water)).scalar_subquery()
    return sa.or_(
        sa.exists().where(t.instance.c.blob == name),
        sa.exists().where(t.version.c.blob == name),
        sa.exists().where(t.ingest.c.blob == name),
        sa.exists().where(t.attachment.c.blob == name),
        sa.exists().where(t.event.c.blob == name, t.event.c.number > lowest_cursor),
        sa.exists().where(t.delivery.c.blob == name, t.delivery.c.state.in_(PINNING)),
        sa.exists().where(
            t.receipt.c.result == name,
            t.delivery.c.blob == t.receipt.c.source,
            receipts.is_on_the_way(t.delivery.c.transform),
            t.delivery.c.state.in_(PINNING),
        ),
        tasks.pins(name),
        sa.exists().where(
            t.receipt.c.result == name,
            t.task.c.blob == t.receipt.c.source,
            receipts.is_on_the_way(t.task.c.transform),
            t.task.c.state.in_(tasks.PINNING),
        ),
    )


def has_recycled(connection: Connection) -> bool:
    """Tell whether files that were let go to make room are there still."""
    return (
        connection.execute(sa.select(t.blob.c.name).where(t.IS_RELEASED, t.blob.c.recycled).limit(1)).first()
        is not None
    )


def names_present(connection: Connection, prefix: str) -> set[str]:
    """Return the names of all files under a prefix that have a row."""
    return set(
        connection.execute(
            sa.select(t.blob.c.name).where(t.blob.c.name.startswith(prefix + "/", autoescape=True))
        ).scalars()
    )


def mark_missing(connection: Connection, names: list[str]) -> None:
    """Note that files are gone although their rows are there."""
    connection.execute(sa.update(t.blob).where(t.blob.c.name.in_(names)).values(state="missing"))
