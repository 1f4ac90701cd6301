"""Deleting one of the four levels: all of it is hidden at once, and its bytes go when nothing needs them any more (P4)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import partial

from sqlalchemy import Connection

from hostd.archive import instances, promises
from hostd.archive.archive import Archive
from hostd.archive.labels import Subject
from hostd.archive.levels import Level
from hostd.web.errors import FORBIDDEN, WebError, unknown_resource
from hostd.web.forms import ancestor_form
from hostd.web.resources import instances_of

_AT_ONCE = 10
"""Instances that one unit of the writer deletes, so that it stays free."""


def delete_resource(
    archive: Archive, subject: Subject, identifier: str, *, forced_by: str | None = None
) -> dict[str, str] | None:
    """Delete what there is of it now; return the nearest level above that still has instances, None when there is none.

    What comes meanwhile, or comes with other content, was not meant and stays. Nothing of it is deleted while hostd has promised another
    system to keep any of it, unless an administrator forces it. Raises `WebError` for that, and when there is nothing of it.
    """
    with archive.read() as connection:
        meant = instances_of(connection, subject, identifier)
        if forced_by is None and (kept := promises.of_many(connection, [one.id for one in meant])):
            raise _promised(kept)
    deleted = 0
    for begin in range(0, len(meant), _AT_ONCE):
        some = [(one.id, one.received_sha256) for one in meant[begin : begin + _AT_ONCE]]
        hide = partial(_hide, some=some, at=archive.clock.now(), forced_by=forced_by)
        gone, kept = archive.writer.do(hide, topics=("event",), urgent=True)
        if kept:  # it was promised meanwhile
            raise _promised(kept)
        deleted += gone
    if not deleted:  # somebody else was quicker
        raise unknown_resource()
    with archive.read() as connection:
        one = meant[0]
        parents: dict[Level, str] = {"series": one.series, "study": one.study, "patient": one.patient}
        for level, parent in parents.items():
            if instances.siblings(connection, level, parent):
                return ancestor_form(level, parent)
    return None


def _hide(
    connection: Connection, some: Sequence[tuple[str, str]], at: float, forced_by: str | None
) -> tuple[int, dict[str, list[str]]]:
    """Return how many were deleted, and those that were not because they are promised, with to whom."""
    gone, kept = 0, {}
    for instance, content in some:
        outcome = instances.hide(connection, instance, at, content=content, forced_by=forced_by)
        gone += outcome == "deleted"
        if outcome == "promised":
            kept[instance] = promises.holders(connection, instance)
    return gone, kept


def _promised(kept: Mapping[str, Sequence[str]]) -> WebError:
    to = ", ".join(sorted({name for names in kept.values() for name in names}))
    first = next(iter(kept))
    more = f" and {len(kept) - 1} more" if len(kept) > 1 else ""
    return WebError(
        409,
        FORBIDDEN,
        f"hostd has promised {to} to keep instance {first}{more} (storage commitment); an administrator may add force=true",
    )
