"""What an identifier of Orthanc's means: an instance, or all instances of a series, study or patient."""

from __future__ import annotations

from collections.abc import Iterable

import sqlalchemy as sa
from sqlalchemy import Connection

from hostd.archive import tables as t

LEVELS = ("patient", "study", "series", "instance")
"""From the highest to the lowest."""


def level_of(connection: Connection, identifier: str) -> str | None:
    """Return at which level there is something of that identifier, None when nothing is."""
    for level in reversed(LEVELS):
        if connection.execute(sa.select(t.instance.c.id).where(_is(level, identifier)).limit(1)).first() is not None:
            return level
    return None


def instances_of(connection: Connection, level: str, identifier: str) -> list[str]:
    """Return the instances of something at that level, series by series."""
    query = sa.select(t.instance.c.id).where(_is(level, identifier))
    return list(connection.execute(query.order_by(t.instance.c.study, t.instance.c.series, t.instance.c.id)).scalars())


def members(connection: Connection, identifiers: Iterable[str]) -> tuple[list[str], list[str]]:
    """Return the instances of all that these identifiers mean, each once, and the identifiers that mean nothing."""
    found: dict[str, None] = {}
    unknown = []
    for identifier in identifiers:
        level = level_of(connection, identifier)
        if level is None:
            unknown.append(identifier)
        else:
            found |= dict.fromkeys(instances_of(connection, level, identifier))
    return list(found), unknown


def _is(level: str, identifier: str) -> sa.ColumnElement[bool]:
    column = t.instance.c.id if level == "instance" else t.instance.c[level]
    return column == identifier
