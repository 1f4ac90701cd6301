"""Series, studies and patients: their events, written in the transaction of what they tell, and their quiet time (P2).

A level begins with the first instance of it that is told, and ends with the last that is deleted. Its members as of an event are the
instances whose content was told before that event and is still current: `instance.told` is the number of the event that told it.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from typing import Any, Literal, get_args

import msgspec
import sqlalchemy as sa
from sqlalchemy import ColumnElement, Connection, Row

from hostd.archive import attachments, catalogue, events, labels, rows
from hostd.archive import tables as t
from hostd.archive.records import Origin

Level = Literal["series", "study", "patient"]
LEVELS: tuple[Level, ...] = get_args(Level)
Change = Literal["content", "metadata", "labels", "attachments"]

_ABOVE: dict[Level, tuple[Level, ...]] = {
    "series": ("series", "study", "patient"),
    "study": ("study", "patient"),
    "patient": ("patient",),
}


class LevelFacts(msgspec.Struct, frozen=True, omit_defaults=True):
    """What an event tells of a series, study or patient, so that it can be read also after all of it was deleted.

    UIDs of lower levels are ''. `attributes` has the main tags of the level and those above, by keyword, as the newest instance has
    them; `count` how many members there were; `first` the number of the event that told the first of them; `since` and `new`, for a
    stable level: members told after that number, and how many; `occurrence` counts from 1; `gone` the origin of what was deleted, with the
    `metadata` and `labels` that the level had; `hops` how many acts of scripts the event followed from.
    """

    level: Level
    patient_id: str
    study_instance_uid: str
    series_instance_uid: str
    attributes: dict[str, str]
    count: int = 0
    first: int | None = None
    since: int = -1
    new: int = 0
    occurrence: int = 0
    changes: tuple[Change, ...] = ()
    gone: dict[str, Any] | None = None
    metadata: dict[str, str] = {}
    labels: tuple[str, ...] = ()
    hops: int = 0

    def to_json(self) -> dict[str, Any]:
        """Return the stored form, for a JSON column."""
        facts: dict[str, Any] = msgspec.to_builtins(self)
        return facts

    @staticmethod
    def of(event_facts: dict[str, Any] | None) -> LevelFacts | None:
        """Return what an event's `facts` tell of a level; None when it is about something else."""
        return msgspec.convert(event_facts, LevelFacts) if event_facts and "level" in event_facts else None


@dataclass(frozen=True, slots=True)
class Due:
    """A level whose quiet time has ended at `due_at`."""

    level: Level
    id: str
    due_at: float


# -- what comes -------------------------------------------------------------------------------------------------------


def arrived(connection: Connection, identity: dict[Level, str], due_at: float) -> None:
    """Note that content of a series, study and patient came: none of them is stable before `due_at`."""
    _ARRIVED.rows(connection, **identity, due_at=due_at)


def new_instance(connection: Connection, instance: str, identity: dict[Level, str], due_at: float, at: float) -> None:
    """Do as `arrived` and `told` do, for an instance that was not there and whose row says already which event told it."""
    of: dict[str, str] = {level: identity[level] for level in LEVELS}
    begun = {level for level, announced in _ARRIVED.rows(connection, **of, due_at=due_at) if not announced}
    if begun:
        connection.execute(_ANNOUNCED, of)
        _tell_begun(connection, _instance(connection, instance), begun, at)


def told(connection: Connection, instance: str, blob: str, number: int, kind: str, at: float) -> None:
    """Follow up the event `number` about content of an instance: what it begins and what it changes, where it is current.

    A new instance begins the patient, study and series that were not there. Other content changes the instance and all three.
    """
    if kind not in {"stored_instance", "conflicting_instance"}:
        return
    row = connection.execute(_TOLD, {"instance": instance, "current": blob, "number": number}).first()
    if row is None:
        return  # a version beside what is current
    if kind == "conflicting_instance":
        by, hops = _maker(row)
        _tell_instance(connection, "updated_instance", row, at, _changes(("content",), hops), by=by)
        _tell_updated(connection, row, at, ("content",), by=by, hops=hops)
        return
    of: dict[str, str] = {level: row._mapping[level] for level in LEVELS}  # noqa: SLF001 - SQLAlchemy's public name
    begun = set(connection.execute(_BEGUN, of).scalars())
    if begun:
        connection.execute(_ANNOUNCED, of)
        _tell_begun(connection, row, begun, at)


def told_silently(connection: Connection, instance: str, blob: str, number: int, kind: str) -> bool:
    """Do as `told` does for an event that is for nobody: nothing follows. Return whether new content is current."""
    if kind not in {"stored_instance", "conflicting_instance"}:
        return False
    found = connection.execute(_TOLD, {"instance": instance, "current": blob, "number": number})
    return found.first() is not None


def entered_silently(connection: Connection, identity: dict[Level, str], number: int) -> None:
    """Note that content came of which nobody is told, as the event `number`: no level begins with it, and none is to be told as stable for it.

    Where other content waits to be told as stable, it is told with that.
    """
    connection.execute(_ENTERED, identity | {"number": number})


def _tell_begun(connection: Connection, row: Row[Any], begun: Collection[str], at: float) -> None:
    """Tell of the levels that begin with an instance, the highest first."""
    by, hops = _maker(row)
    for level in reversed(LEVELS):
        if level in begun:
            _tell(connection, f"new_{level}", row, level, at, by=by, hops=hops)


def _maker(row: Row[Any]) -> tuple[str | None, int]:
    """Return the script that made an instance, None for one that was received, and the acts of scripts that led to it."""
    return row.origin.get("script"), row.origin.get("hops", 0)


# Made once: to make a statement takes longer than to execute it, and these are executed for each instance that comes.
_ARRIVED = rows.Prepared(
    sa.text(
        "INSERT INTO stable (level, id, due_at)"
        " VALUES ('series', :series, :due_at), ('study', :study, :due_at), ('patient', :patient, :due_at)"
        " ON CONFLICT (level, id) DO UPDATE"
        " SET due_at = CASE WHEN stable.due_at > excluded.due_at THEN stable.due_at ELSE excluded.due_at END"
        " RETURNING level, announced"
    )
)
_ENTERED = sa.text(
    "INSERT INTO stable (level, id, announced, upto)"
    " VALUES ('series', :series, true, :number), ('study', :study, true, :number), ('patient', :patient, true, :number)"
    " ON CONFLICT (level, id) DO UPDATE"
    " SET upto = CASE WHEN stable.due_at IS NULL THEN excluded.upto ELSE stable.upto END"
)
_TOLD = (
    sa.update(t.instance)
    .where(t.instance.c.id == sa.bindparam("instance"), t.instance.c.blob == sa.bindparam("current"))
    .values(told=sa.bindparam("number"))
    .returning(*t.instance.c)
)
_MINE = sa.or_(*(sa.and_(t.stable.c.level == level, t.stable.c.id == sa.bindparam(level)) for level in LEVELS))
_BEGUN = sa.select(t.stable.c.level).where(_MINE, ~t.stable.c.announced)
_ANNOUNCED = sa.update(t.stable).where(_MINE).values(announced=True)


# -- what changes -----------------------------------------------------------------------------------------------------


def changed(
    connection: Connection,
    instance: str,
    at: float,
    *changes: Change,
    by: str | None = None,
    hops: int = 0,
    header: bytes | None = None,
    receipt: dict[str, Any] | None = None,
) -> None:
    """Tell that a stored instance was changed: `on_updated_instance`; where its content was, its series, study and patient were, too.

    `by` is the script whose doing it is, at an event so many `hops` long; `header` and `receipt` are those of content that is the same
    image in another transfer syntax, so that it is a member as of the same events as before. Call it in the transaction of the change, after it. Nothing is told of an instance that is not stored, or whose own event is
    still put off: that will tell it as it then is.
    """
    row = connection.execute(_INSTANCE.where(t.instance.c.id == instance)).first()
    if row is None or row.told is None:
        return
    of_content = (header, receipt) if header is not None else None
    _tell_instance(connection, "updated_instance", row, at, _changes(changes, hops), by=by, of_content=of_content)
    if "content" in changes:
        _tell_updated(connection, row, at, changes, by=by, hops=hops)


def _changes(changes: Sequence[Change], hops: int) -> dict[str, Any]:
    return {"changes": list(changes)} | ({"hops": hops} if hops else {})


def _tell_updated(
    connection: Connection, row: Row[Any], at: float, changes: Sequence[Change], *, by: str | None = None, hops: int = 0
) -> None:
    for level in LEVELS:
        _tell(connection, f"updated_{level}", row, level, at, by=by, changes=tuple(changes), hops=hops)


def level_changed(
    connection: Connection,
    level: Level,
    identifier: str,
    at: float,
    *changes: Change,
    by: str | None = None,
    hops: int = 0,
) -> None:
    """Tell that the metadata or labels of a series, study or patient itself were changed; `by` and `hops` are as for an instance."""
    row = _newest(connection, level, identifier)
    if row is not None:
        _tell(connection, f"updated_{level}", row, level, at, by=by, changes=changes, hops=hops)


# -- what goes --------------------------------------------------------------------------------------------------------


def deleting(connection: Connection, instance: str) -> Row[Any]:
    """Return what `deleted` needs of an instance, before its row goes."""
    return _instance(connection, instance)


def deleted(connection: Connection, row: Row[Any], at: float) -> None:
    """Tell that an instance was deleted, and what ends with it; its row is gone already. The events pin its file until all scripts have had them."""
    had = {"metadata": row.metadata, "labels": labels.forget(connection, "instance", row.id)}
    attachments.forget(connection, "instance", row.id)
    _tell_instance(connection, "deleted_instance", row, at, had if any(had.values()) else None)
    for level in LEVELS:
        identifier = row._mapping[level]  # noqa: SLF001 - SQLAlchemy's public name
        if not catalogue.lose(connection, level, identifier, row.attributes):
            mine = t.stable.c.level == level, t.stable.c.id == identifier
            metadata = connection.execute(sa.select(t.stable.c.metadata).where(*mine)).scalar() or {}
            connection.execute(sa.delete(t.stable).where(*mine))
            attachments.forget(connection, level, identifier)
            had_labels = tuple(labels.forget(connection, level, identifier))
            _tell(
                connection, f"deleted_{level}", row, level, at,
                gone=row.origin, metadata=metadata, labels=had_labels,
            )  # fmt: skip


# -- quiet time -------------------------------------------------------------------------------------------------------


def next_due(connection: Connection) -> float | None:
    """Return when the next quiet time ends, None when nothing is waited for."""
    return connection.execute(sa.select(sa.func.min(t.stable.c.due_at))).scalar()


def due(connection: Connection, now: float, *, limit: int) -> list[Due]:
    """Return levels whose quiet time has ended, the longest waiting first, a series before its study, a study before its patient.

    One is left out while an instance of it is still being transcoded on ingest: its event is yet to come.
    """
    table = t.stable
    pending = sa.select(t.ingest.c.id).join(t.instance, t.instance.c.id == t.ingest.c.instance)
    is_pending = sa.or_(
        *(sa.and_(table.c.level == level, pending.where(column(level) == table.c.id).exists()) for level in LEVELS)
    )
    order = sa.case({level: index for index, level in enumerate(LEVELS)}, value=table.c.level)
    query = (
        sa.select(table.c.level, table.c.id, table.c.due_at)
        .where(table.c.due_at <= now, ~is_pending)
        .order_by(table.c.due_at, order, table.c.id)
        .limit(limit)
    )
    return [Due(row.level, row.id, row.due_at) for row in connection.execute(query)]


def tell_stable(connection: Connection, one: Due, at: float) -> int | None:
    """Tell that a level is stable; return the event's number. None when more came meanwhile, or nothing is left that is new."""
    table = t.stable
    mine = (table.c.level == one.level, table.c.id == one.id, table.c.due_at == one.due_at)
    known = connection.execute(sa.select(table.c.occurrence, table.c.upto).where(*mine)).first()
    if known is None:
        return None
    newest = _newest(connection, one.level, one.id)
    new = _count(connection, one.level, one.id, since=known.upto)
    if newest is None or new == 0:  # what came was deleted again
        connection.execute(sa.update(table).where(*mine).values(due_at=None))
        return None
    occurrence = known.occurrence + 1
    by, hops = _makers(connection, one.level, one.id, since=known.upto)
    number = _tell(
        connection, f"stable_{one.level}", newest, one.level, at,
        by=by, since=known.upto, new=new, occurrence=occurrence, hops=hops,
    )  # fmt: skip
    connection.execute(sa.update(table).where(*mine).values(due_at=None, occurrence=occurrence, upto=number))
    return number


# -- members ----------------------------------------------------------------------------------------------------------


def column(level: Level) -> ColumnElement[str]:
    """Return the column of `instance` that holds the identifier of a level."""
    found: ColumnElement[str] = t.instance.c[level]
    return found


def members(level: Level, identifier: str, number: int, *, since: int = -1) -> ColumnElement[bool]:
    """Return the condition on `instance` for the members as of the event `number`; with `since` only those told after that number."""
    return sa.and_(column(level) == identifier, t.instance.c.told < number, t.instance.c.told > since)


def _count(connection: Connection, level: Level, identifier: str, since: int = -1) -> int:
    query = sa.select(sa.func.count()).where(column(level) == identifier, t.instance.c.told > since)
    return connection.execute(query).scalar_one()


def _makers(connection: Connection, level: Level, identifier: str, *, since: int) -> tuple[str | None, int]:
    """Return the script that made all new members, None where others have part in them, and the acts of scripts that led to them."""
    origin = t.instance.c.origin
    script = origin["script"].as_string().label("script")
    query = sa.select(script, sa.func.max(origin["hops"].as_integer()))
    new = query.where(column(level) == identifier, t.instance.c.told > since).group_by(script)
    found = [(script, hops) for script, hops in connection.execute(new)]
    return found[0][0] if len(found) == 1 else None, max((hops or 0 for _, hops in found), default=0)


def _newest(connection: Connection, level: Level, identifier: str) -> Row[Any] | None:
    query = _INSTANCE.where(column(level) == identifier, t.instance.c.told.is_not(None))
    return connection.execute(query.order_by(t.instance.c.told.desc()).limit(1)).first()


# -- writing events ---------------------------------------------------------------------------------------------------

_INSTANCE = sa.select(t.instance)


def _instance(connection: Connection, instance: str) -> Row[Any]:
    return connection.execute(_INSTANCE.where(t.instance.c.id == instance)).one()


def _tell_instance(
    connection: Connection,
    kind: str,
    row: Row[Any],
    at: float,
    facts: dict[str, Any] | None,
    *,
    by: str | None = None,
    of_content: tuple[bytes, dict[str, Any] | None] | None = None,
) -> int:
    """Write an event about a stored instance, with the header and receipt of its content, or those that the event which told it has."""
    if of_content is None:
        last = connection.execute(
            sa.select(t.event.c.header, t.event.c.receipt)
            .where(t.event.c.blob == row.blob, t.event.c.subject == row.id, t.event.c.header.is_not(None))
            .order_by(t.event.c.number.desc())
            .limit(1)
        ).first()
        header, receipt = (last.header, last.receipt) if last else (None, None)
    else:
        header, receipt = of_content
    return events.append(
        connection,
        kind,
        row.id,
        at,
        blob=row.blob,
        content=row.received_sha256,
        header=header,
        origin=Origin(**row.origin),
        receipt=receipt,
        study=row.study_instance_uid,
        facts=facts,
        by=by,
    )


def facts_of(connection: Connection, level: Level, identifier: str) -> LevelFacts | None:
    """Return what there is to tell of a level that is stored, None when it is not."""
    row = _newest(connection, level, identifier)
    return _facts(connection, row, level) if row is not None else None


def _tell(
    connection: Connection, kind: str, row: Row[Any], level: Level, at: float, *, by: str | None = None, **facts: Any
) -> int:
    """Write an event about a level of an instance, which has its newest attributes."""
    identifier = row._mapping[level]  # noqa: SLF001 - SQLAlchemy's public name
    known = _facts(connection, row, level, **facts)
    return events.append(
        connection, kind, identifier, at, study=known.study_instance_uid or None, facts=known.to_json(), by=by
    )


def _facts(connection: Connection, row: Row[Any], level: Level, **facts: Any) -> LevelFacts:
    identifier = row._mapping[level]  # noqa: SLF001 - SQLAlchemy's public name
    first = sa.select(sa.func.min(t.instance.c.told)).where(column(level) == identifier)
    return LevelFacts(
        level=level,
        patient_id=row.patient_id,
        study_instance_uid="" if level == "patient" else row.study_instance_uid,
        series_instance_uid=row.series_instance_uid if level == "series" else "",
        attributes={name: text for one in _ABOVE[level] for name, text in row.attributes[one].items()},
        count=_count(connection, level, identifier),
        first=connection.execute(first).scalar(),
        **facts,
    )
