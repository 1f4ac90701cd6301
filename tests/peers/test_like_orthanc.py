"""The node, its tools, its changes and its instances, asked of a real Orthanc and of hostd."""

import io
import re
import zipfile
from pathlib import Path

import pytest
from known_differences import KNOWN
from likeness import pair  # noqa: F401 - a fixture
from peer_kit import needs, sample

pytestmark = [pytest.mark.peers, needs("Orthanc")]

PAGE = (Path(__file__).parents[2] / "docs" / "orthanc.md").read_text("utf-8")


def test_each_known_difference_has_its_row_in_the_manual():
    rows = {
        (method, re.sub(r"\{[^}]*\}", "{}", path)): here
        for method, path, here in re.findall(r"^\| `([A-Z]+) (/[^`]*)` \| ([^|]*) \|", PAGE, re.MULTILINE)
    }
    for request, known in KNOWN.items():
        method, path = request.split(" ")[:2]
        route = method, re.sub(r"\{[^}]*\}", "{}", path.partition("?")[0])
        assert known, f"{request} is said to differ, and nothing is said of how"
        assert all(known.values()), f"{request} has no reasons"
        assert rows.get(route) == "different", f"{request} differs from Orthanc: docs/orthanc.md says {rows.get(route)}"


@pytest.mark.parametrize("request_", [
    "GET /system",
    "GET /statistics",
    "GET /changes",
    "GET /changes?last",
    "GET /changes?since=2&limit=1",
    "GET /changes?since=1000000",
    "GET /changes?limit=x",
    "GET /exports",
    "GET /exports?last",
    "GET /plugins",
    "GET /plugins/explorer.js",
    "GET /plugins/nope",
    "GET /tools",
    "GET /tools/nope",
    "GET /tools/accepted-transfer-syntaxes",
    "GET /tools/default-encoding",
    "GET /tools/dicom-conformance",
    "GET /tools/generate-uid?level=patient",
    "GET /tools/generate-uid?level=instance",
    "GET /tools/generate-uid?level=x",
    "GET /tools/log-level",
    "GET /tools/metrics",
    "GET /tools/metrics-prometheus",
    "GET /tools/now",
    "GET /tools/unknown-sop-class-accepted",
    "GET /tools/now-local",
    "POST /tools/now",
    "GET /instances",
    "GET /instances?limit=1&since=0",
    "GET /instances?expand",
    "GET /instances/{instance}",
    "GET /instances/{nowhere}",
    "DELETE /instances/{nowhere}",
    "GET /instances/{instance}/tags",
    "GET /instances/{instance}/tags?short",
    "GET /instances/{instance}/tags?simplify",
    "GET /instances/{instance}/simplified-tags",
    "GET /instances/{nowhere}/tags",
    "GET /instances/{instance}/metadata",
    "GET /instances/{instance}/metadata?expand",
    "GET /instances/{instance}/metadata/Origin",
    "GET /instances/{instance}/metadata/Nope",
    "GET /instances/{nowhere}/metadata",
    "GET /instances/{nowhere}/file",
    "GET /nope",
    "POST /nope",
    "PUT /instances",
])  # fmt: skip
def test_an_answer_is_like_orthancs(pair, request_):  # noqa: F811
    pair.assert_alike(request_)


@pytest.mark.parametrize(("request_", "body"), [
    ("PUT /tools/default-encoding", "Latin1"),
    ("PUT /tools/metrics", "1"),
    ("PUT /tools/accepted-transfer-syntaxes", '["1.2.840.10008.1.*"]'),
    ("PUT /tools/unknown-sop-class-accepted", "0"),
    ("POST /tools/bulk-delete", '{"Resources": ["0-0-0-0-0"]}'),
    ("POST /tools/bulk-delete", "{}"),
    ("POST /tools/bulk-delete", "nonsense"),
    ("POST /tools/bulk-content", '{"Resources": ["0-0-0-0-0"]}'),
    ("POST /tools/bulk-content", "{}"),
    ("POST /tools/execute-script", "print(1)"),
    ("POST /instances", "this is no DICOM file"),
    ("POST /instances", ""),
])  # fmt: skip
def test_an_answer_to_a_body_is_like_orthancs(pair, request_, body):  # noqa: F811
    pair.assert_alike(request_, data=body)


@pytest.mark.parametrize("request_", ["PUT /tools/default-encoding", "PUT /tools/log-level", "PUT /tools/metrics"])
def test_a_wrong_word_is_refused_as_orthanc_refuses_it(pair, request_):  # noqa: F811
    pair.assert_alike(f"{request_}", data="nonsense", known=f"{request_} nonsense")


def test_a_file_is_given_as_it_is_stored(pair):  # noqa: F811
    pair.assert_alike("GET /instances/{instance}/file", exactly=True)


def test_what_is_deleted_is_gone_from_both(pair):  # noqa: F811
    pair.names["other"] = pair.store(sample("CT_small.dcm").read_bytes())["ID"]
    pair.assert_alike("DELETE /instances/{other}")
    pair.assert_alike("GET /instances/{other}")


def zip_of(*names, damaged=False):
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w", zipfile.ZIP_DEFLATED) as file:
        file.writestr("readme.txt", b"hello")
        for name in names:
            content = sample(name).read_bytes()
            file.writestr(f"folder/{name}", content[:20_000] if damaged else content)
    return out.getvalue()


@pytest.mark.parametrize(("known", "body"), [
    ("POST /instances zip", zip_of("MR_small.dcm", "rtplan.dcm")),
    ("POST /instances zip without DICOM files", zip_of()),
    ("POST /instances broken zip", zip_of("MR_small.dcm")[:5000]),
    ("POST /instances zip with a damaged file", zip_of("CT_small.dcm", damaged=True)),
], ids=lambda value: value if isinstance(value, str) else "")  # fmt: skip
def test_a_zip_is_answered_alike(pair, known, body):  # noqa: F811
    pair.assert_alike("POST /instances", data=body, known=known)


def test_what_is_stored_again_is_answered_alike(pair):  # noqa: F811
    pair.assert_alike("POST /instances", data=sample("MR_small.dcm").read_bytes(), known="POST /instances again")
    theirs, ours = pair.ask("POST /instances", data=sample("MR_small.dcm").read_bytes())
    assert ours.json() == theirs.json()
