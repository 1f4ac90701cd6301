"""docs/http.md and the page /docs name every route, and the page needs nothing but itself."""

import re
from html.parser import HTMLParser
from pathlib import Path

from orthanc_routes import expanded

HTTP_MD = Path(__file__).parents[2] / "docs" / "http.md"


def routes_of(app):
    described = app.openapi()["paths"]
    found = {(method.upper(), path) for path, methods in described.items() for method in methods}
    return found | {("GET", "/openapi.json")}


def without_names(path):
    return re.sub(r"\{\w+\}", "{}", path)


def test_the_manual_lists_exactly_the_routes_that_are_there(face):
    rows = re.findall(r"^\| `([A-Z]+) (/[^`?]*)", HTTP_MD.read_text("utf-8"), re.MULTILINE)
    listed = [(method, path) for method, row in rows for path in expanded(row)]
    assert len(listed) == len(set(listed))
    expected = {(method, without_names(path)) for method, path in routes_of(face.app)}
    assert {(method, without_names(path)) for method, path in listed} == expected
    assert len(expected) == len(routes_of(face.app)) >= 16


def test_the_manual_names_every_query_parameter(face):
    manual = HTTP_MD.read_text("utf-8")
    for path, methods in face.app.openapi()["paths"].items():
        for operation in methods.values():
            for parameter in operation.get("parameters", ()):
                if parameter["in"] == "query":
                    assert re.search(rf"\b{parameter['name']}\b", manual), (path, parameter["name"])


def test_every_route_in_the_app_is_described(face, client):
    """What is left out of the description would be left out of the manual unseen."""
    assert client.get("/openapi.json").json() == face.app.openapi()
    for methods in face.app.openapi()["paths"].values():
        assert all(operation["summary"] for operation in methods.values())


class References(HTMLParser):
    def __init__(self):
        super().__init__()
        self.tags = set()
        self.found = []

    def handle_starttag(self, tag, attributes):
        self.tags.add(tag)
        self.found += [value for name, value in attributes if name in {"src", "href", "action", "data"}]


def test_the_page_lists_the_routes_and_loads_nothing(face, client):
    page = client.get("/docs")
    assert page.headers["content-type"].startswith("text/html")
    assert "default-src 'none'" in page.headers["content-security-policy"]
    for method, path in routes_of(face.app) - {("GET", "/openapi.json")}:
        assert f"<code>{method} {path}</code>" in page.text
    references = References()
    references.feed(page.text)
    assert references.found == ["openapi.json"]
    assert not references.tags & {"script", "link", "img", "iframe", "object"}
    assert "://" not in page.text
    assert "@import" not in page.text


def test_who_opens_the_address_of_the_node_is_led_to_the_page(client):
    answer = client.get("/", follow_redirects=False)
    assert (answer.status_code, answer.headers["location"]) == (301, "docs")
