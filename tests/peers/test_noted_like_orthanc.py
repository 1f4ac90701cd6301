"""Metadata and attachments that have names, numbers and media types, and are changed only by who knows their state: as by Orthanc."""

import hashlib

import pytest
from likeness import pair_of, stop
from peer_kit import needs, sample

pytestmark = [pytest.mark.peers, needs("Orthanc")]

CHECKING = {
    "CheckRevisions": True, "UserMetadata": {"Mine": 1024},
    "UserContentType": {"Report": 1024, "Text": [1025, "text/plain"]},
}  # fmt: skip
NOT_CHECKING = {**CHECKING, "CheckRevisions": False}
MORE = """
[http.metadata_numbers]
Mine = 1024
[http.attachment_numbers]
Report = 1024
Text = 1025
[http.attachment_types]
Text = "text/plain"
"""
PLACES = ["/studies/{study}/metadata/1024", "/instances/{instance}/attachments/1024"]
LEVELS = {"patients": "patient", "studies": "study", "series": "series", "instances": "instance"}


def tag(content, revision=0):
    return f'"{revision}-{hashlib.md5(content).hexdigest()}"'


@pytest.fixture(scope="module", params=["checking", "not checking"])
def pair(request, tmp_path_factory):
    theirs = CHECKING if request.param == "checking" else NOT_CHECKING
    http = "check_revisions = true" if theirs["CheckRevisions"] else ""
    content = sample("MR_small.dcm").read_bytes()
    made = pair_of(tmp_path_factory.mktemp("noted"), content, orthanc=theirs, more=MORE, http=http)
    made.checks = theirs["CheckRevisions"]
    yield made
    stop(made)


def same(pair, request, **body):
    """Ask both; fail unless status, tag, media type and body are the same; return hostd's answer."""
    theirs, ours = pair.ask(request, **body)

    def told(answer):
        kind = answer.headers.get("content-type", "").partition(";")[0] if answer.ok and answer.content else ""
        sees = answer.request.method == "GET" and answer.ok
        return (
            answer.status_code,
            answer.headers.get("etag") if sees else "",
            kind,
            sorted(answer.text.split()) if sees else "",
        )

    assert told(ours) == told(theirs), (request, body, theirs.text, ours.text)
    return ours


MEANT = [
    "nonsense", '"nonsense"', "*", "0", '""', '"-1-a"', "'0-a'", "0 - a", "x-a", '"0-a"', tag(b"b"), tag(b"a", 7),
    f"W/{tag(b'a')}",
]  # fmt: skip


@pytest.mark.parametrize("place", PLACES)
def test_only_who_knows_the_state_of_a_value_changes_it(pair, place):
    same(pair, f"DELETE {place}")
    same(pair, f"DELETE {place}", headers={"If-Match": tag(b"a")})
    same(pair, f"PUT {place}", data=b"a", headers={"If-Match": "nonsense"})
    assert same(pair, f"PUT {place}", data=b"a", headers={"If-Match": tag(b"never")}).status_code == 200
    assert same(pair, f"PUT {place}", data=b"a").status_code == (409 if pair.checks else 200)
    for meant in MEANT:
        assert not same(pair, f"PUT {place}", data=b"b", headers={"If-Match": meant}).ok
        assert not same(pair, f"DELETE {place}", headers={"If-Match": meant}).ok
    for before, after, meant in ((b"a", b"b", tag(b"a")), (b"b", b"a", tag(b"b").strip('"'))):
        assert same(pair, f"PUT {place}", data=after, headers={"If-Match": meant}).ok, before
    assert same(pair, f"DELETE {place}", headers={"If-Match": tag(b"a")}).ok
    same(pair, f"GET {place}")


@pytest.mark.parametrize(("place", "parts"), [
    (PLACES[0], [""]),
    (PLACES[1], ["/data", "/size", "/md5", "/is-compressed", "/compressed-data", "/compressed-size", "/compressed-md5"]),
])  # fmt: skip
def test_who_has_a_value_already_is_not_given_it_again(pair, place, parts):
    assert same(pair, f"PUT {place}", data=b"a").ok
    for part in parts:
        for known in (*MEANT, tag(b"a"), tag(b"a").strip('"'), f'{tag(b"a")}, "0-b"'):
            theirs, ours = pair.ask(f"GET {place}{part}", headers={"If-None-Match": known})
            assert ours.status_code == theirs.status_code, (part, known)
            assert ours.content == theirs.content or not ours.ok
    same(pair, f"GET {place}", headers={"If-None-Match": tag(b"a")})
    assert same(pair, f"DELETE {place}", headers={"If-Match": tag(b"a")}).ok


@pytest.mark.parametrize("level", LEVELS)
def test_a_metadata_is_called_by_its_name_and_by_its_number(pair, level):
    path = f"/{level}/{{{LEVELS[level]}}}/metadata"
    for put, content in (("1024", b"a"), ("1027", b"c"), ("65535", b"z"), ("65536", b"z"), ("1023", b"z")):
        same(pair, f"PUT {path}/{put}", data=content)
    for name in ("Mine", "1024", "01024", "1027", "65535", "65536", "99", "Nobody"):
        same(pair, f"GET {path}/{name}")
    own = {"PixelDataOffset"}
    theirs, ours = (set(answer.json()) for answer in pair.ask(f"GET {path}"))
    assert ours == theirs - own
    theirs, ours = (answer.json() for answer in pair.ask(f"GET {path}?expand"))
    assert ours | {"ReceptionDate": "", "LastUpdate": ""} == {k: v for k, v in theirs.items() if k not in own} | {
        "ReceptionDate": "", "LastUpdate": "",
    }  # fmt: skip
    assert ours["Mine"] == "a"
    for number in range(1, 14):
        theirs, ours = pair.ask(f"GET {path}/{number}")
        assert (ours.status_code, len(ours.text) * ours.ok) == (theirs.status_code, len(theirs.text) * theirs.ok), (
            number
        )
    for name, content in (("1024", b"a"), ("1027", b"c"), ("65535", b"z")):
        assert same(pair, f"DELETE {path}/{'Mine' if name == '1024' else name}", headers={"If-Match": tag(content)}).ok
        same(pair, f"GET {path}/{name}")


@pytest.mark.parametrize("level", LEVELS)
def test_an_attachment_is_called_by_its_name_and_by_its_number_and_has_its_media_type(pair, level):
    path = f"/{level}/{{{LEVELS[level]}}}/attachments"
    for put, content in (("1024", b"a"), ("Text", b"b"), ("1030", b"c")):
        same(pair, f"PUT {path}/{put}", data=content)
    for asked in ("", "?full"):
        theirs, ours = (answer.json() for answer in pair.ask(f"GET {path}{asked}"))
        assert (sorted(ours), ours if asked else "") == (sorted(theirs), theirs if asked else "")
    for name in ("Report", "1024", "Text", "1025", "1030", "Nobody"):
        for part in ("data", "compressed-data", "size"):
            same(pair, f"GET {path}/{name}/{part}")
        theirs, ours = pair.ask(f"GET {path}/{name}/info")
        assert ours.status_code == theirs.status_code
        assert not ours.ok or ours.json()["ContentType"] == theirs.json()["ContentType"]
    assert same(pair, f"GET {path}/1025/data").headers["content-type"].startswith("text/plain")
    for name, content in (("Report", b"a"), ("1025", b"b"), ("1030", b"c")):
        assert same(pair, f"DELETE {path}/{name}", headers={"If-Match": tag(content)}).ok
