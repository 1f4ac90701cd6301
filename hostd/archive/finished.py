"""What is finished is forgotten after a time, in pieces: deliveries, what was done after runs, runs, receipts.

What still says something is kept whatever its age: that a stored instance was delivered, that a delivery failed, what a delete waits for,
what is parked, and every receipt of a file that is there.
"""

from __future__ import annotations

from collections.abc import Callable

import sqlalchemy as sa
from sqlalchemy import Connection

from hostd.archive import figures
from hostd.archive import tables as t
from hostd.archive.tasks import DISCARDED

AT_ONCE = 200
"""How many rows one unit looks at, so that the writer stays free."""

Purge = Callable[[Connection, float, int], "tuple[int, int] | None"]
"""(connection, before when, after which number) → the last number that was looked at and how many went, None at the end."""

_GIVEN_UP = "discarded"
_SENT = ("delivered", "warning", "present")


def deliveries(connection: Connection, before: float, after: int) -> tuple[int, int] | None:
    """Forget deliveries that ended before that time: of instances that are gone, and such as were discarded."""
    looked = _next(connection, t.delivery.c.id, after)
    if not looked:
        return None
    is_stored = sa.exists().where(t.instance.c.id == t.delivery.c.instance)
    is_waited_for = sa.exists().where(t.waiting_delete.c.delivery == t.delivery.c.id)
    stands_in = t.delivery.alias()
    is_stood_in_for = sa.exists().where(stands_in.c.alternate_of == t.delivery.c.id, stands_in.c.finished_at.is_(None))
    newest = sa.select(sa.func.max(t.attempt.c.id)).where(t.attempt.c.delivery == t.delivery.c.id).scalar_subquery()
    old = list(
        connection.execute(
            sa.select(t.delivery.c.id).where(
                t.delivery.c.id.in_(looked),
                t.delivery.c.finished_at < before,
                sa.or_(t.delivery.c.state == _GIVEN_UP, sa.and_(t.delivery.c.state.in_(_SENT), sa.not_(is_stored))),
                sa.not_(is_waited_for),
                sa.not_(is_stood_in_for),
                sa.func.coalesce(newest, 0) <= figures.reckoned(connection),
            )
        ).scalars()
    )
    connection.execute(sa.delete(t.attempt).where(t.attempt.c.delivery.in_(old)))
    connection.execute(sa.delete(t.delivery).where(t.delivery.c.id.in_(old)))
    return looked[-1], len(old)


def tasks(connection: Connection, before: float, after: int) -> tuple[int, int] | None:
    """Forget what was done after runs before that time; what failed stays until somebody decides about it."""
    looked = _next(connection, t.task.c.id, after)
    if not looked:
        return None
    old = t.task.c.id.in_(looked), t.task.c.state.in_(("done", DISCARDED)), t.task.c.finished_at < before
    return looked[-1], connection.execute(sa.delete(t.task).where(*old)).rowcount


def runs(connection: Connection, before: float, after: int) -> tuple[int, int] | None:
    """Forget runs of before that time with their actions, where nothing that they asked for is left."""
    looked = _next(connection, t.run.c.id, after)
    if not looked:
        return None
    needed = [
        sa.exists().where(column == t.action.c.id)
        for column in _references(t.action)
        if column.table is not t.waiting_delete
    ]
    action_is_needed = sa.exists().where(
        t.action.c.run == t.run.c.id, sa.or_(t.action.c.state.not_in(("done", "skipped", "failed")), *needed)
    )
    old = list(
        connection.execute(
            sa.select(t.run.c.id).where(
                t.run.c.id.in_(looked),
                t.run.c.at < before,
                sa.not_(sa.and_(t.run.c.outcome == "parked", t.run.c.repeated_as.is_(None))),
                sa.not_(action_is_needed),
            )
        ).scalars()
    )
    actions = sa.select(t.action.c.id).where(t.action.c.run.in_(old))
    connection.execute(sa.delete(t.waiting_delete).where(t.waiting_delete.c.action.in_(actions)))
    connection.execute(sa.delete(t.action).where(t.action.c.run.in_(old)))
    connection.execute(sa.delete(t.run).where(t.run.c.id.in_(old)))
    return looked[-1], len(old)


def receipts(connection: Connection, before: float, after: int) -> tuple[int, int] | None:
    """Forget receipts of before that time whose source and result are both gone."""
    looked = _next(connection, t.receipt.c.id, after)
    if not looked:
        return None
    is_there = sa.exists().where(sa.or_(t.blob.c.name == t.receipt.c.source, t.blob.c.name == t.receipt.c.result))
    gone = connection.execute(
        sa.delete(t.receipt).where(t.receipt.c.id.in_(looked), t.receipt.c.at < before, sa.not_(is_there))
    )
    return looked[-1], gone.rowcount


ALL: dict[str, Purge] = {"deliveries": deliveries, "tasks": tasks, "runs": runs, "receipts": receipts}
"""In this order: a run goes when its deliveries and tasks have gone."""


def step(purge: Purge, before: float, after: int, connection: Connection) -> tuple[int, int] | None:
    """Do one piece of that."""
    return purge(connection, before, after)


def _next(connection: Connection, column: sa.ColumnElement[int], after: int) -> list[int]:
    return list(connection.execute(sa.select(column).where(column > after).order_by(column).limit(AT_ONCE)).scalars())


def _references(table: sa.Table) -> list[sa.Column[int]]:
    """Return all columns that refer to a table, so that one that is added later is thought of."""
    return [
        column
        for other in t.metadata.tables.values()
        for column in other.columns
        if any(key.column.table is table for key in column.foreign_keys)
    ]
