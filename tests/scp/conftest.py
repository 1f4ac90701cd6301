"""A listener with a store and a log that remember, and a raw client that may say anything."""

import socket
import struct
import threading
import time
from contextlib import ExitStack

import pytest

from hostd.dimse.associate import Proposal, encode_request
from hostd.scp.acceptor import DicomListener
from hostd.scp.limits import Limits

CT = "1.2.840.10008.5.1.4.1.1.2"
IMPLICIT = "1.2.840.10008.1.2"
VERIFICATION = "1.2.840.10008.1.1"
QUICK = Limits(artim_s=60, idle_s=60, network_s=60, linger_s=0.3)


class FakeReception:
    def __init__(self, store, facts):
        self.store = store
        self.facts = facts
        self.content = bytearray()
        self.fragments = 0
        self.state = "open"

    def write(self, *fragments):
        if self.store.write_error:
            raise self.store.write_error
        self.fragments += len(fragments)
        self.content += b"".join(fragments)

    def finish(self):
        self.store.may_finish.wait(60)
        if self.store.finish_error:
            self.state = "failed"
            raise self.store.finish_error
        self.state = "finished"

    def abandon(self):
        self.state = "abandoned"


class FakeStore:
    def __init__(self):
        self.receptions = []
        self.receive_error = self.write_error = self.finish_error = None
        self.may_finish = threading.Event()
        self.may_finish.set()

    def receive(self, **facts):
        if self.receive_error:
            raise self.receive_error
        self.receptions.append(FakeReception(self, facts))
        return self.receptions[-1]


class FakeLog:
    def __init__(self):
        self.lock = threading.Condition()
        self.rows = {}
        self.endings = {}
        self.open_error = None

    def opened(self, facts):
        with self.lock:
            if self.open_error:
                raise self.open_error
            self.rows[len(self.rows) + 1] = facts
            return len(self.rows)

    def closed(self, association_id, facts):
        with self.lock:
            assert association_id not in self.endings
            self.endings[association_id] = facts
            self.lock.notify_all()

    def wait(self, count=1, timeout=60):
        """Return (opened, closed) of each association, once so many have ended."""
        with self.lock:
            assert self.lock.wait_for(lambda: len(self.endings) >= count, timeout), f"only {self.endings} ended"
            return [(self.rows[number], self.endings[number]) for number in sorted(self.endings)]


class Wire:
    """A peer made by hand."""

    def __init__(self, port):
        self.sock = socket.create_connection(("127.0.0.1", port), timeout=60)

    def send(self, *pdus):
        self.sock.sendall(b"".join(pdus))

    def read(self, count):
        received = b""
        while len(received) < count:
            chunk = self.sock.recv(count - len(received))
            if not chunk:
                raise EOFError(received)
            received += chunk
        return received

    def pdu(self):
        """Return the next PDU as (type, body), or None at the end of the connection."""
        try:
            pdu_type, length = struct.unpack(">BxI", self.read(6))
        except EOFError:
            return None
        return pdu_type, self.read(length)

    def associate(self, *contexts, called="HOSTD", **changes):
        """Send A-ASSOCIATE-RQ; return the answer."""
        proposals = [Proposal(2 * n + 1, sop, tuple(syntaxes)) for n, (sop, syntaxes) in enumerate(contexts)]
        proposals = proposals or [Proposal(1, CT, (IMPLICIT,)), Proposal(3, VERIFICATION, (IMPLICIT,))]
        self.send(encode_request(calling_aet="WIRE", called_aet=called, proposals=proposals, max_pdu=16384, **changes))
        return self.pdu()

    def response(self):
        """Return the next response's status and Error Comment."""
        pdu_type, body = self.pdu()
        assert pdu_type == 4, (pdu_type, body)
        elements, position = {}, 6
        while position < len(body):
            _, element, length = struct.unpack_from("<HHI", body, position)
            elements[element] = body[position + 8 : position + 8 + length]
            position += 8 + length
        return struct.unpack("<H", elements[0x0900])[0], elements.get(0x0902, b"").decode().rstrip()

    def is_at_end(self):
        try:
            return self.sock.recv(1) == b""
        except ConnectionResetError:
            return True

    def close(self):
        self.sock.close()


def pdv(content, *, context=1, command=False, last=True):
    return struct.pack(">IBB", len(content) + 2, context, command | last << 1) + content


def p_data(*pdvs):
    body = b"".join(pdvs)
    return struct.pack(">BxI", 4, len(body)) + body


class Kit:
    """Makes listeners, wires and PDUs, and closes them."""

    CT, IMPLICIT, VERIFICATION, QUICK, Wire = CT, IMPLICIT, VERIFICATION, QUICK, Wire
    pdv, p_data = staticmethod(pdv), staticmethod(p_data)

    def __init__(self, stack):
        self.stack = stack
        self.store = FakeStore()
        self.log = FakeLog()

    def listen(self, limits=QUICK, *, check_called_aet=True, **options):
        self.listener = DicomListener(
            host="127.0.0.1", port=0, aets=["HOSTD", "OTHER"], check_called_aet=check_called_aet,
            store=self.store, associations=self.log, limits=limits, **options,
        )  # fmt: skip
        self.listener.start()
        self.stack.callback(self.stop)
        return self.listener

    def stop(self):
        self.store.may_finish.set()
        self.listener.stop(1)

    def wire(self):
        wire = Wire(self.listener.port)
        self.stack.callback(wire.close)
        return wire

    def associated(self):
        wire = self.wire()
        assert wire.associate()[0] == 2
        return wire

    def hurry(self, network_s):
        """Have no peer that is associated now be waited for any longer than so in the middle of a message."""
        for conversation in list(self.listener._conversations):
            conversation._connection._timeout_s = network_s

    def until(self, condition, timeout=60):
        end = time.monotonic() + timeout
        while not condition():
            assert time.monotonic() < end, "it never became true"
            time.sleep(0.005)


@pytest.fixture
def kit():
    with ExitStack() as stack:
        yield Kit(stack)
