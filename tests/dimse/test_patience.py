"""How long a connection waits for its peer: reads and writes by the kernel's clock, and no trickle holds a thread."""

import socket
import threading
import time

import pytest

from hostd.dimse.errors import TimedOutError
from hostd.dimse.pdu import Connection


@pytest.fixture
def pair():
    """A connection that waits 0.3 s, and its peer."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        peer = socket.socket()
        peer.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        peer.connect(server.getsockname())
        accepted, _ = server.accept()
    connection = Connection(accepted, timeout_s=0.3)
    yield connection, peer
    peer.close()
    connection.close()


def test_a_silent_peer_is_waited_for_as_long_as_was_said(pair):
    connection, _ = pair
    began = time.monotonic()
    with pytest.raises(TimedOutError):
        connection.header()
    assert 0.25 < time.monotonic() - began < 20


def test_less_patience_counts_for_what_is_read_next(pair):
    connection, _ = pair
    connection.limit(0.0001)
    with pytest.raises(TimedOutError):
        connection.header()


def test_a_peer_that_takes_nothing_is_not_waited_for(pair):
    connection, _ = pair
    with pytest.raises(TimedOutError):
        connection.send(bytes(64 << 20))


def test_a_peer_that_takes_a_little_now_and_then_is_not_waited_for_either(pair):
    connection, peer = pair
    ended = threading.Event()

    def sip():
        while not ended.wait(0.01):
            peer.recv(512)

    taker = threading.Thread(target=sip)
    taker.start()
    try:
        with pytest.raises(TimedOutError):
            connection.send(bytes(64 << 20))
    finally:
        ended.set()
        taker.join(60)
