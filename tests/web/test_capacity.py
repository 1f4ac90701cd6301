"""More requests than are worked on at one time are told to come again, and 10,000 uploads need no more memory than 200."""

import gc
import resource
import threading
from concurrent.futures import ThreadPoolExecutor

import pytest
import requests
from processes import resident_bytes
from web_support import FailingReception, dicom_file

from hostd.intake.reception import Received
from hostd.web.listener import HttpListener


class Waiting:
    """An intake whose receptions end when they are told to."""

    def __init__(self):
        self.begun = threading.Semaphore(0)
        self.may_end = threading.Event()

    def receive_file(self, *, origin):
        return self

    def write(self, piece):
        pass

    def abandon(self):
        pass

    def finish(self):
        self.begun.release()
        assert self.may_end.wait(60)
        return Received("a", "b", "c", "d", "stored")


@pytest.fixture
def serve():
    listeners = []

    def serve(face):
        listeners.append(HttpListener(face.app, "127.0.0.1", 0))
        listeners[-1].start()
        return f"http://127.0.0.1:{listeners[-1].port}"

    yield serve
    for listener in listeners:
        listener.stop(1)


def test_what_is_too_much_is_refused_with_when_to_come_again_and_taken_then(make_face, serve):
    intake = Waiting()
    url = serve(make_face(intake=intake, max_requests=3))
    with ThreadPoolExecutor(3) as pool:
        under_way = [pool.submit(requests.post, f"{url}/instances", data=b"x" * 200, timeout=60) for _ in range(3)]
        for _ in under_way:
            assert intake.begun.acquire(timeout=60)
        refused = requests.post(f"{url}/instances", data=dicom_file(), timeout=60)
        assert (refused.status_code, refused.headers["retry-after"]) == (503, "1")
        assert refused.json()["OrthancStatus"] == 4
        assert requests.get(f"{url}/system", timeout=60).status_code == 503
        intake.may_end.set()
        assert [one.result().status_code for one in under_way] == [200] * 3
    assert requests.get(f"{url}/system", timeout=60).status_code == 200


def test_a_request_that_fails_or_is_cut_gives_its_place_back(make_face):
    client = make_face(intake=type("", (), {"receive_file": lambda self, origin: FailingReception("write", RuntimeError("no"))})(), max_requests=1).client()  # fmt: skip
    for _ in range(3):
        assert client.post("/instances", content=dicom_file()).status_code == 500
        assert client.get("/nope").status_code == 404
        assert client.get("/system").status_code == 200


def resident_mb():
    return resident_bytes("self") / (1 << 20)


@pytest.mark.load
@pytest.mark.timeout(900)
def test_ten_thousand_uploads_at_200_a_time_are_all_stored_in_bounded_memory(make_face, serve):
    face = make_face(max_requests=250)
    url = serve(face)
    content = dicom_file("MR_small.dcm")
    uid = b"1.3.6.1.4.1.5962.1.1.4.1.1.20040826185059.5457"
    assert content.count(uid) == 2
    session = threading.local()

    def upload(number):
        if not hasattr(session, "it"):
            session.it = requests.Session()
        named = content.replace(uid, uid[:-6] + b"%06d" % number)
        answer = session.it.post(f"{url}/instances", data=named, timeout=300)
        return answer.status_code, answer.json().get("Status")

    with ThreadPoolExecutor(200) as pool:
        first = set(pool.map(upload, range(1000)))
        gc.collect()
        before = resident_mb()
        rest = set(pool.map(upload, range(1000, 10_000)))
    gc.collect()
    grown = resident_mb() - before
    print(  # noqa: T201
        f"{resident_mb():.0f} MB, {grown:+.0f} MB since the first thousand, {resource.getrusage(resource.RUSAGE_SELF).ru_maxrss >> 10} MB at most"
    )
    assert first == rest == {(200, "Success")}
    assert requests.get(f"{url}/statistics", timeout=60).json()["CountInstances"] == 10_000
    assert grown < 100


@pytest.mark.load
@pytest.mark.timeout(900)
def test_more_callers_than_places_are_stored_or_told_to_come_again(make_face, serve):
    face = make_face(max_requests=20)
    url = serve(face)
    content = dicom_file("MR_small.dcm")
    uid = b"1.3.6.1.4.1.5962.1.1.4.1.1.20040826185059.5457"

    def upload(number):
        answer = requests.post(f"{url}/instances", data=content.replace(uid, uid[:-6] + b"%06d" % number), timeout=300)
        assert answer.status_code in {200, 503}
        assert answer.status_code == 200 or answer.headers["retry-after"] == "1"
        return answer.status_code

    with ThreadPoolExecutor(200) as pool:
        found = list(pool.map(upload, range(2000)))
    assert found.count(503) > 0
    assert requests.get(f"{url}/statistics", timeout=60).json()["CountInstances"] == found.count(200) > 0
    assert len(face.files()) == found.count(200)
