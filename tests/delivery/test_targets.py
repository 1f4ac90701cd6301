"""Other systems that scripts ask and tell something: what they may reach, what is sent, and how it ends."""

import http.server
import threading
import time

import pytest

from hostd.archive import tasks
from hostd.archive.tasks import Task
from hostd.config.targets import Target as Settings
from hostd.delivery import targets
from hostd.delivery.http import Access, HttpConnection, why
from hostd.delivery.targets import Gone, NoAnswerError, Target, Telling, get, tellers
from hostd.errors import ActionFault, NotFoundError, ScriptError
from hostd.sandbox.requesting import fault_of


class Registry(http.server.ThreadingHTTPServer):
    """Answers as it is told, and keeps what it was asked."""

    def __init__(self):
        super().__init__(("127.0.0.1", 0), _Handler)
        self.asked = []
        self.status, self.body, self.headers, self.pause_s = 200, b'{"ok": true}', {}, 0.0


class _Handler(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        length = int(self.headers.get("Content-Length", 0))
        self.server.asked.append((self.command, self.path, dict(self.headers), self.rfile.read(length)))
        self.send_response(self.server.status)
        for name, value in self.server.headers.items():
            self.send_header(name, value)
        self.send_header("Content-Length", str(len(self.server.body)))
        self.end_headers()
        for byte in self.server.body if self.server.pause_s else ():
            time.sleep(self.server.pause_s)
            self.wfile.write(bytes([byte]))
        if not self.server.pause_s:
            self.wfile.write(self.server.body)

    do_POST = do_PUT = do_GET  # noqa: N815 - names of the library

    def log_message(self, *_arguments):
        pass


@pytest.fixture
def registry():
    server = Registry()
    thread = threading.Thread(target=server.serve_forever, args=(0.02,), daemon=True)
    thread.start()
    yield server
    server.shutdown()
    server.server_close()
    thread.join()


def target(registry, **settings):
    url = f"http://127.0.0.1:{registry.server_port}/api"
    return Target.of("registry", Settings(**({"url": url} | settings)))


def task(method="POST", path="reports?kind=dose", json='{"dose": 1}', number=7):
    facts = dict.fromkeys(Task.__dataclass_fields__)
    details = {"method": method, "path": path, "json": json}
    return Task(**(facts | {"id": number, "queue": "http:registry", "details": details}))


ESCAPES = [
    "//evil.example/x", "../admin", "a/../../admin", "a/..", ".", "%2e%2e/admin", "%2E./admin", "%252e%252e/admin", "a%2f..%2fb", "..%5cadmin",
    "a\r\nHost: evil", "a\nb", "a b", "a\\..\\b", "a#b", "a\x00b", "ä", "x" * 2001,
]  # fmt: skip


@pytest.mark.parametrize("path", ESCAPES)
def test_a_path_that_may_lead_out_is_refused_on_both_sides(registry, path):
    assert fault_of(path)
    with pytest.raises(ActionFault):
        get({"registry": target(registry)}, "registry", path)
    with pytest.raises(ActionFault):
        Telling(target(registry), b"secret").prepare(task(path=path))
    assert registry.asked == []


@pytest.mark.parametrize(
    ("path", "asked"),
    [
        ("", "/api/"),
        ("/a/b?c=d&e=..%2F..", "/api/a/b?c=d&e=..%2F.."),
        ("@evil.example/x", "/api/@evil.example/x"),
        (":80/x", "/api/:80/x"),
        ("http://evil.example/", "/api/http://evil.example/"),
        ("a//b", "/api/a//b"),
        ("...", "/api/..."),
    ],
)
def test_whatever_the_path_the_request_goes_to_the_target(registry, path, asked):
    assert fault_of(path) is None
    assert get({"registry": target(registry)}, "registry", path) == (200, '{"ok": true}')
    ((_, where, headers, _),) = registry.asked
    assert where == asked
    assert headers["Host"] == f"127.0.0.1:{registry.server_port}"


def test_secrets_are_sent_by_the_host_and_told_to_nobody(registry):
    one = target(registry, username="hostd", password="pw", headers={"X-Key": "abc"})
    get({"registry": one}, "registry", "a")
    headers = registry.asked[0][2]
    assert headers["Authorization"].startswith("Basic ")
    assert headers["X-Key"] == "abc"
    assert "abc" not in repr(one)
    assert "pw" not in repr(one)


def test_redirections_are_not_followed(registry):
    registry.status, registry.headers = 302, {"Location": f"http://127.0.0.1:{registry.server_port}/elsewhere"}
    with pytest.raises(ScriptError, match="redirects elsewhere"):
        get({"registry": target(registry)}, "registry", "a")
    with pytest.raises(ActionFault, match="redirects elsewhere"):
        Telling(target(registry), b"secret").prepare(task())
    assert [where for _, where, _, _ in registry.asked] == ["/api/a", "/api/reports?kind=dose"]


def test_any_answer_to_a_question_is_an_answer_and_none_is_an_error(registry):
    registry.status, registry.body = 404, b"no such \xff patient"
    known = {"registry": target(registry)}
    assert get(known, "registry", "a") == (404, "no such \ufffd patient")
    registry.body = b"x" * ((64 << 10) + 1)
    with pytest.raises(ScriptError, match="more than 64 KiB"):
        get(known, "registry", "a")
    with pytest.raises(NotFoundError, match="no target 'other'"):
        get(known, "other", "a")
    with pytest.raises(ScriptError, match="gave no answer"):
        get({"dead": Target.of("dead", Settings(url="http://127.0.0.1:1/"))}, "dead", "a")


def test_an_answer_that_trickles_in_ends_by_the_limit(registry, monkeypatch):
    monkeypatch.setattr(targets, "_GRACE_S", 0.1)
    registry.pause_s, registry.body = 0.05, b"x" * 200
    with pytest.raises(ScriptError, match=r"too long|in time|no answer"):
        get({"registry": target(registry, get_timeout_s=0.2)}, "registry", "a")


def test_what_is_told_goes_out_as_json_with_the_same_key_at_every_try(registry):
    telling = Telling(target(registry), b"secret")
    done = telling.prepare(task("PUT"))
    telling.prepare(task("PUT"))
    telling.prepare(task("PUT", number=8))
    assert done.result == {"status": 200, "body": '{"ok": true}'}
    first, again, other = registry.asked
    assert (first[0], first[1], first[3]) == ("PUT", "/api/reports?kind=dose", b'{"dose": 1}')
    assert first[2]["Content-Type"] == "application/json"
    assert first[2]["Idempotency-Key"] == again[2]["Idempotency-Key"] != other[2]["Idempotency-Key"]
    assert Telling(target(registry), b"another").key(task()) != telling.key(task())


@pytest.mark.parametrize("status", [408, 425, 429, 500, 503])
def test_an_answer_that_says_later_is_tried_again(registry, status):
    registry.status = status
    with pytest.raises(NoAnswerError):
        Telling(target(registry), b"secret").prepare(task())


@pytest.mark.parametrize("status", [400, 403, 404, 409, 422])
def test_an_answer_that_says_no_is_the_end_and_is_told(registry, status):
    registry.status, registry.body = status, b"n" * (20 << 10)
    with pytest.raises(ActionFault) as failed:
        Telling(target(registry), b"secret").prepare(task())
    assert failed.value.result == {"status": status, "body": "n" * (16 << 10)}


def test_a_method_that_the_configuration_does_not_allow_is_refused(registry):
    one = target(registry, methods="get")
    assert get({"registry": one}, "registry", "a")[0] == 200
    with pytest.raises(ActionFault, match="does not allow POST"):
        Telling(one, b"secret").prepare(task())
    with pytest.raises(ValueError, match="GET, POST, PUT"):
        Settings(url="http://x/", methods=["DELETE"])


def test_a_target_that_was_taken_out_while_the_node_ran_is_gone_and_one_that_came_back_is_not(registry, node):
    found = tellers({"registry": target(registry)}, node.archive, former=["registry", "other"])
    assert {queue: type(one) for queue, one in found.items()} == {"http:registry": Telling, "http:other": Gone}


def test_what_waits_for_a_target_that_is_gone_fails_in_the_open():
    assert tasks.OPEN
    with pytest.raises(ActionFault, match="no longer in the configuration"):
        Gone().prepare(task())


def test_a_header_that_cannot_be_sent_is_told_without_its_value():
    connection = HttpConnection(
        Access("http://127.0.0.1:1/", headers={"Authorization": "Bearer hunter2secret\n"}), accept="*/*"
    )
    with pytest.raises(OSError, match="hunter2secret") as refused:
        connection.get("")
    assert "header" in why(refused.value)
    assert "hunter2secret" not in why(refused.value)
