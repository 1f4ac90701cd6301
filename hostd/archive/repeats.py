"""Giving events of the past to a script again: what it was parked on, or missed.

A repeated event is a new event for one script alone (`events.repeat`), so that its plan enters exactly once (P2).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import sqlalchemy as sa
from sqlalchemy import ColumnElement, Connection, Row

from hostd.archive import events
from hostd.archive import tables as t
from hostd.archive.records import NOBODY, Event
from hostd.archive.scripts import KnownScript

_OWN = ("start", "stop")


@dataclass(frozen=True, slots=True)
class ParkedEvent:
    """An event that a script could not digest: its run, and the event, None when it is no longer kept."""

    script: str
    version: str
    number: int
    error: str
    at: float
    event: Event | None


@dataclass(frozen=True, slots=True)
class Repeated:
    """What became of one event that was to be given again: its new number, or why it is left."""

    number: int
    again_as: int | None = None
    left: str | None = None


def parked(connection: Connection, script: str | None = None) -> list[ParkedEvent]:
    """Return the events that scripts, or one script, were parked on and that were not given again since, in order."""
    query = sa.select(t.run).where(t.run.c.outcome == "parked", t.run.c.repeated_as.is_(None)).order_by(t.run.c.id)
    if script is not None:
        query = query.where(t.run.c.script == script)
    return [
        ParkedEvent(row.script, row.version, row.event, row.error or "", row.at, events.get(connection, row.event))
        for row in connection.execute(query).all()
    ]


def count_parked(connection: Connection, script: str) -> int:
    """Return how many events that script was parked on and were not given again."""
    return connection.execute(
        sa.select(sa.func.count())
        .select_from(t.run)
        .where(t.run.c.outcome == "parked", t.run.c.repeated_as.is_(None), t.run.c.script == script)
    ).scalar_one()


def of_the_past(
    connection: Connection,
    kinds: Sequence[str],
    *,
    script: str | None = None,
    study: str | None = None,
    subjects: Sequence[str] | None = None,
    since: float | None = None,
) -> list[int]:
    """Return the events of these kinds, those for all scripts, for nobody and for `script` alone, in order: of a Study Instance UID, about these instances, from a time on."""
    where: list[ColumnElement[bool]] = [t.event.c.kind.in_(kinds), t.event.c.repeats.is_(None)]
    where.append(sa.or_(t.event.c.only_for.is_(None), t.event.c.only_for.in_([NOBODY, script or NOBODY])))
    if study is not None:
        where.append(t.event.c.study == study)
    if subjects is not None:
        where.append(t.event.c.subject.in_(subjects))
    if since is not None:
        where.append(t.event.c.at >= since)
    return list(connection.execute(sa.select(t.event.c.number).where(*where).order_by(t.event.c.number)).scalars())


def again(
    connection: Connection, script: KnownScript, numbers: Sequence[int], now: float, *, even_if_done: bool = False
) -> list[Repeated]:
    """Give events to a script again, each once, in the caller's transaction; say of each what became of it.

    Left are those that are no longer kept, that the script has not had yet, and that it had with an effect, unless `even_if_done`.
    """
    return [_again(connection, script, number, now, even_if_done=even_if_done) for number in dict.fromkeys(numbers)]


def _again(connection: Connection, script: KnownScript, number: int, now: float, *, even_if_done: bool) -> Repeated:
    event = events.get(connection, number)
    root = number if event is None or event.repeats is None else event.repeats
    family = _family(connection, script.name, root)
    why = _why_not(connection, script, event, family, even_if_done=even_if_done)
    if why is not None:
        return Repeated(number, left=why)
    new = events.repeat(connection, root if _is_kept(connection, root) else number, script.name, now)
    connection.execute(sa.update(t.event).where(t.event.c.number == new).values(repeats=root))
    parked_runs = t.run.c.script == script.name, t.run.c.event.in_(family), t.run.c.repeated_as.is_(None)
    connection.execute(sa.update(t.run).where(*parked_runs, t.run.c.outcome == "parked").values(repeated_as=new))
    return Repeated(number, again_as=new)


def _why_not(
    connection: Connection, script: KnownScript, event: Event | None, family: Sequence[int], *, even_if_done: bool
) -> str | None:
    if event is None:
        return "there is none of that number, or it is no longer kept (node.events_days)"
    if why := _why_never(script, event):
        return why
    waiting = [one for one in family if not script.cursor.has_passed(one)]
    if waiting:
        where = f", as event {waiting[-1]}" if waiting[-1] != event.number else ""
        return f"it waits for {script.name} already{where}"
    if event.blob is not None and not _has_file(connection, event.blob):
        return "its file was removed since, so there is nothing left to act upon"
    if not even_if_done and _has_done(connection, script.name, family):
        return f"{script.name} has had it with an effect (--again runs it all the same)"
    return None


def _why_never(script: KnownScript, event: Event) -> str | None:
    """Say why an event is not one for that script to run again."""
    if event.only_for not in (None, NOBODY, script.name):
        return f"it is an event for {event.only_for} alone"
    if event.kind in _OWN:
        return f"on_{event.kind} is about the script itself: it runs with its next version, or after `hostd scripts enable`"
    if event.handler not in script.handlers:
        return f"{script.name} has no {event.handler}"
    return None


def _family(connection: Connection, script: str, root: int) -> list[int]:
    """Return an event and those that repeat it for the script."""
    query = sa.select(t.event.c.number).where(t.event.c.repeats == root, t.event.c.only_for == script)
    return [root, *connection.execute(query.order_by(t.event.c.number)).scalars()]


def _is_kept(connection: Connection, number: int) -> bool:
    return _first(connection, sa.select(t.event.c.number).where(t.event.c.number == number)) is not None


def _has_file(connection: Connection, blob: str) -> bool:
    return (
        _first(connection, sa.select(t.blob.c.name).where(t.blob.c.name == blob, t.blob.c.state == "present"))
        is not None
    )


def _has_done(connection: Connection, script: str, family: Sequence[int]) -> bool:
    done = t.run.c.script == script, t.run.c.event.in_(family), t.run.c.outcome == "done"
    return _first(connection, sa.select(t.run.c.id).where(*done).limit(1)) is not None


def _first(connection: Connection, query: sa.Select[Any]) -> Row[Any] | None:
    return connection.execute(query).first()


__all__ = ["ParkedEvent", "Repeated", "again", "count_parked", "of_the_past", "parked"]
