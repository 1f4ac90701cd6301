"""Attachments, asked of a real Orthanc and of hostd: the same answers, and the same bytes."""

import pytest
from likeness import pair_of, stop
from peer_kit import needs, sample

pytestmark = [pytest.mark.peers, needs("Orthanc")]

LEVELS = {"patients": "patient", "studies": "study", "series": "series", "instances": "instance"}
CONTENT = b"hello world" * 1000


@pytest.fixture(scope="module")
def pair(tmp_path_factory):
    made = pair_of(tmp_path_factory.mktemp("attached"), sample("CT_small.dcm").read_bytes())
    yield made
    stop(made)


def digest(answer):
    """Return the MD5 that an ETag has, behind the revision."""
    return answer.headers.get("etag", "").partition("-")[2]


@pytest.mark.parametrize("level", LEVELS)
def test_an_attachment_lives_as_by_orthanc(pair, level):
    path = f"/{level}/{{{LEVELS[level]}}}/attachments"
    read = ("data", "size", "md5", "compressed-size", "compressed-md5", "is-compressed", "compressed-data")

    def same_bytes(part):
        theirs, ours = pair.assert_alike(f"GET {path}/1025/{part}")
        assert not theirs.ok or ours.content == theirs.content
        assert digest(ours) == digest(theirs)

    def looked_at():
        pair.assert_alike(f"GET {path}")
        pair.assert_alike(f"GET {path}?full")
        pair.assert_alike(f"GET {path}/1025/info")
        for one in read:
            same_bytes(one)

    pair.assert_alike(f"GET {path}/1025")
    looked_at()  # of what is not there
    for content in (CONTENT, b"another", CONTENT):
        theirs, ours = pair.assert_alike(f"PUT {path}/1025", data=content)
        assert digest(ours) == digest(theirs) != ""
        looked_at()
    pair.assert_alike(f"GET {path}/1025")
    for verb in ("compress", "compress", "uncompress", "uncompress", "verify-md5"):
        pair.assert_alike(f"POST {path}/1025/{verb}")
        for one in ("data", "size", "md5", "is-compressed"):
            same_bytes(one)
    for name in ("dicom", "1023", "70000"):
        pair.assert_alike(f"PUT {path}/{name}", data=b"x")
        pair.assert_alike(f"DELETE {path}/{name}")
    pair.assert_alike(f"DELETE {path}/1025")
    looked_at()
    for verb in ("compress", "uncompress"):
        pair.assert_alike(f"POST {path}/1025/{verb}")


def test_what_orthanc_compresses_is_read_here_and_hostds_is_of_its_form(pair):
    path = "/studies/{study}/attachments/1040"
    pair.assert_alike(f"PUT {path}", data=CONTENT)
    pair.assert_alike(f"POST {path}/compress")
    theirs, ours = (answer.content for answer in pair.ask(f"GET {path}/compressed-data"))
    assert ours[:10] == theirs[:10]  # the length, and how zlib begins
    pair.assert_alike(f"DELETE {path}")


def test_what_is_attached_counts_in_the_statistics_of_its_level_and_of_those_above(pair):
    def counted():
        for level, name in LEVELS.items():
            theirs, ours = pair.assert_alike(f"GET /{level}/{{{name}}}/statistics")
            assert ours.json() == theirs.json()
        theirs, ours = (answer.json() for answer in pair.ask("GET /statistics"))
        assert ours == theirs

    for level, name in LEVELS.items():
        pair.ask(f"PUT /{level}/{{{name}}}/attachments/1026", data=CONTENT)
        counted()
    for level, name in LEVELS.items():
        pair.ask(f"DELETE /{level}/{{{name}}}/attachments/1026")
    counted()
