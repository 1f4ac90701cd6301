"""Filters of HTTP requests: asked after sign-in, before any route; an administrator on the machine is not bound."""

from dataclasses import replace

import pytest
from web_support import dicom_file, is_orthanc_error, user

from hostd.errors import FilterRefusedError
from hostd.intake.filtering import Changes, Judgement

ACCEPTED = Judgement("accept", "", "", 0, Changes(), ())
REFUSED = Judgement("refuse", "a.py", "not at night", 403, Changes(), ())
FAILED = replace(REFUSED, status=503, reason="ValueError: secret", has_failed=True)
USERS = {name: user(f"{name}-password", name) for name in ("read", "admin")}
REMOTE = ("10.0.0.1", 50000)


class Says:
    def __init__(self, judgement):
        self.judgement = judgement
        self.asked = []

    def has_request_filters(self):
        return self.judgement is not None

    def request(self, **request):
        self.asked.append(request)
        return self.judgement


def login(name):
    return name, f"{name}-password"


def test_what_a_filter_refuses_is_answered_with_its_status_and_reason(make_face):
    says = Says(REFUSED)
    client = make_face(filters=says).client()
    answer = client.get("/system")
    assert is_orthanc_error(answer, 403, 45)
    assert answer.json()["Details"] == "filter a.py: not at night"
    says.judgement = ACCEPTED
    assert client.get("/system").status_code == 200
    says.judgement = None
    assert client.get("/system").status_code == 200


def test_a_filter_that_fails_refuses_with_503_and_keeps_its_inside_to_itself(make_face):
    answer = make_face(filters=Says(FAILED)).client().get("/system")
    assert is_orthanc_error(answer, 503, 45)
    assert "secret" not in answer.text


def test_a_filter_sees_the_request_without_credentials(make_face):
    says = Says(ACCEPTED)
    face = make_face(filters=says, users=USERS)
    face.client(auth=login("read"), peer=REMOTE).get(
        "/instances?limit=3", headers={"Cookie": "a=b", "X-Why": "because"}
    )
    (asked,) = says.asked
    assert (asked["method"], asked["uri"], asked["ip"], asked["username"]) == (
        "GET",
        "/instances?limit=3",
        "10.0.0.1",
        "read",
    )
    assert asked["headers"]["x-why"] == "because"
    assert not {"authorization", "cookie"} & asked["headers"].keys()


def test_who_may_not_sign_in_is_not_shown_to_filters(make_face):
    says = Says(ACCEPTED)
    face = make_face(filters=says, users=USERS)
    assert face.client(auth=("read", "wrong")).get("/system").status_code == 401
    assert face.client(auth=login("read")).delete("/instances/x").status_code == 403
    assert says.asked == []


@pytest.mark.parametrize(
    ("name", "peer", "status"),
    [
        ("admin", ("127.0.0.1", 5), 200),
        ("admin", ("::1", 5), 200),
        ("admin", REMOTE, 403),
        ("read", ("127.0.0.1", 5), 403),
    ],
)
def test_filters_do_not_bind_an_administrator_on_loopback(make_face, name, peer, status):
    face = make_face(filters=Says(REFUSED), users=USERS)
    assert face.client(auth=login(name), peer=peer).get("/system").status_code == status


class Refuses:
    def __init__(self, status):
        self.status = status

    def receive_file(self, *, origin):
        return self

    def write(self, piece):
        pass

    def abandon(self):
        pass

    def finish(self):
        raise FilterRefusedError("filter a.py: no", self.status)


@pytest.mark.parametrize(
    ("status", "http"), [(0xA700, 503), (0xA7FF, 503), (0xA900, 422), (0xC001, 422), (0x0124, 422)]
)
def test_an_instance_that_a_filter_refuses_is_temporary_where_its_status_is(make_face, status, http):
    answer = make_face(intake=Refuses(status)).client().post("/instances", content=dicom_file())
    assert is_orthanc_error(answer, http, 45)
    assert answer.json()["Details"] == "filter a.py: no"
