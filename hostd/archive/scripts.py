"""Scripts, their versions and their cursors."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import sqlalchemy as sa
from sqlalchemy import Connection

from hostd.archive import events, occurrences
from hostd.archive import tables as t
from hostd.archive.cursors import (
    StaleTokenError,
    advance,
    count_parked,
    fence,
    finish_out_of_order,
    get_cursor,
    read,
)
from hostd.archive.records import Cursor


@dataclass(frozen=True, slots=True)
class KnownScript:
    """A script as the index knows it. `version` is the hash of the source that runs, or ran last."""

    name: str
    version: str | None
    state: str
    error: str | None
    absent_since: float | None
    cursor: Cursor
    handlers: tuple[str, ...]
    skipped: int = 0
    """Events that the cursor passed without asking the script, because of what it declared by `handles`."""
    pinned: str | None = None
    """The version that someone wants to run, although its file holds another text: `pinned_over`."""
    pinned_over: str | None = None
    approved: str | None = None
    """The text of its file that was deployed by hand."""
    waiting: str | None = None
    """The text of its file that is not taken yet."""
    disabled: bool = False
    parked: str | None = None
    """The version that the node gave up; `parked_why` says why."""
    parked_why: str | None = None
    warning: str | None = None
    """What of the version that runs, or ran last, will not work."""

    @property
    def standing(self) -> str:
        """Its state for people: what was decided about it comes before what the node did last."""
        if self.state == "absent":
            return "absent"
        if self.disabled:
            return "disabled"
        return "parked" if self.parked is not None and self.state != "running" else self.state

    @property
    def rests(self) -> bool:
        """Whether nothing of it is to run."""
        return self.disabled or self.parked is not None

    @property
    def trouble(self) -> str | None:
        """Why it does not run as it should; None when it does."""
        of_what_runs = f"of the version that runs, {self.warning}" if self.error and self.warning else self.warning
        return "; ".join(why for why in (self.parked_why, self.error, of_what_runs) if why) or None


@dataclass(frozen=True, slots=True)
class Version:
    """One accepted source of a script, with the sources of the user's own modules that it may import."""

    hash: str
    source: str
    handlers: tuple[str, ...]
    helpers: Mapping[str, str] = field(default_factory=dict)


_DECIDED = ("pinned", "pinned_over", "approved", "waiting", "disabled", "parked", "parked_why", "warning")


def known(connection: Connection) -> list[KnownScript]:
    """Return all scripts that have a cursor, by name."""
    query = (
        sa.select(
            t.script,
            *t.cursor.c["low_water", "finished", "token", "skipped", "parked_in_a_row"],
            t.script_version.c.handlers,
        )
        .join(t.cursor, t.cursor.c.script == t.script.c.name)
        .outerjoin(
            t.script_version,
            sa.and_(t.script_version.c.script == t.script.c.name, t.script_version.c.hash == t.script.c.version),
        )
        .order_by(t.script.c.name)
    )
    return [
        KnownScript(
            row.name,
            row.version,
            row.state,
            row.error,
            row.absent_since,
            Cursor(row.name, row.low_water, read(row.finished), row.token, row.parked_in_a_row),
            tuple(row.handlers or ()),
            row.skipped,
            **{name: getattr(row, name) for name in _DECIDED},
        )
        for row in connection.execute(query)
    ]


def find(connection: Connection, name: str) -> KnownScript | None:
    """Return the script of that name, if its name was ever seen and is not forgotten."""
    return next((script for script in known(connection) if script.name == name), None)


def meet(connection: Connection, name: str, at: float, *, from_beginning: bool) -> bool:
    """Make the acquaintance of a script: a name never seen starts at now, or at the oldest event when asked to.

    A name that is known goes on where it stopped. Return whether it was new.
    """
    if find(connection, name) is not None:
        return False
    low_water = 0 if from_beginning else events.last_number(connection)
    connection.execute(sa.insert(t.script).values(name=name, state="expected", first_seen=at))
    connection.execute(sa.insert(t.cursor).values(script=name, low_water=low_water, finished=[], token=0))
    return True


def accept(connection: Connection, name: str, version: Version, at: float) -> tuple[Cursor, bool]:
    """Let a version run: its source is kept, the fencing token moves, so that no earlier run can commit any more.

    Return the cursor, and whether this is another version than the one that ran last or a return after absence; then a `start` event for
    it is in the log. Why a newer edit was not taken stays noted: see `refuse`.
    """
    script = find(connection, name)
    assert script is not None, "a script is met before a version of it is accepted"
    if (
        connection.execute(
            sa.select(t.script_version.c.hash).where(
                t.script_version.c.script == name, t.script_version.c.hash == version.hash
            )
        ).first()
        is None
    ):
        connection.execute(
            sa.insert(t.script_version).values(
                script=name,
                hash=version.hash,
                source=version.source,
                helpers=dict(version.helpers),
                handlers=list(version.handlers),
                accepted_at=at,
            )
        )
    is_new = script.version != version.hash or script.state != "running"
    if is_new:
        events.append(connection, "start", name, at, content=version.hash)
        end_period(connection, name, at)
        connection.execute(sa.insert(t.script_period).values(script=name, version=version.hash, since=at))
    connection.execute(
        sa.update(t.script)
        .where(t.script.c.name == name)
        .values(version=version.hash, state="running", absent_since=None, parked=None, parked_why=None)
    )
    fence(connection, name)
    return get_cursor(connection, name), is_new


def get_version(connection: Connection, name: str, version: str) -> Version | None:
    """Return a source that ran once."""
    row = connection.execute(
        sa.select(t.script_version).where(t.script_version.c.script == name, t.script_version.c.hash == version)
    ).first()
    return Version(row.hash, row.source, tuple(row.handlers), row.helpers) if row else None


def versions(connection: Connection, name: str) -> list[Version]:
    """Return every source of that script that ran, in the order in which they were accepted."""
    query = (
        sa.select(t.script_version)
        .where(t.script_version.c.script == name)
        .order_by(t.script_version.c.accepted_at, t.script_version.c.hash)
    )
    return [Version(row.hash, row.source, tuple(row.handlers), row.helpers) for row in connection.execute(query)]


def end_period(connection: Connection, name: str, at: float) -> None:
    """Note that no version of the script runs any more."""
    open_one = t.script_period.c.script == name, t.script_period.c.until.is_(None)
    connection.execute(sa.update(t.script_period).where(*open_one).values(until=at))


def refuse(connection: Connection, name: str, error: str | None, *, goes_on: bool = True) -> None:
    """Note why the newest edit of a script was not taken (P5). None: the edit was taken back, or a better one came.

    A version that runs goes on running unless `goes_on` says that there is none; a script without one is broken. Its file is there
    either way, so it is not absent.
    """
    values: dict[str, Any] = {"error": error}
    if error is not None:
        running = sa.and_(t.script.c.state == "running", sa.literal(goes_on))
        values |= {"state": sa.case((running, "running"), else_="broken"), "absent_since": None}
    connection.execute(sa.update(t.script).where(t.script.c.name == name).values(**values))


def warn(connection: Connection, name: str, warning: str | None) -> None:
    """Note what of the version that is to run will not work; None: nothing that is known of."""
    connection.execute(sa.update(t.script).where(t.script.c.name == name).values(warning=warning))


def vanish(connection: Connection, name: str, at: float) -> None:
    """Note that a script's file is gone. Its cursor stays, and no run of it can commit any more."""
    connection.execute(
        sa.update(t.script)
        .where(t.script.c.name == name, t.script.c.absent_since.is_(None))
        .values(state="absent", absent_since=at)
    )
    end_period(connection, name, at)
    fence(connection, name)


def rest(connection: Connection, name: str, at: float) -> None:
    """Note that a script that was disabled has stopped. Its cursor stays, and no run of it can commit any more."""
    connection.execute(
        sa.update(t.script)
        .where(t.script.c.name == name)
        .values(state=sa.case((t.script.c.parked.is_not(None), "parked"), else_="disabled"))
    )
    end_period(connection, name, at)
    fence(connection, name)


def park(connection: Connection, name: str, token: int, version: str, why: str, at: float) -> None:
    """Give a version of a script up, for the reason in `why`, and tell of it. Its cursor stays where it is, and nothing after it is committed.

    Raises `StaleTokenError` when the token is no longer the caller's.
    """
    if get_cursor(connection, name).token != token:
        raise StaleTokenError(f"{name}: another version has taken over; it is not parked")
    connection.execute(
        sa.update(t.script).where(t.script.c.name == name).values(state="parked", parked=version, parked_why=why)
    )
    end_period(connection, name, at)
    fence(connection, name)
    occurrences.script_parked(connection, name, why, at)


def forget_absent(connection: Connection, *, absent_before: float) -> list[str]:
    """Forget the scripts that were gone for too long, with their cursors; return their names. Their runs and actions stay."""
    names = list(
        connection.execute(sa.select(t.script.c.name).where(t.script.c.absent_since < absent_before)).scalars()
    )
    for table in (t.cursor, t.script_version, t.script_period, t.schedule, t.script_state, t.usage):
        connection.execute(sa.delete(table).where(table.c.script.in_(names)))
    connection.execute(sa.delete(t.script).where(t.script.c.name.in_(names)))
    return names


__all__ = [
    "KnownScript",
    "StaleTokenError",
    "Version",
    "accept",
    "advance",
    "count_parked",
    "end_period",
    "fence",
    "find",
    "finish_out_of_order",
    "forget_absent",
    "get_cursor",
    "get_version",
    "known",
    "meet",
    "park",
    "refuse",
    "rest",
    "vanish",
    "versions",
    "warn",
]
