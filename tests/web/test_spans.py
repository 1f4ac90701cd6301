"""Parts of files: sent by the system where it can, told to be read where it cannot."""

import io
import os
import socket
import zlib

import pytest

from hostd.transcoding.deflated import inflated
from hostd.web.spans import AT_ONCE, Span, in_bytes

CONTENT = os.urandom(3 * AT_ONCE + 1)


@pytest.fixture
def file(tmp_path):
    path = tmp_path / "file"
    path.write_bytes(CONTENT)
    with path.open("rb") as opened:
        yield opened


@pytest.fixture
def made_as_it_is_read(tmp_path):
    """A data set that is stored deflated."""
    path = tmp_path / "deflated"
    deflater = zlib.compressobj(wbits=-zlib.MAX_WBITS)
    path.write_bytes(deflater.compress(CONTENT) + deflater.flush())
    with path.open("rb") as stored:
        yield inflated(stored, 0)


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


def test_what_the_system_cannot_send_is_to_be_read(file, wire, made_as_it_is_read):
    for other in (io.BytesIO(CONTENT), made_as_it_is_read):
        assert Span(other, 1, 2 * AT_ONCE).sent_to(wire[0]) == 0
        assert b"".join(Span(other, 1, 2 * AT_ONCE).pieces()) == CONTENT[1 : 2 * AT_ONCE + 1]
    ended = Span(file, len(CONTENT), 1)
    assert ended.sent_to(wire[0]) == 0
    with pytest.raises(EOFError):
        list(ended.pieces())
    wire[1].close()
    assert Span(file, 0, 10).sent_to(wire[0]) == 0


def test_a_body_is_read_where_nothing_else_can_be_done_with_it(file):
    assert (
        b"".join(in_bytes([b"before", Span(file, 1, AT_ONCE + 5), b"after"]))
        == b"before" + CONTENT[1 : AT_ONCE + 6] + b"after"
    )
