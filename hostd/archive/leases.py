"""Leases: who may work on what, and the token that proves it (DESIGN.md §5).

Their time is the database's clock: on PostgreSQL that of the server, which all nodes share; on SQLite the machine's own, which the
caller hands in. Names of what is leased begin with its kind: `destination:`, `channel:`, `script:`, `node:` and so on.
"""

from __future__ import annotations

from dataclasses import dataclass

import sqlalchemy as sa
from sqlalchemy import ColumnElement, Connection

from hostd.archive import tables as t

NODE = "node:"
"""What a node holds as long as it runs: its name."""
SECONDS = 30.0
"""Seconds that a lease lasts unless it is renewed. The node renews all that it holds (`renew_all`) well before."""
RENEW_S = 8.0
_LONG_AGO_S = 1e9
LOOK_S = 5.0
"""Seconds after which whoever waits for a lease asks again."""

_SERVER_TIME: ColumnElement[float] = sa.cast(sa.extract("epoch", sa.func.clock_timestamp()), sa.Float)


@dataclass(frozen=True, slots=True)
class Lease:
    """Who holds what; `left_s` are the seconds until it ends unless it is renewed, negative once it has ended."""

    what: str
    who: str
    token: int
    left_s: float

    @property
    def state(self) -> str:
        """What the lease of a node's name says of the node."""
        if self.left_s > 0:
            return "runs"
        is_ended = self.left_s < -_LONG_AGO_S  # its time was set to nought
        return "was stopped" if is_ended else f"was last heard of {SECONDS - self.left_s:.0f} s ago"


def acquire(connection: Connection, what: str, who: str, now: float, seconds: float) -> int | None:
    """Take a lease and return its token, higher than any before; None while somebody else holds it.

    Whoever holds it already takes it anew: what was begun under the former token (before a crash, say) is then stray.
    """
    return _take(connection, what, who, seconds, clock(connection, now), by_force=False)


def seize(connection: Connection, what: str, who: str, seconds: float) -> int:
    """Take a lease of PostgreSQL's whoever holds it; return its token."""
    token = _take(connection, what, who, seconds, _SERVER_TIME, by_force=True)
    assert token is not None
    return token


def _take(
    connection: Connection, what: str, who: str, seconds: float, now: ColumnElement[float], *, by_force: bool
) -> int | None:
    row = connection.execute(
        sa.select(t.lease.c.who, t.lease.c.token, (t.lease.c.until > now).label("lasts")).where(t.lease.c.what == what)
    ).first()
    if row is None:
        connection.execute(sa.insert(t.lease).values(what=what, who=who, token=1, until=now + seconds))
        return 1
    if row.who != who and row.lasts and not by_force:
        return None
    connection.execute(
        sa.update(t.lease).where(t.lease.c.what == what).values(who=who, token=row.token + 1, until=now + seconds)
    )
    return int(row.token) + 1


def renew(connection: Connection, what: str, token: int, now: float, seconds: float) -> bool:
    """Extend a lease; False when it is no longer the caller's."""
    given = {"of": what, "mine": token, "for": seconds}
    if connection.dialect.name == "postgresql":
        return connection.execute(_RENEW_BY_SERVER, given).rowcount == 1
    return connection.execute(_RENEW, given | {"now": now}).rowcount == 1


_MINE = t.lease.c.what == sa.bindparam("of"), t.lease.c.token == sa.bindparam("mine")
_RENEW = (
    sa.update(t.lease)
    .where(*_MINE)
    .values(until=sa.bindparam("now", type_=sa.Float) + sa.bindparam("for", type_=sa.Float))
)
_RENEW_BY_SERVER = sa.update(t.lease).where(*_MINE).values(until=_SERVER_TIME + sa.bindparam("for", type_=sa.Float))


def renew_all(connection: Connection, who: str) -> None:
    """Extend the leases of a node that have not ended, on PostgreSQL; what has ended was perhaps noticed by others.

    One after another, so that no two rows are held at a time: `connection` commits each statement.
    """
    lasting = sa.or_(
        t.lease.c.until > _SERVER_TIME, t.lease.c.what == f"{NODE}{who}"
    )  # its name it has until it is taken
    mine = sa.select(t.lease.c.what, t.lease.c.token).where(t.lease.c.who == who, lasting)
    for row in connection.execute(mine).all():
        one = t.lease.c.what == row.what, t.lease.c.token == row.token
        connection.execute(sa.update(t.lease).where(*one, lasting).values(until=_SERVER_TIME + SECONDS))


def end_all(connection: Connection, who: str) -> None:
    """End the leases of a node that begins, or stops, so that nobody waits for their end."""
    connection.execute(sa.update(t.lease).where(t.lease.c.who == who).values(until=0.0))


def is_held(connection: Connection, what: str, token: int, now: float) -> bool:
    """Tell whether a lease is still the caller's, and has not ended: what takes longer must ask before each step."""
    mine = t.lease.c.what == what, t.lease.c.token == token, t.lease.c.until > clock(connection, now)
    return connection.execute(sa.select(t.lease.c.what).where(*mine)).first() is not None


def is_token(connection: Connection, what: str, token: int) -> bool:
    """Tell whether nobody has taken a lease since, though it may have ended: what is written under its token counts."""
    return connection.execute(sa.select(t.lease.c.token).where(t.lease.c.what == what)).scalar() == token


def release(connection: Connection, what: str, token: int) -> None:
    """Let go of a lease, so that others need not wait for its end."""
    mine = t.lease.c.what == what, t.lease.c.token == token
    connection.execute(sa.update(t.lease).where(*mine).values(until=0.0))


def listing(connection: Connection, now: float) -> list[Lease]:
    """Return all leases, also those that have ended, by what is leased."""
    left = (t.lease.c.until - clock(connection, now)).label("left_s")
    query = sa.select(t.lease.c.what, t.lease.c.who, t.lease.c.token, left).order_by(t.lease.c.what)
    return [Lease(*row) for row in connection.execute(query)]


def holder(connection: Connection, what: str) -> str | None:
    """Return the node that holds a lease now, on PostgreSQL; None when none does."""
    held = t.lease.c.what == what, t.lease.c.until > _SERVER_TIME
    if connection.dialect.name != "postgresql":
        return None
    return connection.execute(sa.select(t.lease.c.who).where(*held)).scalar()


def other_nodes(connection: Connection, node: str) -> list[str]:
    """Return the other nodes that run on this index now; none on SQLite."""
    alive = t.lease.c.what.startswith(NODE, autoescape=True), t.lease.c.until > _SERVER_TIME, t.lease.c.who != node
    if connection.dialect.name != "postgresql":
        return []
    return list(connection.execute(sa.select(t.lease.c.who).where(*alive)).scalars())


def clock(connection: Connection, now: float) -> ColumnElement[float]:
    """Return the database's time in seconds since 1970 UTC."""
    if connection.dialect.name == "postgresql":
        return _SERVER_TIME
    return sa.literal(now)
