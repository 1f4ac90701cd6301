"""Deleting one of the four levels: all of it is hidden at once, and its bytes go when nothing needs them any more (P4)."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial

from sqlalchemy import Connection

from hostd.archive import instances
from hostd.archive.archive import Archive
from hostd.archive.labels import Subject
from hostd.archive.levels import Level
from hostd.web.errors import unknown_resource
from hostd.web.forms import ancestor_form
from hostd.web.resources import instances_of

_AT_ONCE = 10
"""Instances that one unit of the writer deletes, so that it stays free."""


def delete_resource(archive: Archive, subject: Subject, identifier: str) -> dict[str, str] | None:
    """Delete what there is of it now; return the nearest level above that still has instances, None when there is none.

    What comes meanwhile, or comes with other content, was not meant and stays. Raises `WebError` when there is nothing of it.
    """
    with archive.read() as connection:
        meant = instances_of(connection, subject, identifier)
    deleted = 0
    for begin in range(0, len(meant), _AT_ONCE):
        some = [(one.id, one.received_sha256) for one in meant[begin : begin + _AT_ONCE]]
        hide = partial(_hide, some=some, at=archive.clock.now())
        deleted += archive.writer.do(hide, topics=("event",), urgent=True)
    if not deleted:  # somebody else was quicker
        raise unknown_resource()
    with archive.read() as connection:
        one = meant[0]
        parents: dict[Level, str] = {"series": one.series, "study": one.study, "patient": one.patient}
        for level, parent in parents.items():
            if instances.siblings(connection, level, parent):
                return ancestor_form(level, parent)
    return None


def _hide(connection: Connection, some: Sequence[tuple[str, str]], at: float) -> int:
    outcomes = [instances.hide(connection, instance, at, content=content) for instance, content in some]
    return outcomes.count("deleted")
