"""Requests that are made from the HTTP face's own description, and worse ones: no fault of hostd, no hang, and the node lives on.

For as long as HOSTD_FUZZ_SECONDS says. Nothing is asked for that would have the node call anybody but this machine.
"""

import json
import os
import random
import socket
import time

import pytest
import requests
from hypothesis import HealthCheck, Phase, Verbosity, given, settings
from hypothesis import strategies as st
from web_support import changed, dicom_file

from hostd.config.settings import load
from hostd.node import Node

pytestmark = [pytest.mark.fuzz, pytest.mark.timeout(600)]
openapi = pytest.importorskip("schemathesis.openapi")

SECONDS = float(os.environ.get("HOSTD_FUZZ_SECONDS", "90"))
EXAMPLES = 6  # of a route at a time
PATIENCE_S = 60
CT, MR = dicom_file("CT_small.dcm"), dicom_file("MR_small.dcm")
FOREIGN = ("/modalities", "/peers", "/tools/dicom-echo", "/queries")
"""What may make the node call others: it gets only bodies that name this machine."""

CONFIGURATION = """[node]
name = "fuzzed"
data = "./data"
scripts = "./scripts"
[dicom]
port = 0
[http]
port = 0
max_upload_mb = 2
[modalities.nobody]
aet = "NOBODY"
host = "127.0.0.1"
port = 9
[peers.nobody]
url = "http://127.0.0.1:9/"
"""


@pytest.fixture(scope="module")
def node(tmp_path_factory):
    folder = tmp_path_factory.mktemp("fuzzed")
    (folder / "scripts").mkdir(mode=0o700)
    file = folder / "hostd.toml"
    file.write_text(CONFIGURATION)
    file.chmod(0o600)
    made = Node(load(file, environ={}))
    made.start()
    yield made
    made.stop()


@pytest.fixture(scope="module")
def url(node):
    return f"http://127.0.0.1:{node.http.port}"


@pytest.fixture(scope="module")
def operations(url):
    described = requests.get(f"{url}/openapi.json", timeout=PATIENCE_S).json()
    return [found.ok() for found in openapi.from_dict(described).get_all_operations()]


def stored(url):
    """Store what may have been deleted meanwhile; return what its identifiers are."""
    answers = [requests.post(f"{url}/instances", data=content, timeout=PATIENCE_S) for content in (CT, MR)]
    assert [answer.status_code for answer in answers] == [200, 200], [answer.text for answer in answers]
    ids = answers[0].json()
    return {
        "instances": ids["ID"], "series": ids["ParentSeries"], "studies": ids["ParentStudy"], "patients": ids["ParentPatient"],
    }  # fmt: skip


# -- what is sent -----------------------------------------------------------------------------------------------------

_TEXTS = st.text(max_size=20) | st.sampled_from(
    ["", "*", "?", "CT*", "20040101-", "1.2.3", "\\", "Study", "Instance", "Patient", "PatientID", "0010,0010", "A" * 5000]
)  # fmt: skip
_VALUES = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**70), 2**70) | st.floats(allow_nan=False) | _TEXTS,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(_TEXTS, inner, max_size=4),
    max_leaves=12,
)
_FIELDS = (
    "Resources", "Level", "Query", "Expand", "Limit", "Since", "RequestedTags", "Labels", "LabelsConstraint", "OrderBy", "Short", "Full",
    "Metadata", "Replace", "Keep", "Remove", "RemovePrivateTags", "Force", "KeepSource", "Transcode", "LossyQuality", "Synchronous",
    "Asynchronous", "Permissive", "Priority", "UserData", "Compress", "Content", "Tags", "Parent", "CaseSensitive", "Filename",
    "ResponseContent", "MetadataQuery", "ParentPatient", "Series", "Instances", "DicomInstances", "KeepLabels", "DicomVersion", "PrivateCreator", "Normalize", "TargetAet", "Timeout",
)  # fmt: skip


def objects(ids):
    """Return JSON objects that look like what the routes take."""
    some = st.lists(st.sampled_from([*ids.values(), "0-0-0-0-0", ""]) | _TEXTS, max_size=4)
    likely = {
        "Resources": some, "Level": st.sampled_from(["Patient", "Study", "Series", "Instance"]),
        "Query": st.dictionaries(st.sampled_from(["PatientID", "StudyDate", "Modality", "0008,0018", "x"]), _TEXTS, max_size=3),
        "Replace": st.dictionaries(st.sampled_from(["PatientName", "SOPInstanceUID", "0010-0020", "x"]), _TEXTS, max_size=3),
        "Tags": st.dictionaries(
            st.sampled_from(["PatientName", "Rows", "StudyDate", "FrameIncrementPointer", "0008,0018", "0002,0010", "OtherPatientIDsSequence"]),
            _TEXTS | st.just([{"PatientID": "x"}]), max_size=3,
        ),
        "Content": st.sampled_from(["data:image/png;base64,iVBORw0KGgo=", "data:application/pdf;base64,JVBERi0=", "x"]) | _VALUES,
        "Series": some, "Instances": some, "Parent": st.sampled_from([*ids.values(), "0-0-0-0-0"]),
        "Transcode": st.sampled_from(["1.2.840.10008.1.2.1", "1.2.840.10008.1.2.4.90", "1.2.840.10008.1.2.4.50", "1.2.3"]),
    }  # fmt: skip
    one = st.sampled_from(_FIELDS).flatmap(
        lambda name: st.tuples(st.just(name), likely[name] | _VALUES if name in likely else _VALUES)
    )
    return st.lists(one, max_size=6).map(dict)


def bodies(ids, path):
    here = st.fixed_dictionaries(
        {"AET": _TEXTS, "Host": st.just("127.0.0.1"), "Port": st.sampled_from([9, 0, -1, 70000, "x"])}
    )
    if path.startswith("/peers/{name}") and path.count("/") == 2:
        return st.sampled_from([["http://127.0.0.1:9/"], ["x"], [], {}, {"Url": "http://127.0.0.1:9/"}]).map(_json)
    if path.startswith(FOREIGN):
        listed = st.tuples(_TEXTS, st.just("127.0.0.1"), st.sampled_from([9, "9", -1]))
        return (here | listed | objects(ids)).map(_json) | st.sampled_from([*ids.values(), "", "x"]).map(str.encode)
    json_like = (objects(ids) | _VALUES).map(_json)
    damaged = st.tuples(st.sampled_from([CT, MR]), st.integers(0, 9000), st.binary(max_size=40)).map(
        lambda one: one[0][: one[1]] + one[2] + one[0][one[1] + len(one[2]) :]
    )
    words = (_TEXTS | st.sampled_from(["1", "0", "Latin1", "trace", "default"])).map(
        lambda text: text.encode("utf-8", "replace")
    )
    return json_like | words | st.binary(max_size=200) | damaged | st.just(CT)


def _json(value):
    return json.dumps(value).encode("utf-8", "replace")


# -- what must come ---------------------------------------------------------------------------------------------------


def judge(answer, seconds):
    """Fail where an answer is a fault of hostd, or says more of its inside than it should."""
    said = f"{answer.request.method} {answer.request.url} {str(answer.request.body)[:500]}: {answer.status_code} {answer.text[:500]}"
    assert seconds < PATIENCE_S / 2, f"{seconds:.1f} s for {said}"
    assert "Traceback" not in answer.text, said
    if answer.status_code < 400:
        return
    if not answer.content or answer.headers.get("content-type", "").startswith(("application/dicom", "multipart")):
        assert answer.status_code < 500, said
        return
    error = answer.json()
    assert error["HttpStatus"] == answer.status_code, said
    assert error["OrthancStatus"] != -1, f"a fault of hostd: {said}"
    if answer.status_code == 500:
        assert error.get("Details"), said  # a peer, or a file, whose fault it is


def test_requests_that_are_made_from_the_description_are_answered(node, url, operations):
    ids, counts, reached = stored(url), {}, set()
    ends = time.monotonic() + SECONDS
    chance = random.SystemRandom()
    while time.monotonic() < ends:
        for operation in chance.sample(operations, len(operations)):  # a slow machine may not come to all
            if time.monotonic() > ends:
                break
            exercise(url, operation, ids, counts)
            reached.add((operation.method, operation.path))
            if operation.method.upper() == "DELETE" or "delete" in operation.path:
                ids = stored(url)
    tried, statuses = sum(counts.values()), sorted(counts.items())
    print(  # noqa: T201
        f"{tried} requests to {len(reached)} of {len(operations)} routes: {', '.join(f'{s}: {n}' for s, n in statuses)}"
    )
    assert tried >= len(reached) > 20
    assert counts.get(200, 0) > len(reached) / 2, "too little of it was taken for anything"
    assert_alive(node, url)


def exercise(url, operation, ids, counts):
    method, path = operation.method.upper(), operation.path

    @settings(
        max_examples=EXAMPLES, derandomize=False, deadline=None, database=None, verbosity=Verbosity.quiet, phases=[Phase.generate],
        suppress_health_check=list(HealthCheck),
    )  # fmt: skip
    @given(case=operation.as_strategy(), data=st.data())
    def send(case, data):
        parameters = dict(case.path_parameters or {})
        for name in parameters:
            known = ids.get(path.split("/")[1])
            likely = [known, "nobody", "0", "1", "dicom", "PatientName", "0-0-0-0-0", "modality:nobody"]
            if data.draw(st.booleans()):
                parameters[name] = data.draw(st.sampled_from([one for one in likely if one]))
        case.path_parameters = parameters
        if method in {"POST", "PUT"} and data.draw(st.integers(0, 9)) > 0:
            body = {"data": data.draw(bodies(ids, path))}
        else:
            body = {}
        known = case.as_transport_kwargs(base_url=url) | body
        begun = time.monotonic()
        answer = requests.request(**known, timeout=PATIENCE_S, allow_redirects=False)
        counts[answer.status_code] = counts.get(answer.status_code, 0) + 1
        judge(answer, time.monotonic() - begun)

    send()


def assert_alive(node, url):
    """Fail unless the node stores, gives back and deletes as if nothing had been, and its index and files agree."""
    ids = stored(url)
    file = requests.get(f"{url}/instances/{ids['instances']}/file", timeout=PATIENCE_S)
    assert file.content == CT
    fresh = changed(MR, SOPInstanceUID="1.2.3.4.5.6")
    answer = requests.post(f"{url}/instances", data=fresh, timeout=PATIENCE_S).json()
    assert answer["Status"] in {"Success", "AlreadyStored"}
    assert requests.delete(url + answer["Path"], timeout=PATIENCE_S).status_code == 200
    with node.archive.read() as connection:
        problems = connection.exec_driver_sql("PRAGMA integrity_check").scalar()
        unheld = connection.exec_driver_sql(
            "SELECT count(*) FROM instance LEFT JOIN blob ON blob.name = instance.blob WHERE blob.name IS NULL"
        ).scalar()
        names = connection.exec_driver_sql("SELECT blob FROM instance").scalars().all()
    assert (problems, unheld) == ("ok", 0)
    assert set(names) <= set(node.archive.blobs.names())


# -- what is no HTTP --------------------------------------------------------------------------------------------------

_LINES = (
    b"GET /system HTTP/1.1", b"POST /instances HTTP/1.1", b"GET http://127.0.0.1/system HTTP/1.1", b"GET * HTTP/1.1", b"GET /%00%ff HTTP/1.1",
    b"GET /instances/%2e%2e/%2e%2e/etc/passwd HTTP/1.1", b"GET //system HTTP/1.0", b"FETCH /system HTTP/1.1", b"GET /system HTTP/9.9",
    b"GET /\xff\xfe HTTP/1.1", b"POST /tools/find HTTP/1.1", b"GET /instances?limit=%ZZ&since=%00 HTTP/1.1", b"\x16\x03\x01\x02\x00", b"",
    b"GET /" + b"a" * 70_000 + b" HTTP/1.1",
)  # fmt: skip
_HEADERS = (
    b"Host: localhost", b"Host: \xff", b"Host:", b"Content-Length: 5", b"Content-Length: -1", b"Content-Length: 99999999999999999999",
    b"Content-Length: 5\r\nContent-Length: 6", b"Transfer-Encoding: chunked", b"Transfer-Encoding: gzip, chunked", b"Content-Encoding: gzip",
    b"Expect: 100-continue", b"Authorization: Basic \xff\xff", b"Origin: null", b"X: " + b"b" * 100_000, b": x", b"Connection: close",
    b"Range: bytes=-1", b"Accept: application/dicom; q=x, */*; q=\xff", b"If-Match: \x00", b"Cookie: a=b",
)  # fmt: skip
_BODIES = (
    b"",
    b"hello",
    b"5\r\nhello\r\n0\r\n\r\n",
    b"FFFFFFFFFFFFFFFFF\r\n",
    b"-1\r\n",
    b"zz\r\n",
    b"\x1f\x8b\x08\x00",
    CT[:5000],
)


def test_what_is_no_http_harms_nobody(node, url):
    chance = random.Random(11)
    for _ in range(400):
        headers = chance.sample(_HEADERS, chance.randrange(5))
        message = b"\r\n".join([chance.choice(_LINES), *headers, b"", b""]) + chance.choice(_BODIES)
        message = message[: chance.choice([len(message), len(message), chance.randrange(len(message) + 1)])]
        with socket.create_connection(("127.0.0.1", node.http.port), timeout=PATIENCE_S) as connection:
            try:
                connection.sendall(message)
                connection.shutdown(socket.SHUT_WR)
                answer = b""
                while piece := connection.recv(65536):
                    answer += piece
            except ConnectionError:
                continue  # cut off: that is an answer, too
        assert b" 500 " not in answer.split(b"\r\n", 1)[0], (message[:300], answer[:300])
        assert b"Traceback" not in answer
    assert_alive(node, url)
