"""Queries by attributes, as C-FIND, QIDO-RS and the REST interface have them: walked in the order of an index, and given page by page.

A query is begun at the level and by the key that promise the least to look at; from there it goes down to the level that is asked for. What
an index finds is a candidate: the keys are matched with the attributes themselves (`dicom.matching`). Each page is read for itself, so that
no snapshot is held while somebody takes in the answers, and no more than a page of each level is in memory.

What comes or goes meanwhile may be found or not; what is there all the time is found once.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from functools import cache, partial
from typing import Any, Literal, NamedTuple

import sqlalchemy as sa
from sqlalchemy import ColumnElement, Connection

from hostd.archive import labels, related
from hostd.archive import tables as t
from hostd.archive.archive import Archive
from hostd.archive.catalogue import KEY_LENGTH
from hostd.archive.labels import Subject
from hostd.archive.lookups import ByValues, document
from hostd.archive.rows import Prepared
from hostd.dicom.main_tags import main_keywords
from hostd.dicom.matching import Matcher, Single, Wildcard, fold

ORDER: tuple[Subject, ...] = ("patient", "study", "series", "instance")
PAGE = 500
_FIRST_PAGE = 50
"""Of what is found first, so that who asks need not wait for more."""
_VALUES = 200
_ESCAPE = "/"
_ENOUGH = 1000
"""Beyond so many candidates it is not counted which key promises less."""

Labelling = Literal["All", "Any", "None"]


class _Row(NamedTuple):
    """A row of a level: its identifier and its parent's, its attributes, where it stands in the walk; of an instance SOP class and file."""

    id: str
    parent: str
    attributes: dict[str, Any]
    at: str
    sop_class_uid: str
    blob: str


@dataclass(frozen=True, slots=True)
class _Page:
    """Rows of a level, and those of the levels above that they are in, by identifier."""

    rows: list[_Row]
    above: dict[Subject, dict[str, _Row]]


@dataclass(frozen=True, slots=True)
class Found:
    """What was found: its level and identifier, those of what it is in and its own by level, and its attributes by keyword.

    The attributes are those of the level and of all above; `blob` is the file of an instance, and '' of anything else.
    """

    level: Subject
    id: str
    ids: dict[Subject, str]
    attributes: dict[str, str]
    blob: str = ""


@dataclass(frozen=True)
class Query:
    """What is looked for: all keys match. `within` are identifiers by level of which it is in one.

    `matchers` are by keyword, of `keywords_of(level)`, `ModalitiesInStudy` and `SOPClassesInStudy`. Of labels, it has all or any of them,
    or none of them.
    """

    level: Subject
    matchers: Mapping[str, Matcher] = field(default_factory=dict)
    within: Mapping[Subject, Collection[str]] = field(default_factory=dict)
    labels: frozenset[str] = frozenset()
    labelling: Labelling = "All"


@cache
def keywords_of(level: Subject) -> Mapping[str, Subject]:
    """Return the keywords that the index has for a level → the level that they belong to."""
    found: dict[str, Subject] = {}
    for one in ORDER[: ORDER.index(level) + 1]:
        found |= dict.fromkeys(main_keywords(one), one)
    return found | ({"SOPClassUID": "instance"} if level == "instance" else {})


def pages(archive: Archive, query: Query, *, heed: Callable[[], None] = lambda: None) -> Iterator[list[Found]]:
    """Yield what is found, some at a time; `heed` is called between two looks at the index, and may raise."""
    yield from _Walk(archive, query, heed).pages()


@dataclass(frozen=True, slots=True)
class _Start:
    """Where a query may begin: a level, and pages of its rows. `count` counts candidates up to a limit, None: few."""

    level: Subject
    pages: Callable[[], Iterator[_Page]]
    count: Callable[[Connection], int] | None = None


class _Walk:
    def __init__(self, archive: Archive, query: Query, heed: Callable[[], None]) -> None:
        self._archive = archive
        self._query = query
        self._heed = heed
        known = keywords_of(query.level)
        self._own: dict[Subject, list[tuple[str, Matcher]]] = {level: [] for level in ORDER}
        for keyword, matcher in query.matchers.items():
            if keyword not in related.LISTS:
                self._own[known[keyword]].append((keyword, matcher))
        self._lists = [(k, query.matchers[k]) for k in related.LISTS if k in query.matchers]

    def pages(self) -> Iterator[list[Found]]:
        start = self._start()
        found = self._rooted(start)
        for level in ORDER[ORDER.index(start.level) + 1 : ORDER.index(self._query.level) + 1]:
            found = self._below(found, level)
        for page in found:
            if wanted := self._labelled(page):
                yield wanted

    # -- where to begin

    def _start(self) -> _Start:
        starts = list(self._starts())
        if not starts:
            level: Subject = "series" if self._query.level == "instance" else self._query.level
            return _Start(level, partial(self._by_column, _TABLES[level].c.id, _ALL))
        few = next((start for start in starts if start.count is None), None)
        if few is not None or len(starts) == 1:
            return few or starts[0]
        with self._archive.read() as connection:
            counted = [(start.count(connection) if start.count else 0, index) for index, start in enumerate(starts)]
        return starts[min(counted)[1]]

    def _starts(self) -> Iterator[_Start]:
        """Yield where the query may begin, what is surely few first."""
        query = self._query
        for level in reversed(ORDER[: ORDER.index(query.level) + 1]):
            if (within := query.within.get(level)) is not None:
                yield _Start(level, partial(self._by_values, _TABLES[level].c.id, within))
        for keyword, uid in _UIDS.items():
            values = _values(query.matchers.get(keyword))
            if values is not None:
                yield _Start(_LEVELS[uid.table], partial(self._by_values, uid, values))
        for keyword, column in _KEYS.items():
            matcher = query.matchers.get(keyword)
            if matcher is not None and ORDER.index(_LEVELS[column.table]) <= ORDER.index(query.level):
                yield from self._by_key(column, matcher)
        modalities = _values(query.matchers.get("ModalitiesInStudy"))
        if modalities is not None and query.level != "patient":
            keys = [fold(one)[:KEY_LENGTH] for one in modalities]
            count = partial(_counted, condition=t.series.c.modality_key.in_(keys))
            yield _Start("study", partial(self._by_modality, keys), count)
        if query.labelling != "None" and len(query.labels) == 1:
            (label,) = query.labels
            has = sa.and_(t.label.c.level == query.level, t.label.c.label == label)
            yield _Start(query.level, partial(self._by_label, label), partial(_counted, condition=has))

    def _by_key(self, column: sa.Column[str], matcher: Matcher) -> Iterator[_Start]:
        level = _LEVELS[column.table]
        if matcher.spans is not None:
            spans = _disjoint([(first[:KEY_LENGTH], _upper(last)) for first, last in matcher.spans])
            count = partial(_counted, condition=_in_spans(column, spans))
            yield _Start(level, partial(self._by_column, column, spans), count)
        elif (piece := _piece(matcher)) is not None:
            yield _Start(level, partial(self._by_column, column, _ALL, _like(piece)), lambda _connection: _ENOUGH)

    def _by_values(self, column: sa.Column[str], values: Collection[str]) -> Iterator[_Page]:
        level = _LEVELS[column.table]
        for some in _pieces(sorted(set(values)), _VALUES):
            with self._look() as connection:
                found = _of_values(column).rows(connection, some)
            yield _page(level, found)

    def _by_column(
        self,
        column: sa.Column[str],
        spans: Sequence[tuple[str, str | None]],
        like: str | None = None,
    ) -> Iterator[_Page]:
        """Yield rows in the order of a column and of their identifiers; with `like` only those whose column may be like that."""
        level, size = _LEVELS[column.table], _FIRST_PAGE
        for first, last in spans:
            at = {"first": first} | ({"last": last} if last is not None else {}) | ({"like": like} if like else {})
            follows = False
            while True:
                walk = _walk(column, has_last=last is not None, follows=follows, is_like=like is not None)
                with self._look() as connection:
                    found = walk.rows(connection, **at, size=size)
                page = _page(level, found)
                if page.rows:
                    yield page
                if len(page.rows) < size:
                    break
                size, follows = PAGE, True
                at |= {"first": page.rows[-1].at, "id": page.rows[-1].id}

    def _by_modality(self, modalities: Sequence[str]) -> Iterator[_Page]:
        """Yield studies that have a series of one of these modalities, each once."""
        before: list[str] = []
        for modality in sorted(set(modalities)):
            at = ""
            while True:
                query = (
                    sa.select(t.series.c.study)
                    .where(t.series.c.modality_key == modality, t.series.c.study > at)
                    .distinct()
                    .order_by(t.series.c.study)
                    .limit(PAGE)
                )
                with self._archive.read() as connection:
                    ids = list(connection.execute(query).scalars())
                    had = set[str]()
                    if before and ids:
                        earlier = t.series.c.study.in_(ids), t.series.c.modality_key.in_(before)
                        had = set(connection.execute(sa.select(t.series.c.study).where(*earlier)).scalars())
                self._heed()
                yield from self._by_values(t.study.c.id, [one for one in ids if one not in had])
                if len(ids) < PAGE:
                    break
                at = ids[-1]
            before.append(modality)

    def _by_label(self, label: str) -> Iterator[_Page]:
        level, at = self._query.level, ""
        while True:
            mine = t.label.c.level == level, t.label.c.label == label, t.label.c.id > at
            with self._archive.read() as connection:
                ids = list(
                    connection.execute(
                        sa.select(t.label.c.id).where(*mine).order_by(t.label.c.id).limit(PAGE)
                    ).scalars()
                )
            yield from self._by_values(_TABLES[level].c.id, ids)
            if len(ids) < PAGE:
                return
            at = ids[-1]

    def _look(self) -> AbstractContextManager[Connection]:
        self._heed()
        return self._archive.look()

    # -- from there to what is asked for

    def _rooted(self, start: _Start) -> Iterator[list[Found]]:
        """Yield what of the first level matches, with what it is in."""
        for page in start.pages():
            if page.rows:
                above = self._above(page)
                yield self._matching(start.level, [(row, above.get(row.parent)) for row in page.rows])

    def _above(self, page: _Page) -> dict[str, Found]:
        """Return what of the level above matches, by identifier."""
        found: dict[str, Found] = {}
        for level, rows in page.above.items():
            matching = self._matching(level, [(row, found.get(row.parent)) for row in rows.values()])
            found = {one.id: one for one in matching}
        return found

    def _matching(self, level: Subject, rows: Iterable[tuple[_Row, Found | None]]) -> list[Found]:
        own, within = self._own[level], self._query.within.get(level)
        found = []
        for row, above in rows:
            if (above is None and _PARENT[level] is not None) or (within is not None and row.id not in within):
                continue
            attributes = (
                row.attributes
                if level != "instance"
                else row.attributes["instance"] | {"SOPClassUID": row.sop_class_uid}
            )
            if all(matcher.matches(attributes.get(keyword, "")) for keyword, matcher in own):
                ids = {**(above.ids if above else {}), level: row.id}
                merged = {**above.attributes, **attributes} if above else dict(attributes)
                found.append(Found(level, row.id, ids, merged, row.blob if level == "instance" else ""))
        if level == "study" and found and self._lists:
            with self._archive.look() as connection:
                had = related.lists(connection, [one.id for one in found], [keyword for keyword, _ in self._lists])
            found = [
                one for one in found if all(matcher.matches("\\".join(had[one.id][k])) for k, matcher in self._lists)
            ]
        return found

    def _below(self, above: Iterator[list[Found]], level: Subject) -> Iterator[list[Found]]:
        """Yield what of a level is in these, and matches."""
        at_once = 1 if level == "instance" else _VALUES
        for page in above:
            for some in _pieces(page, at_once):
                by_id = {one.id: one for one in some}
                left = sorted(by_id)
                rows = self._children(level, left)
                while rows:
                    yield self._matching(level, [(row, by_id[row.parent]) for row in rows])
                    if len(rows) < PAGE:
                        break
                    last = rows[-1].parent
                    left = [one for one in left if one >= last]
                    rows = self._children(level, left, last=last, id=rows[-1].id)

    def _children(self, level: Subject, parents: Sequence[str], **after: str) -> list[_Row]:
        """Return what of a level is in some parents, a page of it: the first, or those after a row."""
        with self._look() as connection:
            found = _children(level, follows=bool(after)).rows(connection, parents, size=PAGE, **after)
        return [_row(one) for one in found]

    def _labelled(self, page: list[Found]) -> list[Found]:
        wanted, how = self._query.labels, self._query.labelling
        if not wanted or not page:
            return page
        with self._archive.look() as connection:
            had = labels.of_many(connection, self._query.level, [one.id for one in page])
        return [
            one
            for one in page
            if (how == "All" and wanted.issubset(had[one.id]))
            or (how == "Any" and not wanted.isdisjoint(had[one.id]))
            or (how == "None" and wanted.isdisjoint(had[one.id]))
        ]


_TABLES: dict[Subject, sa.Table] = {"patient": t.patient, "study": t.study, "series": t.series, "instance": t.instance}
_PARENT: dict[Subject, Subject | None] = {"patient": None, "study": "patient", "series": "study", "instance": "series"}
_LEVELS: dict[Any, Subject] = {table: level for level, table in _TABLES.items()}
_ALL: tuple[tuple[str, str | None], ...] = (("", None),)
_UIDS: dict[str, sa.Column[str]] = {
    "SOPInstanceUID": t.instance.c.sop_instance_uid,
    "SeriesInstanceUID": t.series.c.series_instance_uid,
    "StudyInstanceUID": t.study.c.study_instance_uid,
}
_KEYS: dict[str, sa.Column[str]] = {
    "PatientID": t.patient.c.patient_id_key,
    "AccessionNumber": t.study.c.accession_number_key,
    "PatientName": t.patient.c.name_key,
    "StudyDate": t.study.c.date_key,
    "Modality": t.series.c.modality_key,
}
"""Attributes by which is looked up, and the columns of their keys."""


def _columns(table: Any, at: ColumnElement[str] | None = None, *, above: bool = True) -> sa.Select[Any]:
    """Select what is read of a level (`_Row`), by which column it is walked, and, from the patient on, each level `above`.

    These are looked up for each row that is found: a join might be begun at their end.
    """
    level = _LEVELS[table]
    parent = _PARENT[level]
    nothing = sa.literal_column("''", sa.Text)
    query: sa.Select[Any] = sa.select(
        table.c.id,
        table.c[parent] if parent is not None else nothing,
        table.c.attributes,
        at if at is not None else nothing.label("at"),
        *((t.instance.c.sop_class_uid, t.instance.c.blob) if table is t.instance else (nothing, nothing)),
    )
    for one in ORDER[: ORDER.index(level)] if above else ():
        higher = _TABLES[one]
        attributes = sa.select(higher.c.attributes).where(higher.c.id == table.c[one]).scalar_subquery()
        query = query.add_columns(table.c[one], attributes)
    return query


def _row(found: Sequence[Any]) -> _Row:
    return _Row(found[0], found[1], document(found[2]), *found[3:6])


def _page(level: Subject, found: Sequence[Sequence[Any]]) -> _Page:
    """Return what rows of `_columns` hold."""
    above: dict[Subject, dict[str, _Row]] = {}
    for place, one in enumerate(ORDER[: ORDER.index(level)]):
        at = 6 + 2 * place
        there = above[one] = {}
        for row in found:
            if row[at] not in there and row[at + 1] is not None:
                there[row[at]] = _Row(row[at], row[at - 2] if place else "", document(row[at + 1]), "", "", "")
    return _Page([_row(row) for row in found], above)


# Made once each: to make a statement takes longer than to execute it.


@cache
def _of_values(column: sa.Column[str]) -> ByValues:
    """Select the rows that have one of some values."""
    return ByValues(lambda values: _columns(column.table).where(column.in_(values)))


@cache
def _walk(column: sa.Column[str], *, has_last: bool, follows: bool, is_like: bool) -> Prepared:
    """Select rows in the order of a column: the first from a value on, or those after a row."""
    identifier = column.table.c.id
    query = _columns(column.table, column).where(column >= sa.bindparam("first"))
    if has_last:
        query = query.where(column <= sa.bindparam("last"))
    if follows:
        query = query.where(sa.or_(column > sa.bindparam("first"), identifier > sa.bindparam("id")))
    if is_like:  # what is cut off may be like anything
        like = column.like(sa.bindparam("like", type_=sa.Text), escape=_ESCAPE)
        query = query.where(sa.or_(like, sa.func.length(column) >= KEY_LENGTH))
    return Prepared(query.order_by(*dict.fromkeys((column, identifier))).limit(sa.bindparam("size")))


@cache
def _children(level: Subject, *, follows: bool) -> ByValues:
    """Select what of a level is in some parents: the first, or those after a row."""
    table, parent = _TABLES[level], _PARENT[level]
    assert parent is not None, "nothing is below nothing"
    column = table.c[parent]
    query = _columns(table, above=False)
    if follows:
        query = query.where(sa.or_(column > sa.bindparam("last"), table.c.id > sa.bindparam("id")))
    query = query.order_by(column, table.c.id).limit(sa.bindparam("size"))
    return ByValues(lambda values: query.where(column.in_(values)))


def _like(piece: str) -> str:
    """Return the pattern of LIKE for text with this piece in it."""
    for char in (_ESCAPE, "%", "_"):
        piece = piece.replace(char, _ESCAPE + char)
    return f"%{piece}%"


def _values(matcher: Matcher | None) -> list[str] | None:
    """Return the values that a key lists; None for any other kind of key."""
    if matcher is None:
        return None
    values = [one.text for one in matcher.alternatives if isinstance(one, Single)]
    return values if len(values) == len(matcher.alternatives) else None


def _upper(last: str) -> str | None:
    """Return the upper end of a span of keys, which are cut: None where it is open."""
    return None if last == "\U0010ffff" else last if len(last) <= KEY_LENGTH else last[:KEY_LENGTH] + "\U0010ffff"


def _disjoint(spans: Iterable[tuple[str, str | None]]) -> list[tuple[str, str | None]]:
    """Return spans that have nothing in common, and all that these have."""
    found: list[tuple[str, str | None]] = []
    for first, last in sorted(spans, key=lambda span: span[0]):
        if found and (found[-1][1] is None or first <= found[-1][1]):
            before = found[-1][1]
            found[-1] = (found[-1][0], None if before is None or last is None else max(before, last))
        else:
            found.append((first, last))
    return found


def _in_spans(column: ColumnElement[str], spans: Sequence[tuple[str, str | None]]) -> ColumnElement[bool]:
    return sa.or_(
        *(
            column >= first if last is None else sa.and_(column >= first, column <= last)
            for first, last in spans[:_VALUES]
        )
    )


def _counted(connection: Connection, condition: ColumnElement[bool]) -> int:
    """Count what meets a condition, up to a limit."""
    few = sa.select(sa.literal(1)).where(condition).limit(_ENOUGH).subquery()
    return connection.execute(sa.select(sa.func.count()).select_from(few)).scalar_one()


def _piece(matcher: Matcher) -> str | None:
    """Return what is somewhere in every value that a single pattern matches, folded: its longest part without wildcards."""
    if len(matcher.alternatives) != 1 or not isinstance(matcher.alternatives[0], Wildcard):
        return None
    of_name = matcher.vr == "PN"  # its component groups may be anywhere, and the delimiters at their ends be left out
    pieces = re.split("[*?=]" if of_name else "[*?]", matcher.alternatives[0].pattern)
    return fold(max((piece.rstrip("^ ") if of_name else piece for piece in pieces), key=len))[:KEY_LENGTH] or None


def _pieces(values: Sequence[Any], size: int) -> Iterator[Any]:
    for start in range(0, len(values), size):
        yield values[start : start + size]
