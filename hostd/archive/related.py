"""What is known of a level by what is below it: how many studies, series and instances, which modalities and SOP classes (PS3.4 §C.3.4)."""

from __future__ import annotations

from collections.abc import Collection, Sequence

import sqlalchemy as sa
from sqlalchemy import Connection

from hostd.archive import tables as t
from hostd.archive.labels import Subject
from hostd.archive.lookups import ByValues, document

LISTS = ("ModalitiesInStudy", "SOPClassesInStudy")
"""Keywords of a study whose values are those of what is below it."""

_COUNTED: dict[Subject, dict[str, sa.Table]] = {
    "patient": {
        "NumberOfPatientRelatedStudies": t.study,
        "NumberOfPatientRelatedSeries": t.series,
        "NumberOfPatientRelatedInstances": t.instance,
    },
    "study": {"NumberOfStudyRelatedSeries": t.series, "NumberOfStudyRelatedInstances": t.instance},
    "series": {"NumberOfSeriesRelatedInstances": t.instance},
}
COUNTS: dict[str, Subject] = {keyword: level for level, names in _COUNTED.items() for keyword in names}
"""Keywords of numbers → the level that has them."""


_SERIES = ByValues(
    lambda values: sa.select(t.series.c.study, t.series.c.attributes).where(t.series.c.study.in_(values))
)
_CLASSES = ByValues(
    lambda values: (
        sa.select(t.instance.c.study, t.instance.c.sop_class_uid).where(t.instance.c.study.in_(values)).distinct()
    )
)


def _counting(level: str, table: sa.Table) -> ByValues:
    column: sa.ColumnElement[str] = table.c[level]
    counted: sa.FromClause = table
    if (level, table) == ("patient", t.series):  # for there is no index of series by their patients
        column, counted = t.study.c.patient, t.series.join(t.study, t.series.c.study == t.study.c.id)
    query = sa.select(column, sa.func.count()).select_from(counted).group_by(column)
    return ByValues(lambda values: query.where(column.in_(values)))


_COUNTING: dict[str, ByValues] = {
    keyword: _counting(level, table) for level, names in _COUNTED.items() for keyword, table in names.items()
}


def lists(connection: Connection, studies: Sequence[str], keywords: Collection[str]) -> dict[str, dict[str, list[str]]]:
    """Return the values of these keywords of `LISTS` for each study, sorted."""
    found: dict[str, dict[str, set[str]]] = {study: {keyword: set() for keyword in keywords} for study in studies}
    if "ModalitiesInStudy" in keywords:
        for study, attributes in _SERIES.rows(connection, studies):
            if modality := document(attributes).get("Modality"):
                found[study]["ModalitiesInStudy"].add(modality)
    if "SOPClassesInStudy" in keywords:
        for study, sop_class in _CLASSES.rows(connection, studies):
            found[study]["SOPClassesInStudy"].add(sop_class)
    return {study: {keyword: sorted(values) for keyword, values in one.items()} for study, one in found.items()}


def counts(
    connection: Connection, level: Subject, identifiers: Sequence[str], keywords: Collection[str]
) -> dict[str, dict[str, str]]:
    """Return the numbers of these keywords that a level has, for each of these patients, studies or series."""
    found: dict[str, dict[str, str]] = {identifier: {} for identifier in identifiers}
    for keyword in _COUNTED.get(level, {}).keys() & keywords:
        numbers: dict[str, int] = dict(map(tuple, _COUNTING[keyword].rows(connection, identifiers)))
        for identifier in identifiers:
            found[identifier][keyword] = str(numbers.get(identifier, 0))
    return found
