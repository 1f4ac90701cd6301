"""Labels of instances, series, studies and patients: a row each, so that what has one can be found by it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal, get_args

import sqlalchemy as sa
from sqlalchemy import Connection

from hostd.archive import tables as t
from hostd.archive.lookups import ByValues
from hostd.archive.rows import Prepared

Subject = Literal["instance", "series", "study", "patient"]
"""What can have labels."""

_OF_MANY = ByValues(
    lambda values: sa.select(t.label.c.id, t.label.c.label).where(
        t.label.c.level == sa.bindparam("level"), t.label.c.id.in_(values)
    )
)
_OF = Prepared(
    sa.select(t.label.c.label).where(t.label.c.level == sa.bindparam("level"), t.label.c.id == sa.bindparam("id"))
)


def of(connection: Connection, subject: Subject, identifier: str) -> list[str]:
    """Return the labels of one, sorted."""
    return sorted(row[0] for row in _OF.rows(connection, level=subject, id=identifier))


def of_many(connection: Connection, subject: Subject, identifiers: Sequence[str]) -> dict[str, list[str]]:
    """Return the labels of each, sorted."""
    found: dict[str, list[str]] = {identifier: [] for identifier in identifiers}
    # Sorted here: for the order by label SQLite would read the labels of all there are.
    for identifier, label in _OF_MANY.rows(connection, identifiers, level=subject):
        found[identifier].append(label)
    return {identifier: sorted(of_it) for identifier, of_it in found.items()}


def known(connection: Connection) -> list[str]:
    """Return every label that anything has, sorted. It costs as much as there are different labels, not as many as have one."""
    found = set()
    for level in get_args(Subject):
        label: str | None = ""
        while label is not None:
            query = sa.select(sa.func.min(t.label.c.label)).where(t.label.c.level == level, t.label.c.label > label)
            label = connection.execute(query).scalar()
            if label is not None:
                found.add(label)
    return sorted(found)


def add(connection: Connection, subject: Subject, identifier: str, labels: Sequence[str]) -> list[str]:
    """Give labels to what is stored; return those that it had not."""
    new = sorted(set(labels) - set(of(connection, subject, identifier)))
    if new:
        connection.execute(sa.insert(t.label), [{"level": subject, "id": identifier, "label": one} for one in new])
    return new


def remove(connection: Connection, subject: Subject, identifier: str, labels: Sequence[str]) -> list[str]:
    """Take labels away; return those that it had."""
    gone = sorted(set(labels) & set(of(connection, subject, identifier)))
    where = t.label.c.level == subject, t.label.c.id == identifier
    connection.execute(sa.delete(t.label).where(*where, t.label.c.label.in_(gone)))
    return gone


def forget(connection: Connection, subject: Subject, identifier: str) -> list[str]:
    """Take all labels away from what is no longer stored; return them."""
    labels = of(connection, subject, identifier)
    if labels:
        connection.execute(sa.delete(t.label).where(t.label.c.level == subject, t.label.c.id == identifier))
    return labels
