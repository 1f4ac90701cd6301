"""STOW-RS: what counts as delivered is what the server says of this instance, and nothing else; bodies are never in memory."""

import json
import tracemalloc
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest
from certificates import Certificates, needs_openssl, secured
from delivery_kit import EXPLICIT, small_file
from peers_kit import DICOMWEB, needs_dicomweb, needs_orthanc, orthanc, shipped
from ports import free_port
from test_peer_destination import serving

from hostd.delivery.destinations.dicomweb import FAILED, OTHER_FAILURES, REFERENCED, DicomWeb, judged
from hostd.delivery.http import Access, Said
from hostd.delivery.terms import Terms
from hostd.dicom.identity import Identity
from hostd.transcoding.pool import CodecPool
from hostd.transcoding.transform import Transform

NAME = "dicomweb:cloud"
SECRET = "Bearer s3cret-token"
J2K = "1.2.840.10008.1.2.4.90"


def item(uid, **codes):
    return {"00081155": {"vr": "UI", "Value": [uid]}} | {
        {"warning": "00081196", "failure": "00081197"}[key]: {"vr": "US", "Value": [code]}
        for key, code in codes.items()
    }


def answer(**sequences):
    tags = {"stored": REFERENCED, "failed": FAILED, "others": OTHER_FAILURES}
    return {tags[key]: {"vr": "SQ", "Value": items} for key, items in sequences.items()}


class Server(ThreadingHTTPServer):
    """Takes STOW-RS requests apart, and answers as it is told: `stow` makes an answer of the instance's UID."""

    daemon_threads = True
    block_on_close = False

    def __init__(self):
        super().__init__(("127.0.0.1", 0), _Handler)
        self.stow = lambda uid: (200, answer(stored=[item(uid)]))
        self.qido = (200, [])
        self.requests = []
        self.url = f"http://127.0.0.1:{self.server_port}/dicom-web/"

    def handle_error(self, request, client_address):
        pass  # clients that break off are what is tested


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def do_GET(self):
        self.server.requests.append(("GET", self.path, dict(self.headers), b""))
        self._answer(*self.server.qido)

    def do_POST(self):
        left, body = int(self.headers["Content-Length"]), bytearray()
        kept = left < 1 << 20
        while left:
            piece = self.rfile.read(min(left, 1 << 16))
            left -= len(piece)
            body = body + piece if kept or not body else body
        self.server.requests.append(("POST", self.path, dict(self.headers), bytes(body)))
        said = self.server.stow(_uid_of(bytes(body)))
        if said == "forget":
            self.close_connection = True
            return
        self._answer(*said)

    def _answer(self, status, content):
        encoded = content if isinstance(content, bytes) else json.dumps(content).encode()
        self.send_response(status)
        self.send_header("Content-Type", "application/dicom+json")
        self.send_header("Content-Length", str(len(encoded)))
        self.end_headers()
        self.wfile.write(encoded)

    def log_message(self, *args):
        pass


def _uid_of(body):
    """Return the Media Storage SOP Instance UID (0002,0003) of the part."""
    at = body.index(b"\x02\x00\x03\x00UI") + 6
    length = int.from_bytes(body[at : at + 2], "little")
    return body[at + 2 : at + 2 + length].decode().rstrip("\0")


@pytest.fixture
def server():
    with serving(Server()) as running:
        yield running


def dicomweb(server, **options):
    return DicomWeb("cloud", Access(server.url, headers={"Authorization": SECRET}, timeout_s=60, **options))


def posts(server):
    return [request for request in server.requests if request[0] == "POST"]


def test_an_instance_goes_as_it_is_in_one_part_with_the_whole_length(node, server):
    content = small_file()
    number = node.ask(NAME, node.receive(content))
    node.couriers(dicomweb(server))
    node.until_state(number, "delivered")
    ((_, path, headers, body),) = posts(server)
    assert path == "/dicom-web/studies"
    kind, boundary = headers["Content-Type"].rsplit("; boundary=", 1)
    assert kind == 'multipart/related; type="application/dicom"'
    head, rest = body.split(b"\r\n\r\n", 1)
    assert head == f"--{boundary}\r\nContent-Type: application/dicom".encode()
    assert rest == content + f"\r\n--{boundary}--\r\n".encode()
    assert headers["Content-Length"] == str(len(body))
    assert headers["Authorization"] == SECRET
    assert headers["Accept"] == "application/dicom+json"
    (attempt,) = node.attempts(number)
    assert (attempt.status, attempt.answer, attempt.sent_syntax) == (200, "stored", EXPLICIT)


@pytest.mark.parametrize(
    ("said", "outcome", "text"),
    [
        ((202, lambda uid: answer(stored=[item(uid, warning=0xB000)])), "warning", "coercion"),
        ((409, lambda uid: answer(failed=[item(uid, failure=0xA900)])), "failed", "0xA900"),
        ((200, lambda uid: answer(failed=[item(uid, failure=0xC122)])), "failed", "0xC122"),
        ((202, lambda uid: answer(failed=[item(uid, failure=0xA700)])), "waiting", "out of resources"),
        ((409, lambda uid: answer(failed=[item(uid, failure=0x0111)])), "present", "duplicate"),
        ((200, lambda uid: answer(stored=[item("1.2.3")])), "waiting", "does not say that it stored this instance"),
        ((200, lambda uid: answer()), "waiting", "does not say"),
        ((200, lambda uid: b""), "waiting", "does not say"),
        ((200, lambda uid: b"<html>all is well</html>"), "waiting", "does not say"),
        ((204, lambda uid: b""), "waiting", "does not say"),
        ((409, lambda uid: b""), "failed", "409"),
        ((400, lambda uid: {"Message": "no"}), "failed", "400"),
        ((415, lambda uid: b""), "failed", "415"),
    ],
)
def test_the_answer_is_read_for_the_instance_that_was_sent(node, server, said, outcome, text):
    status, content = said
    server.stow = lambda uid: (status, content(uid))
    number = node.ask(NAME)
    node.couriers(dicomweb(server))
    node.until(lambda: node.outcomes(number) == [outcome])
    assert text in node.attempts(number)[0].answer


@pytest.mark.parametrize("status", [401, 403, 404, 429, 500, 503, 507, 302])
def test_what_is_the_servers_fault_holds_the_queue_and_counts_against_nothing(node, server, status):
    server.stow = lambda uid: (status, b"")
    number = node.ask(NAME)
    node.couriers(dicomweb(server))
    node.until(lambda: node.outcomes(number) == ["unreached"])
    assert node.get(number).attempts == 0


LIES = [
    (200, answer(stored=[item("1.2")], failed=[item("1.2", failure=0xA900)]), "instance"),
    (200, answer(failed=[item("1.2", failure=0)]), "later"),
    (200, answer(failed=[item("1.2")]), "later"),
    (200, answer(failed=[item("1.2", failure=0xB000)]), "later"),
    (200, answer(stored=[item("1.2")], others=[item("9", failure=0xC000)]), "instance"),
    (409, answer(stored=[item("1.2")]), "instance"),
    (500, answer(stored=[item("1.2")]), "destination"),
    (200, [answer(stored=[item("1.2")])], "delivered"),
    (200, [answer(stored=[item("1.2")]), answer(failed=[item("1.2", failure=0xA900)])], "later"),
    (200, answer(stored=[item("1.2\0")]), "delivered"),
    (200, {REFERENCED: {"vr": "SQ", "Value": "1.2"}}, "later"),
    (200, {REFERENCED: None, FAILED: 7}, "later"),
    (200, "stored", "later"),
    (200, answer(failed=[{"00081155": {"Value": ["1.2"]}, "00081197": {"Value": [True]}}]), "later"),
    (200, answer(failed=[{"00081155": {"Value": ["1.2"]}, "00081197": {"Value": ["x"]}}]), "later"),
]


@pytest.mark.parametrize(("status", "content", "verdict"), LIES)
def test_contradictions_and_nonsense_are_never_a_delivery(status, content, verdict):
    assert judged(Said(status, "", json.dumps(content).encode()), "1.2")[0] == verdict


def test_json_that_is_nested_without_end_is_survived():
    assert judged(Said(200, "", b"[" * 200_000), "1.2")[0] == "later"


def test_a_lost_answer_is_a_possible_double(node, server):
    answers = ["forget"]
    good = server.stow
    server.stow = lambda uid: answers.pop() if answers else good(uid)
    number = node.ask(NAME)
    node.couriers(dicomweb(server))
    node.until(lambda: node.outcomes(number) == ["lost"])
    node.advance(2000)
    node.until_state(number, "delivered")
    assert node.get(number).possible_doubles == 1


def test_a_large_file_is_streamed_and_never_in_memory(node, server):
    size = 48 << 20
    big = node.receive(small_file(PixelData=bytes(size), Rows=1, Columns=1, BitsAllocated=8))
    number = node.ask(NAME, big)
    tracemalloc.start()
    try:
        node.couriers(dicomweb(server))
        node.until_state(number, "delivered")
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert int(posts(server)[0][2]["Content-Length"]) > size
    assert peak < size / 4


def test_a_server_without_queries_is_sent_to_all_the_same(node, server):
    server.qido = (404, b"")
    number = node.ask(NAME)
    node.couriers(dicomweb(server))
    node.until_state(number, "delivered")


@pytest.mark.parametrize("status", [401, 429, 500, 301])
def test_what_a_query_says_of_the_whole_server_is_believed_before_anything_is_made(node, server, status):
    server.qido = (status, b"")
    number = node.ask(NAME)
    node.couriers(dicomweb(server))
    node.until(lambda: node.outcomes(number) == ["unreached"])
    assert posts(server) == []


@pytest.mark.parametrize(
    ("qido", "has"),
    [
        ((200, [{"00080018": {"vr": "UI", "Value": ["1.2"]}}]), True),
        ((200, []), False),
        ((204, b""), False),
        ((200, [{"00080018": {"vr": "UI", "Value": ["1.3"]}}]), False),  # ignores the key
        ((200, b"what?"), None),
        ((404, b""), None),
    ],
)
def test_presence_is_asked_by_qido(server, qido, has):
    with dicomweb(server).connect([]) as session:
        server.qido = qido
        assert session.has(Identity("P1", "1", "1.1", "1.2")) is has


def test_what_a_server_says_it_has_is_not_sent_where_that_is_asked_for(node, server):
    there, other = node.receive(small_file()), node.receive(small_file())
    server.qido = (200, [{"00080018": {"vr": "UI", "Value": [there.sop_instance_uid]}}])
    numbers = [node.ask(NAME, instance) for instance in (there, other)]
    node.couriers(dicomweb(server), terms=Terms(skips_present=True))
    node.until_state(numbers[0], "present")
    node.until_state(numbers[1], "delivered")
    assert len(posts(server)) == 1


def test_no_message_log_or_form_of_it_holds_a_secret(node, capfd):
    access = Access(f"http://127.0.0.1:{free_port()}/", "hostd", "p4ssword", headers={"X-Key": SECRET})
    number = node.ask(NAME)
    couriers = node.couriers(DicomWeb("cloud", access))
    node.until(lambda: couriers.health()[NAME].is_failing)
    output = capfd.readouterr()
    shown = output.out + output.err + repr(node.attempts(number)) + repr(access) + str(couriers.health())
    assert SECRET not in shown
    assert "p4ssword" not in shown


# -- TLS --------------------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def certificates(tmp_path_factory):
    return Certificates(tmp_path_factory.mktemp("tls") / "certificates")


@pytest.fixture
def secure(server, certificates):
    """A server that wants a certificate of its authority from who calls."""
    secured(server, certificates)
    server.url = server.url.replace("http:", "https:")
    return server


@needs_openssl
def test_own_authority_and_client_certificate_open_a_server_that_wants_them(node, secure, certificates):
    number = node.ask(NAME)
    node.couriers(dicomweb(secure, ca_file=certificates.ca, client_certificate=certificates.client))
    node.until_state(number, "delivered")


@needs_openssl
@pytest.mark.parametrize("missing", ["ca_file", "client_certificate"])
def test_without_either_nothing_is_sent(node, secure, certificates, missing):
    options = {"ca_file": certificates.ca, "client_certificate": certificates.client}
    del options[missing]
    number = node.ask(NAME)
    node.couriers(dicomweb(secure, **options))
    node.until(lambda: node.outcomes(number) == ["unreached"])
    assert posts(secure) == []


# -- the real thing ---------------------------------------------------------------------------------------------------


@pytest.mark.peers
@needs_orthanc
@needs_dicomweb
def test_orthanc_stores_what_stow_brings_and_says_so(node, tmp_path):
    plain, compressed = node.receive(shipped("CT_small.dcm")), node.receive(shipped("MR_small_jp2klossless.dcm"))
    pool = CodecPool(workers=1)
    node.pool = pool
    try:
        with orthanc(tmp_path / "orthanc", [DICOMWEB]) as running:
            access = Access(f"{running.url}dicom-web/", running.username, running.password)
            destination = DicomWeb("cloud", access)
            wrong = DicomWeb("wrong", Access(access.url, "hostd", "wrong"))
            couriers = node.couriers(destination, wrong)
            first = node.ask(NAME, plain, transform=Transform.into(J2K).canonical())
            second = node.ask(NAME, compressed)
            for number in (first, second):
                node.until(lambda number=number: node.get(number).state == "delivered", 60)
            again = node.ask(NAME, compressed)
            node.until_state(again, "delivered")
            with destination.connect([]) as session:
                assert session.check() is True
            locked_out = node.ask("dicomweb:wrong", plain)
            node.until(lambda: couriers.health()["dicomweb:wrong"].is_failing)
            assert sorted(running.get("instances").json()) == sorted([plain.id, compressed.id])
            assert running.get(f"instances/{plain.id}/metadata/TransferSyntax").text == J2K
            stored = running.get(f"instances/{compressed.id}/file").content
    finally:
        pool.close()
    assert "401" in node.get(locked_out).last_error
    assert stored == node.archive.blobs.path(compressed.blob.name).read_bytes()


@pytest.mark.peers
@needs_orthanc
@needs_dicomweb
def test_orthanc_refuses_what_is_no_instance_by_a_reason(node, tmp_path):
    with orthanc(tmp_path / "orthanc", [DICOMWEB]) as running:
        node.couriers(DicomWeb("cloud", Access(f"{running.url}dicom-web/", running.username, running.password)))
        broken = node.receive(small_file())
        path = node.archive.blobs.path(broken.blob.name)
        path.chmod(0o600)
        path.write_bytes(path.read_bytes()[:300])
        number = node.ask(NAME, broken)
        node.until(lambda: node.attempts(number) != [])
        assert node.outcomes(number)[0] in {"failed", "waiting"}
