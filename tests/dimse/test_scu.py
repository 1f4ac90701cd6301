"""The requestor against peers that reject, hang, abort, answer by halves; and against pynetdicom's own acceptor."""

import contextlib
import io
import socket
import struct
import threading
import time

import pytest
from pynetdicom import AE, evt

from hostd.dimse import commands, scu
from hostd.dimse.errors import (
    AbortedError,
    BrokenError,
    CouldNotConnectError,
    NoContextError,
    ProtocolError,
    RejectedError,
    ShortDataSetError,
    TimedOutError,
)
from hostd.dimse.pdu import RELEASE_RP, RELEASE_RQ, abort_pdu, reject_pdu
from hostd.errors import ConfigurationError

CT = "1.2.840.10008.5.1.4.1.1.2"
VERIFICATION = "1.2.840.10008.1.1"
IMPLICIT = "1.2.840.10008.1.2"
EXPLICIT = "1.2.840.10008.1.2.1"


def acceptance(*results, max_pdu=16384):
    def item(kind, content):
        return struct.pack(">BxH", kind, len(content)) + content

    contexts = b"".join(
        item(0x21, bytes([number, 0, result, 0]) + item(0x40, syntax.encode())) for number, result, syntax in results
    )
    user = item(0x50, item(0x51, struct.pack(">I", max_pdu)))
    body = b"\0\1" + bytes(66) + item(0x10, b"1.2.840.10008.3.1.1.1") + contexts + user
    return struct.pack(">BxI", 2, len(body)) + body


ACCEPT = acceptance((1, 0, IMPLICIT), (3, 0, IMPLICIT))


def answer(status=0, *, command=0x8001, message_id=1, comment=""):
    elements = [(0x100, commands.us(command)), (0x120, commands.us(message_id)), (0x800, b"\1\1")]
    elements += [(0x900, commands.us(status))] + ([(0x902, commands.comment(comment))] if comment else [])
    encoded = commands.encode(elements)
    return struct.pack(">BxIIBB", 4, len(encoded) + 6, len(encoded) + 2, 1, 3) + encoded


class Peer:
    """Plays a script: bytes to send, "rq" to read one PDU, "store" to read up to the last data fragment, "hang", "close"."""

    def __init__(self, *script):
        self.script = script
        self.received = []
        self.data = bytearray()
        self.fragments = []
        self.done = threading.Event()
        self.server = socket.create_server(("127.0.0.1", 0))
        self.port = self.server.getsockname()[1]
        self.thread = threading.Thread(target=self.run, daemon=True)
        self.thread.start()

    def pdu(self, file):
        header = file.read(6)
        if len(header) < 6:
            return None
        pdu_type, length = struct.unpack(">BxI", header)
        self.received.append((pdu_type, file.read(length)))
        return self.received[-1]

    def run(self):
        sock, _ = self.server.accept()
        # The other side may leave before the script is at its end.
        with sock, sock.makefile("rb") as file, contextlib.suppress(OSError):
            for step in self.script:
                if step == "rq":
                    self.pdu(file)
                elif step == "store":
                    control = 0
                    while control != 2:
                        _, body = self.pdu(file)
                        length, _, control = struct.unpack_from(">IBB", body)
                        assert length == len(body) - 4
                        if not control & 1:
                            self.data += body[6:]
                            self.fragments.append(len(body))
                elif step == "hang":
                    self.done.wait(60)
                else:
                    sock.sendall(step)

    def close(self):
        self.done.set()
        self.server.close()
        self.thread.join(60)


@pytest.fixture
def peer():
    peers = []

    def make(*script):
        peers.append(Peer(*script))
        return peers[-1]

    yield make
    for each in peers:
        each.close()


def connect(port, *, contexts=((CT, [IMPLICIT]), (VERIFICATION, [IMPLICIT])), timeout_s=60):
    return scu.connect(
        "127.0.0.1", port, calling_aet="HOSTD", called_aet="PEER", contexts=contexts, timeout_s=timeout_s
    )


def hasty(requestor):
    """Have it wait for its peer, which took the association at its leisure, no longer than 0.3 s from now on."""
    requestor._connection._timeout_s = 0.3
    return requestor


def store(requestor, content=b"data", length=None):
    return requestor.store(CT, "1.2.3", IMPLICIT, io.BytesIO(content), length)


def test_an_answer_comes_back_with_its_comment(peer):
    fake = peer("rq", ACCEPT, "store", answer(0xA700, comment="disk full"), "rq", RELEASE_RP)
    with connect(fake.port) as requestor:
        assert store(requestor) == scu.StoreAnswer(0xA700, "disk full")
    fake.thread.join(60)
    assert [kind for kind, _ in fake.received] == [1, 4, 4, 5]


@pytest.mark.parametrize(
    ("max_pdu", "size"),
    [
        *((max_pdu, size) for max_pdu in (8, 9, 100, 4096, 16384) for size in (0, 1, 92, 94, 95, 10_001)),
        *((max_pdu, 600_001) for max_pdu in (0, 4096, 131072, 1 << 20, 0xFFFFFFFF)),
    ],
)
def test_every_fragment_fits_the_peers_maximum(peer, max_pdu, size):
    fake = peer("rq", acceptance((1, 0, IMPLICIT), max_pdu=max_pdu), "store", answer())
    content = bytes(index % 251 for index in range(size))
    requestor = connect(fake.port)
    assert store(requestor, content).status == 0
    requestor.abort()
    assert fake.data == content + bytes(size % 2)
    assert max(fake.fragments) <= (max_pdu or 131072)
    assert all(fragment % 2 == 0 for fragment in fake.fragments)
    assert all(len(body) <= max_pdu for kind, body in fake.received if kind == 4 and max_pdu)


def test_only_the_given_length_of_the_file_is_sent(peer):
    fake = peer("rq", ACCEPT, "store", answer())
    requestor = connect(fake.port)
    assert store(requestor, b"data and more", 4).status == 0
    requestor.abort()
    assert fake.data == b"data"


def test_a_file_that_ends_early_aborts_and_is_never_taken_for_whole(peer):
    fake = peer("rq", ACCEPT, "rq", "rq", "rq")
    requestor = connect(fake.port)
    with pytest.raises(ShortDataSetError, match=r"1\.2\.3"):
        store(requestor, b"data", 8)
    fake.thread.join(60)
    assert fake.received[-1] == (7, bytes(4))
    assert not requestor.is_open


@pytest.mark.parametrize(
    ("values", "words"),
    [
        ((1, 1, 7), "the called AE title is not recognised"),
        ((1, 1, 3), "the calling AE title is not recognised"),
        ((2, 3, 2), "the local limit of associations is exceeded"),
        ((1, 9, 9), "source 9, reason 9"),
    ],
)
def test_a_rejection_is_told_in_words(peer, values, words):
    with pytest.raises(RejectedError, match=words) as caught:
        connect(peer("rq", reject_pdu(*values)).port)
    assert (caught.value.result, caught.value.source, caught.value.reason) == values
    assert not caught.value.answer_lost


@pytest.mark.parametrize(
    ("script", "kind"),
    [
        (("rq", "hang"), TimedOutError),
        (("rq",), BrokenError),
        (("rq", ACCEPT[:40]), BrokenError),
        (("rq", abort_pdu(2, 1)), AbortedError),
        (("rq", b"HTTP/1.1 400 Bad Request\r\n\r\n"), ProtocolError),
        (("rq", RELEASE_RP), ProtocolError),
        (("rq", struct.pack(">BxI", 2, 0xFFFFFFFF), "hang"), ProtocolError),
        (("rq", struct.pack(">BxI", 2, 70) + bytes(68) + b"\x21\0"), ProtocolError),
    ],
)
def test_a_peer_that_answers_no_association_is_told_apart(peer, script, kind):
    with pytest.raises(kind) as caught:
        connect(peer(*script).port, timeout_s=0.3 if "hang" in script else 60)
    assert not caught.value.answer_lost


def test_nobody_there_is_an_error_that_names_the_address():
    with socket.socket() as unheard:
        unheard.bind(("127.0.0.1", 0))  # taken, and nobody listens
        port = unheard.getsockname()[1]
        with pytest.raises(CouldNotConnectError, match=rf"'PEER' at 127\.0\.0\.1:{port}"):
            connect(port)


@pytest.mark.parametrize(
    ("script", "kind"),
    [
        (("hang",), TimedOutError),
        ((), BrokenError),
        ((answer()[:20],), BrokenError),
        ((abort_pdu(0, 0),), AbortedError),
        ((RELEASE_RQ, "rq"), BrokenError),
        ((answer(message_id=9),), ProtocolError),
        ((answer(command=0x8030),), ProtocolError),
        ((RELEASE_RP,), ProtocolError),
    ],
)
def test_an_answer_that_never_comes_is_known_to_be_lost(peer, script, kind):
    fake = peer("rq", ACCEPT, "store", *script)
    requestor = hasty(connect(fake.port))
    with pytest.raises(kind) as caught:
        store(requestor)
    assert caught.value.answer_lost
    assert not requestor.is_open


def test_what_was_not_sent_whole_has_no_lost_answer(peer):
    fake = peer("rq", ACCEPT, "rq", abort_pdu(2, 6))
    requestor = connect(fake.port)
    with pytest.raises((AbortedError, BrokenError)) as caught:
        store(requestor, bytes(50_000_000))
    assert not caught.value.answer_lost


def test_a_peer_that_takes_nothing_more_times_out(peer):
    fake = peer("rq", ACCEPT, "hang")
    requestor = hasty(connect(fake.port))
    began = time.monotonic()
    with pytest.raises(TimedOutError) as caught:
        store(requestor, bytes(50_000_000))
    assert not caught.value.answer_lost
    assert time.monotonic() - began < 60


def test_release_collision_is_answered_and_waited_out(peer):
    fake = peer("rq", ACCEPT, "rq", RELEASE_RQ, "rq", RELEASE_RP)
    assert connect(fake.port).release()
    fake.thread.join(60)
    assert [kind for kind, _ in fake.received] == [1, 5, 6]


@pytest.mark.parametrize("script", [("rq",), ("rq", abort_pdu(0, 0)), ("rq", ACCEPT)])
def test_a_bad_release_is_no_error(peer, script):
    assert not connect(peer("rq", ACCEPT, *script).port).release()


def test_only_contexts_that_were_proposed_count_as_accepted(peer):
    fake = peer("rq", acceptance((1, 0, EXPLICIT), (3, 4, IMPLICIT), (5, 0, EXPLICIT), (99, 0, IMPLICIT)), "hang")
    contexts = [(CT, [IMPLICIT]), (VERIFICATION, [IMPLICIT]), (CT, [IMPLICIT, EXPLICIT])]
    requestor = connect(fake.port, contexts=contexts)
    assert requestor.accepted == {(CT, EXPLICIT): 5}
    with pytest.raises(NoContextError):
        store(requestor)
    with pytest.raises(NoContextError):
        requestor.echo()
    assert requestor.is_open
    requestor.abort()


@pytest.mark.parametrize("contexts", [[], [(CT, [IMPLICIT])] * 129])
def test_a_number_of_contexts_that_cannot_be_is_refused(contexts):
    with pytest.raises(ConfigurationError):
        connect(1, contexts=contexts)


@pytest.mark.parametrize("title", ["", "SEVENTEEN_LETTERS", "BACK\\SLASH"])
def test_a_title_that_cannot_be_is_refused_before_connecting(title):
    with pytest.raises(ConfigurationError):
        scu.connect("127.0.0.1", 1, calling_aet="HOSTD", called_aet=title, contexts=[(CT, [IMPLICIT])])


def test_an_error_inside_the_with_aborts(peer):
    fake = peer("rq", ACCEPT, "rq")
    with pytest.raises(ZeroDivisionError), connect(fake.port):
        raise ZeroDivisionError
    fake.thread.join(60)
    assert fake.received[-1] == (7, bytes(4))


def test_pynetdicom_takes_what_is_sent():
    received = []
    ae = AE("PEER")
    ae.maximum_pdu_size = 1000
    ae.add_supported_context(CT, [EXPLICIT])
    ae.add_supported_context(VERIFICATION, [IMPLICIT])

    def on_store(event):
        received.append((event.request.AffectedSOPInstanceUID, event.request.DataSet.getvalue()))
        return 0xB000

    server = ae.start_server(("127.0.0.1", 0), block=False, evt_handlers=[(evt.EVT_C_STORE, on_store)])
    try:
        port = server.server_address[1]
        with connect(port, contexts=[(CT, [IMPLICIT, EXPLICIT]), (VERIFICATION, [IMPLICIT])]) as requestor:
            assert requestor.accepted == {(CT, EXPLICIT): 1, (VERIFICATION, IMPLICIT): 3}
            assert requestor.echo() == 0
            for number in range(3):
                answered = requestor.store(CT, f"1.2.{number}", EXPLICIT, io.BytesIO(bytes([number]) * 5000), 5000)
                assert answered.status == 0xB000
            assert requestor.release()
        assert received == [(f"1.2.{number}", bytes([number]) * 5000) for number in range(3)]
    finally:
        server.shutdown()
