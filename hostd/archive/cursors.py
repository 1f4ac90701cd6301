"""Cursors: how far a script is in the event log, in order and out of it (P2)."""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from dataclasses import replace
from typing import Any

import sqlalchemy as sa
from sqlalchemy import Connection

from hostd.archive import rows
from hostd.archive import tables as t
from hostd.archive.records import Cursor, Span
from hostd.errors import HostdError


class StaleTokenError(HostdError):
    """Another holder of this cursor has taken over, or what must be done before is not; what this run asked for is discarded."""


def get_cursor(connection: Connection, script: str) -> Cursor:
    """Return a script's place in the event log."""
    ((low_water, finished, token, parked_in_a_row),) = _OF.rows(connection, of=script)
    spans = json.loads(finished) if isinstance(finished, str) else finished  # as the driver gives it
    return Cursor(script, low_water, read(spans), token, parked_in_a_row)


# Statements of what happens with each event are made once: to make one takes longer than to execute it.
_OF = rows.Prepared(
    sa.select(t.cursor.c.low_water, t.cursor.c.finished, t.cursor.c.token, t.cursor.c.parked_in_a_row).where(
        t.cursor.c.script == sa.bindparam("of")
    )
)
_MOVE = rows.Prepared(
    sa.update(t.cursor)
    .where(t.cursor.c.script == sa.bindparam("of"), t.cursor.c.token == sa.bindparam("mine"))
    .values(low_water=sa.bindparam("low_water"), finished=sa.bindparam("finished"))
)
_SKIP = rows.Prepared(
    sa.update(t.cursor)
    .where(t.cursor.c.script == sa.bindparam("of"))
    .values(skipped=t.cursor.c.skipped + sa.bindparam("more"))
)


def read(stored: Sequence[Any]) -> tuple[Span, ...]:
    """Return the spans of a cursor's column; the first releases kept single numbers."""
    return tuple((one, one) if isinstance(one, int) else (int(one[0]), int(one[1])) for one in stored)


def fence(connection: Connection, name: str) -> None:
    """Let no run that is going on commit any more."""
    connection.execute(sa.update(t.cursor).where(t.cursor.c.script == name).values(token=t.cursor.c.token + 1))


def advance(
    connection: Connection,
    script: str,
    token: int,
    *,
    after: int,
    to: int,
    first: int | None = None,
    skipped: int = 0,
) -> Cursor:
    """Note that every event from `first` (None: the one after `after`) up to `to` is done, so many of them `skipped` without asking the script.

    Return the cursor as it was before. Raises `StaleTokenError` when the token is no longer the caller's, when `after` is not done (an earlier plan of the caller was not committed,
    and this one must not pass it), or when `to` is done already.
    """
    cursor = get_cursor(connection, script)
    _check(cursor, after, to)
    _add(connection, cursor, token, (after + 1 if first is None else first, to))
    if skipped:
        _count_skipped(connection, script, skipped)
    return cursor


def advance_through(
    connection: Connection, script: str, token: int, steps: Iterable[tuple[int, int | None, int]]
) -> Cursor:
    """Note one after another that events are done, each step as `after`, `first` and `to` of `advance`; all of them or none. Raises as `advance`.

    Return the cursor as it was before.
    """
    before = cursor = get_cursor(connection, script)
    for after, first, to in steps:
        _check(cursor, after, to)
        low_water, finished = joined(cursor.low_water, [*cursor.finished, (after + 1 if first is None else first, to)])
        cursor = replace(cursor, low_water=low_water, finished=tuple(finished))
    _move(connection, cursor, token)
    return before


def _check(cursor: Cursor, after: int, to: int) -> None:
    if not cursor.has_passed(after):
        raise StaleTokenError(
            f"{cursor.script}: event {after} is not done, so that {to} must wait; this run is discarded"
        )
    if cursor.has_passed(to):
        raise StaleTokenError(f"{cursor.script}: event {to} is done already; this run is discarded")


def pass_over(connection: Connection, script: str, token: int, span: Span, *, skipped: int = 0) -> None:
    """Note that events that do not concern the script are done, so many of them `skipped` without asking it. Raises `StaleTokenError`."""
    _add(connection, get_cursor(connection, script), token, span)
    if skipped:
        _count_skipped(connection, script, skipped)


def finish_out_of_order(connection: Connection, script: str, token: int, number: int) -> None:
    """Note that one event above the low-water mark is done, those before it not yet. Raises `StaleTokenError`."""
    _add(connection, get_cursor(connection, script), token, (number, number))


def count_parked(connection: Connection, script: str, count: int, *, parked: bool) -> int:
    """Note whether the event just passed was parked, after so many (`count`) in a row; return how many were in a row."""
    if parked or count:
        count = count + 1 if parked else 0
        connection.execute(sa.update(t.cursor).where(t.cursor.c.script == script).values(parked_in_a_row=count))
    return count


def _count_skipped(connection: Connection, script: str, count: int) -> None:
    _SKIP.change(connection, of=script, more=count)


def _add(connection: Connection, cursor: Cursor, token: int, span: Span) -> None:
    low_water, finished = joined(cursor.low_water, [*cursor.finished, span])
    _move(connection, replace(cursor, low_water=low_water, finished=tuple(finished)), token)


def _move(connection: Connection, cursor: Cursor, token: int) -> None:
    spans = [list(one) for one in cursor.finished]
    if _MOVE.change(connection, of=cursor.script, mine=token, low_water=cursor.low_water, finished=spans) != 1:
        raise StaleTokenError(f"{cursor.script}: another version has taken over; this run is discarded")


def joined(low_water: int, spans: Iterable[Span]) -> tuple[int, list[Span]]:
    """Return the low-water mark that those finished spans give, and the spans that stay above it, apart and in order."""
    above: list[Span] = []
    for first, last in sorted(spans):
        if first <= low_water + 1:
            low_water = max(low_water, last)
        elif above and first <= above[-1][1] + 1:
            above[-1] = above[-1][0], max(above[-1][1], last)
        else:
            above.append((first, last))
    return low_water, above
