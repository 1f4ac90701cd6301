"""What scripts note of an instance, a series, a study or a patient: metadata and labels, kept as long as it is stored.

A change is told by the `updated_…` event of what was changed, once for all that one run noted of it, to every script but the one whose
doing it is.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, Literal

import sqlalchemy as sa
from sqlalchemy import ColumnElement, Connection, Table

from hostd.archive import events, labels, levels
from hostd.archive import tables as t
from hostd.archive.fanout import Many
from hostd.archive.labels import Subject
from hostd.archive.levels import Change
from hostd.archive.records import Event

MAX_KEYS = 100
"""Names of metadata that one instance, series, study or patient may have."""
MAX_LABELS = 100

Verb = Literal["set_metadata", "label", "unlabel"]


@dataclass(frozen=True, slots=True)
class Marks:
    """What is noted of a resource of one of the four levels: metadata by name, and labels."""

    metadata: dict[str, str] = field(default_factory=dict)
    labels: list[str] = field(default_factory=list)


@dataclass(frozen=True, slots=True)
class PlannedMark:
    """Metadata that is to be set (`value` None: removed), or labels that are to be given or taken away.

    `of` is as for a forward, but a level means itself and not its members. With `skip` there is nothing to do, for that reason.
    """

    position: int
    inputs: dict[str, Any]
    verb: Verb
    of: Many | None = None
    key: str = ""
    value: str | None = None
    labels: tuple[str, ...] = ()
    skip: str | None = None


Changes = dict[tuple[Subject, str], set[Change]]
"""What was changed of what, to be told at the end of a plan."""


def get(connection: Connection, subject: Subject, identifier: str) -> Marks | None:
    """Return what is noted of one; None when it is not stored."""
    table, where = _row_of(subject, identifier)
    metadata = connection.execute(sa.select(table.c.metadata).where(where)).scalar()
    return None if metadata is None else Marks(metadata, labels.of(connection, subject, identifier))


def carry_out(
    connection: Connection, planned: PlannedMark, event: Event, changes: Changes
) -> tuple[str, dict[str, Any]]:
    """Note what is planned at an event; return the action's state and result, and add to `changes` what is to be told of it."""
    if planned.skip is not None:
        return "skipped", {"reason": planned.skip}
    subject, identifier = _meant(planned.of, event)
    known = get(connection, subject, identifier) if _is_there(connection, planned.of) else None
    if known is None:
        return "skipped", {"reason": f"the {subject} is not stored any more"}
    what: Change = "labels"
    match planned.verb:
        case "set_metadata":
            what = "metadata"
            if planned.key not in known.metadata and len(known.metadata) >= MAX_KEYS:
                return "skipped", {"reason": f"the {subject} has {MAX_KEYS} metadata already"}
            is_changed = known.metadata.get(planned.key) != planned.value
            set_metadata(connection, subject, identifier, planned.key, planned.value)
        case "label":
            if len({*known.labels, *planned.labels}) > MAX_LABELS:
                return "skipped", {"reason": f"the {subject} would have more than {MAX_LABELS} labels"}
            is_changed = bool(labels.add(connection, subject, identifier, planned.labels))
        case "unlabel":
            is_changed = bool(labels.remove(connection, subject, identifier, planned.labels))
    if is_changed:
        changes.setdefault((subject, identifier), set()).add(what)
    return "done", {"subject": subject, "id": identifier, "changed": is_changed}


def set_metadata(connection: Connection, subject: Subject, identifier: str, key: str, value: str | None) -> None:
    """Set one metadata of what is stored; None removes it."""
    table, where = _row_of(subject, identifier)
    metadata = dict(connection.execute(sa.select(table.c.metadata).where(where)).scalar_one())
    metadata.pop(key, None)
    if value is not None:
        metadata[key] = value
    connection.execute(sa.update(table).where(where).values(metadata=metadata))


def tell(connection: Connection, changes: Changes, event: Event, script: str, at: float) -> None:
    """Tell what a script changed at an event."""
    hops = events.hops_of(event) + 1
    for (subject, identifier), what in changes.items():
        told = sorted(what)
        if subject == "instance":
            levels.changed(connection, identifier, at, *told, by=script, hops=hops)
        else:
            levels.level_changed(connection, subject, identifier, at, *told, by=script, hops=hops)


def _meant(of: Many | None, event: Event) -> tuple[Subject, str]:
    if of is None:
        return "instance", event.subject
    return ("instance", of.instance) if of.instance else (of.level, of.id)


def _is_there(connection: Connection, of: Many | None) -> bool:
    """Tell whether an instance is a member of its level; of other subjects their row tells."""
    if of is None or not of.instance:
        return True
    return connection.execute(sa.select(t.instance.c.id).where(of.condition)).first() is not None


def _row_of(subject: Subject, identifier: str) -> tuple[Table, ColumnElement[bool]]:
    if subject == "instance":
        return t.instance, t.instance.c.id == identifier
    return t.stable, sa.and_(t.stable.c.level == subject, t.stable.c.id == identifier)
