"""Every route has its role, in the manual and in fact."""

import re
from pathlib import Path

import pytest
from orthanc_routes import ORTHANC, expanded, without_names
from web_support import is_orthanc_error, user

from hostd.web.roles import ROLES, needed_role, suffices

HTTP_MD = Path(__file__).parents[2] / "docs" / "http.md"
USERS = {role: user(f"{role}-password", role) for role in ROLES}
ROWS = re.findall(r"^\| `([A-Z]+) (/[^`?]*)` \| (\w*) \|", HTTP_MD.read_text("utf-8"), re.MULTILINE)
ROUTES = [(method, path, role) for method, row, role in ROWS for path in expanded(row)]


@pytest.fixture(scope="module")
def clients(idle_face):
    idle_face.users = USERS
    return {role: idle_face.client(auth=(role, f"{role}-password")) for role in ROLES}


def test_the_manual_says_the_role_of_every_route(idle_face):
    described = idle_face.app.openapi()["paths"]
    routes = {(method.upper(), without_names(path)) for path, methods in described.items() for method in methods}
    assert routes | {("GET", "/openapi.json")} == {(method, without_names(path)) for method, path, _ in ROUTES}


@pytest.mark.parametrize(("method", "path", "role"), ROUTES)
def test_a_user_of_a_lesser_role_than_the_manual_says_is_refused(clients, method, path, role):
    assert role in ROLES, f"docs/http.md gives no role for {method} {path}"
    path = path.replace("{", "").replace("}", "")
    assert needed_role(method, path) == role
    for lesser in ROLES[: ROLES.index(role)]:
        assert is_orthanc_error(clients[lesser].request(method, path), 403, 45)


def test_only_get_and_what_only_asks_is_for_those_who_may_only_read():
    asking = {(method, path) for method, path in ORTHANC if needed_role(method, path.replace("{}", "x")) == "read"}
    assert {(method, path) for method, path in asking if method != "GET"} == {
        ("POST", "/modalities/{}/echo"),
        *(("POST", f"/tools/{name}") for name in ("find", "lookup", "count-resources", "bulk-content")),
        *(("POST", f"/tools/create-{what}") for what in ("archive", "media", "media-extended")),
        *(("POST", f"/{level}/{{}}/{what}") for level in ("patients", "studies", "series") for what in ("archive", "media")),
    }  # fmt: skip
    assert {(method, path) for method, path in ORTHANC if method == "GET"} <= asking


def test_to_remove_what_is_stored_is_for_administrators():
    for level in ("patients", "studies", "series", "instances"):
        assert needed_role("DELETE", f"/{level}/x") == needed_role("DELETE", f"/{level}/x/attachments/y") == "admin"
        assert needed_role("DELETE", f"/{level}/x/labels/y") == "write"
    assert needed_role("POST", "/tools/bulk-delete") == "admin"


@pytest.mark.parametrize(
    "path", ["/tools/find/", "//tools/find", "/tools/find\n", "/Tools/Find", "/tools/find/x", "/x/tools/find", "/tools/findx"]
)  # fmt: skip
def test_what_only_looks_like_a_route_for_readers_is_none(path):
    assert needed_role("POST", path) == "write"


def doubled(path):
    """Return a path written as by who joins `http://host/` and `/path`, and with more slashes than that."""
    parts = path.replace("{", "").replace("}", "").split("/")
    return ["/" + "/".join(parts), "//".join(parts), "///".join(parts) + "//"]


@pytest.mark.parametrize(("method", "path", "role"), ROUTES)
def test_a_slash_behind_another_gives_nobody_more_than_without(clients, method, path, role):
    for written in doubled(path):
        for lesser in ROLES[: ROLES.index(role)]:
            answer = clients[lesser].request(method, f"http://localhost:8042{written}")
            assert (answer.status_code, answer.json()["OrthancStatus"]) == (403, 45)


def test_a_line_break_at_the_end_of_a_path_leads_nowhere(clients):
    for method, path, role in ROUTES:
        written = path.replace("{", "").replace("}", "") + ("%0A" if role == "admin" else "%0A/")
        for who in {"write", role}:
            answer = clients[who].request(method, written)
            assert (answer.status_code, answer.json()["OrthancStatus"]) == (404, 17), (who, method, written)


def test_who_may_only_read_asks_by_paths_with_more_slashes(clients):
    for written in doubled("/tools/find"):
        asked = {"Level": "Study", "Query": {}}
        assert clients["read"].post(f"http://localhost:8042{written}", json=asked).json() == []


def test_what_no_method_says_is_for_administrators():
    assert needed_role("PATCH", "/instances") == needed_role("FIND", "/tools/find") == "admin"
    assert [suffices("write", needed) for needed in ROLES] == [True, True, False]


@pytest.mark.parametrize("path", ["/studies/x/modify", "/series/x/anonymize"])
def test_what_deletes_its_source_is_for_administrators(clients, path):
    asked = {"Replace": {"PatientName": "x"}, "KeepSource": False}
    assert is_orthanc_error(clients["write"].post(path, json=asked), 403, 45)
    assert clients["admin"].post(path, json=asked).status_code != 403
    assert clients["write"].post(path, json=asked | {"KeepSource": True}).status_code != 403


def test_no_route_but_get_is_for_another_site_whosesoever_password_it_has(clients):
    for method, path, _ in ROUTES:
        answer = clients["admin"].request(
            method, path.replace("{", "").replace("}", ""), headers={"Origin": "https://evil.example"}
        )
        assert (answer.status_code == 403) == (method != "GET"), (method, path)
