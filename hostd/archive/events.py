"""The event log: what happened, in commit order (P2)."""

from __future__ import annotations

import json
from collections.abc import Collection, Sequence
from dataclasses import replace
from typing import Any

import msgspec
import sqlalchemy as sa
from sqlalchemy import Connection, Row

from hostd.archive import rows
from hostd.archive import tables as t
from hostd.archive.records import NOBODY, SCHEDULE, Event, Origin

FOLLOWING = ("delivery_done", "delivery_failed", "transcode_failed", "action_done")
"""Kinds of event about what was done with an instance that an earlier event told of."""

_OWN = ("start", "stop")


def kinds_of(handlers: Collection[str]) -> set[str]:
    """Return the kinds of events that are for functions of these names, without those about the script itself."""
    kinds = {name.removeprefix("on_") for name in handlers if name.startswith("on_")}
    by_the_clock = {SCHEDULE for name in handlers if not name.startswith(("on_", "filter_"))}
    return (kinds | by_the_clock) - set(_OWN)


class _Study(msgspec.Struct):
    """The one part of an encoded header that has a column of its own."""

    study_instance_uid: str


_STUDY = msgspec.msgpack.Decoder(_Study)


def append(
    connection: Connection,
    kind: str,
    subject: str,
    at: float,
    *,
    blob: str | None = None,
    content: str | None = None,
    header: bytes | None = None,
    origin: Origin | None = None,
    receipt: dict[str, Any] | None = None,
    study: str | None = None,
    facts: dict[str, Any] | None = None,
    by: str | None = None,
    only_for: str | None = None,
) -> int:
    """Write an event, for all scripts or `only_for` one, and return its number; `study` is a Study Instance UID, and that of the header where there is one. On SQLite numbers are commit-ordered, since one transaction writes at a time.

    What is the doing of a script (`by`) is told to all others.
    """
    return rows.insert(
        connection,
        t.event,
        kind=kind,
        subject=subject,
        study=study_of(header) if study is None and header is not None else study,
        blob=blob,
        content=content,
        header=header,
        origin=origin.to_json() if origin else None,
        receipt=receipt,
        facts=facts,
        at=at,
        by=by,
        only_for=only_for,
    )


def hops_of(event: Event) -> int:
    """Return how many acts of scripts an event followed from, each at the event of the one before it."""
    return int((event.facts or {}).get("hops", 0))


def study_of(header: bytes) -> str:
    """Return the Study Instance UID of an encoded header."""
    return _STUDY.decode(header).study_instance_uid


def after(
    connection: Connection, number: int, kinds: Collection[str], limit: int, *, script: str | None = None
) -> list[Event]:
    """Return the events of these kinds above `number`, in order: those for all scripts, and those for `script` alone."""
    query = _AFTER if script is None else _AFTER_OF
    asked = {"above": number, "kinds": sorted(kinds), "script": script, "most": limit}
    return [complete(connection, _event(row)) for row in connection.execute(query, asked).all()]


def above(connection: Connection, number: int, limit: int) -> list[Event]:
    """Return the events above `number`, in order, whatever they are and whoever they are for, as they stand there: see `complete`."""
    return [_of_driver(row) for row in _ABOVE_NOW.rows(connection, above=number, most=limit)]


def is_for(event: Event, script: str) -> bool:
    """Tell whether an event is for a script: for all and not its own doing, or for it alone."""
    return event.only_for in (None, script) and event.by != script


def latest(connection: Connection, kinds: Collection[str], limit: int, *, scripts: Collection[str] = ()) -> list[Event]:
    """Return the newest events of these kinds, in order: those for all scripts, for nobody, and for one of these.

    One that was given to a script again is not among them twice.
    """
    is_for = sa.or_(t.event.c.only_for.is_(None), t.event.c.only_for.in_(sorted({NOBODY, *scripts})))
    query = (
        sa.select(t.event)
        .where(t.event.c.kind.in_(sorted(kinds)), t.event.c.repeats.is_(None), is_for)
        .order_by(t.event.c.number.desc())
        .limit(limit)
    )
    return [complete(connection, _event(row)) for row in reversed(connection.execute(query).all())]


def last_own(connection: Connection, kind: str, script: str, version: str) -> Event | None:
    """Return the newest `start` or `stop` event of that version of a script, whether the script has had it or not."""
    query = (
        sa.select(t.event)
        .where(t.event.c.subject == script, t.event.c.kind == kind, t.event.c.content == version)
        .order_by(t.event.c.number.desc())
        .limit(1)
    )
    row = connection.execute(query).first()
    return _event(row) if row else None


def get(connection: Connection, number: int) -> Event | None:
    """Return one event."""
    row = connection.execute(sa.select(t.event).where(t.event.c.number == number)).first()
    return complete(connection, _event(row)) if row else None


def last_origin(connection: Connection, subject: str) -> Origin | None:
    """Return the newest origin that an event of that instance has."""
    query = (
        sa.select(t.event)
        .where(t.event.c.subject == subject, t.event.c.header.is_not(None))
        .order_by(t.event.c.number.desc())
        .limit(1)
    )
    row = connection.execute(query).first()
    return _event(row).origin if row else None


def last_number(connection: Connection) -> int:
    """Return the number of the newest event, 0 when there was none."""
    return connection.execute(_LAST).scalar() or 0


def count_after(connection: Connection, number: int, *, script: str | None = None) -> int:
    """Return how many events are above `number`: those for all scripts, and those for `script` alone."""
    return connection.execute(
        sa.select(sa.func.count()).select_from(t.event).where(t.event.c.number > number, _is_for(script))
    ).scalar_one()


def count_among(connection: Connection, first: int, last: int, *, script: str) -> int:
    """Return how many events from `first` to `last` are for that script."""
    among = sa.and_(t.event.c.number.between(first, last), _is_for(script))
    return connection.execute(sa.select(sa.func.count()).select_from(t.event).where(among)).scalar_one()


def _is_for(script: Any) -> sa.ColumnElement[bool]:
    """Return the condition on events for a script (its name, or what stands for it), or for all (None)."""
    is_for = sa.or_(t.event.c.only_for.is_(None), t.event.c.only_for == script)
    return is_for if script is None else sa.and_(is_for, sa.or_(t.event.c.by.is_(None), t.event.c.by != script))


# Made once: to make a statement takes longer than to execute it, and every script asks after every event.
_LAST = sa.select(sa.func.max(t.event.c.number))
_ABOVE = (
    sa.select(t.event)
    .where(t.event.c.number > sa.bindparam("above"))
    .order_by(t.event.c.number)
    .limit(sa.bindparam("most"))
)
_ABOVE_NOW = rows.Prepared(_ABOVE)
_UP_FROM = _ABOVE.where(t.event.c.kind.in_(sa.bindparam("kinds", expanding=True)))
_AFTER = _UP_FROM.where(_is_for(None))
_AFTER_OF = _UP_FROM.where(_is_for(sa.bindparam("script", type_=sa.Text)))


def repeat(connection: Connection, number: int, script: str, at: float) -> int:
    """Write an event of the past again, for one script alone; return the new number.

    What it speaks of is the same, and the number is its own: so the script's cursor passes it once, its plan enters once, and until
    then its file is kept.
    """
    own = {"number", "at", "only_for", "repeats", "by"}
    names = [column.name for column in t.event.c if column.name not in own]
    same = (t.event.c[name] for name in names)
    query = sa.select(*same, sa.literal(at), sa.literal(script), sa.literal(number)).where(t.event.c.number == number)
    connection.execute(sa.insert(t.event).from_select([*names, "at", "only_for", "repeats"], query))
    return last_number(connection)


def purge(connection: Connection, *, older_than: float, limit: int) -> int:
    """Forget old events that every script has passed; return how many. At most `limit`, so that the writer stays free."""
    lowest = sa.select(sa.func.min(t.cursor.c.low_water)).scalar_subquery()
    old = (
        sa.select(t.event.c.number)
        .where(t.event.c.at < older_than, t.event.c.number <= sa.func.coalesce(lowest, sa.literal(2**62)))
        .limit(limit)
    )
    return connection.execute(sa.delete(t.event).where(t.event.c.number.in_(old))).rowcount


def is_incomplete(event: Event) -> bool:
    """Tell whether an event lacks the instance that it tells of; see `complete`."""
    return event.kind in FOLLOWING and event.header is None


def complete(connection: Connection, event: Event) -> Event:
    """Give an event about something that was done with an instance that instance, as it was when this was asked for.

    Its row holds no header, to be small: that of the event which it follows from is read again, while that is kept.
    """
    if not is_incomplete(event):
        return event
    same = t.event.c.subject == event.subject, t.event.c.content == event.content, t.event.c.header.is_not(None)
    of = (event.facts or {}).get("of")
    query = sa.select(t.event).where(*same, t.event.c.number <= event.number)
    preferred = (t.event.c.number == of).desc(), t.event.c.number.desc()
    row = connection.execute(query.order_by(*preferred).limit(1)).first()
    if row is None:
        return event
    told = _event(row)
    return replace(event, header=told.header, origin=told.origin, receipt=told.receipt)


def _event(row: Row[Any]) -> Event:
    return Event(
        number=row.number,
        kind=row.kind,
        subject=row.subject,
        blob=row.blob,
        content=row.content,
        header=row.header,
        origin=Origin(**row.origin) if row.origin else None,
        at=row.at,
        receipt=row.receipt,
        facts=row.facts,
        only_for=row.only_for,
        repeats=row.repeats,
        by=row.by,
        study=row.study,
    )


_NAMES = tuple(column.name for column in t.event.c)
_JSON = tuple(column.name for column in t.event.c if isinstance(column.type, sa.JSON))


def _of_driver(row: Sequence[Any]) -> Event:
    """Return the event of a row as the driver gives it: of SQLite JSON is text."""
    values = dict(zip(_NAMES, row, strict=True))
    for name in _JSON:
        if isinstance(values[name], str):
            values[name] = json.loads(values[name])
    origin = values.pop("origin")
    return Event(origin=Origin(**origin) if origin else None, **values)
