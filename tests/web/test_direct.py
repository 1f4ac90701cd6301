"""The short way to a route's function answers as FastAPI's own way does."""

import json
import re
from typing import Annotated

import pytest
from fastapi import APIRouter, FastAPI, Path, Query, Request
from hypothesis import given, settings
from hypothesis import strategies as st
from starlette.responses import JSONResponse, Response
from starlette.testclient import TestClient
from web_support import dicom_file

from hostd.web.direct import Direct

Number = Annotated[int, Path(alias="number", ge=-5, le=5)]
Size = Annotated[int | None, Query(ge=0, le=9, alias="size-of-it")]
Bound = Annotated[float | None, Query(description="a bound")]


def router():
    made = APIRouter(prefix="/things")

    @made.get("/{name}")
    async def one(request: Request, name: str, flag: bool = False, size: Size = None) -> Response:
        return JSONResponse(["one", name, flag, size, request.path_params])

    @made.get("/{name}/{number}")  # noqa: FAST003 - under another name
    def numbered(
        name: str, which: Number, words: Annotated[list[str] | None, Query(max_length=2)] = None,
        text: str | None = None, low: Annotated[Bound, Query(alias="low-bound")] = None,
    ) -> Response:  # fmt: skip
        return JSONResponse(["numbered", name, which, words, text, repr(low)])

    @made.get("/special/below/{path:path}")
    def below(path: str, wanted: str) -> Response:
        return JSONResponse(["below", path, wanted])

    @made.put("/{name}/{number}")  # noqa: FAST003 - as above
    async def put(name: str, which: Number) -> Response:
        return JSONResponse(["put", name, which])

    @made.get("/{name}/{number}/{more}")
    def last(name: str, number: str, more: str) -> Response:
        return JSONResponse(["last", name, number, more])

    return made


@pytest.fixture(scope="module")
def clients():
    app, routes = FastAPI(), router()
    app.include_router(routes, prefix="/root")
    direct = Direct(app, app, included=[("/root", routes)])
    assert not direct.detours
    with TestClient(direct) as short, TestClient(app) as own:
        yield short, own


NUMBERS = st.sampled_from(["3", "-5", "77", "three", " 1", "1.0"])
PARTS = st.sampled_from(["a", "3", "-5", "77", "x%2Fy", "special", "below", "", "%0A", "é"])
NAMES = st.sampled_from(["flag", "size-of-it", "size", "words", "text", "low-bound", "low", "wanted", "other"])
VALUES = st.sampled_from(["", "1", "true", "no", "7", "1e3", "nan", "-1", "some text", "é"])


@settings(deadline=None)
@given(
    method=st.sampled_from(["GET", "PUT", "HEAD", "DELETE"]),
    parts=st.one_of(
        st.lists(PARTS, max_size=5), st.tuples(PARTS, NUMBERS), st.tuples(st.just("special"), st.just("below"), PARTS)
    ),
    query=st.lists(st.tuples(NAMES, VALUES), max_size=4),
)
def test_whatever_is_asked_the_short_way_answers_as_fastapi_does(clients, method, parts, query):
    path = "/".join(["/root/things", *parts])
    answers = [client.request(method, path, params=query, follow_redirects=False) for client in clients]
    short, own = [(answer.status_code, answer.content, answer.headers) for answer in answers]
    assert short == own


def short_way_of(face):
    layer = face.app.layers
    while not isinstance(layer, Direct):
        layer = layer._app
    return layer


def test_every_route_of_the_face_is_called_the_short_way(face):
    direct = short_way_of(face)
    assert len(direct.routes) > 200
    assert direct.detours == []


QUERIES = ("", "?expand", "?simplify&short=0", "?limit=1&since=0", "?limit=-1", "?includefield=all&fuzzymatching=true")


def test_what_is_stored_is_told_alike_both_ways(face, client):
    stored = client.post("/instances", content=dicom_file()).json()
    tags = client.get(f"{stored['Path']}/tags?simplify").json()
    words = {
        "patients": stored["ParentPatient"], "studies": stored["ParentStudy"], "series": stored["ParentSeries"],
        "instances": stored["ID"], "study": tags["StudyInstanceUID"], "instance": tags["SOPInstanceUID"],
    }  # fmt: skip

    def filled(path):
        level = "series" if path.startswith("/dicom-web") else None
        known = words | ({"series": tags["SeriesInstanceUID"]} if level else {})
        known["identifier"] = words.get(path.split("/")[1], "0")
        return re.sub(r"\{(\w+)\}", lambda name: str(known.get(name[1], 0)), path)

    described = face.app.openapi()["paths"]
    paths = [
        filled(path) + query
        for path, methods in described.items()
        if "get" in methods and re.match("/(instances|series|studies|patients|dicom-web|system|tools)", path)
        for query in QUERIES
        if not re.search("archive|media|metrics", path)
    ]
    assert len(paths) > 300

    def told():
        asking = face.client()
        answers = {path: asking.get(path) for path in paths}
        return {
            path: (answer.status_code, answer.headers["content-type"].partition(";")[0], _comparable(answer))
            for path, answer in answers.items()
        }

    short = told()
    short_way_of(face)._by_shape.clear()
    own = told()
    assert {path: (short[path], own[path]) for path in paths if short[path] != own[path]} == {}
    assert sum(status == 200 for status, _, _ in short.values()) > 150


def _comparable(answer):
    """Return what is the same each time: not the boundary of parts, nor the time."""
    if "json" not in answer.headers["content-type"]:
        return len(answer.content)
    return re.sub(r"\d{8}T\d{6}", "", json.dumps(answer.json()))
