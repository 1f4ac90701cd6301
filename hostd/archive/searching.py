"""Finding what is stored by its attributes, labels, age, origin and deliveries: from the index, so many at a time."""

from __future__ import annotations

import time
from collections.abc import Mapping
from dataclasses import dataclass, field

import sqlalchemy as sa
from sqlalchemy import ColumnElement, Connection

from hostd.archive import catalogue, levels
from hostd.archive import tables as t
from hostd.archive.fanout import Many
from hostd.archive.labels import Subject
from hostd.dicom.main_tags import main_keywords
from hostd.errors import HostdError

MOST = 1000
"""How many one search finds."""
_AT_ONCE = 500
_HAD = ("delivered", "warning")
_COLUMNS: dict[str, ColumnElement[str]] = {
    "StudyInstanceUID": t.instance.c.study_instance_uid,
    "SeriesInstanceUID": t.instance.c.series_instance_uid,
    "SOPInstanceUID": t.instance.c.sop_instance_uid,
    "SOPClassUID": t.instance.c.sop_class_uid,
}
_LEVELS = ("patient", "study", "series", "instance")


class SearchError(HostdError):
    """What is looked for cannot be found this way; the message says why."""


@dataclass(frozen=True, slots=True)
class Search:
    """What is looked for: all conditions hold of what is found; times are seconds since 1970 UTC.

    `keys` are keywords of the level and those above it, with the text that they must have. `origin` is the name of a modality, or an AE
    title. Of a series, study or patient `stored_before`, `origin` and `delivered_to` (`kind:name`) hold of each instance.
    """

    level: Subject
    keys: Mapping[str, str] = field(default_factory=dict)
    label: str | None = None
    stored_before: float | None = None
    origin: str | None = None
    delivered_to: str | None = None
    limit: int = 100


def keywords_of(level: Subject) -> dict[str, str]:
    """Return the keywords by which a level can be found → the level that has them."""
    above = _LEVELS[: _LEVELS.index(level) + 1]
    found = {keyword: one for one in above for keyword in main_keywords(one)}
    return found | ({"SOPClassUID": "instance"} if level == "instance" else {})


def find(connection: Connection, search: Search, *, time_limit_s: float) -> list[str]:
    """Return identifiers of what is found, what has been stored for the longest first. Raises `SearchError`, also after the time limit."""
    known = keywords_of(search.level)
    for keyword in search.keys:
        if keyword not in known:
            raise SearchError(f"a {search.level} cannot be found by {keyword[:64]!r}; it can by {', '.join(known)}")
    identifier = t.instance.c.id if search.level == "instance" else levels.column(search.level)
    query = sa.select(identifier).where(t.instance.c.told.is_not(None), *_conditions(search, identifier, known))
    ends = time.monotonic() + time_limit_s
    found: dict[str, None] = {}
    # Read as it comes, in the order of an index, so that what is found first is answered without sorting all there is.
    rows = connection.execution_options(yield_per=_AT_ONCE).execute(query.order_by(t.instance.c.received_at))
    for (one,) in rows:
        found[one] = None
        if len(found) >= min(search.limit, MOST):
            rows.close()
            break
        if time.monotonic() > ends:
            rows.close()
            raise SearchError(
                f"nothing was found within {time_limit_s:g} s: look for less, by an identifier or a label"
            )
    return list(found)


def _conditions(search: Search, identifier: ColumnElement[str], known: dict[str, str]) -> list[ColumnElement[bool]]:
    conditions = [_equals(keyword, text, known[keyword]) for keyword, text in search.keys.items()]
    if search.label is not None:
        labelled = sa.select(t.label.c.id).where(t.label.c.level == search.level, t.label.c.label == search.label)
        conditions.append(identifier.in_(labelled))
    one = t.instance.alias("one") if search.level != "instance" else t.instance
    each: list[ColumnElement[bool]] = []
    if search.stored_before is not None:
        conditions.append(t.instance.c.received_at < search.stored_before)  # what the index is walked by
        each.append(one.c.received_at < search.stored_before)
    if search.origin is not None:
        named = one.c.origin["modality"].as_string(), one.c.origin["calling_aet"].as_string()
        each.append(sa.or_(*(sa.func.coalesce(name, "") == search.origin for name in named)))
    if search.delivered_to is not None:
        each.append(_had(one, search.delivered_to))
    if search.level == "instance":
        return [*conditions, *each]
    others = one.c[search.level] == identifier, sa.or_(sa.false(), *map(sa.not_, each))
    return [*conditions, ~sa.exists().where(*others)] if each else conditions


def _equals(keyword: str, text: str, level: str) -> ColumnElement[bool]:
    if keyword == "PatientID":
        return catalogue.has_patient_id(text)
    if keyword == "AccessionNumber":
        return catalogue.has_accession_number(text)
    if keyword in _COLUMNS:
        return _COLUMNS[keyword] == text
    value: ColumnElement[str] = t.instance.c.attributes[level][keyword].as_string()
    return sa.func.coalesce(value, "") == text


def _had(one: sa.FromClause, destination: str, *, committed: bool = False) -> ColumnElement[bool]:
    is_kept = (t.delivery.c.commitment == "committed",) if committed else ()
    return sa.exists().where(
        t.delivery.c.instance == one.c.id,
        t.delivery.c.content == one.c.received_sha256,
        t.delivery.c.destination == destination,
        t.delivery.c.state.in_(_HAD),
        *is_kept,
    )


def has_had(connection: Connection, many: Many, destination: str, *, committed: bool = False) -> bool:
    """Tell whether a destination (`kind:name`) has had each of these instances, in whatever form; False when there is none.

    With `committed`, whether it has also committed to keep it.
    """
    had = sa.case((_had(t.instance, destination, committed=committed), 1), else_=0)
    row = connection.execute(
        sa.select(sa.func.count().label("all"), sa.func.coalesce(sa.func.sum(had), 0).label("had")).where(
            many.condition
        )
    ).one()
    return bool(row.all) and row.all == row.had


def content_had(
    connection: Connection, instance: str, content: str, destination: str, *, committed: bool = False
) -> bool:
    """Tell whether a destination has had that content of an instance, and committed to it, also if it was replaced or deleted since."""
    query = sa.select(t.delivery.c.id).where(
        t.delivery.c.instance == instance,
        t.delivery.c.content == content,
        t.delivery.c.destination == destination,
        t.delivery.c.state.in_(_HAD),
    )
    if committed:
        query = query.where(t.delivery.c.commitment == "committed")
    return connection.execute(query.limit(1)).first() is not None
