"""Associations: every one leaves its row, rejected and aborted ones too."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any

import sqlalchemy as sa
from sqlalchemy import Connection

from hostd.archive import events, rows
from hostd.archive import tables as t


@dataclass(frozen=True, slots=True)
class AssociationRow:
    """One association. `ended` is None while it lasts; `facts` holds what was proposed and accepted."""

    id: int
    at: float
    calling_aet: str
    called_aet: str
    ip: str
    port: int
    facts: dict[str, Any]
    ended: str | None
    reason: str | None
    ended_at: float | None
    received: int
    stored: int
    failed: int
    bytes: int
    node: str


def open_row(
    connection: Connection,
    *,
    at: float,
    calling_aet: str,
    called_aet: str,
    ip: str,
    port: int,
    facts: dict[str, Any],
    node: str = "",
) -> int:
    """Enter an association that has begun at a node, or was refused; return its number."""
    return rows.insert(
        connection,
        t.association,
        at=at,
        calling_aet=calling_aet,
        called_aet=called_aet,
        ip=ip,
        port=port,
        facts=facts,
        node=node,
    )


def close_row(
    connection: Connection,
    number: int,
    *,
    ended: str,
    reason: str,
    ended_at: float,
    received: int,
    stored: int,
    failed: int,
    size: int,
) -> None:
    """Note how an association ended, with its event. `size` is in bytes of data sets."""
    connection.execute(
        sa.update(t.association)
        .where(t.association.c.id == number)
        .values(
            ended=ended, reason=reason, ended_at=ended_at, received=received, stored=stored, failed=failed, bytes=size
        )
    )
    _tell_closed(connection, number, ended_at)


def close_interrupted(connection: Connection, node: str, at: float) -> None:
    """Close the rows of a node's associations that an end without warning left open, with their events."""
    lasts = t.association.c.ended.is_(None), t.association.c.node.in_((node, ""))
    left_open = sa.select(t.association.c.id).where(*lasts).order_by(t.association.c.id)
    numbers = connection.execute(left_open).scalars().all()
    connection.execute(
        sa.update(t.association)
        .where(*lasts)
        .values(ended="interrupted", reason="hostd ended while it lasted", ended_at=at)
    )
    for number in numbers:
        _tell_closed(connection, number, at)


def _tell_closed(connection: Connection, number: int, at: float) -> None:
    row = connection.execute(sa.select(t.association).where(t.association.c.id == number)).first()
    if row is not None:
        known = asdict(AssociationRow(**row._mapping))  # noqa: SLF001 - SQLAlchemy's public name
        known["association"] = known.pop("id")
        del known["facts"], known["node"]
        events.append(connection, "association_closed", str(number), at, facts=known)


def listing(
    connection: Connection, *, failed: bool = False, calling_aet: str | None = None, limit: int = 100
) -> list[AssociationRow]:
    """Return the newest associations; with `failed` only those that were not released, or had an instance that was not stored."""
    query = sa.select(t.association).order_by(t.association.c.id.desc()).limit(limit)
    if failed:
        query = query.where(
            sa.or_(
                t.association.c.failed > 0,
                sa.and_(t.association.c.ended.is_not(None), t.association.c.ended != "released"),
            )
        )
    if calling_aet is not None:
        query = query.where(t.association.c.calling_aet == calling_aet)
    return [AssociationRow(**row._mapping) for row in connection.execute(query)]  # noqa: SLF001 - SQLAlchemy's public name


def purge(connection: Connection, *, older_than: float, limit: int) -> int:
    """Forget old associations that have ended; return how many."""
    old = (
        sa.select(t.association.c.id)
        .where(t.association.c.at < older_than, t.association.c.ended.is_not(None))
        .limit(limit)
    )
    return connection.execute(sa.delete(t.association).where(t.association.c.id.in_(old))).rowcount
