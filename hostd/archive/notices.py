"""Notifications: durable rows that a channel's notifier carries out, and the limits on how many there are (P3)."""

from __future__ import annotations

import json
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from typing import Any

import sqlalchemy as sa
from sqlalchemy import Connection, Row

from hostd.archive import rows
from hostd.archive import tables as t
from hostd.errors import NotFoundError

DEFAULT = "default"
"""The channel that is told what is amiss without any script."""
OWN_EVERY_S = 3600.0
"""Seconds between two of hostd's own notifications about the same thing."""

_CHANNELS = "channels"


@dataclass(frozen=True, slots=True)
class PlannedNotify:
    """A notification that a script asks for. `every_s` limits how often one of this `key` goes out; None: always."""

    position: int
    inputs: dict[str, Any]
    channel: str
    text: str
    key: str
    every_s: float | None = None


@dataclass(frozen=True, slots=True)
class Notification:
    """One notification. `detail` may hold patient data; `more` counts those of its key that were held back after it."""

    id: int
    script: str | None
    channel: str
    key: str
    text: str
    detail: str
    more: int
    state: str
    attempts: int
    next_attempt_at: float
    last_error: str | None
    created_at: float
    finished_at: float | None


def configure(connection: Connection, channels: Collection[str]) -> None:
    """Note which channels there are, so that what is told without a script is not written for nobody."""
    value = json.dumps(sorted(channels)).encode()
    where = t.installation.c.name == _CHANNELS
    if connection.execute(sa.update(t.installation).where(where).values(value=value)).rowcount == 0:
        connection.execute(sa.insert(t.installation).values(name=_CHANNELS, value=value))


def configured(connection: Connection) -> list[str]:
    """Return the channels that there are, as the node that started last noted them."""
    value = connection.execute(sa.select(t.installation.c.value).where(t.installation.c.name == _CHANNELS)).scalar()
    return list(json.loads(value)) if value else []


def ask(
    connection: Connection,
    *,
    channel: str,
    text: str,
    key: str,
    every_s: float | None,
    now: float,
    detail: str = "",
    script: str | None = None,
    action: int | None = None,
) -> tuple[int, bool]:
    """Ask for a notification; return its number, and whether it is new.

    With `every_s`, one of the same channel, script and key that is younger absorbs the request, and counts it.
    """
    if every_s is not None:
        earlier = connection.execute(
            sa.select(t.notification.c.id)
            .where(
                t.notification.c.channel == channel,
                t.notification.c.key == key,
                t.notification.c.script.is_(None) if script is None else t.notification.c.script == script,
                t.notification.c.created_at > now - every_s,
            )
            .order_by(t.notification.c.id.desc())
            .limit(1)
        ).scalar()
        if earlier is not None:
            more = t.notification.c.more + 1
            connection.execute(sa.update(t.notification).where(t.notification.c.id == earlier).values(more=more))
            return int(earlier), False
    return rows.insert(
        connection, t.notification, action=action, script=script, channel=channel, key=key, text=text, detail=detail,
        state="waiting", next_attempt_at=now, created_at=now,
    ), True  # fmt: skip


def tell_default(connection: Connection, key: str, text: str, now: float, *, detail: str = "") -> None:
    """Tell the channel `default` what is amiss, where there is one: at most once an hour for a key."""
    if DEFAULT in configured(connection):
        ask(connection, channel=DEFAULT, text=text, key=key, every_s=OWN_EVERY_S, now=now, detail=detail)


def held_back_before(connection: Connection, one: Notification) -> int:
    """Return how many of the same key were held back after the notification that came before this one."""
    query = (
        sa.select(t.notification.c.more)
        .where(
            t.notification.c.channel == one.channel,
            t.notification.c.key == one.key,
            t.notification.c.script.is_(None) if one.script is None else t.notification.c.script == one.script,
            t.notification.c.id < one.id,
        )
        .order_by(t.notification.c.id.desc())
        .limit(1)
    )
    return connection.execute(query).scalar() or 0


def next_waiting(connection: Connection, channel: str) -> Notification | None:
    """Return the notification that is due next, whether its time has come or not."""
    due = t.notification.c.next_attempt_at, t.notification.c.id
    query = sa.select(t.notification).where(t.notification.c.channel == channel, t.notification.c.state == "waiting")
    row = connection.execute(query.order_by(*due).limit(1)).first()
    return _notification(row) if row else None


def settle(
    connection: Connection, one: Notification, *, state: str, error: str | None, now: float, until: float | None = None
) -> bool:
    """Record what came of a try: `sent`, `failed`, or `waiting` until `until`. False when it was settled otherwise meanwhile."""
    changed = connection.execute(
        sa.update(t.notification)
        .where(
            t.notification.c.id == one.id,
            t.notification.c.state == "waiting",
            t.notification.c.attempts == one.attempts,
        )
        .values(
            state=state,
            last_error=error,
            attempts=one.attempts + 1,
            next_attempt_at=until if until is not None else one.next_attempt_at,
            finished_at=None if state == "waiting" else now,
        )
    ).rowcount
    return changed == 1


def retry(connection: Connection, number: int, now: float) -> None:
    """Have a notification tried again at once that failed or waits. Raises `NotFoundError` when it does neither."""
    again = (
        sa.update(t.notification)
        .where(t.notification.c.id == number, t.notification.c.state.in_(("failed", "waiting")))
        .values(state="waiting", created_at=now, next_attempt_at=now, finished_at=None)
    )
    if connection.execute(again).rowcount == 0:
        raise NotFoundError(f"there is no notification {number} that failed or waits: see `hostd notify list`")


def listing(connection: Connection, *, states: Sequence[str] = (), limit: int = 100) -> list[Notification]:
    """Return the newest notifications."""
    query = sa.select(t.notification).order_by(t.notification.c.id.desc()).limit(limit)
    if states:
        query = query.where(t.notification.c.state.in_(states))
    return [_notification(row) for row in connection.execute(query)]


def purge(connection: Connection, *, older_than: float, limit: int) -> int:
    """Forget notifications that were sent, or failed, so long ago; return how many."""
    old = (
        sa.select(t.notification.c.id)
        .where(t.notification.c.state != "waiting", t.notification.c.finished_at < older_than)
        .limit(limit)
    )
    return connection.execute(sa.delete(t.notification).where(t.notification.c.id.in_(old))).rowcount


def _notification(row: Row[Any]) -> Notification:
    return Notification(**{name: getattr(row, name) for name in Notification.__dataclass_fields__})
