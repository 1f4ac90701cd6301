"""The content of instances: `/instances/{id}/file`, tags, header, and what is in a file by path; the tags of whole series, studies and patients."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator
from functools import partial
from typing import Annotated, Any, BinaryIO

from fastapi import APIRouter, Query, Request
from starlette.responses import Response

from hostd.archive.archive import Archive
from hostd.archive.labels import Subject
from hostd.archive.records import Current, Instance
from hostd.dicom.element_values import TEXT, Elements
from hostd.dicom.header import element_value
from hostd.dicom.json_model import Path, to_json, to_xml
from hostd.dicom.part10 import data_set_offset
from hostd.transcoding import contents
from hostd.web import tags
from hostd.web.accepting import accepted
from hostd.web.errors import unknown_resource
from hostd.web.files import disposition, file_response, opened, parses, part_response
from hostd.web.forms import PLURALS, file_uuid
from hostd.web.parameters import Flag, is_set
from hostd.web.promptness import prompt
from hostd.web.requested import item_of, tag_of
from hostd.web.resources import above, existing, existing_file, instances_of
from hostd.web.responses import JsonResponse, PiecesResponse, encoded
from hostd.web.transcoded import Made, lossy_quality, wanted_syntax

DICOM, DICOM_JSON, DICOM_XML = "application/dicom", "application/dicom+json", "application/dicom+xml"
Whole = Annotated[
    str | None,
    Query(
        alias="ignore-length",
        description='Tags that are shown whole, by keyword or number (gggg-eeee), with "," between.',
    ),
]
_LONGEST = 16 << 20
"""Bytes of a text that is shown whole."""
_Form = Callable[[Elements], dict[str, Any]]


def content_routes(archive: Archive, made: Made) -> APIRouter:
    """Return the routes below an instance; `made` gives files in other transfer syntaxes."""
    router = APIRouter(prefix="/instances/{identifier}", tags=["instances"])

    @router.get("/file", summary="Fetch the DICOM file")
    @prompt
    def file(
        request: Request,
        identifier: str,
        transcode: Annotated[
            str | None, Query(description="The transfer syntax to have it in, by UID or name.")
        ] = None,
        lossy_quality_: Annotated[
            int | None, Query(alias="lossy-quality", description="How good a lossy one is to be, 1 to 100.")
        ] = None,
        filename: Annotated[str | None, Query(description="The name of the file for who keeps it.")] = None,
    ) -> Response:
        if transcode is not None:
            instance = existing(archive, identifier)
            target = wanted_syntax(transcode)
            return made.response(instance, target, lossy_quality(target, lossy_quality_), filename)
        current = existing_file(archive, identifier)
        kind = accepted(request, (DICOM, DICOM_JSON, DICOM_XML)) or DICOM
        if kind == DICOM:
            name = filename or f"{file_uuid(current.blob.name)}.dcm"
            return file_response(opened(archive, current), headers=disposition(name))
        return _model(_elements(archive, current), identifier, kind)

    @router.get("/tags", summary="Show the tags: full, ?short by number, ?simplify by name")
    @prompt
    def all_tags(
        request: Request,
        identifier: str,
        simplify: Flag = None,  # noqa: ARG001 - declared for the documentation
        short: Flag = None,  # noqa: ARG001 - as above
        ignore_length: Whole = None,
    ) -> Response:
        whole = _whole(ignore_length)
        return JsonResponse(_shown(archive, existing_file(archive, identifier), _form_of(request), whole))

    @router.get("/simplified-tags", summary="Show the tags by name")
    @prompt
    def simplified_tags(identifier: str, ignore_length: Whole = None) -> Response:
        whole = _whole(ignore_length)
        return JsonResponse(_shown(archive, existing_file(archive, identifier), tags.simplified, whole))

    @router.get("/header", summary="Show the file meta information, in the forms of the tags")
    def header(request: Request, identifier: str, simplify: Flag = None, short: Flag = None) -> Response:  # noqa: ARG001 - as above
        with opened(archive, existing(archive, identifier)) as stored:
            return JsonResponse(_form_of(request)(tags.read_meta(stored)))

    @router.get("/content", summary="List the tags that the file has")
    def content(identifier: str) -> Response:
        return _content(archive, identifier, [])

    @router.get("/content/{path:path}", summary="Read an element by its path, or list what is below it")
    def content_at(identifier: str, path: str) -> Response:
        return _content(archive, identifier, [part for part in path.split("/") if part])

    return router


def tag_routes(archive: Archive) -> list[APIRouter]:
    """Return the routes about the tags of each of the four levels."""
    return [_tag_routes_of(archive, subject) for subject in PLURALS]


def _tag_routes_of(archive: Archive, subject: Subject) -> APIRouter:
    router = APIRouter(prefix=f"/{PLURALS[subject]}/{{identifier}}", tags=[PLURALS[subject]])

    def members(identifier: str) -> list[Instance]:
        with archive.read() as connection:
            return instances_of(connection, subject, identifier)

    @router.get("/module", summary="Show the tags that describe it, in the forms of the tags")
    def module(request: Request, identifier: str, simplify: Flag = None, short: Flag = None) -> Response:  # noqa: ARG001 - as above
        elements = _elements(archive, members(identifier)[0])
        return JsonResponse(_form_of(request)(tags.module(elements, subject)))

    if subject == "study":

        @router.get("/module-patient", summary="Show the tags that describe its patient, in the forms of the tags")
        def module_patient(request: Request, identifier: str, simplify: Flag = None, short: Flag = None) -> Response:  # noqa: ARG001 - as above
            with archive.read() as connection:
                above(connection, "study", identifier, "patient")
            elements = _elements(archive, members(identifier)[0])
            return JsonResponse(_form_of(request)(tags.module(elements, "patient")))

    if subject != "instance":

        @router.get("/shared-tags", summary="Show the tags that all its instances have alike, in the forms of the tags")
        def shared_tags(request: Request, identifier: str, simplify: Flag = None, short: Flag = None) -> Response:  # noqa: ARG001 - as above
            first, *others = members(identifier)
            shared = tags.texts(_elements(archive, first))
            for other in others:
                shared = tags.shared(shared, _elements(archive, other))
            return JsonResponse(_form_of(request)(shared))

        @router.get("/instances-tags", summary="Show the tags of all its instances, in the forms of the tags")
        def instances_tags(
            request: Request,
            identifier: str,
            simplify: Flag = None,  # noqa: ARG001 - as above
            short: Flag = None,  # noqa: ARG001 - as above
            ignore_length: Whole = None,
        ) -> Response:
            pieces = _tags_of_all(archive, members(identifier), _form_of(request), _whole(ignore_length))
            return PiecesResponse(pieces, media_type=JsonResponse.media_type)

    return router


def _tags_of_all(archive: Archive, members: list[Instance], form: _Form, whole: Collection[int]) -> Iterator[bytes]:
    """Yield one JSON object as it is read, so that of many instances one at a time is in memory."""
    before = b"{"
    for member in members:
        yield before + encoded(member.id) + b":" + encoded(_shown(archive, member, form, whole))
        before = b","
    yield b"}"


def _form_of(request: Request) -> _Form:
    if is_set(request, "simplify"):
        return tags.simplified
    return tags.short if is_set(request, "short") else tags.full


def _whole(names: str | None) -> list[int]:
    """Return the tags whose values are shown whole, however long they are. Raises `WebError` for one that nobody knows."""
    return list(dict.fromkeys(tag_of(name) for name in (names or "").split(",") if name))


def _shown(archive: Archive, instance: Instance | Current, form: _Form, whole: Collection[int]) -> dict[str, Any]:
    """Return the tags of an instance in a form, those that are `whole` with all of their text."""
    if not whole:
        return form(_elements(archive, instance))
    parses(instance)
    with opened(archive, instance) as file:
        elements = tags.read_elements(file)
        texts = {tag: text for tag in whole if (text := _text_of(file, tag, elements)) is not None}
    # Each form knows by what name it shows an element: a mark stands for the text meanwhile.
    marks = {f"\0{tag:08x}": text for tag, text in texts.items()}
    shown = form(elements | {tag: ("LT", [f"\0{tag:08x}"]) for tag in texts})
    for name, told in shown.items():
        if isinstance(told, str):
            shown[name] = marks.get(told, told)
        elif isinstance(told, dict) and isinstance(text := told["Value"], str):
            told["Value"] = marks.get(text, text)
    return shown


def _text_of(file: BinaryIO, tag: int, elements: Elements) -> str | None:
    """Return the whole text of an element; None for what is absent, no text, or whole already."""
    vr, values = elements.get(tag, ("", None))
    if vr not in TEXT or (values is not None and len("\\".join(map(str, values))) <= tags.LONGEST):
        return None
    start = data_set_offset(file)
    syntax = start.transfer_syntax_uid
    found = element_value(file, offset=start.offset, transfer_syntax=syntax, path=[tag], limit=_LONGEST)
    return None if found is None else "\\".join(map(str, found))


def _elements(archive: Archive, instance: Instance | Current) -> Elements:
    parses(instance)
    with opened(archive, instance) as file:
        return tags.read_elements(file)


def _model(elements: Elements, identifier: str, kind: str) -> Response:
    uri = partial(_content_uri, identifier)
    if kind == DICOM_XML:
        return Response(to_xml(elements, uri), media_type=DICOM_XML)
    return JsonResponse(to_json(elements, uri), media_type=DICOM_JSON)


def _content_uri(identifier: str, path: Path) -> str:
    """Return where a large value is: `/instances/{id}/content/…`; of pixel data its fragments are below that."""
    parts = [str(part) if number % 2 else _tag_name(part) for number, part in enumerate(path)]
    return f"/instances/{identifier}/content/{'/'.join(parts)}"


def _tag_name(tag: int) -> str:
    return f"{tag >> 16:04x}-{tag & 0xFFFF:04x}"


def _content(archive: Archive, identifier: str, parts: list[str]) -> Response:
    path = [tag_of(part) if number % 2 == 0 else item_of(part) for number, part in enumerate(parts)]
    file = opened(archive, existing(archive, identifier))
    found = None
    try:
        found = contents.find(file, path)
        if isinstance(found, contents.Value):
            return part_response(file, found, media_type="application/octet-stream")
    finally:
        if not isinstance(found, contents.Value):
            file.close()
    if found is None:
        raise unknown_resource()
    if found.count is not None:
        return JsonResponse([str(number) for number in range(found.count)])
    return JsonResponse([_tag_name(tag) for tag in found.tags])
