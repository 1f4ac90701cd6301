"""What is done once in a while by one of the nodes on an index: when it was done last is a row, so that restarts do not put it off."""

from __future__ import annotations

import sqlalchemy as sa
from sqlalchemy import Connection

from hostd.archive import tables as t


def take(connection: Connection, what: str, every_s: float, now: float) -> bool:
    """Take the turn to do something, and note it; False when it was done less than `every_s` seconds ago.

    One that seems to have been done later than now was done before the clock was set back: it is due.
    """
    name = f"last {what}"
    where = t.installation.c.name == name
    last = connection.execute(sa.select(t.installation.c.value).where(where)).scalar()
    if last is not None and 0 <= now - float(last) < every_s:
        return False
    value = repr(now).encode()
    if last is None:
        connection.execute(sa.insert(t.installation).values(name=name, value=value))
    else:
        connection.execute(sa.update(t.installation).where(where).values(value=value))
    return True
