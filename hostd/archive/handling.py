"""What scripts decide of deliveries: the decisions of `delivery_orders`, recorded with the script and the event at which it decided (P3)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal

import sqlalchemy as sa
from sqlalchemy import Connection

from hostd.archive import delivery_orders
from hostd.archive import tables as t
from hostd.archive.delivery_orders import Order

Verb = Literal["retry", "hold", "redirect", "discard"]

_WAITING = ("preparing", "waiting")
_ON_THE_WAY = "sending"
_OF_A_QUEUE: dict[Verb, tuple[str, ...]] = {
    "retry": (*_WAITING, "held"),
    "hold": _WAITING,
    "redirect": (*_WAITING, "held"),
    "discard": (*_WAITING, "held"),
}
"""Which deliveries of a destination are meant, when all are: those that are still to be sent."""


@dataclass(frozen=True, slots=True)
class PlannedDeal:
    """What is to become of one delivery. With `skip` there is nothing to do, for that reason."""

    position: int
    inputs: dict[str, Any]
    verb: Verb
    delivery: int
    to: str = ""
    skip: str | None = None


@dataclass(frozen=True, slots=True)
class Deal:
    """A decision of a script, taken at an event by an action; `to` is where deliveries are sent instead (`kind:name`), '' unless redirected."""

    verb: Verb
    to: str
    script: str
    event: int
    action: int


def deal(connection: Connection, number: int, what: Deal, at: float) -> tuple[str, dict[str, Any]]:
    """Deal with one delivery; return the action's state and result. One that is being sent, or has arrived, is left alone."""
    order = Order(what.verb, f"the script {what.script}", f"at event {what.event}", at, what.to or None)
    if what.verb == "redirect" and (why := _came_from(connection, number, what.to)):
        return "skipped", {"delivery": number, "reason": why}
    decided = delivery_orders.decide(connection, order, [number])
    if number in decided.left:
        return "skipped", {"delivery": number, "reason": decided.left[number]}
    if (made := decided.made.get(number)) is None:
        return "done", {"delivery": number}
    # It follows from this event, so that two scripts that send it to and fro come to an end.
    new = t.delivery.c.id == made, t.delivery.c.created_at == at
    connection.execute(sa.update(t.delivery).where(*new).values(action=what.action, script=what.script))
    return "done", {"delivery": made, "instead_of": number}


def some_of(
    connection: Connection, destination: str, what: Deal, at: float, *, after: int, limit: int
) -> tuple[int, int, list[int]]:
    """Deal with some of the deliveries that wait for a destination, those with numbers above `after`.

    Return how many were dealt with, the number of the last one that was looked at (`after` when there are no more), and which of those
    that were looked at are being sent just now, and cannot be dealt with before it is known what came of it.
    """
    states = _OF_A_QUEUE[what.verb] + (() if what.verb == "retry" else (_ON_THE_WAY,))  # to send it is to try it again
    query = (
        sa.select(t.delivery.c.id, t.delivery.c.state)
        .where(t.delivery.c.destination == destination, t.delivery.c.state.in_(states), t.delivery.c.id > after)
        .order_by(t.delivery.c.id)
        .limit(limit)
    )
    looked_at = connection.execute(query).all()
    on_the_way = [number for number, state in looked_at if state == _ON_THE_WAY]
    dealt = [deal(connection, number, what, at)[0] for number, state in looked_at if state != _ON_THE_WAY]
    return dealt.count("done"), looked_at[-1].id if looked_at else after, on_the_way


def on_the_way(connection: Connection, numbers: Sequence[int]) -> list[int]:
    """Return those deliveries of the numbers that are being sent."""
    query = sa.select(t.delivery.c.id).where(t.delivery.c.id.in_(numbers), t.delivery.c.state == _ON_THE_WAY)
    return list(connection.execute(query.order_by(t.delivery.c.id)).scalars())


def come_back(connection: Connection, numbers: Sequence[int], what: Deal, at: float) -> tuple[int, list[int]]:
    """Deal with deliveries that were being sent; return how many were dealt with, and which are being sent still, or again."""
    still = on_the_way(connection, numbers)
    dealt = [deal(connection, number, what, at)[0] for number in numbers if number not in still]
    return dealt.count("done"), still


def _came_from(connection: Connection, number: int, to: str) -> str:
    """Say why a delivery is not sent to where its instance came from; '' where it did not come from there."""
    query = sa.select(t.instance.c.origin).join(t.delivery, t.delivery.c.instance == t.instance.c.id)
    origin = connection.execute(query.where(t.delivery.c.id == number)).scalar() or {}
    return f"it came from {to}" if to == f"modality:{origin.get('modality')}" else ""
