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
from hostd.archive.catalogue import TABLES
from hostd.archive.levels import Level, column
from hostd.archive.lookups import ByValues, document
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
    return next(iter(get_all(connection, level, [identifier])), None)


def get_all(connection: Connection, level: Level, identifiers: Sequence[str]) -> list[Stored]:
    """Return those of these levels that are stored, in this order."""
    facts = {row[0]: row for row in _newest(level).rows(connection, identifiers)}
    if untold := [one for one in identifiers if one not in facts]:
        facts |= {row[0]: row for row in _any(level).rows(connection, untold)}
    there = [one for one in identifiers if one in facts]
    known = {row[0]: row for row in _KNOWN.rows(connection, there, level=level)}
    updated = dict(map(tuple, _updated(level).rows(connection, there)))
    below: dict[str, list[str]] = {one: [] for one in there}
    for parent, child in _children(level).rows(connection, there):
        below[parent].append(child)
    labelled = labels.of_many(connection, level, there)
    found = []
    for one in there:
        _, patient, study, attributes, origin = facts[one]
        _, due_at, metadata = known.get(one, (one, 0.0, {}))
        found.append(
            Stored(
                level=level,
                id=one,
                patient=patient,
                study=study,
                attributes=document(attributes),
                parent={"patient": None, "study": patient, "series": study}[level],
                children=below[one],
                is_stable=due_at is None,
                updated_at=updated[one],
                calling_aet=document(origin).get("calling_aet"),
                metadata=document(metadata),
                labels=labelled[one],
            )
        )
    return found


def descendants(connection: Connection, level: Level, identifier: str, of: str) -> list[str]:
    """Return the identifiers of the studies, series or instances (`of`) that are in a level, in their order."""
    return [row[0] for row in _descendants(level, of).rows(connection, id=identifier)]


def instances_of(connection: Connection, level: Level, identifier: str) -> list[Instance]:
    """Return the instances of a level, in the order of their identifiers."""
    return instances.having(connection, **{level: identifier})


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


_KNOWN = ByValues(
    lambda values: sa.select(t.stable.c.id, t.stable.c.due_at, t.stable.c.metadata).where(
        t.stable.c.level == sa.bindparam("level"), t.stable.c.id.in_(values)
    )
)


def _facts(level: Level) -> sa.Select[Any]:
    own = t.instance.c
    return sa.select(column(level), own.patient, own.study, own.attributes, own.origin)


@cache
def _newest(level: Level) -> ByValues:
    """Select the instance of each that was told last."""
    table, one = TABLES[level], t.instance.alias("one")
    newest = sa.select(one.c.id).where(one.c[level] == table.c.id, one.c.told.is_not(None))
    newest = newest.order_by(one.c.told.desc()).limit(1)
    return ByValues(
        lambda values: _facts(level).where(
            t.instance.c.id.in_(sa.select(newest.scalar_subquery()).where(table.c.id.in_(values)))
        )
    )


@cache
def _any(level: Level) -> ByValues:
    """Select an instance of each, none of which was told yet."""
    table, one = TABLES[level], t.instance.alias("one")
    some = sa.select(one.c.id).where(one.c[level] == table.c.id).limit(1)
    return ByValues(
        lambda values: _facts(level).where(
            t.instance.c.id.in_(sa.select(some.scalar_subquery()).where(table.c.id.in_(values)))
        )
    )


@cache
def _updated(level: Level) -> ByValues:
    mine = column(level)
    latest = sa.select(mine, sa.func.max(t.instance.c.received_at)).group_by(mine)
    return ByValues(lambda values: latest.where(mine.in_(values)))


@cache
def _children(level: Level) -> ByValues:
    below = BELOW[level]
    table = t.instance if below is None else TABLES[below]
    parent = table.c[level]
    return ByValues(lambda values: sa.select(parent, table.c.id).where(parent.in_(values)).order_by(parent, table.c.id))


def _mine(level: Level) -> ColumnElement[bool]:
    return column(level) == sa.bindparam("id")


@cache
def _descendants(level: Level, of: str) -> Prepared:
    wanted = t.instance.c.id if of == "instance" else t.instance.c[of]
    query = sa.select(wanted).where(_mine(level)).order_by(wanted)
    return Prepared(query if of == "instance" else query.distinct())


__all__ = [
    "ABOVE", "BELOW", "Level", "Size", "Stored", "descendants", "get", "get_all", "ids", "instances_of", "size",
]  # fmt: skip
