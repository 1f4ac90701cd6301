"""What the four levels have in common: finding one, and what is above and below it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from sqlalchemy import Connection

from hostd.archive import hierarchy, instances
from hostd.archive.archive import Archive
from hostd.archive.hierarchy import Stored
from hostd.archive.labels import Subject
from hostd.archive.levels import Level
from hostd.archive.records import Current, Instance
from hostd.web.errors import unknown_resource
from hostd.web.forms import expected_instances, index_in_series, instance_form, level_form


def existing(archive: Archive, instance_id: str) -> Instance:
    """Return the instance. Raises `WebError` when there is none."""
    with archive.look() as connection:
        return existing_instance(connection, instance_id)


def existing_file(archive: Archive, instance_id: str) -> Current:
    """Return the current file of an instance. Raises `WebError` when there is no such instance."""
    with archive.look() as connection:
        found = instances.current(connection, instance_id)
    if found is None:
        raise unknown_resource()
    return found


def existing_instance(connection: Connection, instance_id: str) -> Instance:
    """Return the instance. Raises `WebError` when there is none."""
    instance = instances.get(connection, instance_id)
    if instance is None:
        raise unknown_resource()
    return instance


def existing_level(connection: Connection, level: Level, identifier: str) -> Stored:
    """Return the patient, study or series. Raises `WebError` when there is none."""
    stored = hierarchy.get(connection, level, identifier)
    if stored is None:
        raise unknown_resource()
    return stored


def require(connection: Connection, subject: Subject, identifier: str) -> None:
    """Raise `WebError` when there is no such patient, study, series or instance."""
    if subject == "instance":
        existing_instance(connection, identifier)
    else:
        existing_level(connection, subject, identifier)


def described(connection: Connection, subject: Subject, identifier: str) -> dict[str, Any]:
    """Return the form of one of the four levels. Raises `WebError` when there is none."""
    found = described_all(connection, subject, [identifier])
    if not found:
        raise unknown_resource()
    return found[0]


def described_all(connection: Connection, subject: Subject, identifiers: Sequence[str]) -> list[dict[str, Any]]:
    """Return the forms of those that there are, in this order."""
    if subject == "instance":
        return [instance_form(one) for one in instances.get_all(connection, identifiers)]
    return [form_of(connection, one) for one in hierarchy.get_all(connection, subject, identifiers)]


def form_of(connection: Connection, stored: Stored) -> dict[str, Any]:
    """Return the form of a patient, study or series."""
    if stored.level != "series" or expected_instances(stored) is None:
        return level_form(stored)
    return level_form(stored, [index_in_series(one) for one in hierarchy.instances_of(connection, "series", stored.id)])


def instances_of(connection: Connection, subject: Subject, identifier: str) -> list[Instance]:
    """Return the instances of one of the four levels. Raises `WebError` when there is none."""
    if subject == "instance":
        return [existing_instance(connection, identifier)]
    found = hierarchy.instances_of(connection, subject, identifier)
    if not found:
        raise unknown_resource()
    return found


def above(connection: Connection, subject: Subject, identifier: str, wanted: Level) -> str:
    """Return the identifier of the patient, study or series that one is in. Raises `WebError` when there is none."""
    if subject == "instance":
        instance = existing_instance(connection, identifier)
        return {"patient": instance.patient, "study": instance.study, "series": instance.series}[wanted]
    stored = existing_level(connection, subject, identifier)
    return stored.patient if wanted == "patient" else stored.study
