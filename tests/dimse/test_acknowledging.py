"""What TCP does for answers that a peer writes in two pieces, as DCMTK does."""

import socket
import statistics
import struct
import sys
import threading
import time

import pytest

from hostd.dimse.pdu import Connection, PduType

ROUNDS = 30
BODY = bytes(158)


def _answer_in_two_writes(listener: socket.socket) -> None:
    """Answer each byte with a P-DATA-TF whose header is written first and whose body then, as Nagle's algorithm lets it."""
    peer, _ = listener.accept()
    with peer:
        while peer.recv(1):
            peer.sendall(struct.pack(">BxI", PduType.P_DATA_TF, len(BODY)))
            peer.sendall(BODY)


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux lets an acknowledgement be hastened")
def test_an_answer_written_in_two_pieces_waits_for_no_delayed_acknowledgement():
    with socket.create_server(("127.0.0.1", 0)) as listener:
        thread = threading.Thread(target=_answer_in_two_writes, args=(listener,), daemon=True)
        thread.start()
        connection = Connection(socket.create_connection(listener.getsockname()), timeout_s=60)
        taken = []
        for _ in range(ROUNDS):
            began = time.monotonic()
            connection.send(b"?")
            assert connection.header() == (PduType.P_DATA_TF, len(BODY))
            assert connection.take(len(BODY)) == BODY
            taken.append(time.monotonic() - began)
        connection.close()
        thread.join(60)
    assert statistics.median(taken) < 0.03  # Linux delays an acknowledgement by 40 ms
