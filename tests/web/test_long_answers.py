"""Long answers over real connections: to clients that are quick, slow, asleep, gone, or many."""

import contextlib
import http.client
import io
import logging
import os
import secrets
import socket
import threading
import time
import zlib
from contextlib import closing

import pytest
import requests
from starlette.concurrency import run_in_threadpool
from starlette.requests import Request
from starlette.responses import PlainTextResponse

from hostd.transcoding.deflated import inflated
from hostd.web import sending
from hostd.web.files import open_response
from hostd.web.listener import HttpListener
from hostd.web.spans import AT_ONCE, Span

CONTENT = os.urandom(5 << 20)
MANY = 60
"""More than there are threads, for requests and for sending together."""


class Kept(io.BytesIO):
    """A file that tells whether it was closed. Reading it fails from `fails_at`."""

    def __init__(self, content, fails_at=None):
        super().__init__(content)
        self.fails_at = fails_at
        self.is_closed = threading.Event()

    def read(self, size=-1):
        if self.fails_at is not None and self.tell() >= self.fails_at:
            raise OSError("the disk is broken")
        return super().read(size)

    def close(self):
        super().close()
        self.is_closed.set()


class Stored(io.FileIO):
    """A file of the system that tells whether it was closed."""

    def __init__(self, path):
        super().__init__(path)
        self.is_closed = threading.Event()

    def close(self):
        super().close()
        self.is_closed.set()


class App:
    """Answers `/` with a long body of a file, `/pieces` with these pieces, everything else with one word from a thread.

    The file is the system's, in `folder`; without one it is in memory.
    """

    def __init__(self, folder=None):
        self.folder = folder
        self.files = []
        self.pieces = []
        self.fails_at = None
        self.senders = set()

    async def __call__(self, scope, receive, send):
        request = Request(scope)
        if request.url.path == "/":
            response = await run_in_threadpool(self.file)
        elif request.url.path == "/pieces":
            response = self.long(
                io.BytesIO(),
                iter(self.pieces),
                sum(one.length if isinstance(one, Span) else len(one) for one in self.pieces),
            )
        else:
            response = await run_in_threadpool(PlainTextResponse, "word")
        await response(scope, receive, send)

    def file(self):
        if self.folder is None:
            self.files.append(Kept(CONTENT, self.fails_at))
        else:
            path = self.folder / secrets.token_hex()
            path.write_bytes(CONTENT[: self.fails_at])
            self.files.append(Stored(path))
        return self.long(self.files[-1], iter((Span(self.files[-1], 0, len(CONTENT)),)), len(CONTENT))

    def long(self, file, content, length):
        def noted():
            for piece in content:
                self.senders.add(threading.current_thread())
                yield piece

        headers = {"Content-Length": str(length)}
        return open_response(file, noted(), media_type="application/octet-stream", headers=headers)


@pytest.fixture(params=["in memory", "of the system"])
def app(request, tmp_path):
    return App(tmp_path if request.param == "of the system" else None)


@pytest.fixture
def listener(app):
    listener = HttpListener(app, "127.0.0.1", 0)
    listener.start()
    yield listener
    listener.stop(1)


@pytest.fixture
def url(listener):
    return f"http://127.0.0.1:{listener.port}"


@pytest.fixture
def errors(caplog):
    """What uvicorn says of answers that failed."""
    caplog.set_level(logging.ERROR, "uvicorn.error")
    return caplog.records


def connect(listener, *, receives=None):
    wire = socket.socket()
    if receives is not None:
        wire.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, receives)
    wire.settimeout(60)
    wire.connect(("127.0.0.1", listener.port))
    return closing(wire)


def ask(wire, path="/", *more):
    wire.sendall("\r\n".join((f"GET {path} HTTP/1.1", "Host: localhost", *more, "", "")).encode())


def answer(wire):
    response = http.client.HTTPResponse(wire)
    response.begin()
    return response.read()


def test_a_long_answer_is_sent_by_a_thread_and_the_connection_is_kept(app, url):
    with requests.Session() as session:
        for _ in range(3):
            found = session.get(url, timeout=60)
            assert found.content == CONTENT
            assert found.headers["content-length"] == str(len(CONTENT))
            assert "transfer-encoding" not in found.headers
        assert session.get(f"{url}/word", timeout=60).text == "word"
    assert app.senders
    assert "http" not in {sender.name for sender in app.senders}
    assert all(file.is_closed.is_set() for file in app.files)


@pytest.mark.parametrize(
    "lengths",
    [
        [AT_ONCE + 1],
        [0, 1, 0, AT_ONCE, 0],
        [sending.SMALL - 1] * 300,
        [sending.SMALL, 1, sending.SMALL - 1] * 80,
        [1] * 70 + [3 << 20] + [1] * 130,
        [*[97, 530_564] * 20, 20],
    ],
)
def test_pieces_of_every_size_arrive_in_their_order(app, url, lengths):
    app.pieces = [os.urandom(length) for length in lengths]
    assert requests.get(f"{url}/pieces", timeout=60).content == b"".join(app.pieces)


@pytest.mark.parametrize(
    "lengths", [[AT_ONCE + 1], [0, 5, AT_ONCE, 0], [sending.SMALL, sending.SMALL - 1, 1] * 40, [97, 530_564] * 20]
)
@pytest.mark.parametrize("between", [b"", b"--boundary", b"x" * sending.SMALL])
def test_parts_of_files_arrive_in_their_order_with_what_is_between_them(app, url, tmp_path, lengths, between):
    content = os.urandom(sum(lengths) + AT_ONCE)
    path = tmp_path / "parts"
    path.write_bytes(content)
    expected, at = [], AT_ONCE
    with path.open("rb") as file:
        app.pieces = []
        for length in lengths:
            app.pieces += [between, Span(file, at, length)]
            expected += [between, content[at : at + length]]
            at += length
        app.pieces.append(b"the end")
        assert requests.get(f"{url}/pieces", timeout=60).content == b"".join((*expected, b"the end"))


def test_what_is_made_as_it_is_read_is_read(app, url, tmp_path):
    deflater = zlib.compressobj(wbits=-zlib.MAX_WBITS)
    path = tmp_path / "deflated"
    path.write_bytes(deflater.compress(CONTENT) + deflater.flush())
    with path.open("rb") as stored:
        app.pieces = [b"before", Span(inflated(stored, 0), 1, 2 * AT_ONCE), b"after"]
        expected = b"before" + CONTENT[1 : 2 * AT_ONCE + 1] + b"after"
        assert requests.get(f"{url}/pieces", timeout=60).content == expected


def test_answers_to_requests_sent_in_one_go_follow_each_other(listener):
    with connect(listener, receives=4096) as wire:
        for path in ("/", "/word", "/", "/word"):
            ask(wire, path)
        time.sleep(0.1)  # the first one fills the connection
        with wire.makefile("rb") as file:
            found = [one(file) for _ in range(4)]
    assert found == [CONTENT, b"word", CONTENT, b"word"]


def one(file):
    """Read one answer, and no further."""
    length = 0
    while (line := file.readline()) != b"\r\n":
        assert line, "the connection ended"
        if line.lower().startswith(b"content-length:"):
            length = int(line.partition(b":")[2])
    return file.read(length)


@pytest.mark.parametrize("more", ["HTTP/1.0", "Connection: close"])
def test_the_connection_ends_after_an_answer_that_is_the_last(listener, more):
    with connect(listener) as wire:
        if more == "HTTP/1.0":
            wire.sendall(b"GET / HTTP/1.0\r\nHost: localhost\r\n\r\n")
        else:
            ask(wire, "/", more)
        with wire.makefile("rb") as file:
            assert one(file) == CONTENT
            assert file.read() == b""


def test_a_client_that_only_listens_any_more_gets_everything(listener):
    with connect(listener) as wire:
        ask(wire)
        with wire.makefile("rb") as file:
            file.peek(1)
            wire.shutdown(socket.SHUT_WR)
            assert one(file) == CONTENT


def test_clients_that_take_nothing_hold_no_threads_and_get_everything_in_the_end(app, listener, url):
    with contextlib.ExitStack() as stack:
        wires = [stack.enter_context(connect(listener, receives=4096)) for _ in range(MANY)]
        for wire in wires:
            ask(wire)
        wait_until(lambda: len(app.files) == MANY)
        assert requests.get(f"{url}/word", timeout=60).text == "word"
        assert not any(file.is_closed.is_set() for file in app.files)
        for wire in (wires[0], wires[-1]):
            assert answer(wire) == CONTENT
    wait_until(lambda: all(file.is_closed.is_set() for file in app.files))


def test_threads_that_all_wait_for_clients_leave_those_of_other_requests_alone(app, listener, url, monkeypatch):
    monkeypatch.setattr(sending, "_PATIENCE_MS", 60_000)
    with contextlib.ExitStack() as stack:
        wires = [stack.enter_context(connect(listener, receives=4096)) for _ in range(sending._THREADS)]
        for wire in wires:
            ask(wire)
        wait_until(lambda: len(app.senders) == len(wires))
        assert requests.get(f"{url}/word", timeout=30).text == "word"
        for wire in wires:
            assert answer(wire) == CONTENT


def test_a_client_that_goes_away_is_no_error_and_its_file_is_closed(app, listener, errors):
    for takes in (0, 1 << 20):
        with connect(listener, receives=4096) as wire:
            ask(wire)
            wire.recv(1)
            left = takes
            while left > 0:
                left -= len(wire.recv(1 << 16))
        wait_until(app.files[-1].is_closed.is_set)
    assert len(app.files) == 2
    assert requests.get(f"http://127.0.0.1:{listener.port}", timeout=60).content == CONTENT
    assert errors == []


@pytest.mark.parametrize("at", [0, 2 << 20])
def test_what_cannot_be_read_to_its_end_is_never_taken_for_whole(app, url, at):
    app.fails_at = at
    with pytest.raises(requests.RequestException):
        _ = requests.get(url, timeout=60).content
    assert app.files[0].is_closed.is_set()
    app.fails_at = None
    assert requests.get(url, timeout=60).content == CONTENT


@pytest.mark.parametrize("length", [len(CONTENT) - 1, len(CONTENT) + 1])
def test_an_answer_of_another_length_than_its_header_says_ends_its_connection(app, listener, length):
    app.file = lambda: app.long(Kept(b""), iter([CONTENT]), length)
    with connect(listener) as wire:
        ask(wire)
        with wire.makefile("rb") as file:
            while file.readline() != b"\r\n":
                pass
            file.read()  # to the end, which comes


def test_a_stop_waits_for_no_client_that_takes_nothing(app, listener):
    with connect(listener, receives=4096) as wire:
        ask(wire)
        wait_until(lambda: app.senders)
        listener.stop(1)
        assert app.files[0].is_closed.is_set()


def test_a_turn_ends_also_for_who_takes_everything(url, monkeypatch):
    turns = []
    send = sending._Body.send

    def counted(body):
        turns.append(body)
        return send(body)

    monkeypatch.setattr(sending, "_TURN_S", 0.0)
    monkeypatch.setattr(sending._Body, "send", counted)
    assert requests.get(url, timeout=60).content == CONTENT
    wait_until(
        lambda: len(turns) > len(CONTENT) // AT_ONCE
    )  # the last finds that nothing is left, when all has come already


def wait_until(condition):
    end = time.monotonic() + 60
    while not condition():
        assert time.monotonic() < end, "it never became true"
        time.sleep(0.01)
