"""Parts of files: sent by the system where it can, told to be read where it cannot."""

import io
import os
import socket

import pytest

from hostd.web.spans import AT_ONCE, Span, in_bytes

CONTENT = os.urandom(3 * AT_ONCE + 1)


@pytest.fixture
def file(tmp_path):
    path = tmp_path / "file"
    path.write_bytes(CONTENT)
    with path.open("rb") as opened:
        yield opened


@pytest.fixture
def wire():
    ours, theirs = socket.socketpair()
    ours.setblocking(False)
    with ours, theirs:
        yield ours, theirs


def test_what_is_sent_is_what_is_read(file, wire):
    span = Span(file, 5, 2 * AT_ONCE)
    assert b"".join(span.pieces()) == CONTENT[5 : 5 + 2 * AT_ONCE]
    received = b""
    while span.length:
        sent = span.sent_to(wire[0])
        assert 0 < sent <= AT_ONCE
        received += wire[1].recv(sent, socket.MSG_WAITALL)
        span = span.after(sent)
    assert received == CONTENT[5 : 5 + 2 * AT_ONCE]


def test_a_client_that_takes_nothing_is_to_be_waited_for(file, wire):
    with pytest.raises(BlockingIOError):
        sum(Span(file, 0, AT_ONCE).sent_to(wire[0]) for _ in range(1000))


def test_what_the_system_cannot_send_is_to_be_read(file, wire):
    assert Span(io.BytesIO(CONTENT), 0, 10).sent_to(wire[0]) == 0
    ended = Span(file, len(CONTENT), 1)
    assert ended.sent_to(wire[0]) == 0
    with pytest.raises(EOFError):
        list(ended.pieces())
    wire[1].close()
    assert Span(file, 0, 10).sent_to(wire[0]) == 0


def test_it_is_told_whether_all_of_it_is_in_memory(tmp_path):
    path = tmp_path / "file with holes"
    with path.open("w+b") as file:
        file.truncate(len(CONTENT))
        file.seek(AT_ONCE)
        file.write(CONTENT[:AT_ONCE])
        file.flush()
        assert Span(file, AT_ONCE, AT_ONCE).is_in_memory()
        assert Span(file, AT_ONCE + 5, AT_ONCE - 5).is_in_memory()
        assert not Span(file, AT_ONCE, AT_ONCE + 1).is_in_memory()
        assert not Span(file, AT_ONCE - 1, AT_ONCE).is_in_memory()
        assert not Span(file, AT_ONCE, len(CONTENT)).is_in_memory(), "it is shorter"
        assert not Span(file, AT_ONCE, 0).is_in_memory()
    assert not Span(io.BytesIO(CONTENT), 0, 10).is_in_memory()


def test_a_body_is_read_where_nothing_else_can_be_done_with_it(file):
    assert (
        b"".join(in_bytes([b"before", Span(file, 1, AT_ONCE + 5), b"after"]))
        == b"before" + CONTENT[1 : AT_ONCE + 6] + b"after"
    )
