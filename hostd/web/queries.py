"""`/modalities/{name}/query` and its kin, and `/queries`: what other archives have, and having them send it, in Orthanc's form."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from fastapi import APIRouter, Request
from starlette.concurrency import run_in_threadpool
from starlette.responses import PlainTextResponse, Response

from hostd.delivery.retrieve_jobs import GET, MOVE
from hostd.dicom.element_values import Elements
from hostd.dicom.query import LEVELS, RETURN_KEYS, UNIQUE_KEYS, Level, Question, elements_of, tag_of
from hostd.jobs.faults import NETWORK_PROTOCOL
from hostd.web import tags
from hostd.web.asking import flag, wrong
from hostd.web.errors import BAD_REQUEST, WebError, unknown_resource
from hostd.web.parameters import Expand, is_set
from hostd.web.query_bodies import form_of, keys_of, level_of, object_of, shown_of, target_of, unique, value_of
from hostd.web.query_desk import Asked, Desk
from hostd.web.responses import JsonResponse

_MOST_OF_TREE = 1000
_ORTHANC_LEVELS: Mapping[Level, str] = {
    "patient": "Patient", "study": "Study", "series": "Series", "instance": "Instance",
}  # fmt: skip
_BELOW: Mapping[Level, tuple[str, ...]] = {
    "patient": ("query-studies", "query-series", "query-instances"),
    "study": ("query-series", "query-instances"), "series": ("query-instances",), "instance": (),
}  # fmt: skip


def query_routes(desk: Desk) -> APIRouter:
    """Return the routes."""
    router = APIRouter(tags=["queries"])
    _add_asking(router, desk)
    _add_sending(router, desk)
    _add_queries(router, desk)
    _add_answers(router, desk)
    return router


# -- asking a modality ------------------------------------------------------------------------------------------------


def _add_asking(router: APIRouter, desk: Desk) -> None:
    @router.post("/modalities/{name}/query", summary="Ask a modality what it has (C-FIND), and remember its answers")
    async def query(request: Request, name: str) -> Response:
        body = await object_of(request)
        desk.provider(name)
        flag(body, "Normalize")
        return await desk.made(name, Question(level_of(body), keys_of(body.get("Query", {}))), body)

    def add_find(level: Level, route: str) -> None:
        @router.post(
            f"/modalities/{{name}}/find-{route}",
            summary=f"Ask a modality what it has at the level of {level}",
            deprecated=True,
        )
        async def find(request: Request, name: str) -> Response:
            question = Question(level, keys_of(await object_of(request))).with_keys(RETURN_KEYS[level])
            found = await run_in_threadpool(desk.ask, name, question, {})
            return JsonResponse([tags.simplified(elements) for elements in all_of(found)])

    for level in LEVELS:
        add_find(level, level)

    @router.post(
        "/modalities/{name}/find", summary="Ask a modality for patients, their studies and series", deprecated=True
    )
    async def find_all(request: Request, name: str) -> Response:
        keys = keys_of(await object_of(request))
        return JsonResponse(await run_in_threadpool(_tree, desk, name, keys))


def _tree(desk: Desk, name: str, keys: dict[int, str]) -> list[dict[str, Any]]:
    """Return the patients that match, with their studies, with their series. Raises `WebError` where there are too many to be told at once."""
    asked_for = 0

    def ask(level: Level, keys: Mapping[int, str]) -> list[tuple[Elements, dict[str, Any]]]:
        nonlocal asked_for
        asked_for += 1
        if asked_for > _MOST_OF_TREE:
            raise WebError(400, BAD_REQUEST, "too much matches: ask by /modalities/{name}/query, level by level")
        found = desk.ask(name, Question(level, keys).with_keys(RETURN_KEYS[level]), {})
        return [(elements, tags.simplified(elements)) for elements in all_of(found)]

    patient_id, study_uid = tag_of("PatientID"), tag_of("StudyInstanceUID")
    patients = ask("patient", keys)
    for patient, shown in patients:
        studies = ask("study", {patient_id: value_of(patient, patient_id)})
        for study, of_study in studies:
            series = ask("series", {study_uid: value_of(study, study_uid)})
            of_study["Series"] = [one for _, one in series]
        shown["Studies"] = [one for _, one in studies]
    return [shown for _, shown in patients]


def _add_sending(router: APIRouter, desk: Desk) -> None:
    async def send(request: Request, name: str, method: str) -> Response:
        body = await object_of(request)
        if "Level" not in body or not isinstance(body.get("Resources"), list):
            raise wrong("Must provide a JSON body containing fields Resources and Level")
        desk.provider(name)
        level = level_of(body)
        questions = [_named(level, resource) for resource in body["Resources"]]
        shown = [shown_of(one.level, {tag: ("", [text]) for tag, text in one.keys.items()}, body) for one in questions]
        return await desk.retrieve(name, questions, shown, body, method)

    @router.post("/modalities/{name}/move", summary="Have a modality send something to an AE, by C-MOVE")
    async def move(request: Request, name: str) -> Response:
        return await send(request, name, MOVE)

    @router.post("/modalities/{name}/get", summary="Have a modality send something here, by C-GET")
    async def get(request: Request, name: str) -> Response:
        return await send(request, name, GET)


def _named(level: Level, resource: Any) -> Question:
    """Return what one of `Resources` means: an object with the keys that name it. Raises `WebError`."""
    if not isinstance(resource, dict):
        raise wrong("Resources is a list of objects, from tags to texts")
    keys = keys_of(resource)
    if not keys.get(tag_of(UNIQUE_KEYS[level])):
        raise WebError(400, BAD_REQUEST, f"{UNIQUE_KEYS[level]} is missing, which names what is to be sent")
    return unique(level, keys)


# -- what was asked ---------------------------------------------------------------------------------------------------


def _add_queries(router: APIRouter, desk: Desk) -> None:
    queries = desk.queries

    @router.get("/queries", summary="List the queries that are remembered")
    def listing() -> Response:
        return JsonResponse(queries.identifiers())

    @router.get("/queries/{query_id}", summary="List what there is of a query")
    def operations(query_id: str) -> Response:
        queries.get(query_id)
        return JsonResponse(["answers", "level", "modality", "query", "retrieve"])

    @router.delete("/queries/{query_id}", summary="Forget a query")
    def forget(query_id: str) -> Response:
        queries.forget(query_id)
        return PlainTextResponse("")

    @router.get("/queries/{query_id}/level", summary="Tell the level of a query")
    def level(query_id: str) -> Response:
        return PlainTextResponse(_ORTHANC_LEVELS[queries.get(query_id).question.level])

    @router.get("/queries/{query_id}/modality", summary="Tell which modality was asked")
    def modality(query_id: str) -> Response:
        return PlainTextResponse(queries.get(query_id).modality)

    @router.get("/queries/{query_id}/query", summary="Show what was asked: full, ?short by number, ?simplify by name")
    def query(request: Request, query_id: str) -> Response:
        keys = queries.get(query_id).question.keys
        return JsonResponse(form_of(request)({tag: ("", [text]) for tag, text in sorted(keys.items())}))

    @router.post("/queries/{query_id}/retrieve", summary="Have the modality send all that was found")
    async def retrieve(request: Request, query_id: str) -> Response:
        query = queries.get(query_id)
        body = await target_of(request)
        answers = await run_in_threadpool(all_of, query)
        return await _retrieve(desk, query, answers, body)


def _add_answers(router: APIRouter, desk: Desk) -> None:
    queries = desk.queries

    @router.get("/queries/{query_id}/answers", summary="List the answers of a query")
    def answers(request: Request, query_id: str, expand: Expand = None) -> Response:
        del expand
        query = queries.get(query_id)
        if not is_set(request, "expand"):
            return JsonResponse([str(number) for number in range(len(query.found.matches))])
        form = form_of(request)
        return JsonResponse([form(elements) for elements in all_of(query)])

    @router.get("/queries/{query_id}/answers/{index}", summary="List what there is of an answer")
    def answer(query_id: str, index: str) -> Response:
        query = queries.get(query_id)
        query.answer(index)
        return JsonResponse(["content", "retrieve", *_BELOW[query.question.level]])

    @router.get(
        "/queries/{query_id}/answers/{index}/content",
        summary="Show an answer: full, ?short by number, ?simplify by name",
    )
    def content(request: Request, query_id: str, index: str) -> Response:
        return JsonResponse(form_of(request)(queries.get(query_id).answer(index)))

    @router.post("/queries/{query_id}/answers/{index}/retrieve", summary="Have the modality send what was found")
    async def retrieve(request: Request, query_id: str, index: str) -> Response:
        query = queries.get(query_id)
        found = query.answer(index)
        return await _retrieve(desk, query, [found], await target_of(request))

    def add_below(level: Level, route: str) -> None:
        @router.post(
            f"/queries/{{query_id}}/answers/{{index}}/query-{route}", summary=f"Ask for the {route} of what was found"
        )
        async def below(request: Request, query_id: str, index: str) -> Response:
            query = queries.get(query_id)
            found = query.answer(index)
            if LEVELS.index(level) <= LEVELS.index(query.question.level):
                raise unknown_resource(f"there are no {route} below that level")
            body = await object_of(request)
            above = unique(query.question.level, {tag: value_of(found, tag) for tag in found}).keys
            kept = {tag: text for tag, text in above.items() if text}
            question = Question(level, {**keys_of(body.get("Query", {})), **kept})
            return await desk.made(query.modality, question, query.manner | body)

    add_below("study", "studies")
    add_below("series", "series")
    add_below("instance", "instances")


async def _retrieve(desk: Desk, query: Asked, answers: list[Elements], body: dict[str, Any]) -> Response:
    level = query.question.level
    questions = [unique(level, {tag: value_of(found, tag) for tag in found}) for found in answers]
    key = tag_of(UNIQUE_KEYS[level])
    if any(not one.keys.get(key) for one in questions):
        raise WebError(500, NETWORK_PROTOCOL, f"an answer has no {UNIQUE_KEYS[level]}, by which it could be asked for")
    shown = [shown_of(level, found, body) for found in answers]
    return await desk.retrieve(query.modality, questions, shown, query.manner | body)


def all_of(query: Asked) -> list[Elements]:
    """Return all answers of a query."""
    return [elements_of(match, query.found.syntax) for match in query.found.matches]
