"""What became of instances: how each came, what every script decided about it, and what every destination said.

All of it is read from the index, so it is the same after a restart, and for an instance that was deleted since.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

import sqlalchemy as sa
from sqlalchemy import ColumnElement, Connection, Row

from hostd.archive import catalogue, deliveries, events, filterings, instances, receipts, retrievals, scripts, tasks
from hostd.archive import tables as t
from hostd.archive.dialects import contains
from hostd.archive.records import NOBODY, Attempt, Delivery, Event, Instance
from hostd.archive.retrievals import Retrieval, Sent
from hostd.archive.scripts import KnownScript
from hostd.archive.tasks import Task
from hostd.dicom.header import Header

_ACCESSION_NUMBER = 0x00080050


@dataclass(frozen=True, slots=True)
class DeliveryTold:
    """A delivery, its attempts in order, and the receipt of what was made for it, None when nothing was."""

    delivery: Delivery
    attempts: tuple[Attempt, ...]
    receipt: dict[str, Any] | None


@dataclass(frozen=True, slots=True)
class ActionTold:
    """One item of a plan: what was asked, its state and result, and the delivery and tasks that it asked for, if it asked for any."""

    position: int
    verb: str
    inputs: dict[str, Any]
    state: str
    result: dict[str, Any] | None
    delivery: DeliveryTold | None
    tasks: tuple[Task, ...] = ()


@dataclass(frozen=True, slots=True)
class RunTold:
    """One run of a script on an event. `tags_read` are names; `log` has (level, text); `asked` what it asked beyond its event, with the answers."""

    script: str
    version: str
    outcome: str
    at: float
    seconds: float
    tags_read: tuple[str, ...]
    log: tuple[tuple[str, str], ...]
    error: str | None
    actions: tuple[ActionTold, ...]
    asked: tuple[dict[str, Any], ...] = ()


@dataclass(frozen=True, slots=True)
class EventTold:
    """An event of an instance.

    `runs` are those that did, said or failed something; `without_effect` names the scripts that had the event and did nothing, `ahead_of`
    those that have not had it yet.
    """

    event: Event
    runs: tuple[RunTold, ...]
    without_effect: tuple[str, ...]
    ahead_of: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class History:
    """All that is known of one instance: `instance` as it is stored now, None when it is not stored any more.

    `header` is the newest one that an event holds; `others` are deliveries that no run shown here asked for; `retrieved` says, of each time that
    another system had it sent by C-MOVE or got it by C-GET, for what it asked and how it went.
    """

    id: str
    instance: Instance | None
    header: Header | None
    events: tuple[EventTold, ...]
    others: tuple[DeliveryTold, ...]
    retrieved: tuple[tuple[Retrieval, Sent], ...] = ()

    def deliveries(self) -> list[DeliveryTold]:
        """Return all deliveries of the instance, each once."""
        asked = [
            action.delivery
            for told in self.events
            for run in told.runs
            for action in run.actions
            if action.delivery is not None
        ]
        return list({one.delivery.id: one for one in (*asked, *self.others)}.values())


# -- which instances are meant ----------------------------------------------------------------------------------------


def named(connection: Connection, name: str) -> dict[str, list[str]]:
    """Return what a name may stand for (as the field calls it) → identifiers of the instances, in the order in which they came.

    `name` is an instance's identifier, a SOP, series or study instance UID, an accession number or a patient ID. What was deleted is
    found as long as its events are kept.
    """
    found: dict[str, set[str]] = {
        kind: set(connection.execute(query).scalars()) for kind, query in _stored_as(name).items()
    }
    studies = sa.select(t.instance.c.study_instance_uid).where(t.instance.c.id.in_(set().union(*found.values())))
    where = t.event.c.study.in_({*connection.execute(studies).scalars(), name})
    _add_told(connection, found, name, where)
    if not any(found.values()):  # nothing of it is stored any more, so only its events can tell
        # No index helps here; what is looked for is in the header as text.
        _add_told(connection, found, name, contains(t.event.c.header, name.encode()))
    order = _order_of(connection, set().union(*found.values()))
    return {kind: sorted(ids, key=lambda one: order.get(one, 0)) for kind, ids in found.items() if ids}


def shown_name(name: str, found: Mapping[str, object], *, phi: bool) -> str:
    """Return the name that was looked for, as an answer may have it: without `phi`, none that is a patient's."""
    return name if phi or not found.keys() & {"Patient ID", "Accession Number"} else "what was asked for"


def _stored_as(name: str) -> dict[str, sa.Select[str]]:
    conditions = {
        "identifier": t.instance.c.id == name,
        "SOP Instance UID": t.instance.c.sop_instance_uid == name,
        "Series Instance UID": t.instance.c.series_instance_uid == name,
        "Study Instance UID": t.instance.c.study_instance_uid == name,
        "Patient ID": catalogue.has_patient_id(name),
        "Accession Number": catalogue.has_accession_number(name),
    }
    sources = {
        "identifier of what it was made of": t.derived.c.source == name,
        "SOP Instance UID of what it was made of": t.derived.c.sop_instance_uid == name,
    }
    return {kind: sa.select(t.instance.c.id).where(one) for kind, one in conditions.items()} | {
        kind: sa.select(t.derived.c.instance).where(one) for kind, one in sources.items()
    }


def _add_told(connection: Connection, found: dict[str, set[str]], name: str, where: ColumnElement[bool]) -> None:
    """Add the instances whose events hold the name in their header."""
    query = sa.select(t.event.c.subject, t.event.c.header).where(where, t.event.c.header.is_not(None))
    for row in connection.execute(query):
        header = Header.decode(row.header)
        for kind, value in (
            ("SOP Instance UID", header.sop_instance_uid),
            ("Series Instance UID", header.series_instance_uid),
            ("Study Instance UID", header.study_instance_uid),
            ("Patient ID", header.patient_id),
            ("Accession Number", header.text(_ACCESSION_NUMBER)),
        ):
            if value == name:
                found[kind].add(row.subject)
    if connection.execute(sa.select(t.event.c.number).where(t.event.c.subject == name).limit(1)).first() is not None:
        found["identifier"].add(name)


def _order_of(connection: Connection, ids: set[str]) -> dict[str, int]:
    query = sa.select(t.event.c.subject, sa.func.min(t.event.c.number).label("first")).where(t.event.c.subject.in_(ids))
    return {row.subject: row.first for row in connection.execute(query.group_by(t.event.c.subject))}


# -- what became of one -----------------------------------------------------------------------------------------------


def of(connection: Connection, instance: str) -> History:
    """Return the history of the instance with Orthanc's identifier `instance`."""
    stored = instances.get(connection, instance)
    query = sa.select(t.event.c.number).where(_concerns(stored, instance)).order_by(t.event.c.number)
    happened = [one for number in connection.execute(query).scalars() if (one := events.get(connection, number))]
    known = scripts.known(connection)
    first_seen = {row.name: row.first_seen for row in connection.execute(sa.select(t.script))}
    told = tuple(_told(connection, event, known, first_seen, instance) for event in happened)
    headers = [event.header for event in happened if event.header is not None]
    shown = {
        action.delivery.delivery.id
        for one in told
        for run in one.runs
        for action in run.actions
        if action.delivery is not None
    }
    rest = deliveries.listing(connection, instance=instance, limit=_ALL)
    return History(
        instance,
        stored,
        Header.decode(headers[-1]) if headers else None,
        told,
        tuple(_delivery_told(connection, one) for one in reversed(rest) if one.id not in shown),
        tuple(retrievals.of_instance(connection, instance)),
    )


def _concerns(stored: Instance | None, instance: str) -> ColumnElement[bool]:
    """Return the condition on events about the instance, and on those about its levels on which a script did something after it came."""
    own = t.event.c.subject == instance
    if stored is None:
        return own
    first = sa.select(sa.func.min(t.event.c.number)).where(t.event.c.subject == instance).scalar_subquery()
    levels = t.event.c.subject.in_([stored.series, stored.study, stored.patient])
    return sa.or_(own, sa.and_(levels, t.event.c.number > first, sa.exists().where(t.run.c.event == t.event.c.number)))


_ALL = 1 << 40


def _told(
    connection: Connection, event: Event, known: Iterable[KnownScript], first_seen: dict[str, float], instance: str
) -> EventTold:
    rows = connection.execute(sa.select(t.run).where(t.run.c.event == event.number).order_by(t.run.c.id)).all()
    runs = tuple(
        RunTold(
            script=row.script,
            version=row.version,
            outcome=row.outcome,
            at=row.at,
            seconds=row.seconds,
            tags_read=tuple(row.tags_read),
            log=tuple((level, text) for level, text in row.log),
            error=row.error,
            actions=_actions(connection, row.id, instance),
            asked=tuple(row.asked),
        )
        for row in rows
    )
    told = {run.script for run in runs}
    silent: list[str] = []
    ahead: list[str] = []
    for script in known:
        if script.name in told or event.handler not in script.handlers or first_seen[script.name] > event.at:
            continue
        if event.only_for not in (None, script.name) or event.by == script.name:
            continue
        (silent if script.cursor.has_passed(event.number) else ahead).append(script.name)
    return EventTold(event, runs, tuple(silent), tuple(ahead))


def _actions(connection: Connection, run: int, instance: str) -> tuple[ActionTold, ...]:
    query = sa.select(t.action).where(t.action.c.run == run).order_by(t.action.c.position)
    return tuple(
        ActionTold(
            row.position,
            row.verb,
            row.inputs,
            row.state,
            row.result,
            _asked_for(connection, row, instance),
            tuple(tasks.of_action(connection, row.id, instance)),
        )
        for row in connection.execute(query).all()
    )


def _asked_for(connection: Connection, action: Row[Any], instance: str) -> DeliveryTold | None:
    number = (action.result or {}).get("delivery")
    if number is None:  # one of many
        asked = sa.select(t.delivery.c.id).where(t.delivery.c.action == action.id, t.delivery.c.instance == instance)
        number = connection.execute(asked).scalar()
    delivery = deliveries.get(connection, number) if number is not None else None
    return _delivery_told(connection, delivery) if delivery is not None else None


def _delivery_told(connection: Connection, delivery: Delivery) -> DeliveryTold:
    receipt = receipts.find(connection, delivery.blob, delivery.transform) if delivery.transform else None
    attempts = tuple(deliveries.attempts(connection, delivery.id))
    return DeliveryTold(delivery, attempts, receipt.facts if receipt else None)


# -- many at once -----------------------------------------------------------------------------------------------------


def per_destination(histories: Iterable[History]) -> dict[str, dict[str, int]]:
    """Return destination → state → for how many of the instances the newest delivery to it is in that state."""
    found: dict[str, Counter[str]] = {}
    for history in histories:
        newest = {
            one.delivery.destination: one.delivery.state
            for one in sorted(history.deliveries(), key=lambda one: one.delivery.id)
        }
        for destination, state in newest.items():
            found.setdefault(destination, Counter())[state] += 1
    return {destination: dict(states) for destination, states in sorted(found.items())}


def unrouted(connection: Connection, *, limit: int) -> list[Instance]:
    """Return the newest instances that are stored, that every script has had, and for which none asked for anything."""
    lowest = sa.select(sa.func.min(t.cursor.c.low_water)).scalar_subquery()
    about = t.event.c.subject == t.instance.c.id
    newest = sa.select(sa.func.max(t.event.c.number)).where(about).scalar_subquery()
    routed = sa.exists().where(about, t.action.c.event == t.event.c.number, t.action.c.verb.not_in(filterings.VERBS))
    delivered = sa.exists().where(t.delivery.c.instance == t.instance.c.id)
    told = sa.exists().where(about, t.event.c.only_for.is_distinct_from(NOBODY))
    query = (
        sa.select(t.instance.c.id)
        .where(newest <= sa.func.coalesce(lowest, newest), told, ~routed, ~delivered)
        .order_by(t.instance.c.received_at.desc(), t.instance.c.id)
        .limit(limit)
    )
    found = (instances.get(connection, one) for one in connection.execute(query).scalars().all())
    return [instance for instance in found if instance is not None]
