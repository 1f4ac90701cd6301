"""Instances that are deleted by age: hidden as by any other delete, and never while something of them is unsettled (P4)."""

from __future__ import annotations

import sqlalchemy as sa
from sqlalchemy import ColumnElement, Connection

from hostd.archive import instances, promises, tasks
from hostd.archive import tables as t
from hostd.archive.deliveries import PINNING

AT_ONCE = 10
"""Instances that one unit deletes, so that the writer stays free."""


def expire(
    connection: Connection, *, before: float, now: float, source: str | None = None, label: str | None = None
) -> int:
    """Delete some instances that were received before that time; return how many, 0 when none is left.

    `source` is the modality that they came from, `label` one that they, or a level above them, have.
    """
    of = t.instance.c
    meant: list[ColumnElement[bool]] = [of.received_at < before]
    if source is not None:
        meant.append(of.origin["modality"].as_string() == source)
    if label is not None:
        levels = (("instance", of.id), ("series", of.series), ("study", of.study), ("patient", of.patient))
        has = (sa.and_(t.label.c.level == level, t.label.c.id == column) for level, column in levels)
        meant.append(sa.exists().where(t.label.c.label == label, sa.or_(*has)))
    unsettled = (
        sa.exists().where(t.delivery.c.instance == of.id, t.delivery.c.state.in_(PINNING)),
        sa.exists().where(t.ingest.c.instance == of.id),
        promises.holds(of.id),
        tasks.pins(of.blob),
    )
    query = sa.select(of.id).where(*meant, *(sa.not_(one) for one in unsettled)).order_by(of.received_at).limit(AT_ONCE)
    found = connection.execute(query).scalars().all()
    for instance in found:
        instances.hide(connection, instance, now)
    return len(found)
