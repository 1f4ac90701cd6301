"""How deliveries end: final answers, recorded together in few statements, and what follows from them (P3)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace

import sqlalchemy as sa
from sqlalchemy import Connection

from hostd.archive import deletes, occurrences, receipts
from hostd.archive import tables as t
from hostd.archive.records import Attempt


@dataclass(frozen=True, slots=True)
class Ending:
    """A final answer: `attempt.outcome` is delivered, warning, present or failed.

    Where it `suffices`, what was taken with a warning is delivered, and the attempt shows the warning. What failed is asked for anew to
    `alternate`, unless it stands in for another itself. Where the peer `commits`, it is to be asked for storage commitment of what it
    took; `is_original`: that is the same instance, without loss.
    """

    attempt: Attempt
    suffices: bool = False
    alternate: str | None = None
    commits: bool = False
    is_original: bool | None = None


_HELD = sa.select(t.delivery.c.id).where(
    t.delivery.c.id.in_(sa.bindparam("numbers", expanding=True)),
    t.delivery.c.token == sa.bindparam("held_by"),
    t.delivery.c.state == "sending",
)
_END = (
    sa.update(t.delivery)
    .where(t.delivery.c.id == sa.bindparam("number"))
    .values(
        on_wire=False,
        state=sa.bindparam("ended_as"),
        finished_at=sa.bindparam("at"),
        last_error=sa.bindparam("error"),
        commitment=sa.bindparam("wanted"),
        is_original=sa.bindparam("original"),
    )
)


def settle(connection: Connection, endings: Sequence[Ending], token: int) -> list[Ending]:
    """Record final answers; return those that count. The others' lease was lost meanwhile: they are recorded and change nothing."""
    numbers = [ending.attempt.delivery for ending in endings]
    held = set(connection.execute(_HELD, {"numbers": numbers, "held_by": token}).scalars())
    settled = [ending for ending in endings if ending.attempt.delivery in held]
    if settled:
        connection.execute(_END, [_values(ending) for ending in settled])
    record(connection, [e.attempt if e.attempt.delivery in held else stray(e.attempt) for e in endings])
    return settled


def _values(ending: Ending) -> dict[str, object]:
    attempt = ending.attempt
    return {
        "number": attempt.delivery,
        "ended_as": "delivered" if ending.suffices else attempt.outcome,
        "at": attempt.at,
        "error": None if attempt.outcome in ("delivered", "present") else attempt.answer,
        "wanted": "wanted" if ending.commits and attempt.outcome in ("delivered", "warning") else None,
        "original": ending.is_original,
    }


def stray(attempt: Attempt) -> Attempt:
    """Return how an attempt is recorded whose lease was lost."""
    said = f"under a lost lease, so it changed nothing: {attempt.outcome}: {attempt.answer}"
    return replace(attempt, outcome="stray", answer=said)


def record(connection: Connection, attempts: Sequence[Attempt]) -> None:
    """Enter attempts."""
    if attempts:
        connection.execute(_RECORD, [asdict(attempt) for attempt in attempts])


_RECORD = sa.insert(t.attempt)


def follow_up(connection: Connection, attempts: Sequence[Attempt]) -> None:
    """Do what follows from deliveries that have ended with these attempts: events, deletes that waited, files let go."""
    numbers = [attempt.delivery for attempt in attempts]
    occurrences.deliveries_ended(connection, attempts)  # before what follows from it: a delete that waited
    deletes.reconsider(connection, numbers, max(attempt.at for attempt in attempts))
    release_files(connection, numbers)


_ENDED = t.delivery.c.id.in_(sa.bindparam("numbers", expanding=True))
_MADE = sa.select(t.receipt.c.result).join(
    t.delivery, sa.and_(t.receipt.c.source == t.delivery.c.blob, receipts.is_on_the_way(t.delivery.c.transform))
)
_RELEASE = (
    sa.update(t.blob)
    .where(
        t.blob.c.released,
        t.blob.c.unpinned_at.is_not(None),
        t.blob.c.name.in_(sa.union(sa.select(t.delivery.c.blob).where(_ENDED), _MADE.where(_ENDED))),
    )
    .values(unpinned_at=None)
)


def release_files(connection: Connection, deliveries: Sequence[int]) -> None:
    """Have the collector look again at the files that these deliveries pinned, where they were let go already."""
    connection.execute(_RELEASE, {"numbers": deliveries})
