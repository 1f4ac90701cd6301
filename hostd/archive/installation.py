"""What an installation is told from others by: a secret that the nodes on one index share."""

from __future__ import annotations

import secrets

import sqlalchemy as sa
from sqlalchemy import Connection

from hostd.archive import tables as t

_NAME = "identity key"
_BYTES = 32


def secret(connection: Connection) -> bytes:
    """Return the secret, made when it is first asked for. It is never shown, and leaves the host process in no form but keyed hashes."""
    query = sa.select(t.installation.c.value).where(t.installation.c.name == _NAME)
    known = connection.execute(query).scalar()
    if known is None:
        known = secrets.token_bytes(_BYTES)
        connection.execute(sa.insert(t.installation).values(name=_NAME, value=known))
    return known
