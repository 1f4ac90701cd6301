"""Jobs that have ended, well or not, of a real Orthanc and of hostd: what is told of them, what they made, and what may still be done."""

import pytest
import requests
from likeness import differences, pair_of, shape, stop
from peer_kit import PATIENCE_S, needs, sample, until

pytestmark = [pytest.mark.peers, needs("Orthanc")]

_OWN = {
    "ArchiveSize",
    "ID",
    "LocalAet",
    "Path",
    "PatientID",
    "Resources",
    "Size",
    "TargetStudyUID",
    "TargetStudy",
    "UncompressedSize",
}
"""What of a job's content is of each one's own making."""
_TOLD = ("ErrorCode", "ErrorDescription", "Priority", "Progress", "State", "Type")


@pytest.fixture(scope="module")
def pair(tmp_path_factory):
    contents = [sample(name).read_bytes() for name in ("CT_small.dcm", "MR_small.dcm")]
    made = pair_of(
        tmp_path_factory.mktemp("ended"),
        *contents,
        orthanc={"DicomModalitiesInDatabase": True, "OrthancPeersInDatabase": True},
    )
    studies = requests.get(f"{made.orthanc.url}/studies", timeout=PATIENCE_S).json()
    made.names["other"] = next(one for one in studies if one != made.names["study"])
    for url in made.urls:
        for path, body in (("modalities", ["DEAD", "127.0.0.1", 1]), ("peers", ["http://127.0.0.1:1/"])):
            requests.put(f"{url}/{path}/dead", json=body, timeout=PATIENCE_S).raise_for_status()
    yield made
    stop(made)


def ended(paths):
    """Wait until both have ended; return what is told of them, and fail where they are not told of alike."""

    def end(path):
        told = requests.get(path, timeout=PATIENCE_S).json()
        return told if told["State"] in {"Success", "Failure"} else None

    theirs, ours = (until(lambda path=path: end(path), f"{path} ends") for path in paths)
    assert differences(shape(theirs), shape(ours)) == []
    assert {name: ours[name] for name in _TOLD} == {name: theirs[name] for name in _TOLD}
    assert bool(ours["ErrorDetails"]) == bool(theirs["ErrorDetails"])
    content = [{name: value for name, value in one["Content"].items() if name not in _OWN} for one in (theirs, ours)]
    assert content[1] == content[0]
    return ours


@pytest.mark.parametrize(("request_", "body", "makes_a_zip"), [
    ("POST /studies/{study}/modify", {"Replace": {"StudyDescription": "x"}, "Priority": 3}, False),
    ("POST /series/{series}/modify", {"Remove": ["SeriesDescription"]}, False),
    ("POST /studies/{study}/anonymize", {}, False),
    ("POST /patients/{patient}/anonymize", {}, False),
    ("POST /tools/bulk-modify", {"Resources": ["{study}"], "Replace": {"StudyDescription": "x"}}, False),
    ("POST /studies/{study}/split", {"Series": ["{series}"], "KeepSource": True}, False),
    ("POST /studies/{study}/merge", {"Resources": ["{other}"], "KeepSource": True}, False),
    ("POST /studies/{other}/archive", {}, True),
    ("POST /studies/{other}/media", {"Extended": True}, True),
    ("POST /tools/create-archive", {"Resources": ["{other}"], "Transcode": "1.2.840.10008.1.2"}, True),
    ("POST /modalities/dead/store", {"Resources": ["{study}"]}, False),
    ("POST /peers/dead/store", {"Resources": ["{study}"]}, False),
])  # fmt: skip
def test_a_job_that_has_ended_is_told_of_as_by_orthanc(pair, request_, body, makes_a_zip):
    meant = {
        name: [pair.names[one.strip("{}")] for one in value]
        if isinstance(value, list) and value[0][0] == "{"
        else value
        for name, value in body.items()
    }
    answers = pair.ask(request_, json={"Asynchronous": True, **meant})
    assert [one.status_code for one in answers] == [200, 200]
    paths = [url + one.json()["Path"] for url, one in zip(pair.urls, answers, strict=True)]
    told = ended(paths)
    for key in ("archive", "nothing"):
        theirs, ours = (requests.get(f"{path}/{key}", timeout=PATIENCE_S) for path in paths)
        assert ours.status_code == theirs.status_code == (200 if makes_a_zip and key == "archive" else 404)
        if ours.ok:
            assert ours.headers["content-type"] == theirs.headers["content-type"]
            assert ours.headers["content-disposition"] == theirs.headers["content-disposition"]
    is_failed = told["State"] == "Failure"
    assert is_failed == ("dead" in request_)
    for verb, status in (("pause", 200), ("resume", 400), ("cancel", 200), ("resubmit", 200 if is_failed else 400)):
        answers = [requests.post(f"{path}/{verb}", timeout=PATIENCE_S) for path in paths]
        assert [one.status_code for one in answers] == [status, status], verb
        ended(paths)


@pytest.mark.parametrize(("request_", "body"), [
    ("POST /tools/create-archive", {"Resources": ["nobody"]}),
    ("POST /studies/{study}/merge", {"Resources": ["nobody"]}),
    ("POST /studies/{study}/split", {"Series": ["nobody"]}),
])  # fmt: skip
def test_a_job_for_nobody_is_not_begun(pair, request_, body):
    answers = pair.ask(request_, json={"Asynchronous": True, **body})
    assert [one.status_code for one in answers] == [404, 404]
