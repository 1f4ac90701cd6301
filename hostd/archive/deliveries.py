"""Deliveries: durable rows, claimed under a lease's token, settled with what the peer said (P3)."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import sqlalchemy as sa
from sqlalchemy import Connection, Row

from hostd.archive import deletes, endings, rows
from hostd.archive import tables as t
from hostd.archive.endings import Ending
from hostd.archive.records import Attempt, Delivery
from hostd.errors import NotFoundError

_ENDED = "hostd ended before the answer was recorded"

DUE = ("preparing", "waiting")
PINNING = (*t.OPEN_STATES, "failed")
"""States in which a delivery pins its file."""

PRIORITIES = {"low": 0, "normal": 10, "high": 20, "stat": 30}


def ask(
    connection: Connection,
    *,
    instance: str,
    sop_instance_uid: str,
    sop_class_uid: str,
    destination: str,
    content: str,
    blob: str,
    transform: str = "",
    priority: int = PRIORITIES["normal"],
    not_before: float = 0.0,
    now: float,
    script: str | None = None,
    action: int | None = None,
    alternate_of: int | None = None,
    manner: str = "",
) -> tuple[int, bool]:
    """Ask for a delivery; return its number, and whether it is new.

    An open delivery of the same content and transform to the same destination absorbs the request; a finished one never does.
    """
    open_one = _OPEN_ONE.rows(connection, to=destination, what=content, how=transform)
    if open_one:
        return int(open_one[0][0]), False
    return rows.insert(
        connection,
        t.delivery,
        action=action,
        alternate_of=alternate_of,
        script=script,
        instance=instance,
        sop_instance_uid=sop_instance_uid,
        sop_class_uid=sop_class_uid,
        destination=destination,
        content=content,
        blob=blob,
        transform=transform,
        priority=priority,
        state="preparing" if transform else "waiting",
        not_before=not_before,
        next_attempt_at=max(now, not_before),
        created_at=now,
        manner=manner,
    ), True


# Statements of what happens with each delivery are made once: to make one takes longer than to execute it.
_OPEN_ONE = rows.Prepared(
    sa.select(t.delivery.c.id).where(
        t.delivery.c.destination == sa.bindparam("to"),
        t.delivery.c.content == sa.bindparam("what"),
        t.delivery.c.transform == sa.bindparam("how"),
        t.IS_OPEN,
    )
)
_NEXT_DUE = sa.select(sa.func.min(t.delivery.c.next_attempt_at)).where(
    t.delivery.c.destination == sa.bindparam("to"), t.IS_DUE
)
_MOST_URGENT = sa.select(sa.func.max(t.delivery.c.priority)).where(
    t.delivery.c.destination == sa.bindparam("to"), t.IS_DUE
)
_LESS_URGENT = _MOST_URGENT.where(t.delivery.c.priority < sa.bindparam("than"))
_DUE_NOW = (
    sa.select(t.delivery.c.id)
    .where(
        t.delivery.c.destination == sa.bindparam("to"),
        t.delivery.c.priority == sa.bindparam("of"),
        t.IS_DUE,
        t.delivery.c.next_attempt_at + 0
        <= sa.bindparam("now"),  # not by the index on it: the order by number is what costs
    )
    .order_by(t.delivery.c.id)
    .limit(sa.bindparam("most"))
)
_CHOSEN = t.delivery.c.id.in_(sa.bindparam("chosen", expanding=True))
_CLAIM = (
    sa.update(t.delivery)
    .where(_CHOSEN)
    .values(
        state="sending",
        token=sa.bindparam("mine"),
        on_wire=t.delivery.c.id.in_(sa.bindparam("first", expanding=True)),
        attempts=t.delivery.c.attempts + 1,
    )
)
_CLAIMED = sa.select(t.delivery).where(_CHOSEN).order_by(t.delivery.c.priority.desc(), t.delivery.c.id)


def claim(
    connection: Connection, destination: str, token: int, now: float, limit: int, *, on_wire: int = 0
) -> list[Delivery]:
    """Take up to `limit` deliveries that are due, the urgent ones first, then in order of reception.

    The first `on_wire` are noted as on their way; see `note`.
    """
    chosen: list[int] = []
    for priority in _priorities(connection, destination):
        due = {"to": destination, "of": priority, "now": now, "most": limit - len(chosen)}
        chosen += connection.execute(_DUE_NOW, due).scalars()
        if len(chosen) == limit:
            break
    if not chosen:
        return []
    connection.execute(_CLAIM, {"chosen": chosen, "first": chosen[:on_wire], "mine": token})
    return [_delivery(row) for row in connection.execute(_CLAIMED, {"chosen": chosen})]


def _priorities(connection: Connection, destination: str) -> Iterator[int]:
    """Yield the priorities of what waits, the most urgent first: a step in the index for each, however many wait."""
    found = connection.execute(_MOST_URGENT, {"to": destination}).scalar()
    while found is not None:
        yield found
        found = connection.execute(_LESS_URGENT, {"to": destination, "than": found}).scalar()


def note(connection: Connection, claimed: Sequence[int], token: int) -> set[int]:
    """Note that these may be on their way from now on; committed before anything of them is sent.

    Returns those that are still claimed under the token, and on nobody's way: no other may be sent.
    """
    mine = t.delivery.c.token == token, t.delivery.c.state == "sending", ~t.delivery.c.on_wire
    noted = connection.execute(
        sa.update(t.delivery).where(t.delivery.c.id.in_(claimed), *mine).values(on_wire=True).returning(t.delivery.c.id)
    )
    return set(noted.scalars())


def recover(connection: Connection, destination: str, token: int, now: float) -> int:
    """Give back what an earlier holder of the lease had claimed when it ended; return how many the peer may have got."""
    return _give_up_claims(
        connection,
        now,
        t.delivery.c.destination == destination,
        t.delivery.c.state == "sending",
        t.delivery.c.token != token,
    )


def abandon(connection: Connection, claimed: Sequence[int], token: int, now: float) -> int:
    """Give back what could not be recorded, of what is claimed under the token; return how many the peer may have got."""
    return _give_up_claims(
        connection, now, t.delivery.c.id.in_(claimed), t.delivery.c.state == "sending", t.delivery.c.token == token
    )


def _give_up_claims(connection: Connection, now: float, *which: sa.ColumnElement[bool]) -> int:
    """Have claims wait again. Of what was noted to be on its way it is not known whether the peer got it: a possible double."""
    noted = connection.execute(
        sa.select(t.delivery.c.id, t.delivery.c.attempts).where(*which, t.delivery.c.on_wire)
    ).all()
    lost = [Attempt(row.id, row.attempts, now, "lost", f"{_ENDED}; the peer may have it") for row in noted]
    endings.record(connection, lost)
    doubtful = sa.case((t.delivery.c.on_wire, 1), else_=0)
    connection.execute(
        sa.update(t.delivery)
        .where(*which)
        .values(
            state="waiting",
            next_attempt_at=now,
            attempts=t.delivery.c.attempts - 1 + doubtful,
            possible_doubles=t.delivery.c.possible_doubles + doubtful,
            last_error=sa.case((t.delivery.c.on_wire, _ENDED), else_=t.delivery.c.last_error),
            on_wire=False,
        )
    )
    return len(noted)


def finish(connection: Connection, attempt: Attempt, token: int, **options: Any) -> bool:
    """Record one final answer, with `options` as an `Ending` has them. False when the lease was lost meanwhile."""
    return bool(finish_all(connection, [Ending(attempt, **options)], token))


def finish_all(connection: Connection, those: Sequence[Ending], token: int) -> set[int]:
    """Record final answers; return the numbers of the deliveries that ended, without those whose lease was lost meanwhile."""
    settled = endings.settle(connection, those, token)
    for ending in settled:
        if ending.attempt.outcome == "failed" and ending.alternate is not None:
            _stand_in(connection, ending.attempt, ending.alternate)
    if settled:
        endings.follow_up(connection, [ending.attempt for ending in settled])
    return {ending.attempt.delivery for ending in settled}


def _stand_in(connection: Connection, attempt: Attempt, alternate: str) -> None:
    """Have another destination get what one has failed to take, and say so with what failed."""
    row = connection.execute(sa.select(t.delivery).where(t.delivery.c.id == attempt.delivery)).one()
    if row.alternate_of is not None or row.destination == alternate:
        return
    same = (
        "instance",
        "sop_instance_uid",
        "sop_class_uid",
        "content",
        "blob",
        "transform",
        "priority",
        "script",
        "action",
    )
    number, _ = ask(
        connection,
        destination=alternate,
        now=attempt.at,
        alternate_of=row.id,
        **{name: getattr(row, name) for name in same},
    )
    text = f"{row.last_error}; delivery {number} to {alternate} stands in for it"
    connection.execute(sa.update(t.delivery).where(t.delivery.c.id == row.id).values(last_error=text))


def give_up_old(
    connection: Connection,
    destination: str,
    asked_before: float,
    now: float,
    limit: int,
    alternate: str | None = None,
) -> int:
    """Fail up to `limit` deliveries that wait, and were asked for (or meant to go) before that time; return how many."""
    created_at, not_before = t.delivery.c.created_at, t.delivery.c.not_before
    asked_at = sa.case((created_at > not_before, created_at), else_=not_before)
    old = connection.execute(
        sa.select(t.delivery.c.id, t.delivery.c.attempts, t.delivery.c.last_error, asked_at.label("asked_at"))
        .where(t.delivery.c.destination == destination, t.delivery.c.state.in_(DUE), asked_at < asked_before)
        .limit(limit)
    ).all()
    for row in old:
        hours = round((now - row.asked_at) / 3600, 1)
        why = f"given up after {hours:g} hours (max_age_h); last: {row.last_error or 'it was not tried'}"
        connection.execute(
            sa.update(t.delivery)
            .where(t.delivery.c.id == row.id)
            .values(state="failed", finished_at=now, last_error=why)
        )
        attempt = Attempt(row.id, row.attempts, now, "failed", why)
        endings.record(connection, [attempt])
        if alternate is not None:
            _stand_in(connection, attempt, alternate)
        endings.follow_up(connection, [attempt])
    return len(old)


def put_off(connection: Connection, attempt: Attempt, token: int, until: float) -> bool:
    """Record a try that is to be repeated: outcome waiting, lost when the peer's answer was; unreached and unnegotiated count for nothing."""
    lost = attempt.outcome == "lost"
    return _settle(
        connection,
        attempt,
        token,
        state="waiting",
        next_attempt_at=until,
        last_error=attempt.answer,
        possible_doubles=t.delivery.c.possible_doubles + int(lost),
        attempts=t.delivery.c.attempts - int(attempt.outcome in ("unreached", "unnegotiated")),
    )


def give_back(connection: Connection, claimed: Sequence[int], token: int, until: float, reason: str | None) -> None:
    """Return claimed deliveries that were not tried: what was the destination's fault counts against no instance."""
    connection.execute(
        sa.update(t.delivery)
        .where(t.delivery.c.id.in_(claimed), t.delivery.c.token == token, t.delivery.c.state == "sending")
        .values(
            state="waiting",
            next_attempt_at=until,
            attempts=t.delivery.c.attempts - 1,
            on_wire=False,
            **({"last_error": reason} if reason is not None else {}),
        )
    )


def _settle(connection: Connection, attempt: Attempt, token: int, **values: Any) -> bool:
    settled = connection.execute(
        sa.update(t.delivery)
        .where(t.delivery.c.id == attempt.delivery, t.delivery.c.token == token, t.delivery.c.state == "sending")
        .values(on_wire=False, **values)
    )
    is_held = settled.rowcount == 1
    endings.record(connection, [attempt if is_held else endings.stray(attempt)])
    return is_held


def retry(connection: Connection, numbers: Sequence[int], now: float) -> list[int]:
    """Make failed or held deliveries wait for another attempt at once; return those that were.

    Raises `NotFoundError` when one of them is in another state, or its file is gone.
    """
    for number in numbers:
        delivery = get(connection, number)
        if delivery is None:
            raise NotFoundError(f"there is no delivery {number}")
        if delivery.state not in {"failed", "held", "waiting", "preparing", "warning", "present"}:
            raise NotFoundError(f"delivery {number} is {delivery.state}, only one that failed or waits can be retried")
        if _open_twin(connection, delivery):
            raise NotFoundError(f"delivery {number} was asked for again meanwhile; retry that one")
        if connection.execute(sa.select(t.blob.c.name).where(t.blob.c.name == delivery.blob)).first() is None:
            raise NotFoundError(f"the file of delivery {number} is no longer in the archive")
    connection.execute(
        sa.update(t.delivery)
        .where(t.delivery.c.id.in_(numbers))
        .values(
            state=sa.case((t.delivery.c.transform == "", "waiting"), else_="preparing"),
            next_attempt_at=now,
            not_before=now,  # what was too old begins anew
            finished_at=None,
        )
    )
    return list(numbers)


def hasten(connection: Connection, numbers: Sequence[int], now: float) -> None:
    """Have what waits for its next attempt tried at once; what does not wait stays as it is."""
    connection.execute(
        sa.update(t.delivery)
        .where(t.delivery.c.id.in_(numbers), t.delivery.c.state.in_(DUE), t.delivery.c.next_attempt_at > now)
        .values(next_attempt_at=now)
    )


def give_up(connection: Connection, number: int, at: float, why: str) -> None:
    """End a delivery as given up by a person, in the state "discarded": it pins nothing any more, and no delete follows it."""
    connection.execute(
        sa.update(t.delivery).where(t.delivery.c.id == number).values(state="discarded", finished_at=at, last_error=why)
    )
    deletes.reconsider(connection, [number], at)
    endings.release_files(connection, [number])


def _open_twin(connection: Connection, delivery: Delivery) -> bool:
    twin = sa.select(t.delivery.c.id).where(
        t.delivery.c.destination == delivery.destination,
        t.delivery.c.content == delivery.content,
        t.delivery.c.transform == delivery.transform,
        t.delivery.c.state.in_(t.OPEN_STATES),
        t.delivery.c.id != delivery.id,
    )
    return connection.execute(twin).first() is not None


# -- reading ----------------------------------------------------------------------------------------------------------


def next_due(connection: Connection, destination: str) -> float | None:
    """Return when the next delivery to that destination is due, None when none waits."""
    return connection.execute(_NEXT_DUE, {"to": destination}).scalar()


def get(connection: Connection, number: int) -> Delivery | None:
    """Return one delivery."""
    row = connection.execute(sa.select(t.delivery).where(t.delivery.c.id == number)).first()
    return _delivery(row) if row else None


def asked_together(connection: Connection, delivery: Delivery) -> list[tuple[str, str, str]]:
    """Return (blob, SOP Instance UID, content) of what else its action asked to be sent there after that transform, and is not given up or gone."""
    query = sa.select(*t.delivery.c["blob", "sop_instance_uid", "content"]).where(
        t.delivery.c.action == delivery.action,
        t.delivery.c.destination == delivery.destination,
        t.delivery.c.transform == delivery.transform,
        t.delivery.c.state.in_(PINNING),
        t.delivery.c.id != delivery.id,
    )
    return [tuple(row) for row in connection.execute(query.order_by(t.delivery.c.id))]


def stand_in_of(connection: Connection, number: int) -> Delivery | None:
    """Return the newest delivery that was asked for instead of one that failed."""
    query = sa.select(t.delivery).where(t.delivery.c.alternate_of == number).order_by(t.delivery.c.id.desc()).limit(1)
    row = connection.execute(query).first()
    return _delivery(row) if row else None


def listing(
    connection: Connection,
    *,
    states: Sequence[str] = (),
    destination: str | None = None,
    instance: str | None = None,
    study: str | None = None,
    limit: int = 100,
) -> list[Delivery]:
    """Return the newest deliveries that match; `study` is a Study Instance UID."""
    query = sa.select(t.delivery).order_by(t.delivery.c.id.desc()).limit(limit)
    if states:
        query = query.where(t.delivery.c.state.in_(states))
    if destination is not None:
        query = query.where(t.delivery.c.destination == destination)
    if instance is not None:
        query = query.where(t.delivery.c.instance == instance)
    if study is not None:
        query = query.where(
            t.delivery.c.instance.in_(sa.select(t.instance.c.id).where(t.instance.c.study_instance_uid == study))
        )
    return [_delivery(row) for row in connection.execute(query)]


def counts(connection: Connection) -> dict[str, dict[str, int]]:
    """Return destination → state → how many deliveries."""
    query = sa.select(t.delivery.c.destination, t.delivery.c.state, sa.func.count()).group_by(
        t.delivery.c.destination, t.delivery.c.state
    )
    found: dict[str, dict[str, int]] = {}
    for destination, state, number in connection.execute(query):
        found.setdefault(destination, {})[state] = number
    return found


def attempts(connection: Connection, delivery: int) -> list[Attempt]:
    """Return all attempts of a delivery, in order."""
    query = sa.select(t.attempt).where(t.attempt.c.delivery == delivery).order_by(t.attempt.c.id)
    return [
        Attempt(
            row.delivery,
            row.number,
            row.at,
            row.outcome,
            row.answer,
            row.status,
            row.seconds,
            row.sent_syntax,
            row.sent_sop_instance_uid,
        )
        for row in connection.execute(query)
    ]


def _delivery(row: Row[Any]) -> Delivery:
    return Delivery(**{name: getattr(row, name) for name in Delivery.__dataclass_fields__})
