"""Answers to queries: what was found, with the attributes that were asked for, from the index, from counts, or from a file.

An attribute that the index does not hold is read from the file of an instance; of a patient, study or series one of its instances speaks for all.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from functools import cache, lru_cache
from typing import Any, Literal

import sqlalchemy as sa
import structlog
from pydicom.datadict import dictionary_keyword

from hostd.archive import queries, related
from hostd.archive import tables as t
from hostd.archive.archive import Archive
from hostd.archive.labels import Subject
from hostd.archive.queries import Found, Labelling, Query, keywords_of
from hostd.dicom.element_values import Elements, known_vr
from hostd.dicom.header import read_file_header
from hostd.dicom.main_tags import main_keywords, main_value
from hostd.dicom.matching import Matcher, Moments, combined, matcher
from hostd.errors import HostdError

_LOG = structlog.get_logger(__name__)

Files = Literal["always", "answers", "never"]
Keys = Mapping[int, tuple[str, str]]
"""Tag → (VR, text, its values separated by backslashes)."""

_AVAILABILITY = 0x00080056


@dataclass(frozen=True)
class Asked:
    """A query, what of it only files can tell (`deep`), and the tags that are wanted. `unmatched` are keys that nothing is matched with.

    `below` is the query of a lower level that has its keys besides: only what it finds something in is an answer. `moments` are ranges of a date
    and a time that are one range, with the tags of both.
    """

    query: Query
    deep: Mapping[int, Matcher] = field(default_factory=dict)
    wanted: frozenset[int] = frozenset()
    files: Files = "always"
    unmatched: frozenset[int] = frozenset()
    moments: tuple[tuple[int, int, Moments], ...] = ()
    below: Query | None = None


@dataclass(frozen=True, slots=True)
class Answer:
    """What was found, and the values of those tags that were wanted and have any."""

    found: Found
    elements: Elements


def asked(
    level: Subject,
    keys: Keys,
    *,
    is_exact: Callable[[str], bool],
    files: Files = "always",
    within: Mapping[Subject, Collection[str]] | None = None,
    labels: Collection[str] = (),
    labelling: Labelling = "All",
    sop_classes: bool = True,
    combines: bool = False,
) -> Asked:
    """Return what these keys ask for at a level; one without a text is only wanted in the answers.

    `combines` is whether a range of dates and one of times that belong together are one range.

    `is_exact` tells by VR whether case and accents count. Counts, private attributes, and sequences are not matched. Keys of the index's for lower
    levels find what has one below that matches them all.
    """
    known = keywords_of(level)
    matchers: dict[str, Matcher] = {}
    deep: dict[int, Matcher] = {}
    lower: dict[str, Matcher] = {}
    unmatched: set[int] = set()
    for tag, (vr, text) in keys.items():
        keyword = keyword_of(tag)
        is_whole = keyword == "PatientID"  # it names a patient whole, backslashes and all
        one = matcher(vr, text, is_exact=is_exact(vr), is_whole=is_whole) if vr != "SQ" else None
        if vr == "SQ" and text:
            unmatched.add(tag)
        if one is None:
            continue
        if keyword in known or (keyword in related.LISTS and level != "patient"):
            if keyword == "SOPClassesInStudy" and not sop_classes:
                unmatched.add(tag)
            else:
                matchers[keyword] = one
        elif keyword == "Modality" and level == "study":
            matchers.setdefault("ModalitiesInStudy", one)
        elif keyword in _below(level):
            lower[keyword] = one
        elif keyword in related.COUNTS or keyword in related.LISTS or not keyword or files != "always":
            unmatched.add(tag)
        else:
            deep[tag] = one
    moments = tuple(_combined(keys, matchers, deep)) if combines else ()
    query = Query(level, matchers, within or {}, frozenset(labels), labelling)
    below = replace(query, level=_lowest(lower), matchers=matchers | lower, labels=frozenset()) if lower else None
    return Asked(query, deep, frozenset(keys), files, frozenset(unmatched), moments, below)


def _lowest(keywords: Iterable[str]) -> Subject:
    levels = keywords_of("instance")
    return max((levels[keyword] for keyword in keywords), key=queries.ORDER.index)


def _combined(keys: Keys, matchers: dict[str, Matcher], deep: dict[int, Matcher]) -> Iterator[tuple[int, int, Moments]]:
    """Yield ranges of a date and a time that are one, and leave that of the dates alone to the index: all days of it are candidates."""
    named = {keyword_of(tag): tag for tag in keys}
    for keyword, tag in named.items():
        of_time = keyword.removesuffix("Date") + "Time"
        date = matchers.get(keyword) or deep.get(tag)
        time = matchers.get(of_time) or deep.get(named.get(of_time, 0))
        if keyword.endswith("Date") and date and time and (both := combined(date, time)):
            matchers.pop(of_time, None)
            deep.pop(named[of_time], None)
            yield tag, named[of_time], both


def answers(archive: Archive, asked: Asked, *, heed: Callable[[], None] = lambda: None) -> Iterator[list[Answer]]:
    """Yield what is found, page by page, each with what was wanted. `heed` is called now and then, and may raise."""
    teller = _Teller(archive, asked)
    for page in _pages(archive, asked, heed):
        matching = []
        for found in page:
            if asked.deep or asked.moments:
                heed()
                if not teller.matches(found):
                    continue
            matching.append(found)
        if not matching:
            continue
        computed = teller.computed(matching)
        told = []
        for found in matching:
            if teller.reads:
                heed()
            told.append(Answer(found, teller.elements(found, computed[found.id])))
        yield told


def _pages(archive: Archive, asked: Asked, heed: Callable[[], None]) -> Iterator[list[Found]]:
    """Yield what the index finds, page by page, each once however much of it is below."""
    if asked.below is None:
        yield from queries.pages(archive, asked.query, heed=heed)
        return
    level, seen = asked.query.level, set[str]()
    for page in queries.pages(archive, asked.below, heed=heed):
        if ids := {one.ids[level] for one in page} - seen:
            seen |= ids
            within = {**asked.query.within, level: ids}
            yield from queries.pages(archive, replace(asked.query, within=within), heed=heed)


class _Teller:
    """Knows what is wanted of what is found."""

    def __init__(self, archive: Archive, asked: Asked) -> None:
        self._archive = archive
        self._asked = asked
        self._header: tuple[str, Elements] = ("", {})
        level = asked.query.level
        names = {tag: keyword_of(tag) for tag in asked.wanted}
        known = keywords_of(level)
        self._of_index = {tag: name for tag, name in names.items() if name in known}
        self._counts = {name: tag for tag, name in names.items() if related.COUNTS.get(name) == level}
        self._lists = {name: tag for tag, name in names.items() if name in related.LISTS and level == "study"}
        special = {*self._of_index, *self._counts.values(), *self._lists.values(), _AVAILABILITY}
        self._deep = [
            tag
            for tag, name in names.items()
            if tag not in special and name and name not in related.COUNTS and name not in _below(level)
        ]
        self.reads = bool(self._deep) and asked.files != "never"

    def matches(self, found: Found) -> bool:
        return all(one.matches(self._text(found, tag)) for tag, one in self._asked.deep.items()) and all(
            both.holds(self._text(found, date), self._text(found, time)) for date, time, both in self._asked.moments
        )

    def _text(self, found: Found, tag: int) -> str:
        """Return the text of an attribute, from the index where it has that."""
        keyword = keyword_of(tag)
        if keyword in keywords_of(found.level):
            return found.attributes.get(keyword, "")
        return _text(self._elements(found).get(tag))

    def computed(self, page: list[Found]) -> dict[str, Elements]:
        """Return what is known of each by what is below it."""
        ids = [found.id for found in page]
        told: dict[str, Elements] = {identifier: {} for identifier in ids}
        if not self._counts and not self._lists:
            return told
        with self._archive.look() as connection:
            counted = related.counts(connection, self._asked.query.level, ids, self._counts)
            listed = related.lists(connection, ids, self._lists) if self._lists else {}
        for identifier in ids:
            for name, number in counted[identifier].items():
                told[identifier][self._counts[name]] = ("IS", [number])
            for name, values in listed.get(identifier, {}).items():
                told[identifier][self._lists[name]] = (known_vr(self._lists[name]), list(values))
        return told

    def elements(self, found: Found, computed: Elements) -> Elements:
        told = dict(computed)
        for tag, keyword in self._of_index.items():
            if text := found.attributes.get(keyword):
                told[tag] = main_value(tag, text)
        if _AVAILABILITY in self._asked.wanted:
            told[_AVAILABILITY] = ("CS", ["ONLINE"])
        if self.reads:
            header = self._elements(found)
            told |= {tag: header[tag] for tag in self._deep if tag in header}
        return told

    def _elements(self, found: Found) -> Elements:
        """Return what stands in a file of it; nothing when the file cannot be read, which is told in the log."""
        if self._header[0] == found.id:
            return self._header[1]
        elements = header_of(self._archive, found)
        self._header = (found.id, elements)
        return elements


@cache
def _below(level: Subject) -> frozenset[str]:
    """Return the keywords of which each of those below a level has values of its own."""
    lower = queries.ORDER[queries.ORDER.index(level) + 1 :]
    return frozenset(("SOPClassUID", *(keyword for one in lower for keyword in main_keywords(one))))


def header_of(archive: Archive, found: Found) -> Elements:
    """Return what stands in the file of an instance, or of one of a level; nothing when it cannot be read, which is told in the log."""
    name = found.blob
    if not name:
        query = sa.select(t.instance.c.blob).where(t.instance.c[found.level] == found.id).limit(1)
        with archive.read() as connection:
            name = connection.execute(query).scalar() or ""
    try:
        return read_file_header(archive.blobs.path(name)).tags if name else {}
    except (OSError, HostdError) as error:
        _LOG.warning("a file could not be read for a query", file=name, reason=str(error))
        return {}


@lru_cache(maxsize=1024)
def keyword_of(tag: int) -> str:
    """Return the keyword of a tag, '' for what the standard does not have."""
    try:
        return str(dictionary_keyword(tag))
    except KeyError:
        return ""


def _text(element: tuple[str, list[Any] | None] | None) -> str:
    if element is None or element[1] is None or element[0] == "SQ":
        return ""
    return "\\".join(map(str, element[1]))
