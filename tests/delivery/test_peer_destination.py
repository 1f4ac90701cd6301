"""Orthanc's HTTP interface: what counts as delivered, whose fault it is, and what is never told to anybody."""

import gzip
import json
import socket
import threading
import time
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest
from delivery_kit import EXPLICIT, small_file
from peers_kit import needs_orthanc, orthanc, shipped
from ports import free_port

from hostd.delivery.destinations.peer import Peer
from hostd.delivery.http import Access
from hostd.delivery.terms import Terms
from hostd.transcoding.pool import CodecPool
from hostd.transcoding.transform import Transform

NAME = "peer:buffer"
J2K = "1.2.840.10008.1.2.4.90"
STORED = (200, {"Status": "Success", "ID": "x"})
SECRET = "sécret-€-word"


class FakePeer(ThreadingHTTPServer):
    """Answers `GET /system` and `POST /instances` as it is told, and remembers the requests."""

    daemon_threads = True
    block_on_close = False

    def __init__(self):
        super().__init__(("127.0.0.1", 0), _Handler)
        self.system = (200, {"Name": "fake"})
        self.instances = {}
        self.store = STORED
        self.headers = {}
        self.requests = []
        self.url = f"http://127.0.0.1:{self.server_port}/base"

    def handle_error(self, request, client_address):
        pass  # clients that break off are what is tested


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def do_GET(self):
        asked = self.path.rpartition("/instances/")[2]
        self._answer(self.server.system if asked == self.path else self.server.instances.get(asked, (404, b"")), b"")

    def do_POST(self):
        if self.server.store == "break early":
            self.rfile.read(100_000)
            self.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\x01\0\0\0\0\0\0\0")
            self.connection.close()
            self.close_connection = True
            return
        body = self.rfile.read(int(self.headers["Content-Length"]))
        self._answer(self.server.store, body)

    def _answer(self, answer, body):
        self.server.requests.append((self.command, self.path, dict(self.headers), body))
        if answer == "forget":
            self.close_connection = True
            return
        if answer == "hang":
            time.sleep(3)
            return
        status, content = answer
        encoded = content if isinstance(content, bytes) else json.dumps(content).encode()
        self.send_response(status)
        self.send_header("Content-Length", str(len(encoded)))
        for name, value in self.server.headers.items():
            self.send_header(name, value)
        self.end_headers()
        self.wfile.write(encoded)

    def log_message(self, *args):
        pass


@contextmanager
def serving(server):
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True)
    thread.start()
    try:
        yield server
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


@pytest.fixture
def fake_peer():
    with serving(FakePeer()) as server:
        yield server


def peer(server, **options):
    return Peer("buffer", Access(server.url, "hostd", SECRET, timeout_s=60, connect_timeout_s=60), **options)


def posts(server):
    return [request for request in server.requests if request[0] == "POST"]


def test_an_instance_goes_as_it_is_in_one_request_with_its_length(node, fake_peer):
    content = small_file()
    number = node.ask(NAME, node.receive(content))
    node.couriers(peer(fake_peer))
    node.until_state(number, "delivered")
    ((_, path, headers, body),) = posts(fake_peer)
    assert path == "/base/instances"
    assert body == content
    assert headers["Content-Type"] == "application/dicom"
    assert headers["Content-Length"] == str(len(content))
    assert "Transfer-Encoding" not in headers
    assert headers["Authorization"].startswith("Basic ")
    (attempt,) = node.attempts(number)
    assert (attempt.status, attempt.answer, attempt.sent_syntax) == (200, "stored", EXPLICIT)


def test_compressed_on_request_it_has_a_length_too(node, fake_peer):
    content = small_file()
    number = node.ask(NAME, node.receive(content))
    node.couriers(peer(fake_peer, compress=True))
    node.until_state(number, "delivered")
    ((_, _, headers, body),) = posts(fake_peer)
    assert headers["Content-Encoding"] == "gzip"
    assert headers["Content-Length"] == str(len(body))
    assert gzip.decompress(body) == content


@pytest.mark.parametrize(
    ("answer", "state", "says"),
    [
        ((200, {"Status": "AlreadyStored"}), "delivered", None),
        ((200, {"Status": "FilteredOut"}), "failed", "FilteredOut"),
        ((200, {}), "waiting", "did not say it stored"),
        ((200, b"<html>welcome</html>"), "waiting", "did not say it stored"),
        ((200, b"[" * 200_000), "waiting", "did not say it stored"),
        ((204, b""), "waiting", "did not say it stored"),
        (
            (400, {"Message": "Bad file format", "Details": "no DICOM"}),
            "failed",
            "400 Bad Request: Bad file format; no DICOM",
        ),
        ((409, {}), "failed", "409"),
        ((413, {}), "failed", "413"),
        ((415, {}), "failed", "415"),
    ],
)
def test_only_what_the_peer_says_it_stored_is_delivered(node, fake_peer, answer, state, says):
    fake_peer.store = answer
    number = node.ask(NAME)
    node.couriers(peer(fake_peer))
    node.until(lambda: node.attempts(number))
    delivery = node.get(number)
    assert delivery.state == state
    assert delivery.possible_doubles == 0
    assert (says is None and delivery.last_error is None) or says in delivery.last_error


@pytest.mark.parametrize("status", [401, 403, 404, 429, 500, 502, 503, 507])
def test_a_peer_that_refuses_everybody_is_to_blame_itself(node, fake_peer, status):
    fake_peer.store = (status, {"Message": "go away"})
    number, other = node.ask(NAME), node.ask(NAME)
    couriers = node.couriers(peer(fake_peer))
    node.until(lambda: couriers.health()[NAME].is_failing)
    assert node.outcomes(number) == ["unreached"]
    assert node.outcomes(other) == []
    assert str(status) in node.get(number).last_error


@pytest.mark.parametrize("status", [301, 401, 429, 503])
def test_a_peer_that_is_not_well_is_sent_nothing(node, fake_peer, status):
    fake_peer.system = (status, {})
    number = node.ask(NAME, transform=Transform.into(J2K).canonical())
    couriers = node.couriers(peer(fake_peer))  # node.pool refuses to transcode
    node.until(lambda: couriers.health()[NAME].is_failing)
    assert node.outcomes(number) == ["unreached"]
    assert posts(fake_peer) == []


def test_a_peer_that_shows_nothing_but_takes_instances_gets_them(node, fake_peer):
    fake_peer.system = (403, {})
    number = node.ask(NAME)
    node.couriers(peer(fake_peer))
    node.until_state(number, "delivered")


@pytest.mark.parametrize(
    ("answer", "state"),
    [
        ((200, {"ID": "it"}), "present"),
        ((404, {"Message": "Unknown resource"}), "delivered"),
        ((403, b""), "delivered"),
        ((500, b""), "delivered"),
        ((200, b"<html>"), "delivered"),
        ((200, {"ID": "another"}), "delivered"),
    ],
)
def test_what_a_peer_says_it_has_is_not_sent_and_where_it_does_not_say_it_is_sent(node, fake_peer, answer, state):
    instance = node.receive(small_file())
    status, said = answer
    fake_peer.instances[instance.id] = status, {"ID": instance.id} if said == {"ID": "it"} else said
    number = node.ask(NAME, instance)
    node.couriers(peer(fake_peer), terms=Terms(skips_present=True))
    node.until_state(number, state)
    assert len(posts(fake_peer)) == (state == "delivered")


def test_credentials_do_not_follow_a_redirect(node, fake_peer):
    with serving(FakePeer()) as elsewhere:
        fake_peer.store = (307, b"")
        fake_peer.headers = {"Location": elsewhere.url + "/instances"}
        number = node.ask(NAME)
        node.couriers(peer(fake_peer))
        node.until(lambda: node.attempts(number))
        assert elsewhere.requests == []
    assert "redirects" in node.get(number).last_error


def test_an_answer_that_never_came_is_a_possible_double(node, fake_peer):
    fake_peer.store = "forget"
    number = node.ask(NAME)
    node.couriers(peer(fake_peer))
    node.until(lambda: node.outcomes(number) == ["lost"])
    assert node.get(number).possible_doubles == 1
    fake_peer.store = STORED
    node.advance(1001)
    node.until_state(number, "delivered")


def test_a_peer_that_hangs_is_not_waited_for_longer_than_its_timeout(node, fake_peer):
    fake_peer.store = "hang"
    number = node.ask(NAME)
    node.couriers(Peer("buffer", Access(fake_peer.url, timeout_s=0.3)))
    node.until(lambda: node.outcomes(number) == ["lost"])
    assert "no answer in time" in node.get(number).last_error


def test_a_connection_that_breaks_in_the_middle_is_no_possible_double(node, fake_peer):
    fake_peer.store = "break early"
    big = node.receive(small_file(PixelData=bytes(24 << 20), Rows=1, Columns=1, BitsAllocated=8))
    number = node.ask(NAME, big)
    node.couriers(peer(fake_peer))
    node.until(lambda: node.outcomes(number) == ["waiting"])
    assert node.get(number).possible_doubles == 0


def test_a_dead_peer_holds_its_queue_and_no_message_holds_a_secret(node, capfd):
    number = node.ask(NAME)
    destination = Peer("buffer", Access(f"http://127.0.0.1:{free_port()}/", "hostd", SECRET))
    couriers = node.couriers(destination)
    node.until(lambda: couriers.health()[NAME].is_failing)
    assert node.get(number).last_error.endswith("could not be reached: Connection refused")
    output = capfd.readouterr()
    assert SECRET not in output.out + output.err + repr(node.attempts(number)) + repr(destination.access)


def test_a_peer_whose_certificate_nobody_vouches_for_is_sent_nothing(node, fake_peer):
    number = node.ask(NAME)
    node.couriers(Peer("buffer", Access(fake_peer.url.replace("http:", "https:"), timeout_s=60)))
    node.until(lambda: node.outcomes(number) == ["unreached"])
    assert fake_peer.requests == []


@pytest.mark.peers
@needs_orthanc
def test_orthanc_as_a_peer_stores_what_is_sent_and_again(node, tmp_path):
    plain, compressed = node.receive(shipped("CT_small.dcm")), node.receive(shipped("MR_small_jp2klossless.dcm"))
    pool = CodecPool(workers=1)
    node.pool = pool
    try:
        with orthanc(tmp_path / "orthanc") as running:
            signed_in = Access(running.url, running.username, running.password)
            packed = Peer("packed", signed_in, compress=True)
            wrong = Peer("wrong", Access(running.url, "hostd", "wrong"))
            couriers = node.couriers(Peer("buffer", signed_in), packed, wrong)
            first = node.ask(NAME, plain, transform=Transform.into(J2K).canonical())
            node.until_state(first, "delivered")
            again = node.ask(NAME, plain, transform=Transform.into(J2K).canonical())
            node.until_state(again, "delivered")
            node.until_state(node.ask("peer:packed", compressed), "delivered")
            locked_out = node.ask("peer:wrong", plain)
            node.until(lambda: couriers.health()["peer:wrong"].is_failing)
            assert sorted(running.get("instances").json()) == sorted([plain.id, compressed.id])
            assert running.get(f"instances/{plain.id}/metadata/TransferSyntax").text == J2K
            stored = running.get(f"instances/{plain.id}/file").content
    finally:
        pool.close()
    assert [node.attempts(number)[0].answer for number in (first, again)] == ["stored", "already stored"]
    assert "401" in node.get(locked_out).last_error
    with node.archive.read() as connection:
        product = node.product_of(connection, plain.blob.name, Transform.into(J2K))
    assert stored == product.read_bytes()
