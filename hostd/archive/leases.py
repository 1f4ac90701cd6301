"""Leases: who may work on what, and the token that proves it."""

from __future__ import annotations

import sqlalchemy as sa
from sqlalchemy import Connection

from hostd.archive import tables as t


def acquire(connection: Connection, what: str, who: str, now: float, seconds: float) -> int | None:
    """Take a lease and return its token, higher than any before; None while somebody else holds it.

    Whoever holds it already takes it anew: what was begun under the former token (before a crash, say) is then stray.
    """
    row = connection.execute(sa.select(t.lease).where(t.lease.c.what == what)).first()
    if row is None:
        connection.execute(sa.insert(t.lease).values(what=what, who=who, token=1, until=now + seconds))
        return 1
    if row.who != who and row.until > now:
        return None
    connection.execute(
        sa.update(t.lease).where(t.lease.c.what == what).values(who=who, token=row.token + 1, until=now + seconds)
    )
    return int(row.token) + 1


def renew(connection: Connection, what: str, token: int, now: float, seconds: float) -> bool:
    """Extend a lease; False when it is no longer the caller's."""
    renewed = connection.execute(
        sa.update(t.lease).where(t.lease.c.what == what, t.lease.c.token == token).values(until=now + seconds)
    )
    return renewed.rowcount == 1
