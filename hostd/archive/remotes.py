"""Modalities and peers that were put by HTTP: in Orthanc's form, as they were given, passwords too."""

from __future__ import annotations

from typing import Any, Literal

import sqlalchemy as sa
from sqlalchemy import Connection

from hostd.archive import tables as t

Kind = Literal["modality", "peer"]


def put(connection: Connection, kind: Kind, name: str, given: Any, now: float, by: str) -> None:
    """Keep one, in the place of what was under that name."""
    delete(connection, kind, name)
    connection.execute(sa.insert(t.remote).values(kind=kind, name=name, given=given, put_at=now, put_by=by))


def delete(connection: Connection, kind: Kind, name: str) -> bool:
    """Forget one; return whether it was there."""
    gone = connection.execute(sa.delete(t.remote).where(t.remote.c.kind == kind, t.remote.c.name == name))
    return gone.rowcount == 1


def listing(connection: Connection) -> dict[Kind, dict[str, Any]]:
    """Return what is kept: kind → name → as it was given."""
    found: dict[Kind, dict[str, Any]] = {"modality": {}, "peer": {}}
    for row in connection.execute(sa.select(t.remote).order_by(t.remote.c.name)):
        found[row.kind][row.name] = row.given
    return found
