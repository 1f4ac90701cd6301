"""Deletes that scripts ask for: at once, or when all deliveries of the instance are done."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import sqlalchemy as sa
from sqlalchemy import Connection

from hostd.archive import fanout, instances, promises
from hostd.archive import tables as t
from hostd.archive.fanout import Many

_UNDER_WAY = ("preparing", "waiting", "sending")
_MOST_NAMED = 20
_AT_ONCE = 10
"""Instances that one unit of the writer deletes, so that it stays free; the rest of many goes in units of its own."""


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
        return _carry_out(connection, action, row.inputs, now)
    states = connection.execute(
        sa.select(
            t.delivery.c.id,
            t.delivery.c.instance,
            t.delivery.c.state,
            t.delivery.c.commitment,
            t.delivery.c.is_original,
        )
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
    missing = _missing(states, is_committed=row.inputs["after"] == "committed")
    if missing is not None:
        return _close(connection, action, *missing)
    return _carry_out(connection, action, row.inputs, now)


def _missing(states: Sequence[Any], *, is_committed: bool) -> tuple[str, dict[str, Any] | None] | None:
    """Return the state of a delete for which something is still missing, and why; None when all is there.

    Where it waits for storage commitment, whoever is asked must have committed, and for each instance one at least to itself, or to a
    lossless form of it (P4).
    """
    if any(one.state in _UNDER_WAY for one in states):
        return "open", None
    if not is_committed:
        return None
    if refused := [f"delivery {one.id}" for one in states if one.commitment == "refused"]:
        return "held", {"reason": f"storage commitment was refused: {', '.join(refused[:_MOST_NAMED])}"}
    if any(one.commitment in ("wanted", "asked") for one in states):
        return "open", None
    if {one.instance for one in states if one.commitment == "committed" and one.is_original} == {
        one.instance for one in states
    }:
        return None
    reason = "no destination that commits to what it stores (commitment = true) got the instance itself, without loss"
    return "held", {"reason": reason}


def _carry_out(connection: Connection, action: int, inputs: dict[str, Any], now: float, done: int = 0) -> str:
    """Delete the instance, or the first of many, where its content is still what was meant; return the action's state."""
    if "many" not in inputs:
        outcome = instances.hide(connection, inputs["instance"], now, content=inputs["content"])
        if outcome == "promised":
            return _close(connection, action, "held", {"reason": _promised(connection, [inputs["instance"]])})
        return _close(connection, action, "done", {"outcome": outcome})
    many = Many(**inputs["many"])
    if promised := promises.among(connection, many.condition, _MOST_NAMED):
        return _close(connection, action, "held", {"reason": _promised(connection, promised), "count": done})
    meant = fanout.contents(connection, many, _AT_ONCE + 1)
    for instance, content in meant[:_AT_ONCE]:
        instances.hide(connection, instance, now, content=content)
    if len(meant) > _AT_ONCE:
        return _close(connection, action, "deleting", {"count": done + _AT_ONCE})
    return _close(connection, action, "done", {"outcome": "deleted", "count": done + len(meant)})


def _promised(connection: Connection, held: Sequence[str]) -> str:
    """Say to whom instances are promised."""
    to = ", ".join(sorted({name for instance in held for name in promises.holders(connection, instance)}))
    return f"storage commitment: {to} was promised that {', '.join(held)} will be kept; an administrator may delete it by force"


def is_left(connection: Connection) -> bool:
    """Tell whether a series, study or patient is being deleted."""
    return connection.execute(_DELETING).first() is not None


_DELETING = (
    sa.select(t.action.c.id, t.action.c.inputs, t.action.c.result)
    .where(sa.text("action.state = 'deleting'"))  # as text, so that the index of exactly this condition is used
    .order_by(t.action.c.id)
    .limit(1)
)


def go_on(connection: Connection, now: float) -> bool:
    """Delete some more of a series, study or patient that is being deleted; return whether there was any."""
    row = connection.execute(_DELETING).first()
    if row is None:
        return False
    _carry_out(connection, row.id, row.inputs, now, done=row.result["count"])
    return True


def reconsider(connection: Connection, deliveries: Sequence[int], now: float) -> None:
    """Look again at the deletes that wait for these deliveries, after they were settled."""
    found: dict[int, list[Any]] = {}
    for row in connection.execute(_WAITING, {"numbers": deliveries}).all():
        found.setdefault(row.id, []).append(row)
    for action, waited_for in found.items():
        is_well = all(row.delivery_state == "delivered" and row.state == "open" for row in waited_for)
        if not (is_well and _is_under_way(connection, action)):
            settle(connection, action, now)


_WAITING = (
    sa.select(t.action.c.id, t.action.c.state, t.delivery.c.state.label("delivery_state"))
    .join(t.waiting_delete, t.waiting_delete.c.action == t.action.c.id)
    .join(t.delivery, t.delivery.c.id == t.waiting_delete.c.delivery)
    .where(
        t.waiting_delete.c.delivery.in_(sa.bindparam("numbers", expanding=True)),
        t.action.c.state.in_(["open", "held"]),
    )
    .order_by(t.action.c.id)
)


def _is_under_way(connection: Connection, action: int) -> bool:
    """Tell whether a delivery that a delete waits for is still to end. The last asked for ends last, so it is looked at first."""
    query = (
        sa.select(t.delivery.c.id)
        .join(t.waiting_delete, t.waiting_delete.c.delivery == t.delivery.c.id)
        .where(t.waiting_delete.c.action == action, t.delivery.c.state.in_(_UNDER_WAY))
    )
    return connection.execute(query.order_by(t.waiting_delete.c.delivery.desc()).limit(1)).first() is not None


def _close(connection: Connection, action: int, state: str, result: dict[str, Any] | None) -> str:
    connection.execute(sa.update(t.action).where(t.action.c.id == action).values(state=state, result=result))
    return state
