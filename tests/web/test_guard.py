"""Who may ask for what."""

import base64

import pytest
import structlog
from web_support import dicom_file, is_orthanc_error, user

from hostd.config.settings import Settings

USERS = {name: user(f"{name}-password", name) for name in ("read", "write", "admin")}
REALM = 'Basic realm="Orthanc Secure Area"'


@pytest.fixture
def guarded(idle_face):
    """A face with users; what a test stores there matters to no other."""
    idle_face.users = USERS
    return idle_face


@pytest.fixture
def open_face(idle_face):
    """A face without users."""
    idle_face.users = {}
    return idle_face


def login(name):
    return name, f"{name}-password"


@pytest.mark.parametrize(
    "header",
    [
        None,
        "",
        "Basic",
        "Basic !!!",
        "Basic ²".encode("latin-1"),
        "Basic " + base64.b64encode(b"no-colon").decode(),
        "Basic " + base64.b64encode(b"\xff:\xff").decode(),
        "Basic " + base64.b64encode(b"admin:wrong").decode(),
        "Basic " + base64.b64encode(b"nobody:admin-password").decode(),
        "Bearer " + base64.b64encode(b"admin:admin-password").decode(),
    ],
)
@pytest.mark.parametrize("path", ["/system", "/docs", "/openapi.json", "/nope"])
def test_without_the_right_password_nothing_is_answered(guarded, header, path):
    answer = guarded.client().get(path, headers={} if header is None else {"Authorization": header})
    assert is_orthanc_error(answer, 401, 29)
    assert answer.headers["www-authenticate"] == REALM


@pytest.mark.parametrize("name", ["dr.x@h.org", "m\u00fcller", "a b", "DOM\\u"])
def test_a_user_is_called_as_orthancs_may_be_and_signs_in(idle_face, name):
    idle_face.users = Settings(users={name: user("geh\u00e4im", "read")}).users
    token = base64.b64encode(f"{name}:geh\u00e4im".encode()).decode()
    assert idle_face.client().get("/system", headers={"Authorization": f"Basic {token}"}).status_code == 200


@pytest.mark.parametrize(
    ("role", "allowed"),
    [("read", {"GET"}), ("write", {"GET", "POST"}), ("admin", {"GET", "POST", "DELETE"})],
)
def test_a_role_may_what_it_may(guarded, role, allowed):
    stored = guarded.client(auth=login("admin")).post("/instances", content=dicom_file()).json()["Path"]
    client = guarded.client(auth=login(role))
    answers = {
        "GET": client.get(stored),
        "POST": client.post("/instances", content=dicom_file()),
        "DELETE": client.delete(stored),
    }
    for method, answer in answers.items():
        if method in allowed:
            assert answer.status_code == 200
        else:
            assert is_orthanc_error(answer, 403, 45)


def test_an_unknown_method_needs_the_highest_role(guarded):
    assert is_orthanc_error(guarded.client(auth=login("write")).request("PATCH", "/instances"), 403, 45)
    assert guarded.client(auth=login("admin")).request("PATCH", "/instances").status_code == 405


def test_a_retry_needs_the_role_write(guarded):
    assert is_orthanc_error(guarded.client(auth=login("read")).post("/deliveries/1/retry"), 403, 45)
    assert is_orthanc_error(guarded.client(auth=login("write")).post("/deliveries/1/retry"), 404, 17)


def test_the_user_is_part_of_the_origin(guarded):
    client = guarded.client(auth=login("write"))
    path = client.post("/instances", content=dicom_file()).json()["Path"]
    assert client.get(path + "/metadata/HttpUsername").text == "write"


def test_users_that_change_while_it_runs_count_at_once(guarded):
    client = guarded.client(auth=login("read"))
    assert client.get("/system").status_code == 200
    guarded.users = {"other": USERS["admin"]}
    assert is_orthanc_error(client.get("/system"), 401, 29)


def test_a_password_is_not_logged(guarded):
    with structlog.testing.capture_logs() as logs:
        guarded.client(auth=("admin", "my-mistyped-password")).get("/system")
    assert [entry["event"] for entry in logs] == ["request refused"]
    assert "mistyped" not in repr(logs)


# -- without users ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["localhost", "localhost:8042", "127.0.0.1", "127.0.0.1:9", "[::1]:8042", "LOCALHOST"])
def test_without_users_this_machine_is_answered(open_face, name):
    assert open_face.client().get("/system", headers={"Host": name}).status_code == 200


@pytest.mark.parametrize("name", ["evil.example", "evil.example:8042", "localhost.evil.example", "10.0.0.1", "[", ""])
def test_without_users_another_name_for_this_host_is_refused(open_face, name):
    assert is_orthanc_error(open_face.client().get("/system", headers={"Host": name}), 403, 45)


def test_without_users_the_configured_name_is_answered(make_face):
    client = make_face(hosts=["Pacs.example"]).client()
    assert client.get("/system", headers={"Host": "pacs.example:8042"}).status_code == 200


def test_without_users_another_machine_is_refused_even_if_it_says_localhost(open_face):
    assert is_orthanc_error(open_face.client(peer=("192.0.2.7", 4000)).get("/system"), 403, 45)


def test_with_users_another_machine_and_name_are_answered(guarded):
    client = guarded.client(peer=("192.0.2.7", 4000), base_url="http://pacs.example", auth=login("read"))
    assert client.get("/system").status_code == 200


# -- other sites --------------------------------------------------------------------------------------------------------

FOREIGN = [
    {"Origin": "https://evil.example"},
    {"Origin": "null"},
    {"Origin": "http://localhost:3000"},
    {"Origin": "http://["},
    {"Origin": "file://localhost:8042"},
    {"Sec-Fetch-Site": "cross-site"},
    {"Sec-Fetch-Site": "same-site"},
    {"Sec-Fetch-Site": "same-origin", "Origin": "https://evil.example"},
]


@pytest.mark.parametrize("headers", FOREIGN)
def test_another_site_may_not_change_anything(open_face, headers):
    client = open_face.client()
    path = client.post("/instances", content=dicom_file()).json()["Path"]
    assert is_orthanc_error(client.post("/instances", content=dicom_file(), headers=headers), 403, 45)
    assert is_orthanc_error(client.delete(path, headers=headers), 403, 45)
    assert is_orthanc_error(client.post("/deliveries/1/retry", headers=headers), 403, 45)
    assert client.get(path, headers=headers).status_code == 200
    assert "access-control-allow-origin" not in client.get(path, headers=headers).headers


def test_another_site_may_not_change_anything_with_the_users_own_password(guarded):
    client = guarded.client(auth=login("admin"))
    answer = client.post("/instances", content=dicom_file(), headers={"Origin": "https://evil.example"})
    assert is_orthanc_error(answer, 403, 45)


@pytest.mark.parametrize(
    ("host", "headers"),
    [
        ("localhost:8042", {"Origin": "http://localhost:8042", "Sec-Fetch-Site": "same-origin"}),
        ("localhost:8042", {"Origin": "http://LOCALHOST:8042"}),
        ("localhost", {"Origin": "http://localhost:80"}),
        ("localhost:8042", {"Sec-Fetch-Site": "none"}),
        ("localhost:8042", {}),
    ],
)
def test_the_same_site_may(open_face, host, headers):
    answer = open_face.client().post("/instances", content=dicom_file(), headers={"Host": host, **headers})
    assert answer.status_code == 200
