"""The event log as Orthanc tells it: changes of what is stored, and what was exported. Their numbers are those of the events.

A page looks at a bounded stretch of the log, however many events of other kinds are in it: it may be short, or empty, and not the last.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Generic, Literal, NamedTuple, TypeVar

import sqlalchemy as sa
from sqlalchemy import ColumnElement, Connection, Row

from hostd.archive import events
from hostd.archive import tables as t
from hostd.archive.records import NOBODY, Event

Level = Literal["patient", "study", "series", "instance"]
Log = Literal["changes", "exports"]

_STRETCH = 20_000
"""Events of the log that one page looks at."""

_BEYOND_INSTANCES: tuple[Level, ...] = ("patient", "study", "series")
_KINDS: dict[str, tuple[str, Level]] = {
    "stored_instance": ("NewInstance", "instance"),
    "updated_instance": ("Updated", "instance"),
    "deleted_instance": ("Deleted", "instance"),
    **{f"new_{level}": (f"New{level.capitalize()}", level) for level in _BEYOND_INSTANCES},
    **{f"stable_{level}": (f"Stable{level.capitalize()}", level) for level in _BEYOND_INSTANCES},
    **{f"updated_{level}": ("Updated", level) for level in _BEYOND_INSTANCES},
    **{f"deleted_{level}": ("Deleted", level) for level in _BEYOND_INSTANCES},
}
TYPES = frozenset(kind for kind, _ in _KINDS.values() if kind != "Updated") | {"UpdatedAttachment", "UpdatedMetadata"}
"""Orthanc's words for changes that are told here."""


class Change(NamedTuple):
    """What became of a patient, study, series or instance, in Orthanc's word; `number` is that of the event."""

    number: int
    type: str
    level: Level
    id: str
    at: float


class Export(NamedTuple):
    """A delivery that was sent; `event` is the one that tells of it, with the instance's header where that is still known."""

    number: int
    destination: str
    event: Event


Entry = TypeVar("Entry")


@dataclass(frozen=True)
class Page(Generic[Entry]):
    """Entries in order, the number after which the next page begins, and whether nothing is left beyond it for now."""

    entries: Sequence[Entry]
    last: int
    done: bool


def changes(connection: Connection, *, since: int, limit: int) -> Page[Change]:
    """Return the changes after that number, the oldest first."""
    found = _page(connection, "changes", sorted(_KINDS), since, limit)
    return Page([_change(row) for row in found.entries], found.last, found.done)


def last_change(connection: Connection) -> Page[Change]:
    """Return the newest change, unless nothing but other events came for long."""
    found = _newest(connection, "changes", sorted(_KINDS))
    return Page([_change(row) for row in found.entries], found.last, found.done)


def exports(connection: Connection, *, since: int, limit: int) -> Page[Export]:
    """Return what was sent, as events after that number tell it, the oldest first."""
    found = _page(connection, "exports", ["delivery_done"], since, limit)
    return Page([_export(connection, row) for row in found.entries], found.last, found.done)


def last_export(connection: Connection) -> Page[Export]:
    """Return what was sent last, unless nothing but other events came for long."""
    found = _newest(connection, "exports", ["delivery_done"])
    return Page([_export(connection, row) for row in found.entries], found.last, found.done)


def forget(connection: Connection, log: Log) -> None:
    """Show nothing any more of what was told until now. The events stay, for scripts and for `hostd explain`."""
    upto = events.last_number(connection)
    if connection.execute(sa.update(t.reckoned).where(t.reckoned.c.what == log).values(upto=upto)).rowcount == 0:
        connection.execute(sa.insert(t.reckoned).values(what=log, upto=upto))


def _page(connection: Connection, log: Log, kinds: Sequence[str], since: int, limit: int) -> Page[Row[Any]]:
    newest = events.last_number(connection)
    begin = min(max(since, _forgotten(connection, log), _first(connection) - 1), newest)
    end = begin + _STRETCH
    query = _SELECTED.where(*_among(kinds, begin, end)).order_by(t.event.c.number).limit(limit + 1)
    found = connection.execute(query).all()
    if len(found) > limit:
        shown = found[:limit]
        return Page(shown, shown[-1].number if shown else begin, done=False)
    return Page(found, min(end, newest), done=end >= newest)


def _newest(connection: Connection, log: Log, kinds: Sequence[str]) -> Page[Row[Any]]:
    newest = events.last_number(connection)
    begin = max(newest - _STRETCH, _forgotten(connection, log))
    query = _SELECTED.where(*_among(kinds, begin, newest)).order_by(t.event.c.number.desc()).limit(1)
    return Page(connection.execute(query).all(), newest, done=True)


_SELECTED = sa.select(*(t.event.c[name] for name in ("number", "kind", "subject", "facts", "at")))


def _among(kinds: Sequence[str], begin: int, end: int) -> tuple[ColumnElement[bool], ...]:
    return (
        t.event.c.number > begin,
        t.event.c.number <= end,
        t.event.c.kind.in_(kinds),
        t.event.c.repeats.is_(None),
        sa.or_(t.event.c.only_for.is_(None), t.event.c.only_for == NOBODY),
    )


def _first(connection: Connection) -> int:
    """Return the number of the oldest event that is kept, 1 where there is none."""
    return connection.execute(sa.select(sa.func.min(t.event.c.number))).scalar() or 1


def _forgotten(connection: Connection, log: Log) -> int:
    return connection.execute(sa.select(t.reckoned.c.upto).where(t.reckoned.c.what == log)).scalar() or 0


def _change(row: Row[Any]) -> Change:
    word, level = _KINDS[row.kind]
    if word == "Updated":
        changed = {"content", "attachments"} & set((row.facts or {}).get("changes", ()))
        word += "Attachment" if changed else "Metadata"
    return Change(row.number, word, level, row.subject, row.at)


def _export(connection: Connection, row: Row[Any]) -> Export:
    event = events.get(connection, row.number)
    assert event is not None
    return Export(row.number, row.facts["destination"], event)
