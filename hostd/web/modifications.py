"""`modify` and `anonymize` at each level, and of many: as a job, or, of one instance, as the file that is made of it."""

from __future__ import annotations

import uuid
from collections.abc import Iterator, Mapping
from typing import Any, Literal, cast

import msgspec
from fastapi import APIRouter, Request
from sqlalchemy import Connection
from starlette.concurrency import run_in_threadpool
from starlette.responses import Response, StreamingResponse

from hostd.archive import jobs, resources
from hostd.archive.archive import Archive
from hostd.dicom import loss
from hostd.dicom.syntaxes import UnknownSyntaxError, lookup
from hostd.editing import paths, projects
from hostd.editing.making import Maker
from hostd.editing.modify import refuse_impossible, refuse_values
from hostd.editing.terms import Project
from hostd.errors import CannotEditError, TranscodeError
from hostd.jobs.faults import JobFault
from hostd.jobs.modifying import TYPE, Modification, sources
from hostd.transcoding.edits import Anonymize, Modify, Value
from hostd.transcoding.transform import Transcode
from hostd.web.asking import flag, members, number, text, wrong
from hostd.web.errors import (
    BAD_FILE_FORMAT,
    BAD_PARAMETER_TYPE,
    BAD_REQUEST,
    FORBIDDEN,
    NOT_IMPLEMENTED,
    PARAMETER_OUT_OF_RANGE,
    WebError,
    bad_request,
    unknown_resource,
)
from hostd.web.fields import json_object, strings
from hostd.web.forms import subject_of
from hostd.web.guard import client_ip
from hostd.web.jobs import Submitting, is_synchronous, priority
from hostd.web.roles import suffices

Level = Literal["instance", "series", "study", "patient"]

_IDENTIFIERS = {
    "patient": "PatientID",
    "study": "StudyInstanceUID",
    "series": "SeriesInstanceUID",
    "instance": "SOPInstanceUID",
}
_TAGS = {
    "PatientID": 0x00100020,
    "StudyInstanceUID": 0x0020000D,
    "SeriesInstanceUID": 0x0020000E,
    "SOPInstanceUID": 0x00080018,
}
_UNKNOWN_TAG = 27
_FLAGS = ("Force", "Permissive")
"""Fields that are true or false, and are looked at though nothing may depend on them."""
_DICOM_VERSIONS = ("2008", "2017c", "2021b", "2023b")
_PIECE = 1 << 20


def modification_routes(archive: Archive, submitting: Submitting, maker: Maker | None) -> APIRouter:
    """Return the routes; without a `maker` no file is made for an answer."""
    router = APIRouter(tags=["modify and anonymize"])
    asking = _Asking(archive, submitting, maker)
    for level, table in (("series", "series"), ("study", "studies"), ("patient", "patients")):
        _add_level(router, asking, cast("Level", level), table)

    @router.post("/instances/{instance_id}/modify", summary="Give an instance with other attributes; nothing is stored")
    async def modify(request: Request, instance_id: str) -> Response:
        return await asking.file(request, instance_id, is_anonymization=False)

    @router.post("/instances/{instance_id}/anonymize", summary="Give an instance de-identified; nothing is stored")
    async def anonymize(request: Request, instance_id: str) -> Response:
        return await asking.file(request, instance_id, is_anonymization=True)

    @router.post("/tools/bulk-modify", summary="Modify many instances, series, studies and patients, as a job")
    async def bulk_modify(request: Request) -> Response:
        return await asking.bulk(request, is_anonymization=False)

    @router.post("/tools/bulk-anonymize", summary="De-identify many instances, series, studies and patients, as a job")
    async def bulk_anonymize(request: Request) -> Response:
        return await asking.bulk(request, is_anonymization=True)

    return router


def _add_level(router: APIRouter, asking: _Asking, level: Level, table: str) -> None:
    parameter = f"{level}_id"

    @router.post(f"/{table}/{{{parameter}}}/modify", summary=f"Modify all of a {level}, as a job")
    async def modify(request: Request) -> Response:
        return await asking.level(request, level, request.path_params[parameter], is_anonymization=False)

    @router.post(f"/{table}/{{{parameter}}}/anonymize", summary=f"De-identify all of a {level}, as a job")
    async def anonymize(request: Request) -> Response:
        return await asking.level(request, level, request.path_params[parameter], is_anonymization=True)


class _Asking:
    """What the routes have in common."""

    def __init__(self, archive: Archive, submitting: Submitting, maker: Maker | None) -> None:
        self._archive = archive
        self._submitting = submitting
        self._maker = maker

    async def level(self, request: Request, level: Level, identifier: str, *, is_anonymization: bool) -> Response:
        """Change all of something. Raises `WebError`."""
        given = await json_object(request, orthanc_status=BAD_FILE_FORMAT)
        asked = _modification(request, given, level, is_anonymization=is_anonymization)
        items = await run_in_threadpool(self._read, lambda c: resources.instances_of(c, level, identifier))
        if not items:
            raise unknown_resource()
        return await self._submit(given, asked, items)

    async def bulk(self, request: Request, *, is_anonymization: bool) -> Response:
        """Change all of many things. Raises `WebError`."""
        given = await json_object(request, orthanc_status=BAD_FILE_FORMAT)
        wanted = strings(given, "Resources")
        word = text(given, "Level") if "Level" in given else "Instance"
        level = subject_of(word or "")
        if level is None:
            raise wrong("Level is Patient, Study, Series or Instance", PARAMETER_OUT_OF_RANGE)
        asked = _modification(request, given, level, is_anonymization=is_anonymization, bulk=True)
        items = await run_in_threadpool(self._read, lambda c: members(c, wanted))
        return await self._submit(given, asked, items)

    async def _submit(self, given: dict[str, Any], asked: Modification, items: list[str]) -> Response:
        content: dict[str, Any] = {
            "Description": "REST API",
            "FailedInstancesCount": 0,
            "InstancesCount": len(items),
            "IsAnonymization": isinstance(asked.change, Anonymize),
        }
        if asked.transcode is not None:
            content["Transcode"] = given["Transcode"]
        now, waits = self._archive.clock.now(), is_synchronous(given)
        urgency, told = priority(given), given.get("UserData")

        def submit(connection: Connection) -> str:
            return jobs.submit(
                connection,
                TYPE,
                msgspec.to_builtins(asked),
                now,
                content=content,
                items=items,
                priority=urgency,
                user_data=told,
            )

        return await self._submitting.answer(submit, is_synchronous=waits)

    async def file(self, request: Request, instance_id: str, *, is_anonymization: bool) -> Response:
        """Give the file that is made of one instance. Raises `WebError`."""
        given = await json_object(request, orthanc_status=BAD_FILE_FORMAT)
        asked = _modification(request, given, "instance", is_anonymization=is_anonymization)
        if self._maker is None:
            raise WebError(501, NOT_IMPLEMENTED, "this node changes nothing")
        pieces = _made(self._archive, self._maker, instance_id, asked)
        first = await run_in_threadpool(next, pieces)  # an error is told before the answer begins
        return StreamingResponse(_after(first, pieces), media_type="application/dicom")

    def _read(self, ask: Any) -> list[str]:
        with self._archive.read() as connection:
            found: list[str] = ask(connection)
            return found


def _after(first: bytes, pieces: Iterator[bytes]) -> Iterator[bytes]:
    yield first
    yield from pieces


def _made(archive: Archive, maker: Maker, instance_id: str, asked: Modification) -> Iterator[bytes]:
    try:
        with archive.read() as connection:
            (one,) = sources(connection, [instance_id])
    except JobFault as error:
        raise unknown_resource() from error
    transform = asked.transform_of(one)
    try:
        with maker.made(one.stored, one.transfer_syntax, transform) as path, path.open("rb") as file:
            while piece := file.read(_PIECE):
                yield piece
    except CannotEditError as error:
        raise WebError(400, BAD_REQUEST, str(error)) from error
    except TranscodeError as error:
        raise WebError(500, NOT_IMPLEMENTED, str(error)) from error


# -- what a body asks for ---------------------------------------------------------------------------------------------


def _modification(
    request: Request, given: dict[str, Any], level: Level, *, is_anonymization: bool, bulk: bool = False
) -> Modification:
    """Return what a body asks for. Raises `WebError`."""
    change: Modify | Anonymize
    for name in _FLAGS:
        flag(given, name)
    try:
        _check_forced(given, level)
        change = _anonymize(given) if is_anonymization else _modify(given, level)
    except CannotEditError as error:
        if "no attribute" in str(error):
            raise WebError(400, _UNKNOWN_TAG, str(error)) from error
        raise WebError(400, BAD_REQUEST, str(error)) from error
    return Modification(
        change,
        level,
        transcode=_transcode(given, strict=level == "instance" and not bulk),
        keep_source=(level == "instance" and not bulk) or keeps_source(request, given),
        bulk=bulk,
        keep_labels=flag(given, "KeepLabels"),
        username=request.state.username,
        ip=client_ip(request),
    )


def keeps_source(request: Request, given: dict[str, Any], *, default: bool = True) -> bool:
    """Tell whether the source stays. Raises `WebError` where it is to be deleted and who asks may not delete (`roles`)."""
    keeps = flag(given, "KeepSource", default=default)
    if not keeps and not suffices(request.state.role, "admin"):
        raise WebError(403, FORBIDDEN, "\"KeepSource\" false deletes what is stored, which needs the role 'admin'")
    return keeps


def _transcode(given: dict[str, Any], *, strict: bool) -> Transcode | None:
    name = text(given, "Transcode")
    if name is None:
        return None
    try:
        syntax = lookup(name)
    except UnknownSyntaxError as error:
        number_ = PARAMETER_OUT_OF_RANGE if strict else BAD_FILE_FORMAT
        raise WebError(400, number_, f"Unknown transfer syntax: {name}") from error
    if not syntax.is_little_endian:
        raise WebError(400, PARAMETER_OUT_OF_RANGE if strict else BAD_FILE_FORMAT, f"{syntax} is read and not written")
    quality = number(given, "LossyQuality", 1, 100) or loss.DEFAULT_QUALITY
    return Transcode(syntax.uid, or_original=not strict, quality=quality if syntax.is_lossy else None)


def _check_forced(given: dict[str, Any], level: Level) -> None:
    """Refuse identifiers that are set or kept without `Force`, and such as many instances cannot share."""
    replaced, kept = _table(given), _list(given, "Keep")
    tags = {what: {_tag(name) for name in names} for what, names in (("replaced", replaced), ("kept", kept))}
    below = {
        "patient": ("StudyInstanceUID", "SeriesInstanceUID", "SOPInstanceUID"), "study": ("SeriesInstanceUID", "SOPInstanceUID"),
        "series": ("SOPInstanceUID",), "instance": (),
    }[level]  # fmt: skip
    for name, tag in _TAGS.items():
        for what, found in tags.items():
            if tag in found and not flag(given, "Force"):
                raise WebError(
                    400,
                    BAD_REQUEST,
                    f'Marking tag "{name}" as to be {what} requires the "Force" option to be set to true',
                )
        if tag in tags["replaced"] and name in below:
            raise WebError(400, BAD_REQUEST, f"When modifying a {level}, {name} cannot be set: there may be several")
    if _list(given, "Remove") and {_tag(name) for name in _list(given, "Remove")} & set(_TAGS.values()):
        raise WebError(400, BAD_REQUEST, "an identifier cannot be removed")


def _modify(given: dict[str, Any], level: Level) -> Modify:
    replaced = _table(given)
    if level == "patient" and _TAGS["PatientID"] not in {_tag(name) for name in replaced}:
        raise WebError(400, BAD_REQUEST, "When modifying a patient, her PatientID is required to be modified")
    asked = {
        "verb": "modify", "set": _replaced(given),
        "remove": [_named(name, given) for name in _list(given, "Remove")],
        "keep": [_named(name, given) for name in _list(given, "Keep")],
        "private": "remove" if flag(given, "RemovePrivateTags") else "keep",
    }  # fmt: skip
    try:
        step = msgspec.convert(asked, Modify)
    except msgspec.ValidationError as error:
        raise wrong(f"this cannot be set: {error}", BAD_PARAMETER_TYPE) from error
    refuse_impossible(step)
    check_values(step.set)
    return step


def check_values(wanted: Mapping[str, Value]) -> None:
    """Refuse what no instance can be given. Raises `WebError`."""
    try:
        refuse_values(wanted)
    except CannotEditError as error:
        raise WebError(400, BAD_PARAMETER_TYPE, str(error)) from error


def _anonymize(given: dict[str, Any]) -> Anonymize:
    version = text(given, "DicomVersion")
    if version is not None and version not in _DICOM_VERSIONS:
        raise WebError(400, PARAMETER_OUT_OF_RANGE, f"Unknown specific version of the DICOM standard: {version}")
    if flag(given, "KeepPrivateTags"):
        raise WebError(
            400, BAD_REQUEST, '"KeepPrivateTags" would keep what nobody knows: name in "Keep" what is to stay'
        )
    replaced = _replaced(given)
    if not all(isinstance(value, str) for value in replaced.values()):
        raise wrong("what is set by anonymize is a text")
    project = Project(
        name=str(uuid.uuid4()),
        dates="remove",
        keep=tuple(_named(name, given) for name in _list(given, "Keep")),
        remove=tuple(_named(name, given) for name in _list(given, "Remove")),
        replace=replaced,
        allow_burned_in=flag(given, "AllowBurnedIn"),
    )
    projects.refuse_impossible(project)
    check_values(project.replace)
    return Anonymize("", own=msgspec.json.encode(project).decode())


def _table(given: dict[str, Any]) -> dict[str, Any]:
    found = given.get("Replace", {})
    if not isinstance(found, dict):
        raise bad_request('"Replace" must be an object')
    return found


def _list(given: dict[str, Any], name: str) -> list[str]:
    return strings(given, name, orthanc_status=BAD_REQUEST) if name in given else []


def _replaced(given: dict[str, Any]) -> dict[str, Any]:
    """Return what is to be set, by its one name. What is to be kept as well is kept, as by Orthanc."""
    wanted = [(paths.parse(name), name, value) for name, value in _table(given).items()]
    creators = {path[0].tag: value for path, _, value in wanted if _is_creator(path) and isinstance(value, str)}
    kept = {_named(name, given) for name in _list(given, "Keep")}
    found: dict[str, Any] = {}
    used: set[int] = set()
    for path, name, value in wanted:
        block = path[0].tag & 0xFFFF0000 | path[0].tag >> 8 & 0xFF
        is_of_block = len(path) == 1 and path[0].creator is None and block in creators
        if is_of_block:
            used.add(block)
        named = _named(name, {"PrivateCreator": creators[block]} if is_of_block else given)
        if named not in kept:
            found[named] = value
    # A creator is entered with what is its own, in a block that is free.
    return {name: value for name, value in found.items() if paths.parse(name)[0].tag not in used}


def _is_creator(path: paths.Path) -> bool:
    tag = path[0].tag
    return len(path) == 1 and path[0].creator is None and tag >> 16 & 1 == 1 and 0x10 <= tag & 0xFFFF <= 0xFF


def _named(name: str, given: dict[str, Any]) -> str:
    """Return the one name of an attribute: Orthanc names a private creator apart."""
    path = paths.parse(name)
    creator = text(given, "PrivateCreator") or None
    if creator is not None and len(path) == 1 and path[0].creator is None and path[0].tag >> 16 & 1:
        return f'{path[0].tag >> 16:04X},xx{path[0].tag & 0xFF:02X},"{creator}"'
    return paths.shown(path)


def _tag(name: str) -> int:
    path = paths.parse(name)
    return path[0].tag if len(path) == 1 and path[0].creator is None else 0
