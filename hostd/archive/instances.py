"""Instances: finding one, and letting it go; `hostd.archive.receiving` takes it in."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from typing import Any, Literal

import sqlalchemy as sa
from sqlalchemy import Connection

from hostd.archive import labels, levels, pending, promises, rows
from hostd.archive import tables as t
from hostd.archive.lookups import ByValues, document
from hostd.archive.records import Blob, Current, Instance, Origin


def add_blob(connection: Connection, blob: Blob, at: float) -> None:
    """Enter a file. From now on the sweep leaves it alone."""
    rows.add(
        connection,
        t.blob,
        name=blob.name,
        size=blob.size,
        sha256=blob.sha256,
        transfer_syntax=blob.transfer_syntax,
        created_at=at,
    )


def release(connection: Connection, blobs: Sequence[str], *, to_make_room: bool = False) -> None:
    """Let go of files: the collector removes each once nothing pins it any more, and `node.trash_days` later, but `to_make_room` at once."""
    connection.execute(sa.update(t.blob).where(t.blob.c.name.in_(blobs)).values(released=True, recycled=to_make_room))


Hidden = Literal["deleted", "gone", "superseded", "promised"]


def hide(
    connection: Connection,
    instance: str,
    at: float,
    *,
    content: str | None = None,
    forced_by: str | None = None,
    to_make_room: bool = False,
) -> Hidden:
    """Take an instance out of the archive at once; its files go when nothing pins them (P4).

    With `content`, only while that is still its content: what came later under the same identity was not meant. What hostd has promised
    another system to keep stays, unless an administrator forces it; the promise is then broken on record.
    """
    row = connection.execute(
        sa.select(t.instance.c.blob, t.instance.c.received_sha256).where(t.instance.c.id == instance)
    ).first()
    if row is None:
        return "gone"
    if content is not None and row.received_sha256 != content:
        return "superseded"
    if promises.holders(connection, instance):
        if forced_by is None:
            return "promised"
        promises.break_by(connection, instance, forced_by, at)
    pending.end_early(connection, instance, "it was deleted first", at)
    gone = levels.deleting(connection, instance)
    versions = connection.execute(sa.select(t.version.c.blob).where(t.version.c.instance == instance)).scalars().all()
    connection.execute(sa.delete(t.version).where(t.version.c.instance == instance))
    connection.execute(sa.delete(t.instance).where(t.instance.c.id == instance))
    release(connection, [row.blob, *versions], to_make_room=to_make_room)
    levels.deleted(connection, gone, at)
    return "deleted"


# -- reading ----------------------------------------------------------------------------------------------------------

_WITH_BLOB = sa.select(
    t.instance.c.id,
    t.instance.c.patient,
    t.instance.c.study,
    t.instance.c.series,
    t.instance.c.patient_id,
    t.instance.c.study_instance_uid,
    t.instance.c.series_instance_uid,
    t.instance.c.sop_instance_uid,
    t.instance.c.sop_class_uid,
    t.instance.c.attributes,
    t.instance.c.received_sha256,
    t.instance.c.origin,
    t.instance.c.metadata,
    t.instance.c.received_at,
    t.blob.c.name,
    t.blob.c.size,
    t.blob.c.sha256,
    t.blob.c.transfer_syntax,
).join(t.blob, t.blob.c.name == t.instance.c.blob)
"""As `_told` takes it."""

_CURRENT = rows.Prepared(
    sa.select(t.blob.c.name, t.blob.c.size, t.blob.c.sha256, t.blob.c.transfer_syntax)
    .join(t.instance, t.blob.c.name == t.instance.c.blob)
    .where(t.instance.c.id == sa.bindparam("instance"))
)
_BY_ID = ByValues(lambda values: _WITH_BLOB.where(t.instance.c.id.in_(values)))


def get(connection: Connection, instance: str) -> Instance | None:
    """Return the instance with Orthanc's identifier `instance`."""
    return next(iter(get_all(connection, [instance])), None)


def current(connection: Connection, instance: str) -> Current | None:
    """Return the current file of an instance: a third of what it takes to get the instance."""
    for row in _CURRENT.rows(connection, instance=instance):
        return Current(instance, Blob(*row))
    return None


def get_all(connection: Connection, identifiers: Sequence[str]) -> list[Instance]:
    """Return those instances that are stored, in this order."""
    found = {one.id: one for one in _told(connection, _BY_ID.rows(connection, identifiers))}
    return [found[one] for one in identifiers if one in found]


def by_sop_instance_uid(connection: Connection, uid: str) -> list[Instance]:
    """Return the instances of that SOP Instance UID: usually one, but other patients' data may use it too."""
    return having(connection, sop_instance_uid=uid)


def ids(connection: Connection, *, since: int = 0, limit: int | None = None) -> list[str]:
    """Return Orthanc's identifiers of the instances, in their order."""
    query = sa.select(t.instance.c.id).order_by(t.instance.c.id).offset(since).limit(limit)
    return list(connection.execute(query).scalars())


def page(connection: Connection, *, since: int = 0, limit: int | None = None) -> list[Instance]:
    """Return instances in the order of their identifiers."""
    query = _WITH_BLOB.order_by(t.instance.c.id).offset(since).limit(limit)
    return _told(connection, connection.execute(query).all())


def having(connection: Connection, **values: str) -> list[Instance]:
    """Return the instances whose columns have these values, in the order of their identifiers."""
    return _told(connection, _having(tuple(values)).rows(connection, **values))


@cache
def _having(columns: tuple[str, ...]) -> rows.Prepared:
    conditions = (t.instance.c[name] == sa.bindparam(name) for name in columns)
    return rows.Prepared(_WITH_BLOB.where(*conditions).order_by(t.instance.c.id))


def newest(connection: Connection, *, limit: int) -> list[Instance]:
    """Return the instances that came last, the newest first."""
    query = _WITH_BLOB.order_by(t.instance.c.received_at.desc(), t.instance.c.id).limit(limit)
    return _told(connection, connection.execute(query).all())


@dataclass(frozen=True, slots=True)
class Statistics:
    """How much the archive holds. `size` counts the bytes of current files."""

    patients: int
    studies: int
    series: int
    instances: int
    size: int


def count(connection: Connection) -> int:
    """Return how many instances there are."""
    return connection.execute(sa.select(sa.func.count()).select_from(t.instance)).scalar_one()


def statistics(connection: Connection) -> Statistics:
    """Count the four levels and the bytes."""
    levels = connection.execute(
        sa.select(
            sa.func.count(sa.distinct(t.instance.c.patient)).label("patients"),
            sa.func.count(sa.distinct(t.instance.c.study)).label("studies"),
            sa.func.count(sa.distinct(t.instance.c.series)).label("series"),
            sa.func.count().label("instances"),
        )
    ).one()
    size = connection.execute(
        sa.select(sa.func.coalesce(sa.func.sum(t.blob.c.size), 0)).join(t.instance, t.instance.c.blob == t.blob.c.name)
    ).scalar_one()
    return Statistics(levels.patients, levels.studies, levels.series, levels.instances, int(size))


def siblings(connection: Connection, column: Literal["patient", "study", "series"], identifier: str) -> int:
    """Return how many instances share that patient, study or series."""
    return connection.execute(
        sa.select(sa.func.count()).select_from(t.instance).where(t.instance.c[column] == identifier)
    ).scalar_one()


def _told(connection: Connection, found: Sequence[Any]) -> list[Instance]:
    """Return what these rows of `_WITH_BLOB` are."""
    labelled = labels.of_many(connection, "instance", [row[0] for row in found])
    return [_instance(row, labelled[row[0]]) for row in found]


def _instance(row: Sequence[Any], labels: list[str]) -> Instance:
    values: list[Any] = [
        *row[:9], document(row[9]), row[10], Origin(**document(row[11])), document(row[12]), labels, row[13], Blob(*row[14:]),
    ]  # fmt: skip
    return Instance(*values)
