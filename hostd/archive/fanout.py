"""One action over many instances: the members of a series, study or patient as of an event, or one of them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import sqlalchemy as sa
from sqlalchemy import ColumnElement, Connection

from hostd.archive import levels
from hostd.archive import tables as t
from hostd.archive.levels import LevelFacts
from hostd.archive.records import Event

_HAD = ("delivered", "warning")


@dataclass(frozen=True, slots=True)
class Many:
    """The members of a level that an event is about, which are still there as they were; with `instance` only that one."""

    level: levels.Level
    id: str
    number: int
    instance: str = ""

    @staticmethod
    def of(event: Event, subject: str) -> Many:
        """Return what `subject` means in an event about a level: the level itself, or one of its instances."""
        facts = LevelFacts.of(event.facts)
        assert facts is not None, "only an event about a level has members"
        return Many(facts.level, event.subject, event.number, "" if subject == event.subject else subject)

    @property
    def condition(self) -> ColumnElement[bool]:
        """The condition on `instance`."""
        members = levels.members(self.level, self.id, self.number)
        return sa.and_(members, t.instance.c.id == self.instance) if self.instance else members


def forward(
    connection: Connection,
    many: Many,
    *,
    destination: str,
    transform: str,
    priority: int,
    not_before: float,
    now: float,
    script: str,
    action: int,
    again: bool,
    back: bool,
) -> dict[str, Any]:
    """Ask for a delivery of each; return in numbers what became of them.

    `asked` are new deliveries, `absorbed` those that wait already, `had` what the destination has had (left out unless `again`), `sender`
    what came from there (left out unless `back`).
    """
    is_same = (
        t.delivery.c.destination == destination,
        t.delivery.c.transform == transform,
        t.delivery.c.content == t.instance.c.received_sha256,
    )
    is_open = sa.exists().where(*is_same, t.delivery.c.state.in_(t.OPEN_STATES))
    had = sa.exists().where(t.delivery.c.instance == t.instance.c.id, *is_same, t.delivery.c.state.in_(_HAD))
    came_from = sa.func.coalesce(
        t.instance.c.origin["modality"].as_string() == destination.partition(":")[2], sa.false()
    )
    is_sender = came_from if destination.startswith("modality:") and not back else sa.false()
    wanted: dict[str, ColumnElement[bool]] = {
        "sender": is_sender,
        "absorbed": sa.and_(~is_sender, is_open),
        "had": sa.false() if again else sa.and_(~is_sender, ~is_open, had),
    }
    counted = [sa.func.coalesce(sa.func.sum(sa.case((one, 1), else_=0)), 0).label(name) for name, one in wanted.items()]
    query: sa.Select[Any] = sa.select(*counted)
    counts = connection.execute(query.where(many.condition)).one()
    rows: dict[str, ColumnElement[Any]] = {
        "action": sa.literal(action),
        "script": sa.literal(script),
        "instance": t.instance.c.id,
        "sop_instance_uid": t.instance.c.sop_instance_uid,
        "sop_class_uid": t.instance.c.sop_class_uid,
        "destination": sa.literal(destination),
        "content": t.instance.c.received_sha256,
        "blob": t.instance.c.blob,
        "transform": sa.literal(transform),
        "priority": sa.literal(priority),
        "state": sa.literal("preparing" if transform else "waiting"),
        "attempts": sa.literal(0),
        "not_before": sa.literal(not_before),
        "next_attempt_at": sa.literal(max(now, not_before)),
        "possible_doubles": sa.literal(0),
        "created_at": sa.literal(now),
    }
    left_out = sa.or_(*wanted.values())
    chosen = sa.select(*rows.values()).where(many.condition, ~left_out).order_by(t.instance.c.told, t.instance.c.id)
    insert = sa.insert(t.delivery).from_select(list(rows), chosen)
    asked = connection.execute(insert, execution_options={"preserve_rowcount": True}).rowcount
    return {"asked": asked, **counts._mapping}  # noqa: SLF001 - SQLAlchemy's public name


def deliveries_of(
    connection: Connection, many: Many, *, destination: str | None = None, transform: str | None = None
) -> list[int]:
    """Return the newest delivery of each member's content for each (destination, transform), or for the one that is named."""
    query = (
        sa.select(sa.func.max(t.delivery.c.id))
        .join(
            t.instance,
            sa.and_(t.instance.c.id == t.delivery.c.instance, t.instance.c.received_sha256 == t.delivery.c.content),
        )
        .where(many.condition)
        .group_by(t.delivery.c.instance, t.delivery.c.destination, t.delivery.c.transform)
    )
    if destination is not None:
        query = query.where(t.delivery.c.destination == destination, t.delivery.c.transform == transform)
    return list(connection.execute(query).scalars())


def not_waited_for(connection: Connection, many: Many, action: int) -> tuple[int, int]:
    """Return how many members have no delivery that the delete `action` waits for, and how many there are."""
    waited_for = sa.select(t.delivery.c.instance).join(
        t.waiting_delete, sa.and_(t.waiting_delete.c.delivery == t.delivery.c.id, t.waiting_delete.c.action == action)
    )
    waits = t.instance.c.id.in_(waited_for)
    counted = sa.select(
        sa.func.coalesce(sa.func.sum(sa.case((waits, 0), else_=1)), 0).label("idle"), sa.func.count().label("all")
    )
    row = connection.execute(counted.where(many.condition)).one()
    return row.idle, row.all


def contents(connection: Connection, many: Many, limit: int) -> list[tuple[str, str]]:
    """Return (instance, content) of the first ones."""
    query = sa.select(t.instance.c.id, t.instance.c.received_sha256).where(many.condition)
    found = connection.execute(query.order_by(t.instance.c.told, t.instance.c.id).limit(limit))
    return [(row.id, row.received_sha256) for row in found]
