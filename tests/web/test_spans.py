"""Parts of files: sent by the system where it can, told to be read where it cannot."""

import io
import mmap
import os
import socket
import zlib

import pytest

from hostd.transcoding.deflated import inflated
from hostd.web import spans
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


def test_what_was_written_just_now_is_in_memory(file):
    assert Span(file, AT_ONCE, AT_ONCE).is_in_memory()
    assert Span(file, AT_ONCE + 5, AT_ONCE - 5).is_in_memory()


def test_what_is_shorter_or_nothing_or_no_file_of_the_system_is_not_said_to_be_in_memory(file, made_as_it_is_read):
    assert not Span(file, AT_ONCE, len(CONTENT)).is_in_memory()
    assert not Span(file, AT_ONCE, 0).is_in_memory()
    for other in (io.BytesIO(CONTENT), made_as_it_is_read):
        assert not Span(other, 0, 10).is_in_memory()


@pytest.mark.parametrize(("states", "failed"), [(b"\1\1\0", 0), (b"\0\1\1", 0), (b"\1\2\1", 0), (b"\1\1\1", -1)])
def test_a_page_that_is_not_in_memory_or_of_which_nothing_is_known_is_told(file, monkeypatch, states, failed):
    def mincore(_address, _length, told):
        told.raw = states
        return failed

    monkeypatch.setattr(spans, "_mincore", mincore)
    assert not Span(file, 5, 2 * mmap.PAGESIZE).is_in_memory()


def test_a_body_is_read_where_nothing_else_can_be_done_with_it(file):
    assert (
        b"".join(in_bytes([b"before", Span(file, 1, AT_ONCE + 5), b"after"]))
        == b"before" + CONTENT[1 : AT_ONCE + 6] + b"after"
    )
