"""What destinations accept: for each SOP class, which transfer syntaxes it took and which it refused when it was last proposed them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Self

import sqlalchemy as sa
from sqlalchemy import Connection

from hostd.archive import tables as t


@dataclass(frozen=True, slots=True)
class Acceptance:
    """UIDs of transfer syntaxes, sorted. What stands in neither was not proposed, or not chosen beside another."""

    accepted: tuple[str, ...] = ()
    refused: tuple[str, ...] = ()

    def updated(self, newer: Self) -> Self:
        """Return this with what was learnt since."""
        accepted = {*self.accepted, *newer.accepted} - {*newer.refused}
        refused = {*self.refused, *newer.refused} - {*newer.accepted}
        return type(self)(tuple(sorted(accepted)), tuple(sorted(refused)))


@dataclass(frozen=True, slots=True)
class Remembered:
    """What a destination accepts for a SOP class (UID), as it last said so at that time, in seconds since 1970 UTC."""

    sop_class_uid: str
    acceptance: Acceptance
    at: float


def remember(connection: Connection, destination: str, learnt: Mapping[str, Acceptance], now: float) -> None:
    """Note what a destination (`kind:name`) said: SOP class UID → what it accepts for it."""
    known = {one.sop_class_uid: one.acceptance for one in listing(connection, destination)}
    for sop_class_uid, newer in learnt.items():
        key = t.accepted.c.destination == destination, t.accepted.c.sop_class_uid == sop_class_uid
        merged = known.get(sop_class_uid, Acceptance()).updated(newer)
        values = {"accepted": list(merged.accepted), "refused": list(merged.refused), "at": now}
        if sop_class_uid in known:
            connection.execute(sa.update(t.accepted).where(*key).values(**values))
        else:
            connection.execute(
                sa.insert(t.accepted).values(destination=destination, sop_class_uid=sop_class_uid, **values)
            )


def listing(connection: Connection, destination: str) -> list[Remembered]:
    """Return what is remembered of a destination, by SOP class."""
    query = sa.select(t.accepted).where(t.accepted.c.destination == destination).order_by(t.accepted.c.sop_class_uid)
    return [
        Remembered(row.sop_class_uid, Acceptance(tuple(row.accepted), tuple(row.refused)), row.at)
        for row in connection.execute(query)
    ]
