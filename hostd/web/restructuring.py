"""`/studies/{id}/split` and `/studies/{id}/merge`: series that become a study of their own, or part of another, as jobs."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import msgspec
from fastapi import APIRouter, Request
from pydicom.datadict import keyword_for_tag
from pydicom.uid import generate_uid
from sqlalchemy import Connection
from starlette.concurrency import run_in_threadpool
from starlette.responses import Response

from hostd.archive import jobs, resources
from hostd.archive.archive import Archive
from hostd.archive.records import Instance
from hostd.dicom.identity import orthanc_id
from hostd.editing import paths
from hostd.editing.modify import refuse_impossible
from hostd.errors import CannotEditError
from hostd.jobs.modifying import MERGE, SPLIT, Modification
from hostd.transcoding.edits import Modify
from hostd.web import tags
from hostd.web.asking import flag, members, wrong
from hostd.web.errors import (
    BAD_FILE_FORMAT,
    BAD_PARAMETER_TYPE,
    PARAMETER_OUT_OF_RANGE,
    UNKNOWN_TAG,
    WebError,
    bad_request,
    unknown_resource,
)
from hostd.web.fields import json_object, strings
from hostd.web.files import opened
from hostd.web.guard import client_ip
from hostd.web.jobs import Submitting, is_synchronous, priority
from hostd.web.modifications import check_values, keeps_source
from hostd.web.resources import instances_of

_PATIENT_ID = 0x00100020
_OWN = {0x0020000D: "StudyInstanceUID", 0x0020000E: "SeriesInstanceUID", 0x00080018: "SOPInstanceUID"}
"""What a split or a merge sets by itself."""
_DESCRIBING = tags.tags_of("patient", "study")
_MAY_BE_KEPT = frozenset({"SeriesInstanceUID", "SOPInstanceUID"})


@dataclass(frozen=True, slots=True)
class _Wanted:
    """What is to be done with which instances, and to which study they come: its identifier, and its UID."""

    kind: str
    change: Modify
    instances: Sequence[str]
    study: str
    study_instance_uid: str


def restructuring_routes(archive: Archive, submitting: Submitting) -> APIRouter:
    """Return the routes."""
    router = APIRouter(prefix="/studies/{study_id}", tags=["modify and anonymize"])

    def read(ask: Any, *arguments: Any) -> _Wanted:
        with archive.read() as connection:
            found: _Wanted = ask(archive, connection, *arguments)
            return found

    @router.post("/split", summary="Make a new study of series or instances of a study, as a job")
    async def split(request: Request, study_id: str) -> Response:
        given = await json_object(request, orthanc_status=BAD_FILE_FORMAT)
        return await submit(request, given, await run_in_threadpool(read, _split, study_id, given))

    @router.post("/merge", summary="Make studies, series or instances part of a study, as a job")
    async def merge(request: Request, study_id: str) -> Response:
        given = await json_object(request, orthanc_status=BAD_FILE_FORMAT)
        return await submit(request, given, await run_in_threadpool(read, _merge, study_id, given))

    async def submit(request: Request, given: dict[str, Any], wanted: _Wanted) -> Response:
        asked = Modification(
            wanted.change,
            "series",
            keep_source=keeps_source(request, given, default=False),
            keep_labels=flag(given, "KeepLabels"),
            is_restructured=True,
            username=request.state.username,
            ip=client_ip(request),
        )
        content: dict[str, Any] = {
            "Description": "REST API",
            "FailedInstancesCount": 0,
            "InstancesCount": len(wanted.instances),
            "TargetStudy": wanted.study,
        }
        if wanted.kind == SPLIT:
            content["TargetStudyUID"] = wanted.study_instance_uid
        now, waits, urgency, told = archive.clock.now(), is_synchronous(given), priority(given), given.get("UserData")

        def enter(connection: Connection) -> str:
            return jobs.submit(
                connection, wanted.kind, msgspec.to_builtins(asked), now,
                content=content, items=list(wanted.instances), priority=urgency, user_data=told,
            )  # fmt: skip

        return await submitting.answer(enter, is_synchronous=waits)

    return router


# -- split ------------------------------------------------------------------------------------------------------------


def _split(_archive: Archive, connection: Connection, study: str, given: dict[str, Any]) -> _Wanted:
    """Return what a body asks to be split off. Raises `WebError`."""
    if resources.level_of(connection, study) != "study":
        raise unknown_resource(f"Cannot split unknown study {study}")
    held = instances_of(connection, "study", study)
    chosen = _chosen(given, held)
    replaced = given.get("Replace", {})
    if not isinstance(replaced, dict):
        raise wrong('"Replace" must be an object')
    removed = strings(given, "Remove") if "Remove" in given else []
    uid = str(generate_uid(prefix=None))
    patient_id = held[0].patient_id
    named = {_named(name): value for name, value in replaced.items()}
    gone = [_named(name) for name in removed]
    for name in (*named, *gone):
        if name in _OWN.values():
            raise bad_request(
                f"{name} cannot be set or removed: the new study and its series have identifiers of their own"
            )
        if paths.parse(name)[0].tag not in _DESCRIBING:
            what = f"{name} cannot be set or removed by a split: it describes neither patient nor study"
            raise wrong(what, PARAMETER_OUT_OF_RANGE)
    if "PatientID" in named:
        if not isinstance(named["PatientID"], str):
            raise bad_request("PatientID is a text")
        patient_id = named["PatientID"].strip()
    elif "PatientID" in gone:
        patient_id = ""
    change = _change(given, named | {"StudyInstanceUID": uid}, removed)
    return _Wanted(SPLIT, change, chosen, orthanc_id(patient_id, uid), uid)


def _chosen(given: dict[str, Any], held: Sequence[Instance]) -> list[str]:
    """Return the instances of a study that a body names, by themselves or by their series. Raises `WebError`."""
    chosen: dict[str, None] = {}
    for field, level in (("Series", "series"), ("Instances", "id")):
        for one in strings(given, field) if field in given else []:
            found = [each.id for each in held if getattr(each, level) == one]
            if not found:
                noun = "series" if level == "series" else "instance"
                raise unknown_resource(f"This {noun} does not belong to the study to be split: {one}")
            chosen |= dict.fromkeys(found)
    if not chosen:
        raise bad_request('Both the "Series" and the "Instances" fields are missing')
    return list(chosen)


# -- merge ------------------------------------------------------------------------------------------------------------


def _merge(archive: Archive, connection: Connection, study: str, given: dict[str, Any]) -> _Wanted:
    """Return what a body asks to be merged: what comes gets what describes patient and study of one of the instances that are there."""
    wanted = strings(given, "Resources")
    if resources.level_of(connection, study) != "study":
        raise unknown_resource(f"Cannot merge into unknown study {study}")
    held = instances_of(connection, "study", study)
    chosen = members(connection, wanted)
    there = {one.id for one in held}
    if any(one in there for one in chosen):
        raise unknown_resource("Cannot merge into a study what is part of it already")
    described, missing = _description(archive, held[0])
    change = _change(given, described | {"StudyInstanceUID": held[0].study_instance_uid}, missing)
    return _Wanted(MERGE, change, chosen, study, held[0].study_instance_uid)


def _description(archive: Archive, one: Instance) -> tuple[dict[str, Any], list[str]]:
    """Return what describes patient and study of an instance, as texts by keyword, and what of that it does not have."""
    with opened(archive, one) as file:
        elements = tags.read_elements(file)
    found: dict[str, Any] = {}
    for tag, (vr, values) in {**tags.module(elements, "patient"), **tags.module(elements, "study")}.items():
        if vr != "SQ" and tag not in _OWN and (keyword := keyword_for_tag(tag)):
            texts = [str(value) for value in values or ()]
            found[keyword] = texts[0] if len(texts) == 1 else (texts or None)
    found["PatientID"] = one.patient_id
    missing = [
        keyword
        for tag in _DESCRIBING
        if tag not in elements and tag not in _OWN and tag != _PATIENT_ID and (keyword := keyword_for_tag(tag))
    ]
    return found, missing


# -- both -------------------------------------------------------------------------------------------------------------


def _change(given: dict[str, Any], replaced: dict[str, Any], removed: Sequence[str]) -> Modify:
    kept = strings(given, "Keep") if "Keep" in given else []
    if unknown := [one for one in kept if one not in _MAY_BE_KEPT]:
        raise bad_request(f"{unknown[0]} cannot be kept: only {' and '.join(sorted(_MAY_BE_KEPT))} can")
    asked = {"verb": "modify", "set": replaced, "remove": list(removed), "keep": kept}
    try:
        change = msgspec.convert(asked, Modify)
        refuse_impossible(change)
    except msgspec.ValidationError as error:
        raise wrong(f"this cannot be set: {error}", BAD_PARAMETER_TYPE) from error
    except CannotEditError as error:
        raise bad_request(str(error)) from error
    check_values(change.set)
    return change


def _named(name: str) -> str:
    try:
        return paths.shown(paths.parse(name))
    except CannotEditError as error:
        raise WebError(400, UNKNOWN_TAG, str(error)) from error
