"""What is answered on the event loop itself, and what goes to a thread because it may take long."""

import asyncio
import errno
import os
import threading
from pathlib import Path

import pytest
from fastapi import APIRouter, FastAPI
from hypothesis import given, settings
from hypothesis import strategies as st
from pydicom.data import get_testdata_file
from starlette.responses import PlainTextResponse, Response
from starlette.testclient import TestClient
from web_support import changed, dicom_file

from hostd.web.direct import Direct
from hostd.web.promptness import TakesLongError, call_promptly, open_file, prompt, takes_long
from hostd.web.responses import WholeResponse

READ = os.preadv
CONTENT = bytes(range(256)) * 3000


@pytest.fixture
def threads():
    """Asks a path of a face whose functions tell the thread they are called in; returns these threads, and that of the event loop."""
    called = []
    router = APIRouter(prefix="/things")

    @router.get("/quick")
    @prompt
    def quick() -> Response:
        called.append(threading.get_ident())
        return PlainTextResponse("done")

    @router.get("/slow")
    @prompt
    def slow() -> Response:
        called.append(threading.get_ident())
        takes_long()
        return PlainTextResponse("done")

    @router.get("/loop")
    async def loop() -> Response:
        called.append(threading.get_ident())
        return PlainTextResponse("done")

    app = FastAPI()
    app.include_router(router)

    def ask(path, *, promptly):
        with TestClient(Direct(app, app, included=[("", router)], promptly=promptly)) as client:
            client.get("/things/loop")
            on_loop = called.pop()
            assert client.get(path).text == "done"
        found = called[:]
        called.clear()
        return [one == on_loop for one in found]

    return ask


def test_what_is_prompt_is_answered_on_the_event_loop(threads):
    assert threads("/things/quick", promptly=True) == [True]


def test_what_takes_long_is_done_again_in_a_thread(threads):
    assert threads("/things/slow", promptly=True) == [True, False]


def test_nothing_is_answered_on_the_event_loop_where_the_index_may_be_far(threads):
    assert threads("/things/quick", promptly=False) == [False]


def test_in_a_thread_anything_may_take_long():
    takes_long()
    with pytest.raises(TakesLongError):
        call_promptly(takes_long)
    takes_long()


@pytest.fixture
def stored(tmp_path):
    (tmp_path / "file").write_bytes(CONTENT)
    return tmp_path / "file"


@pytest.fixture
def not_in_memory(monkeypatch):
    """The system has nothing of any file in memory."""
    asked = []

    def preadv(descriptor, buffers, at, flags):
        if not flags:
            return READ(descriptor, buffers, at)
        asked.append(flags)
        raise BlockingIOError(errno.EAGAIN, "not now")

    monkeypatch.setattr(os, "preadv", preadv)
    return asked


def read_all(path):
    with open_file(path) as file:
        assert file.read(10) == CONTENT[:10]
        assert file.seek(0, 2) == len(CONTENT)
        file.seek(5)
        return file.read(1000) + file.read()


def test_a_file_in_memory_reads_the_same_promptly(stored):
    assert call_promptly(read_all, path=stored) == read_all(stored) == CONTENT[5:]


def test_a_file_that_is_not_in_memory_is_not_waited_for(stored, not_in_memory):
    with pytest.raises(TakesLongError):
        call_promptly(read_all, path=stored)
    assert not_in_memory == [os.RWF_NOWAIT]
    assert read_all(stored) == CONTENT[5:]


def test_a_file_that_was_opened_promptly_is_read_on_in_a_thread(stored, not_in_memory):
    with call_promptly(open_file, path=stored) as file:
        assert file.read() == CONTENT
    assert not not_in_memory


def test_a_file_that_cannot_be_read_is_an_error_promptly_too(stored, monkeypatch):
    def preadv(*_args):
        raise OSError(errno.EIO, "the disk is broken")

    monkeypatch.setattr(os, "preadv", preadv)
    with pytest.raises(OSError, match="broken"):
        call_promptly(read_all, path=stored)


def test_where_no_file_tells_whether_it_is_in_memory_nothing_is_prompt_any_more(client, monkeypatch):
    asked = []

    def preadv(descriptor, buffers, at, flags):
        if not flags:
            return READ(descriptor, buffers, at)
        asked.append(flags)
        raise OSError(errno.EOPNOTSUPP, "not of this file system")

    stored = client.post("/instances", content=dicom_file()).json()["ID"]
    monkeypatch.setattr(os, "preadv", preadv)
    for _ in range(2):
        assert client.get(f"/instances/{stored}/file").content == dicom_file()
    assert len(asked) == 1


ACCEPT = {
    "/file": "*/*",
    "/file?": "application/dicom+json",
    "/tags": "*/*",
    "/simplified-tags": "*/*",
    "/frames/0/raw": "*/*",
    "": 'multipart/related; type="application/dicom"; transfer-syntax=*',
    "/frames/1": "application/octet-stream",
    "/metadata": "application/dicom+json",
}


@pytest.mark.parametrize("below", ["/tags", "/frames/0/raw"])
@pytest.mark.parametrize("kind", ["large", "deflated"])
def test_what_takes_long_to_parse_is_not_parsed_on_the_event_loop(client, monkeypatch, below, kind):
    content = (
        changed(dicom_file(), PixelData=bytes(2 << 20), Rows=1024, Columns=1024) if kind == "large" else deflated()
    )
    stored = client.post("/instances", content=content).json()["ID"]
    asked = []

    def preadv(descriptor, buffers, at, flags):
        asked.append(flags)
        return READ(descriptor, buffers, at)

    monkeypatch.setattr(os, "preadv", preadv)
    assert client.get(f"/instances/{stored}{below}").status_code == 200
    assert set(asked) == {0}


def deflated():
    return Path(get_testdata_file("image_dfl.dcm", download=False)).read_bytes()


def series_of(client, count):
    """Store so many instances of one series; return its path."""
    for number in range(count):
        content = changed(
            dicom_file(), SOPInstanceUID=f"1.2.3.{number}", PixelData=bytes([number]) * (600_000 + number)
        )
        stored = client.post("/instances", content=content).json()["ID"]
    tags = client.get(f"/instances/{stored}/simplified-tags").json()
    return f"/dicom-web/studies/{tags['StudyInstanceUID']}/series/{tags['SeriesInstanceUID']}"


@settings(deadline=None)
@given(st.lists(st.sampled_from([0, 1, 97, 16_383, 16_384, 262_143, 262_144, 262_145, 278_527, 530_564, 1 << 20])))
def test_what_is_sent_in_slices_is_what_was_read(lengths):
    pieces = [os.urandom(length) for length in lengths]
    sent = []

    async def send(message):
        sent.append((bytes(message.get("body", b"")), message.get("more_body")))

    asyncio.run(WholeResponse(pieces, media_type="text/plain")({}, None, send))
    (_, *bodies) = sent
    assert b"".join(body for body, _ in bodies) == b"".join(pieces)
    assert [more for _, more in bodies] == [True] * (len(bodies) - 1) + [False]
    assert all(body for body, more in bodies if more), "an empty slice says that it is the end of chunks"


@pytest.mark.parametrize("below", ACCEPT)
def test_an_answer_is_the_same_whether_its_file_is_in_memory_or_not(client, below, request):
    stored = client.post("/instances", content=dicom_file()).json()["ID"]
    tags = client.get(f"/instances/{stored}/simplified-tags").json()
    path = f"/instances/{stored}{below}"
    if below in {"", "/frames/1", "/metadata"}:
        uids = [tags[f"{level}InstanceUID"] for level in ("Study", "Series", "SOP")]
        path = "/dicom-web/studies/{}/series/{}/instances/{}".format(*uids) + below

    def ask():
        answer = client.get(path, headers={"Accept": ACCEPT[below]})
        assert answer.status_code == 200
        kind, _, boundary = answer.headers["Content-Type"].partition("boundary=")
        return kind, answer.content.replace(boundary.encode(), b"") if boundary else answer.content

    before = ask()
    asked = request.getfixturevalue("not_in_memory")
    assert ask() == before
    assert asked, "it was not answered promptly before"
