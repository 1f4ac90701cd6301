"""What people decide about scripts: rows that a node follows, whether it runs now or starts later."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import sqlalchemy as sa
from sqlalchemy import Connection

from hostd.archive import events, scripts, usage
from hostd.archive import tables as t
from hostd.archive.scripts import KnownScript
from hostd.errors import HostdError


class OrderError(HostdError):
    """What was asked for makes no sense for this script as it is; nothing was changed."""


@dataclass(frozen=True, slots=True)
class Period:
    """A time in which a version of a script ran; `until` is None while it does."""

    version: str
    since: float
    until: float | None


def needed(connection: Connection, name: str) -> KnownScript:
    """Return a script. Raises `OrderError` when no script of that name was ever seen."""
    known = scripts.find(connection, name)
    if known is None:
        there = ", ".join(one.name for one in scripts.known(connection)) or "none"
        raise OrderError(f"no script is called {name}; there are: {there}")
    return known


def periods(connection: Connection, name: str) -> list[Period]:
    """Return when which version of a script ran, in order."""
    query = sa.select(t.script_period).where(t.script_period.c.script == name).order_by(t.script_period.c.id)
    return [Period(row.version, row.since, row.until) for row in connection.execute(query)]


def version_named(connection: Connection, name: str, beginning: str) -> str:
    """Return the version of a script whose hash begins so. Raises `OrderError` when it is none, or several."""
    found = [version.hash for version in scripts.versions(connection, name) if version.hash.startswith(beginning)]
    if len(found) == 1:
        return found[0]
    what = "several versions begin" if found else "no version that ran begins"
    raise OrderError(f"{name}: {what} with {beginning!r}; `hostd scripts history {name}` lists them")


def earlier(connection: Connection, name: str) -> str:
    """Return the version that ran before the one that runs, or ran last. Raises `OrderError` when there is none."""
    present = needed(connection, name).version
    for period in reversed(periods(connection, name)):
        if period.version != present:
            return period.version
    raise OrderError(f"{name}: no other version of it ever ran")


def pin(connection: Connection, name: str, version: str, *, over: str) -> None:
    """Have an earlier version run again, although its file holds the text `over`; what is not taken until the file changes."""
    known = needed(connection, name)
    if version == known.version and known.parked is None:
        raise OrderError(f"{name}: {version[:12]} is the version that runs, or ran last")
    _update(connection, name, pinned=version, pinned_over=over, approved=None)


def release(connection: Connection, name: str, *, expected: KnownScript | None = None) -> bool:
    """Let what the file holds run again; only if it is still pinned as `expected` says. Return whether it was pinned."""
    known = needed(connection, name)
    if known.pinned is None:
        return False
    if expected is not None and (known.pinned, known.pinned_over) != (expected.pinned, expected.pinned_over):
        return False
    _update(connection, name, pinned=None, pinned_over=None)
    return True


def approve(connection: Connection, name: str, text: str) -> None:
    """Let the text of that hash be taken from the file; a version that was pinned no longer is."""
    needed(connection, name)
    _update(connection, name, approved=text, pinned=None, pinned_over=None)


def disable(connection: Connection, name: str) -> None:
    """Have a script rest, and its events wait."""
    if needed(connection, name).disabled:
        raise OrderError(f"{name} is disabled already")
    _update(connection, name, disabled=True)


def enable(connection: Connection, name: str, *, skip: bool) -> int:
    """Let a script go on that was disabled or parked; return how many events wait for it, or were left out by `skip`.

    Its quotas, and the events that were parked in a row, are counted anew.
    """
    known = needed(connection, name)
    if not known.disabled and known.parked is None:
        raise OrderError(f"{name} is neither disabled nor parked")
    behind = behind_of(connection, known)
    state = "expected" if known.state in {"disabled", "parked"} else known.state
    _update(connection, name, state=state, disabled=False, parked=None, parked_why=None)
    usage.reset(connection, name)
    values = {"parked_in_a_row": 0}
    if skip:
        values |= {"low_water": events.last_number(connection), "token": known.cursor.token + 1}
        connection.execute(sa.update(t.cursor).where(t.cursor.c.script == name).values(finished=[]))
    connection.execute(sa.update(t.cursor).where(t.cursor.c.script == name).values(**values))
    return behind


def behind_of(connection: Connection, known: KnownScript) -> int:
    """Return how many events a script has not had yet."""
    ahead = sum(events.count_among(connection, *span, script=known.name) for span in known.cursor.finished)
    return events.count_after(connection, known.cursor.low_water, script=known.name) - ahead


def note_waiting(connection: Connection, name: str, text: str | None, *, error: str | None) -> None:
    """Note that the text of that hash is in the file and is not taken, and what is wrong with it."""
    _update(connection, name, waiting=text, error=error)


def decided(connection: Connection) -> Sequence[tuple[object, ...]]:
    """Return what people decided about all scripts, and what became of it, to be compared with what it was.

    The token grows with every version that was accepted and every script that was parked, so that no state is taken for an earlier one.
    """
    columns = ("name", "state", "pinned", "pinned_over", "approved", "disabled", "parked")
    query = sa.select(*t.script.c[columns], t.cursor.c.token).join(t.cursor, t.cursor.c.script == t.script.c.name)
    return [tuple(row) for row in connection.execute(query.order_by(t.script.c.name))]


def _update(connection: Connection, name: str, **values: object) -> None:
    connection.execute(sa.update(t.script).where(t.script.c.name == name).values(**values))


__all__ = [
    "OrderError",
    "Period",
    "approve",
    "behind_of",
    "decided",
    "disable",
    "earlier",
    "enable",
    "needed",
    "note_waiting",
    "periods",
    "pin",
    "release",
    "version_named",
]
