"""Deletes that scripts ask for: at once, or when all deliveries of the instance are done."""

from __future__ import annotations

from typing import Any

import sqlalchemy as sa
from sqlalchemy import Connection

from hostd.archive import fanout, instances
from hostd.archive import tables as t
from hostd.archive.fanout import Many

_UNDER_WAY = ("preparing", "waiting", "sending")
_MOST_NAMED = 20


def wait_for(connection: Connection, action: int, deliveries: list[int]) -> None:
    """Tie a delete to the deliveries that must be done before it."""
    if deliveries:
        connection.execute(
            sa.insert(t.waiting_delete), [{"action": action, "delivery": number} for number in sorted(set(deliveries))]
        )


def all_of(connection: Connection, instance: str, content: str) -> list[int]:
    """Return the newest delivery of that content of the instance for each (destination, transform)."""
    query = (
        sa.select(sa.func.max(t.delivery.c.id))
        .where(t.delivery.c.instance == instance, t.delivery.c.content == content)
        .group_by(t.delivery.c.destination, t.delivery.c.transform)
    )
    return list(connection.execute(query).scalars())


def settle(connection: Connection, action: int, now: float) -> str:
    """Carry out a delete whose deliveries are done, or hold it where one failed; return the action's state.

    Only a delivery that the peer took without a warning releases a delete. What was never forwarded is not deleted "after delivery".
    """
    row = connection.execute(sa.select(t.action.c.inputs).where(t.action.c.id == action)).one()
    if row.inputs.get("after") is None:
        return _close(connection, action, "done", _carry_out(connection, row.inputs, now))
    states = connection.execute(
        sa.select(t.delivery.c.id, t.delivery.c.state)
        .join(t.waiting_delete, t.waiting_delete.c.delivery == t.delivery.c.id)
        .where(t.waiting_delete.c.action == action)
    ).all()
    if not states:
        return _close(
            connection,
            action,
            "held",
            {"reason": "nothing was forwarded, so nothing is delivered; after=None deletes what is not forwarded"},
        )
    hindering = [f"delivery {one.id} is {one.state}" for one in states if one.state not in (*_UNDER_WAY, "delivered")]
    if hindering:
        more = f"; and {len(hindering) - _MOST_NAMED} more" if len(hindering) > _MOST_NAMED else ""
        return _close(connection, action, "held", {"reason": "; ".join(hindering[:_MOST_NAMED]) + more})
    if "many" in row.inputs:
        idle, count = fanout.not_waited_for(connection, Many(**row.inputs["many"]), action)
        if idle:
            reason = f"{idle} of {count} instances were not forwarded; after=None deletes what is not forwarded"
            return _close(connection, action, "held", {"reason": reason})
    if any(one.state in _UNDER_WAY for one in states):
        return _close(connection, action, "open", None)
    return _close(connection, action, "done", _carry_out(connection, row.inputs, now))


def _carry_out(connection: Connection, inputs: dict[str, Any], now: float) -> dict[str, Any]:
    """Delete the instance, or each of many, where its content is still what was meant; return the action's result."""
    if "many" not in inputs:
        return {"outcome": instances.hide(connection, inputs["instance"], now, content=inputs["content"])}
    meant = fanout.contents(connection, Many(**inputs["many"]))
    outcomes = [instances.hide(connection, instance, now, content=content) for instance, content in meant]
    return {"outcome": "deleted", "count": outcomes.count("deleted")}


def reconsider(connection: Connection, delivery: int, now: float) -> None:
    """Look again at the deletes that wait for a delivery, after it was settled."""
    query = (
        sa.select(t.action.c.id)
        .join(t.waiting_delete, t.waiting_delete.c.action == t.action.c.id)
        .where(t.waiting_delete.c.delivery == delivery, t.action.c.state.in_(["open", "held"]))
    )
    for action in connection.execute(query).scalars().all():
        settle(connection, action, now)


def _close(connection: Connection, action: int, state: str, result: dict[str, Any] | None) -> str:
    connection.execute(sa.update(t.action).where(t.action.c.id == action).values(state=state, result=result))
    return state
