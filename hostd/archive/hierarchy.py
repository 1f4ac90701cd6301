"""The levels that are stored, as they are read: patients, studies and series with what is above and below each.

A level has the main tags of the newest instance of it that was told, as its events have (`levels`).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from typing import Any

import sqlalchemy as sa
from sqlalchemy import ColumnElement, Connection

from hostd.archive import instances, labels
from hostd.archive import tables as t
from hostd.archive.levels import Level, column
from hostd.archive.records import Instance
from hostd.archive.rows import Prepared

ABOVE: dict[Level, Level | None] = {"patient": None, "study": "patient", "series": "study"}
BELOW: dict[Level, Level | None] = {"patient": "study", "study": "series", "series": None}


@dataclass(frozen=True, slots=True)
class Stored:
    """A patient, study or series that is stored.

    `attributes` are Orthanc's main tags of the four levels, those of lower ones as one of its instances has them. `parent` is None of a
    patient. `children` are the identifiers of the next lower level, in their order. `updated_at` is when the last instance came,
    seconds since 1970 UTC; `calling_aet` who sent one of them. `metadata` is what was set of the level itself.
    """

    level: Level
    id: str
    patient: str
    study: str
    attributes: dict[str, dict[str, str]]
    parent: str | None
    children: list[str]
    is_stable: bool
    updated_at: float
    calling_aet: str | None
    metadata: dict[str, str]
    labels: list[str]


@dataclass(frozen=True, slots=True)
class Size:
    """How much a level holds; `size` counts the bytes of current files."""

    studies: int
    series: int
    instances: int
    size: int


def ids(connection: Connection, level: Level, *, since: int = 0, limit: int | None = None) -> list[str]:
    """Return the identifiers of all patients, studies or series, in their order."""
    query = sa.select(t.stable.c.id).where(t.stable.c.level == level)
    return list(connection.execute(query.order_by(t.stable.c.id).offset(since).limit(limit)).scalars())


def get(connection: Connection, level: Level, identifier: str) -> Stored | None:
    """Return a level, None when nothing of it is stored."""
    newest = connection.execute(_newest(level), {"id": identifier}).first()
    newest = newest or connection.execute(_any(level), {"id": identifier}).first()
    if newest is None:
        return None
    known = connection.execute(_KNOWN, {"level": level, "id": identifier}).first()
    parent = ABOVE[level]
    return Stored(
        level=level,
        id=identifier,
        patient=newest.patient,
        study=newest.study,
        attributes=newest.attributes,
        parent=None if parent is None else newest._mapping[parent],  # noqa: SLF001 - SQLAlchemy's public name
        children=children(connection, level, identifier),
        is_stable=known is not None and known.due_at is None,
        updated_at=_updated(level).rows(connection, id=identifier)[0][0],
        calling_aet=newest.origin.get("calling_aet"),
        metadata=known.metadata if known is not None else {},
        labels=labels.of(connection, level, identifier),
    )


def get_all(connection: Connection, level: Level, identifiers: Sequence[str]) -> list[Stored]:
    """Return those of these levels that are stored."""
    found = (get(connection, level, one) for one in identifiers)
    return [one for one in found if one is not None]


def children(connection: Connection, level: Level, identifier: str) -> list[str]:
    """Return the identifiers of what is directly below a level, in their order."""
    below = BELOW[level]
    return descendants(connection, level, identifier, below or "instance")


def descendants(connection: Connection, level: Level, identifier: str, of: str) -> list[str]:
    """Return the identifiers of the studies, series or instances (`of`) that are in a level, in their order."""
    return [row[0] for row in _descendants(level, of).rows(connection, id=identifier)]


def instances_of(connection: Connection, level: Level, identifier: str) -> list[Instance]:
    """Return the instances of a level, in the order of their identifiers."""
    return instances.where(connection, column(level) == identifier)


def size(connection: Connection, level: Level, identifier: str) -> Size:
    """Return how much a level holds."""
    row = connection.execute(
        sa.select(
            sa.func.count(sa.distinct(t.instance.c.study)).label("studies"),
            sa.func.count(sa.distinct(t.instance.c.series)).label("series"),
            sa.func.count().label("instances"),
            sa.func.coalesce(sa.func.sum(t.blob.c.size), 0).label("size"),
        )
        .join(t.blob, t.blob.c.name == t.instance.c.blob)
        .where(column(level) == identifier)
    ).one()
    return Size(row.studies, row.series, row.instances, int(row.size))


_KNOWN = sa.select(t.stable.c.due_at, t.stable.c.metadata).where(
    t.stable.c.level == sa.bindparam("level"), t.stable.c.id == sa.bindparam("id")
)
_FACTS = sa.select(t.instance.c.patient, t.instance.c.study, t.instance.c.attributes, t.instance.c.origin)


def _mine(level: Level) -> ColumnElement[bool]:
    return column(level) == sa.bindparam("id")


@cache
def _newest(level: Level) -> sa.Select[Any]:
    told = t.instance.c.told
    return _FACTS.where(_mine(level), told.is_not(None)).order_by(told.desc()).limit(1)


@cache
def _any(level: Level) -> sa.Select[Any]:
    """Select an instance of a level of which none was told yet."""
    return _FACTS.where(_mine(level)).limit(1)


@cache
def _updated(level: Level) -> Prepared:
    return Prepared(sa.select(sa.func.max(t.instance.c.received_at)).where(_mine(level)))


@cache
def _descendants(level: Level, of: str) -> Prepared:
    wanted = t.instance.c.id if of == "instance" else t.instance.c[of]
    query = sa.select(wanted).where(_mine(level)).order_by(wanted)
    return Prepared(query if of == "instance" else query.distinct())


__all__ = [
    "ABOVE", "BELOW", "Level", "Size", "Stored", "children", "descendants", "get", "get_all", "ids", "instances_of", "size",
]  # fmt: skip
