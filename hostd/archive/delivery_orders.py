"""What people decide of deliveries: retry, hold, release, redirect, discard. Each decision is recorded with who, when and why.

A decision is an entry in the history of its delivery, beside the attempts. Many at one time are decided a few hundred a unit, so that
whoever else writes does not wait.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from typing import Protocol

import sqlalchemy as sa
from sqlalchemy import Connection

from hostd.archive import deletes, deliveries, sendings
from hostd.archive import tables as t
from hostd.archive.records import Attempt, Delivery
from hostd.errors import NotFoundError

AT_ONCE = 200
"""How many deliveries one unit decides about."""

DISCARDED = "discarded"
"""State of a delivery that was given up by a person: it pins nothing, and is no delivery."""

_DUE = ("preparing", "waiting")
_MAY = {
    "retry": ("failed", "held", "waiting", "preparing", "warning", "present"),
    "hold": _DUE,
    "release": ("held",),
    "redirect": (*_DUE, "held", "failed"),
    "discard": (*_DUE, "held", "failed"),
}
VERBS = tuple(_MAY)
_PAST = {"retry": "retried", "hold": "held", "release": "released", "redirect": "redirected", "discard": DISCARDED}


@dataclass(frozen=True, slots=True)
class Order:
    """A decision: `verb` is one of `VERBS`; `by` who, `reason` why, `at` when; `to` the other destination (`kind:name`) of a redirect."""

    verb: str
    by: str
    reason: str
    at: float
    to: str | None = None


@dataclass(frozen=True, slots=True)
class Matching:
    """Which deliveries are meant: those of the states in which that may be decided of them, and of all that is given here.

    `reason` is a part of the last error; `study` a Study Instance UID.
    """

    destination: str | None = None
    reason: str | None = None
    study: str | None = None
    states: tuple[str, ...] = ()


@dataclass(slots=True)
class Decided:
    """Of which deliveries it was decided, which ones were left as they are and why, and what redirects made."""

    done: list[int] = field(default_factory=list)
    left: dict[int, str] = field(default_factory=dict)
    made: dict[int, int] = field(default_factory=dict)

    def add(self, more: Decided) -> None:
        """Add what was decided of others."""
        self.done += more.done
        self.left |= more.left
        self.made |= more.made


class Writes(Protocol):
    """Carries out one unit of the writer, from within the node or from outside."""

    def __call__(self, unit: Callable[[Connection], tuple[list[int], Decided]], /) -> tuple[list[int], Decided]:
        """Return what the unit returns, once it is committed."""
        ...


def decide_all(writes: Writes, order: Order, wanted: Matching, *, limit: int | None = None) -> Decided:
    """Decide of all that match, or of the first so many, some hundred at one time; what cannot be decided is left."""
    decided, above, looked = Decided(), 0, 0
    while True:
        count = AT_ONCE if limit is None else min(AT_ONCE, limit - looked)

        def unit(connection: Connection, above: int = above, count: int = count) -> tuple[list[int], Decided]:
            numbers = matching(connection, order.verb, wanted, above=above, limit=count)
            return numbers, decide(connection, order, numbers)

        numbers, more = writes(unit)
        decided.add(more)
        looked += len(numbers)
        if len(numbers) < AT_ONCE:
            return decided
        above = numbers[-1]


def decide(connection: Connection, order: Order, numbers: Sequence[int]) -> Decided:
    """Decide of the deliveries of these numbers, at most a few hundred. What cannot be decided is left as it is, with the reason."""
    decided = Decided()
    for number in numbers:
        delivery = deliveries.get(connection, number)
        if delivery is None:
            decided.left[number] = f"there is no delivery {number}"
        elif delivery.state not in _MAY[order.verb]:
            decided.left[number] = (
                f"it is {delivery.state}, and {order.verb} is for what is {', '.join(_MAY[order.verb])}"
            )
        else:
            try:
                _DECIDERS[order.verb](connection, order, delivery, decided)
                decided.done.append(number)
            except NotFoundError as error:
                decided.left[number] = str(error)
    return decided


def matching(connection: Connection, verb: str, wanted: Matching, *, above: int, limit: int = AT_ONCE) -> list[int]:
    """Return the numbers, above that one and in order, of deliveries that match and of which that may be decided."""
    states = set(_MAY[verb]) & set(wanted.states or _GIVEN_UP.get(verb, _MAY[verb]))
    query = (
        sa.select(t.delivery.c.id)
        .where(t.delivery.c.state.in_(sorted(states)), t.delivery.c.id > above)
        .order_by(t.delivery.c.id)
        .limit(limit)
    )
    if wanted.destination is not None:
        query = query.where(t.delivery.c.destination == wanted.destination)
    if wanted.reason is not None:
        query = query.where(t.delivery.c.last_error.contains(wanted.reason, autoescape=True))
    if wanted.study is not None:
        query = query.where(
            t.delivery.c.instance.in_(sa.select(t.instance.c.id).where(t.instance.c.study_instance_uid == wanted.study))
        )
    return list(connection.execute(query).scalars())


_GIVEN_UP = {"retry": ("failed", "held")}
"""What `--all` means where it does not mean all: what waits is not retried by the thousand, which would undo its back-off."""


def _retry(connection: Connection, order: Order, delivery: Delivery, _decided: Decided) -> None:
    deliveries.retry(connection, [delivery.id], order.at)
    sendings.disown(connection, [delivery.id])
    _record(connection, order, delivery)


def _hold(connection: Connection, order: Order, delivery: Delivery, _decided: Decided) -> None:
    _change(connection, delivery, state="held", last_error=_words(order))
    _record(connection, order, delivery)


def _release(connection: Connection, order: Order, delivery: Delivery, _decided: Decided) -> None:
    due = max(order.at, delivery.not_before)
    _change(connection, delivery, state="preparing" if delivery.transform else "waiting", next_attempt_at=due)
    _record(connection, order, delivery)


def _discard(connection: Connection, order: Order, delivery: Delivery, _decided: Decided) -> None:
    deliveries.give_up(connection, delivery.id, order.at, _words(order))
    _record(connection, order, delivery)


def _redirect(connection: Connection, order: Order, delivery: Delivery, decided: Decided) -> None:
    assert order.to is not None, "a redirect says where to"
    if order.to == delivery.destination:
        raise NotFoundError(f"delivery {delivery.id} is to {order.to} already")
    if connection.execute(sa.select(t.blob.c.name).where(t.blob.c.name == delivery.blob)).first() is None:
        raise NotFoundError(f"the file of delivery {delivery.id} is no longer in the archive")
    action = connection.execute(sa.select(t.delivery.c.action).where(t.delivery.c.id == delivery.id)).scalar()
    made, _ = deliveries.ask(
        connection,
        instance=delivery.instance,
        sop_instance_uid=delivery.sop_instance_uid,
        sop_class_uid=delivery.sop_class_uid,
        destination=order.to,
        content=delivery.content,
        blob=delivery.blob,
        transform=delivery.transform,
        priority=delivery.priority,
        not_before=delivery.not_before,
        now=order.at,
        script=delivery.script,
        action=action,
    )
    _have_deletes_wait_for(connection, made, instead_of=delivery.id)
    words = f"to {order.to} as delivery {made}, {_words(order)}"
    deliveries.give_up(connection, delivery.id, order.at, words)
    deletes.reconsider(connection, [made], order.at)
    _record(connection, order, delivery, words)
    decided.made[delivery.id] = made


def _have_deletes_wait_for(connection: Connection, made: int, *, instead_of: int) -> None:
    waiting = sa.select(t.waiting_delete.c.action).where(t.waiting_delete.c.delivery == instead_of)
    known = sa.select(t.waiting_delete.c.action).where(t.waiting_delete.c.delivery == made)
    for action in connection.execute(waiting.where(t.waiting_delete.c.action.not_in(known))).scalars().all():
        connection.execute(sa.insert(t.waiting_delete).values(action=action, delivery=made))
    connection.execute(sa.delete(t.waiting_delete).where(t.waiting_delete.c.delivery == instead_of))


def _change(connection: Connection, delivery: Delivery, **values: object) -> None:
    connection.execute(sa.update(t.delivery).where(t.delivery.c.id == delivery.id).values(**values))


def _record(connection: Connection, order: Order, delivery: Delivery, words: str = "") -> None:
    entry = Attempt(delivery.id, delivery.attempts, order.at, _PAST[order.verb], words or _words(order))
    connection.execute(sa.insert(t.attempt).values(**asdict(entry)))


def _words(order: Order) -> str:
    return f"{_PAST[order.verb]} by {order.by}" + (f": {order.reason}" if order.reason else "")


_DECIDERS: Mapping[str, Callable[[Connection, Order, Delivery, Decided], None]] = {
    "retry": _retry,
    "hold": _hold,
    "release": _release,
    "redirect": _redirect,
    "discard": _discard,
}

__all__ = [
    "AT_ONCE",
    "DISCARDED",
    "VERBS",
    "Decided",
    "Matching",
    "Order",
    "Writes",
    "decide",
    "decide_all",
    "matching",
]
