"""A real uvicorn on a free port, and clients that are slow, rude or many."""

import asyncio
import http.client
import json
import socket
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from email.utils import parsedate_to_datetime

import pytest
import requests
from web_support import LIMIT, FailingReception, OneReception, changed, dicom_file, open_files_below, user

from hostd.errors import NodeError, StorageError
from hostd.web import listener as listening
from hostd.web.listener import HttpListener

CT = "f689ddd2-662f8fe1-8b18180d-ec2a2cee-937917af"


@pytest.fixture
def serve():
    listeners = []

    def serve(face):
        listeners.append(HttpListener(face.app, "127.0.0.1", 0))
        listeners[-1].start()
        return f"http://127.0.0.1:{listeners[-1].port}"

    yield serve
    for listener in listeners:
        listener.stop(1)


def connect(url):
    return closing(socket.create_connection(("127.0.0.1", int(url.rpartition(":")[2])), timeout=60))


def until(condition, timeout=60):
    end = time.monotonic() + timeout
    while not condition():
        assert time.monotonic() < end, "it never became true"
        time.sleep(0.01)


def test_it_says_hostd_and_where_it_listens(face, serve):
    url = serve(face)
    answer = requests.get(url + "/system", timeout=60)
    assert answer.headers["server"] == "hostd"
    assert abs(parsedate_to_datetime(answer.headers["date"]).timestamp() - time.time()) < 60
    assert answer.headers["x-content-type-options"] == "nosniff"
    found = answer.json()
    assert (found["Name"], found["DicomAet"], found["DicomPort"]) == ("unit", "HOSTD", 4242)
    assert url.endswith(f":{found['HttpPort']}")


def test_expect_100_continue_is_answered_before_the_body(face, serve):
    content = dicom_file()
    with connect(serve(face)) as wire:
        head = f"POST /instances HTTP/1.1\r\nHost: localhost\r\nContent-Length: {len(content)}\r\nExpect: 100-continue\r\n\r\n"
        wire.sendall(head.encode())
        assert wire.recv(4096).startswith(b"HTTP/1.1 100")
        wire.sendall(content)
        response = http.client.HTTPResponse(wire)
        response.begin()
        assert json.loads(response.read())["ID"] == CT


def test_who_waits_for_100_continue_is_refused_without_being_asked_for_the_body(face, serve):
    with connect(serve(face)) as wire:
        head = f"POST /instances HTTP/1.1\r\nHost: localhost\r\nContent-Length: {LIMIT + 1}\r\nExpect: 100-continue\r\n\r\n"
        wire.sendall(head.encode())
        assert wire.recv(4096).startswith(b"HTTP/1.1 413")


def test_a_large_body_reaches_the_intake_in_pieces_while_it_comes(make_face, serve):
    reception = FailingReception("finish", StorageError("enough seen"))
    url = serve(make_face(intake=OneReception(reception), limit=64 << 20))
    sent_half = threading.Event()

    def body():
        for _ in range(100):
            yield bytes(65536)
        sent_half.set()
        until(lambda: sum(reception.pieces) >= 2 << 20)
        for _ in range(100):
            yield bytes(65536)

    assert requests.post(url + "/instances", data=body(), timeout=60).status_code == 503
    assert sent_half.is_set()
    assert sum(reception.pieces) == 200 * 65536
    assert max(reception.pieces) < 2 << 20


@pytest.mark.parametrize("chunked", [False, True])
def test_a_sender_who_is_refused_gets_to_read_why(make_face, serve, chunked):
    face = make_face(users={"anna": user("secret", "read")})
    body = bytes(8 << 20)
    data = iter([body[i : i + 65536] for i in range(0, len(body), 65536)]) if chunked else body
    answer = requests.post(serve(face) + "/instances", data=data, timeout=60)
    assert (answer.status_code, answer.json()["OrthancStatus"]) == (401, 29)


BEGINNING = 900_000
"""Bytes after which a file has been begun, of one that is larger."""


def large_file():
    return changed(dicom_file(), EncapsulatedDocument=bytes(1 << 20))


def test_a_connection_that_breaks_off_leaves_nothing(face, serve):
    with connect(serve(face)) as wire:
        wire.sendall(
            b"POST /instances HTTP/1.1\r\nHost: localhost\r\nContent-Length: 999999\r\n\r\n" + large_file()[:BEGINNING]
        )
        until(lambda: len(face.files()) == 1)
    until(lambda: face.files() == [])


def test_a_sender_who_falls_silent_is_given_up(make_face, serve):
    face = make_face(upload_idle_s=0.2)
    with connect(serve(face)) as wire:
        wire.sendall(
            b"POST /instances HTTP/1.1\r\nHost: localhost\r\nContent-Length: 39206\r\n\r\n" + dicom_file()[:20000]
        )
        assert wire.recv(4096).startswith(b"HTTP/1.1 408")
    assert face.files() == []


def test_many_at_one_time_are_all_stored(face, serve):
    url = serve(face)
    contents = [changed(dicom_file(), SOPInstanceUID=f"1.2.3.{n}") for n in range(24)]
    with ThreadPoolExecutor(8) as pool:
        answers = list(pool.map(lambda c: requests.post(url + "/instances", data=c, timeout=60).json(), contents * 2))
    assert sorted(a["Status"] for a in answers) == ["AlreadyStored"] * 24 + ["Success"] * 24
    assert len(requests.get(url + "/instances", timeout=60).json()) == len(face.files()) == 24


def test_nobody_hears_of_success_before_the_commit(face, serve):
    url = serve(face)
    may_commit = threading.Event()
    blocked = face.archive.writer.submit(lambda _connection: may_commit.wait(60))
    with ThreadPoolExecutor(1) as pool:
        answer = pool.submit(requests.post, url + "/instances", data=dicom_file(), timeout=60)
        until(lambda: len(face.files()) == 1)
        time.sleep(0.2)
        assert not answer.done()
        may_commit.set()
        assert answer.result().json()["Status"] == "Success"
    assert blocked.result()


def test_a_stop_lets_an_upload_end(face):
    listener = HttpListener(face.app, "127.0.0.1", 0)
    listener.start()
    content = large_file()
    with connect(f"http://127.0.0.1:{listener.port}") as wire, ThreadPoolExecutor(1) as pool:
        wire.sendall(f"POST /instances HTTP/1.1\r\nHost: localhost\r\nContent-Length: {len(content)}\r\n\r\n".encode())
        wire.sendall(content[:BEGINNING])
        until(lambda: len(face.files()) == 1)
        stopped = pool.submit(listener.stop, 60)
        time.sleep(0.2)
        assert not stopped.done()
        wire.sendall(content[BEGINNING:])
        assert wire.recv(4096).startswith(b"HTTP/1.1 200")
        stopped.result(60)
    with pytest.raises(OSError):
        socket.create_connection(("127.0.0.1", listener.port), timeout=2)


def test_a_stop_does_not_wait_for_a_sender_for_ever(face):
    listener = HttpListener(face.app, "127.0.0.1", 0)
    listener.start()
    with connect(f"http://127.0.0.1:{listener.port}") as wire:
        wire.sendall(
            b"POST /instances HTTP/1.1\r\nHost: localhost\r\nContent-Length: 999999\r\n\r\n" + large_file()[:BEGINNING]
        )
        until(lambda: len(face.files()) == 1)
        began = time.monotonic()
        listener.stop(1)
        assert time.monotonic() - began < 60
    assert face.files() == []
    listener.stop(1)


def test_a_stop_before_a_start_frees_the_port(face):
    listener = HttpListener(face.app, "127.0.0.1", 0)
    listener.stop(1)
    HttpListener(face.app, "127.0.0.1", listener.port).stop(1)


@pytest.mark.parametrize("ends", [False, True], ids=["late", "never"])
def test_a_start_on_a_machine_that_stands_still_is_late_and_no_failure(face, monkeypatch, ends):
    """Only a server that ended by itself has not started."""
    monkeypatch.setattr(listening, "_SLOW_S", 0.01)
    http = HttpListener(face.app, "127.0.0.1", 0)
    goes_on, startup, waited = threading.Event(), http._server.startup, http._server.is_up.wait

    async def late(sockets=None):
        await asyncio.to_thread(goes_on.wait, 60)
        if ends:
            raise OSError("it broke")
        await startup(sockets)

    def wait(seconds=None):
        found = waited(seconds)
        goes_on.set()  # once it was waited for in vain
        return found

    monkeypatch.setattr(http._server, "startup", late)
    monkeypatch.setattr(http._server.is_up, "wait", wait)
    try:
        if ends:
            with pytest.raises(NodeError, match="did not start"):
                http.start()
        else:
            http.start()
            assert requests.get(f"http://127.0.0.1:{http.port}/system", timeout=60).status_code == 200
    finally:
        http.stop(1)


def test_a_port_that_is_taken_is_said_at_once(face):
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        with pytest.raises(NodeError, match=f"127.0.0.1:{port}"):
            HttpListener(face.app, "127.0.0.1", port)


def test_the_address_of_the_sender_cannot_be_claimed_by_a_header(face, serve):
    url = serve(face)
    claimed = {"X-Forwarded-For": "192.0.2.1", "Forwarded": "for=192.0.2.1"}
    path = requests.post(url + "/instances", data=dicom_file(), headers=claimed, timeout=60).json()["Path"]
    assert requests.get(f"{url}{path}/metadata/RemoteIP", timeout=60).text == "127.0.0.1"


def test_an_end_of_the_client_in_the_middle_of_a_file_leaves_no_descriptor(face, serve):
    url = serve(face)
    big = changed(dicom_file(), PixelData=bytes(3 << 20), NumberOfFrames=96)
    path = requests.post(url + "/instances", data=big, timeout=60).json()["Path"]
    with connect(url) as wire:
        wire.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        wire.sendall(f"GET {path}/file HTTP/1.1\r\nHost: localhost\r\n\r\n".encode())
        assert wire.recv(1024).startswith(b"HTTP/1.1 200")
    until(lambda: open_files_below(face.archive.data / "blobs") == [])


def test_an_answer_does_not_wait_for_its_header_to_be_acknowledged(face):
    """Without TCP_NODELAY, which connections have from it, a body waits for the client to acknowledge its header: 40 ms."""
    listener = HttpListener(face.app, "127.0.0.1", 0)
    try:
        assert listener._socket.getsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY)
    finally:
        listener.stop(1)
