"""What is deleted by age, and to make room: hidden as by any other delete, and never while something of it is unsettled (P4).

By age instances go one by one, to make room whole patients, those first of whom nothing came for longest. Who is protected stays.
"""

from __future__ import annotations

import sqlalchemy as sa
from sqlalchemy import ColumnElement, Connection

from hostd.archive import holding, instances, promises, tasks
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
    meant.append(~sa.exists().where(t.patient.c.id == of.patient, t.patient.c.protected))
    query = sa.select(of.id).where(*meant, ~_is_unsettled()).order_by(of.received_at).limit(AT_ONCE)
    found = connection.execute(query).scalars().all()
    for instance in found:
        instances.hide(connection, instance, now)
    return len(found)


def _is_unsettled() -> ColumnElement[bool]:
    """Return the condition on `instance` that it must stay: what of it is to be sent or done, or is promised (P3, P4)."""
    of = t.instance.c
    return sa.or_(
        sa.exists().where(t.delivery.c.instance == of.id, t.delivery.c.state.in_(PINNING)),
        sa.exists().where(t.delivery.c.instance == of.id, t.IS_UNCOMMITTED),
        sa.exists().where(t.ingest.c.instance == of.id),
        promises.holds(of.id),
        tasks.pins(of.blob),
    )


def recyclable(connection: Connection, *, spare: str) -> str | None:
    """Return the patient that is to go first to make room: the one of whom nothing came for longest, None when all must stay.

    One of whom any instance must stay is passed over, for what is left would be no whole study; so are `spare`, whose instances come
    just now, and those that are protected.
    """
    patient = t.patient.c
    must_stay = sa.exists().where(t.instance.c.patient == patient.id, _is_unsettled())
    query = sa.select(patient.id).where(t.IS_UNPROTECTED, patient.id != spare, ~must_stay)
    return connection.execute(query.order_by(patient.last_at, patient.id).limit(1)).scalar()


def contents(connection: Connection, patient: str) -> list[tuple[str, str]]:
    """Return what there is of a patient: Orthanc's identifiers of the instances, and their contents."""
    query = sa.select(*t.instance.c["id", "received_sha256"]).where(t.instance.c.patient == patient)
    return [tuple(row) for row in connection.execute(query)]


def recycle(connection: Connection, patient: str, meant: dict[str, str], left: int, now: float) -> int | None:
    """Delete what is `meant`, some of the `contents` of a patient that is to go, of which so many are left; return how many went.

    None, and nothing goes, when the patient was protected since, something of it must stay, or something came: that was not meant.
    """
    of = t.instance.c
    query = sa.select(of.id, of.received_sha256, _is_unsettled().label("must_stay")).where(of.id.in_(meant))
    found = connection.execute(query).all()
    has_more = instances.siblings(connection, "patient", patient) > left
    is_needed = any(one.must_stay or one.received_sha256 != meant[one.id] for one in found)
    if has_more or is_needed or is_protected(connection, patient):
        return None
    for one in found:
        instances.hide(connection, one.id, now, to_make_room=True)
    if found:
        holding.count(connection, "recycled_instances", len(found))
    return len(found)


def protect(connection: Connection, patient: str, now: float, *, is_protected: bool) -> bool:
    """Protect a patient from being recycled and deleted by age, or no longer: then it is as if it came now. Return whether it is stored."""
    where = t.patient.c.id == patient
    was = connection.execute(sa.select(t.patient.c.protected).where(where)).scalar()
    if was is not None and was != is_protected:
        connection.execute(sa.update(t.patient).where(where).values(protected=is_protected, last_at=now))
    return was is not None


def is_protected(connection: Connection, patient: str) -> bool | None:
    """Tell whether a patient is protected, None when it is not stored."""
    return connection.execute(sa.select(t.patient.c.protected).where(t.patient.c.id == patient)).scalar()
