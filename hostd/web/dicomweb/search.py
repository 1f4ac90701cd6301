"""QIDO-RS (PS3.18 §10.6): studies, series and instances by their attributes, in the DICOM JSON Model."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from itertools import chain, islice
from typing import Annotated

from fastapi import APIRouter, Query, Request
from starlette.concurrency import run_in_threadpool
from starlette.responses import Response

from hostd.archive import answering
from hostd.archive.answering import Answer, Asked, keyword_of
from hostd.archive.archive import Archive
from hostd.archive.labels import Subject
from hostd.archive.queries import keywords_of
from hostd.config.query import Query as Settings
from hostd.dicom.element_values import Elements, known_vr
from hostd.dicom.identifiers import TIMEZONE
from hostd.dicom.json_model import Path, to_json
from hostd.dicom.main_tags import main_keywords
from hostd.dicom.media_types import DICOM_JSON, DICOM_XML
from hostd.web.dicomweb import choosing
from hostd.web.dicomweb.multipart import multipart_type, new_boundary, written, xml_part
from hostd.web.dicomweb.resources import root_url
from hostd.web.errors import UNKNOWN_TAG, WebError
from hostd.web.listing import listed
from hostd.web.parameters import LARGEST
from hostd.web.requested import tag_of
from hostd.web.responses import PiecesResponse

_OWN = frozenset(("limit", "offset", "fuzzymatching", "includefield", "accept", "charset"))
"""Parameters that are no keys (PS3.18 §8.3.3, §8.3.4)."""
_LISTED = frozenset(("CS", "UI"))
"""VRs in whose keys a comma parts values, as it can be in none of them."""
_RETRIEVE_URL = 0x00081190
_NOT_FUZZY = '299 hostd "The fuzzymatching parameter is not supported. Only literal matching has been performed."'
_NO_TIMEZONE = '299 hostd "TimezoneOffsetFromUTC is not reckoned with: dates and times are matched as they stand."'
_UNMATCHED = '299 hostd "Nothing is matched by these attributes: {}."'
_MORE = '299 hostd "There are more results than are given; ask with an offset, or for less."'

_DEFAULTS: dict[Subject, tuple[int, ...]] = {
    "study": (
        0x00080020, 0x00080030, 0x00080050, 0x00080056, 0x00080061, 0x00080090, 0x00100010, 0x00100020, 0x00100030,
        0x00100040, 0x0020000D, 0x00200010, 0x00201206, 0x00201208,
    ),
    "series": (0x00080060, 0x0008103E, 0x0020000E, 0x00200011, 0x00201209),
    "instance": (0x00080016, 0x00080018, 0x00080056, 0x00200013, 0x00280008, 0x00280010, 0x00280011, 0x00280100),
}  # fmt: skip
"""What is always told (PS3.18 Tables 10.6.3-3 to 10.6.3-5), as far as it is there."""
_LEVELS: tuple[Subject, ...] = ("study", "series", "instance")
_UIDS: dict[Subject, int] = {"study": 0x0020000D, "series": 0x0020000E, "instance": 0x00080018}
_COUNTS: dict[Subject, tuple[int, ...]] = {
    "study": (0x00080061, 0x00201206, 0x00201208),
    "series": (0x00201209,),
    "instance": (),
}
_Limit = Annotated[int | None, Query(ge=0, le=LARGEST, description="How many to return at most.")]
_Offset = Annotated[int, Query(ge=0, le=LARGEST, description="How many to leave out at the beginning.")]
_Include = Annotated[
    list[str] | None, Query(description="Attributes to tell besides, by keyword or tag; `all` there are.")
]
_Fuzzy = Annotated[bool, Query(description="Fuzzy matching of names, which is not done: a header says so.")]


@dataclass(frozen=True, slots=True)
class _Search:
    """One request: what is asked for, which of it, and what is to be told."""

    asked: Asked
    limit: int
    is_capped: bool
    offset: int
    is_all: bool
    root: str


def search_routes(archive: Archive, settings: Callable[[], Settings]) -> APIRouter:
    """Return the routes, which stand below the root of DICOMweb."""
    router = APIRouter(tags=["DICOMweb"])
    faces: tuple[tuple[str, Subject], ...] = (("studies", "study"), ("series", "series"), ("instances", "instance"))
    for plural, level in faces:
        _add(router, archive, settings, plural, level)
    for plural, level in faces[1:]:
        _add_in_study(router, archive, settings, plural, level)

    @router.get("/studies/{study}/series/{series}/instances", summary="Search for instances of a series (QIDO-RS)")
    async def instances_of_series(
        request: Request, study: str, series: str, limit: _Limit = None, offset: _Offset = 0,
        includefield: _Include = None, fuzzymatching: _Fuzzy = False,
    ) -> Response:  # fmt: skip
        within: dict[Subject, str] = {"study": study, "series": series}
        sought = _search(request, "instance", within, settings(), limit, offset, includefield or [])
        return await _answered(request, archive, sought, is_fuzzy=fuzzymatching)

    return router


def _add(router: APIRouter, archive: Archive, settings: Callable[[], Settings], plural: str, level: Subject) -> None:
    @router.get(f"/{plural}", summary=f"Search for {plural} (QIDO-RS)", name=f"search_{plural}")
    async def search(
        request: Request, limit: _Limit = None, offset: _Offset = 0,
        includefield: _Include = None, fuzzymatching: _Fuzzy = False,
    ) -> Response:  # fmt: skip
        sought = _search(request, level, {}, settings(), limit, offset, includefield or [])
        return await _answered(request, archive, sought, is_fuzzy=fuzzymatching)


def _add_in_study(
    router: APIRouter, archive: Archive, settings: Callable[[], Settings], plural: str, level: Subject
) -> None:
    summary = f"Search for {plural} of a study (QIDO-RS)"

    @router.get(f"/studies/{{study}}/{plural}", summary=summary, name=f"search_{plural}_of_study")
    async def search(
        request: Request, study: str, limit: _Limit = None, offset: _Offset = 0,
        includefield: _Include = None, fuzzymatching: _Fuzzy = False,
    ) -> Response:  # fmt: skip
        sought = _search(request, level, {"study": study}, settings(), limit, offset, includefield or [])
        return await _answered(request, archive, sought, is_fuzzy=fuzzymatching)


async def _answered(request: Request, archive: Archive, sought: _Search, *, is_fuzzy: bool) -> Response:
    form = choosing.models(request, None)
    if form.is_multipart:
        response = await _as_xml(_answers(archive, sought))
    else:
        found = (to_json(elements, _nowhere) for elements in _answers(archive, sought))
        response = await listed(found, DICOM_JSON)
    if is_fuzzy:
        response.headers.append("Warning", _NOT_FUZZY)
    if TIMEZONE in sought.asked.wanted and any(map(request.query_params.get, ("TimezoneOffsetFromUTC", "00080201"))):
        response.headers.append("Warning", _NO_TIMEZONE)
    if sought.asked.unmatched:
        names = ", ".join(keyword_of(tag) or f"{tag:08X}" for tag in sorted(sought.asked.unmatched))
        response.headers.append("Warning", _UNMATCHED.format(names))
    if sought.is_capped and await run_in_threadpool(_has_more, archive, sought):
        response.headers.append("Warning", _MORE)
    return response


def _search(
    request: Request,
    level: Subject,
    uids: dict[Subject, str],
    settings: Settings,
    limit: int | None,
    offset: int,
    include: list[str],
) -> _Search:
    keys: dict[int, tuple[str, str]] = {}
    for name, text in request.query_params.multi_items():
        if name not in _OWN:
            tag = _attribute(name)
            # A time zone is of the dates that are asked for, and is no key (PS3.18 §8.3.4.1.1).
            sought = "" if tag == TIMEZONE else text.replace(",", "\\") if known_vr(tag) in _LISTED else text
            keys[tag] = known_vr(tag), sought
    for one, uid in uids.items():
        keys[_UIDS[one]] = "UI", uid
    names = [name.strip() for part in include for name in part.split(",") if name.strip()]
    is_all = "all" in names
    asked = answering.asked(
        level,
        keys,
        is_exact=lambda vr: vr != "PN" or settings.case_sensitive_pn,
        files=settings.read_files,
        within=None,
        combines=True,  # PS3.18 §8.3.4.1.1: always
    )
    wanted = {*keys, *_UIDS_OF[level], *_DEFAULTS[level], *(_attribute(name) for name in names if name != "all")}
    for above in _LEVELS[: _LEVELS.index(level)]:
        wanted |= set(_DEFAULTS[above]) - set(_COUNTS[above])  # what it is in is told, too
    if is_all:
        wanted |= {
            tag for keyword, one in keywords_of(level).items() for tag in [main_keywords(one).get(keyword, 0x00080016)]
        }
    most = settings.limit_instances if level == "instance" else settings.limit_results
    capped = bool(most) and (limit is None or limit > most)
    return _Search(
        replace(asked, wanted=frozenset(wanted)),
        most if capped else limit if limit is not None else -1,
        capped,
        offset,
        is_all and level == "instance",
        root_url(request),
    )


def _attribute(name: str) -> int:
    """Return the tag of an attribute, or of the sequence that one is in (PS3.18 §8.3.4.1). Raises `WebError`."""
    first, *within = map(tag_of, name.split("."))
    if within and known_vr(first) != "SQ":
        raise WebError(400, UNKNOWN_TAG, f"there is no sequence of DICOM {name.partition('.')[0]!r}")
    return first


_UIDS_OF: dict[Subject, tuple[int, ...]] = {
    "study": (_UIDS["study"],),
    "series": (_UIDS["study"], _UIDS["series"]),
    "instance": (_UIDS["study"], _UIDS["series"], _UIDS["instance"]),
}


async def _as_xml(found: Iterator[Elements]) -> Response:
    """Return what is found in parts; nothing is said of nothing. What goes wrong before the first is there is raised."""
    parts = (xml_part(elements, _nowhere) for elements in found)
    begun = await run_in_threadpool(lambda: list(islice(parts, 1)))
    if not begun:
        return Response(status_code=204)
    boundary = new_boundary()
    return PiecesResponse(written(chain(begun, parts), boundary), media_type=multipart_type(DICOM_XML, boundary))


def _nowhere(_path: Path) -> str:
    return ""  # no value of an answer is too large to stand in it


def _answers(archive: Archive, sought: _Search) -> Iterator[Elements]:
    every = (one for page in answering.answers(archive, sought.asked) for one in page)
    end = None if sought.limit < 0 else sought.offset + sought.limit
    for one in islice(every, sought.offset, end):
        yield _elements(archive, one, sought)


def _has_more(archive: Archive, sought: _Search) -> bool:
    query = replace(sought.asked, wanted=frozenset())
    every = (one for page in answering.answers(archive, query) for one in page)
    return bool(list(islice(every, sought.offset + sought.limit, sought.offset + sought.limit + 1)))


def _elements(archive: Archive, one: Answer, sought: _Search) -> Elements:
    told: Elements = {tag: (known_vr(tag), []) for tag in sought.asked.wanted}
    told |= {tag: element for tag, element in one.elements.items() if element[1] is not None}
    if sought.is_all:
        header = answering.header_of(archive, one.found)
        told |= {tag: element for tag, element in header.items() if element[1] is not None}
    url = sought.root
    for level, tag in _UIDS.items():
        if level in one.found.ids:
            plural = {"study": "studies", "series": "series"}.get(level, "instances")
            url += f"/{plural}/{_uid(one, level)}"
            told.setdefault(tag, ("UI", [_uid(one, level)]))
    told[_RETRIEVE_URL] = ("UR", [url])
    return told


def _uid(one: Answer, level: Subject) -> str:
    keyword = {"study": "StudyInstanceUID", "series": "SeriesInstanceUID"}.get(level, "SOPInstanceUID")
    return one.found.attributes.get(keyword, "")
