"""The instances of a series, study or patient as of an event, page by page."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import sqlalchemy as sa
from sqlalchemy import Connection

from hostd.archive import events, levels
from hostd.archive import tables as t
from hostd.archive.fanout import Many
from hostd.archive.levels import LevelFacts
from hostd.archive.records import Event, Origin

_MAX_ORIGINS = 100


@dataclass(frozen=True, slots=True)
class Member:
    """An instance of a level. `header` is encoded, and None where no event holds it any more: the file does."""

    id: str
    told: int
    blob: str
    header: bytes | None
    origin: Origin
    receipt: dict[str, Any] | None


def page(
    connection: Connection, event: Event, facts: LevelFacts, *, new_only: bool, after: tuple[int, str], limit: int
) -> list[Member]:
    """Return members as of the event that come after (`told`, `id`), in the order in which they were told."""
    told, identifier = t.instance.c.told, t.instance.c.id
    query = (
        sa.select(identifier, told, t.instance.c.blob, t.instance.c.origin)
        .where(
            levels.members(facts.level, event.subject, event.number, since=facts.since if new_only else -1),
            sa.or_(told > after[0], sa.and_(told == after[0], identifier > after[1])),
        )
        .order_by(told, identifier)
        .limit(limit)
    )
    found: list[Member] = []
    for row in connection.execute(query).all():
        header, receipt = _header(connection, row.id, row.blob)
        found.append(Member(row.id, row.told, row.blob, header, Origin(**row.origin), receipt))
    return found


def of_instance(connection: Connection, instance: str) -> tuple[str, Member] | None:
    """Return an instance that is stored and told, with the identifier of its series."""
    query = sa.select(t.instance).where(t.instance.c.id == instance, t.instance.c.told.is_not(None))
    row = connection.execute(query).first()
    if row is None:
        return None
    header, receipt = _header(connection, row.id, row.blob)
    return row.series, Member(row.id, row.told, row.blob, header, Origin(**row.origin), receipt)


def first(connection: Connection, event: Event, facts: LevelFacts) -> Member | None:
    """Return the first member as it was at the event, also if it was replaced or deleted since, as long as its event is kept."""
    told = events.get(connection, facts.first) if facts.first is not None else None
    if told is not None and told.blob is not None and told.origin is not None and told.kind != "updated_instance":
        return Member(told.subject, told.number, told.blob, told.header, told.origin, told.receipt)
    return next(iter(page(connection, event, facts, new_only=False, after=(-1, ""), limit=1)), None)


def blob_of(connection: Connection, event: Event, facts: LevelFacts, instance: str) -> str | None:
    """Return the file of a member; None when it is none, or was replaced or deleted since."""
    is_member = levels.members(facts.level, event.subject, event.number)
    blob: str | None = connection.execute(
        sa.select(t.instance.c.blob).where(t.instance.c.id == instance, is_member)
    ).scalar()
    if blob is not None:
        return blob
    begun = first(connection, event, facts)
    return begun.blob if begun is not None and begun.id == instance else None


def blob_of_one(connection: Connection, many: Many) -> str | None:
    """Return the file of one instance that was found; None when it was deleted since, or it is many that were."""
    if not many.instance:
        return None
    blob: str | None = connection.execute(sa.select(t.instance.c.blob).where(many.condition)).scalar()
    return blob


def origins(connection: Connection, event: Event, facts: LevelFacts) -> list[Origin]:
    """Return where the members came from, each once; associations are not told apart. At most 100."""
    query = sa.select(t.instance.c.origin).where(levels.members(facts.level, event.subject, event.number))
    found = [facts.gone] if facts.gone is not None else connection.execute(query.order_by(t.instance.c.told)).scalars()
    different: dict[Origin, None] = {}
    for origin in found:
        different[Origin(**{key: value for key, value in origin.items() if key != "association"})] = None
        if len(different) == _MAX_ORIGINS:
            break
    return list(different)


def _header(connection: Connection, instance: str, blob: str) -> tuple[bytes | None, dict[str, Any] | None]:
    query = sa.select(t.event.c.header, t.event.c.receipt).where(
        t.event.c.blob == blob, t.event.c.subject == instance, t.event.c.header.is_not(None)
    )
    row = connection.execute(query.order_by(t.event.c.number.desc()).limit(1)).first()
    return (row.header, row.receipt) if row else (None, None)
