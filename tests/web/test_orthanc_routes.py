"""docs/orthanc.md has every route of Orthanc, and says of each what is true here."""

import re
from pathlib import Path

import pytest
from orthanc_routes import NAMESPACES, ORTHANC, without_names

PAGE = (Path(__file__).parents[2] / "docs" / "orthanc.md").read_text("utf-8")
METHODS = ("GET", "POST", "PUT", "DELETE")
TABLE = PAGE.partition("\n## Every route\n")[2]
GROUPS = [
    re.findall(r"^\| `([A-Z]+) (/[^`]*)` \| ([^|]*) \| ([^|]*)\|$", group, re.MULTILINE)
    for group in TABLE.split("\n### ")[1:]
]
ROWS = {
    (method, without_names(path)): (here, remark.strip()) for group in GROUPS for method, path, here, remark in group
}


@pytest.fixture(scope="module")
def here(idle_face):
    described = idle_face.app.openapi()["paths"]
    return {(method.upper(), without_names(path)) for path, methods in described.items() for method in methods}


def test_every_line_of_the_tables_is_read():
    assert sum(map(len, GROUPS)) == len(re.findall(r"^\| `", TABLE, re.MULTILINE))


def test_each_route_has_one_row():
    named = [(method, without_names(path)) for group in GROUPS for method, path, _, _ in group]
    assert sorted(name for name in set(named) if named.count(name) > 1) == []


def test_every_route_of_orthancs_is_in_the_table():
    assert sorted(ORTHANC - ROWS.keys()) == []


def test_every_route_of_hostds_under_orthancs_names_is_in_the_table(here):
    mine = {(method, path) for method, path in here if path.split("/")[1] in NAMESPACES}
    assert mine
    assert sorted(mine - ROWS.keys()) == []


def test_what_the_table_says_is_here_is_here_and_nothing_else(here):
    said = {route for route, (verdict, _) in ROWS.items() if verdict != "not there"}
    assert sorted(said - here) == [], "docs/orthanc.md has them, the app does not"
    assert sorted((ROWS.keys() - said) & here) == [], "docs/orthanc.md says that they are not there"


def test_each_row_says_which_and_why():
    for route, (verdict, remark) in ROWS.items():
        assert verdict in ({"same", "different", "not there"} if route in ORTHANC else {"hostd's own", "not there"}), (
            route
        )
        assert remark or verdict == "same", f"{route}: how it differs, or what to use, is not said"
        assert not remark or remark.endswith("."), route


@pytest.mark.parametrize("group", GROUPS, ids=lambda group: group[0][1])
def test_rows_are_sorted(group):
    assert group == sorted(group, key=lambda row: (row[1], METHODS.index(row[0])))
