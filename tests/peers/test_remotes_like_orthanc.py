"""Modalities, peers, jobs, changes and exports, asked of a real Orthanc and of hostd."""

import io

import pytest
import requests
from likeness import add_remotes, compared, pair_of, stop
from peer_kit import PATIENCE_S, needs, sample, until
from pydicom import dcmread

pytestmark = [pytest.mark.peers, needs("Orthanc")]


@pytest.fixture(scope="module")
def pair(tmp_path_factory):
    """Both, with a modality and a peer each that answers, which is Orthanc, and one each that does not."""
    made = pair_of(
        tmp_path_factory.mktemp("remotes"), sample("MR_small.dcm").read_bytes(),
        orthanc={"LogExportedResources": True, "OrthancPeersInDatabase": True, "DicomModalitiesInDatabase": True, "SaveJobs": True},
    )  # fmt: skip
    add_remotes(made)
    yield made
    stop(made)


@pytest.mark.parametrize("request_", [
    *(
        f"GET /{table}{rest}"
        for table in ("modalities", "peers")
        for rest in ("", "?expand", "/{alive}", "/{alive}/configuration", "/{nobody}", "/{nobody}/configuration")
    ),
    "GET /peers/alive/system", "GET /peers/dead/system", "GET /peers/nobody/system",
    "POST /modalities/alive/echo", "POST /modalities/dead/echo", "POST /modalities/nobody/echo",
    "DELETE /modalities/nobody", "DELETE /peers/nobody",
    "POST /modalities/alive/nope", "POST /peers/alive/nope",
])  # fmt: skip
def test_modalities_and_peers_are_told_as_by_orthanc(pair, request_):
    pair.assert_alike(request_)


@pytest.mark.parametrize(("table", "body"), [
    ("modalities", ["X", "127.0.0.1", 104]),
    ("modalities", ["X", "127.0.0.1", "104"]),
    ("modalities", ["X", "127.0.0.1", 104, "Generic"]),
    ("modalities", ["X", "127.0.0.1"]),
    ("modalities", ["X", "127.0.0.1", 0]),
    ("modalities", ["X", "127.0.0.1", 70000]),
    ("modalities", {"AET": "X", "Host": "127.0.0.1", "Port": 104}),
    ("modalities", {"AET": "X", "Host": "127.0.0.1", "Port": 104, "AllowEcho": False, "AllowStore": False, "LocalAet": "Y", "Timeout": 7}),
    ("modalities", {"AET": "X", "Host": "127.0.0.1"}),
    ("modalities", {"AET": "X", "Host": "127.0.0.1", "Port": "x"}),
    ("modalities", {}), ("modalities", []), ("modalities", "x"), ("modalities", 5),
    ("peers", ["http://127.0.0.1:1/"]),
    ("peers", ["http://127.0.0.1:1"]),
    ("peers", ["http://127.0.0.1:1/", "user", "word"]),
    ("peers", ["http://127.0.0.1:1/", "user"]),
    ("peers", {"Url": "http://127.0.0.1:1/", "Username": "user", "Password": "word"}),
    ("peers", {"Url": "http://127.0.0.1:1/", "HttpHeaders": {"X-Key": "k"}, "Timeout": 9}),
    ("peers", {}), ("peers", []), ("peers", "x"), ("peers", 5),
])  # fmt: skip
def test_whatever_is_put_is_taken_refused_listed_and_deleted_as_by_orthanc(pair, table, body):
    known = f"PUT /{table}/new {body}"
    _, ours = pair.assert_alike(f"PUT /{table}/new", json=body, known=known)
    if not ours.ok:
        return
    for request in (f"GET /{table}/new/configuration", f"GET /{table}/new", f"GET /{table}?expand"):
        answers = pair.ask(request)
        if request.endswith("configuration"):
            shown = [
                {
                    name: value
                    for name, value in one.json().items()
                    if name
                    in {
                        "AET",
                        "Host",
                        "Port",
                        "Url",
                        "Username",
                        "Timeout",
                        "HttpHeaders",
                        "AllowEcho",
                        "AllowStore",
                        "LocalAet",
                    }
                }
                for one in answers
            ]
            assert shown[1].items() >= {key: value for key, value in shown[0].items() if key in shown[1]}.items()
    pair.assert_alike(f"DELETE /{table}/new")
    assert [one.status_code for one in pair.ask(f"GET /{table}/new")] == [404, 404]


# -- jobs -------------------------------------------------------------------------------------------------------------


def submitted(pair, request, **body):
    """Submit a job to both; note it as `{job}` of each, and return their paths."""
    answers = pair.assert_alike(request, json=body | {"Asynchronous": True}, known=f"{request} asynchronous")
    return [f"{url}{answer.json()['Path']}" for url, answer in zip(pair.urls, answers, strict=True)]


def state_of(path):
    return requests.get(path, timeout=PATIENCE_S).json()["State"]


def ended(paths):
    """Wait for the jobs; return the answers that describe them."""
    for path in paths:
        until(lambda path=path: state_of(path) in {"Success", "Failure"}, f"{path} ends")
    return [requests.get(path, timeout=PATIENCE_S) for path in paths]


@pytest.mark.parametrize(("request_", "body", "state"), [
    ("POST /modalities/alive/store", {"Resources": ["{instance}"]}, "Success"),
    ("POST /modalities/dead/store", {"Resources": ["{instance}"]}, "Failure"),
    ("POST /peers/alive/store", {"Resources": ["{instance}"]}, "Success"),
    ("POST /peers/dead/store", {"Resources": ["{instance}"]}, "Failure"),
    ("POST /studies/{study}/archive", {}, "Success"),
    ("POST /studies/{study}/media", {}, "Success"),
    ("POST /studies/{study}/modify", {"Replace": {"StudyDescription": "x"}}, "Success"),
    ("POST /studies/{study}/anonymize", {}, "Success"),
])  # fmt: skip
def test_a_job_is_told_as_by_orthanc(pair, request_, body, state):
    body = {key: [pair.names["instance"]] if key == "Resources" else value for key, value in body.items()}
    answers = ended(submitted(pair, request_, **body))
    assert [one.json()["State"] for one in answers] == [state] * 2
    assert answers[0].json()["Type"] == answers[1].json()["Type"]
    assert (answers[0].json()["ErrorCode"] == 0) == (answers[1].json()["ErrorCode"] == 0)
    pair.assert_same(f"{request_} job", *answers)


def test_what_has_ended_can_be_neither_paused_nor_cancelled_and_only_what_failed_is_submitted_again(pair):
    for request, body in (
        ("POST /modalities/alive/store", {"Resources": [pair.names["instance"]]}),
        ("POST /modalities/dead/store", {"Resources": [pair.names["instance"]]}),
    ):
        paths = submitted(pair, request, **body)
        ended(paths)
        for verb in ("cancel", "pause", "resume", "resubmit"):
            answers = [requests.post(f"{path}/{verb}", timeout=PATIENCE_S) for path in paths]
            pair.assert_same(f"{request} {verb}", *answers)
        ended(paths)


def test_what_a_peer_did_not_take_counts_as_sent_by_orthanc_only(pair):
    answers = ended(submitted(pair, "POST /peers/dead/store", Resources=[pair.names["instance"]]))
    theirs, ours = [int(one.json()["Content"]["Size"]) for one in answers]
    assert theirs > ours == 0


@pytest.mark.parametrize("path", ["", "/data", "/md5"])
def test_what_is_told_of_a_dicom_file_has_a_revision_by_orthanc_only(pair, path):
    theirs, ours = pair.assert_alike(f"GET /instances/{{instance}}/attachments/dicom{path}")
    assert ("ETag" in theirs.headers, "ETag" in ours.headers) == (True, False)


@pytest.mark.parametrize("table", ["modalities", "peers"])
def test_nobody_is_sent_anything(pair, table):
    pair.assert_alike(f"POST /{table}/nobody/store", json=[pair.names["instance"]])


@pytest.mark.parametrize("request_", [
    "GET /jobs", "GET /jobs?expand", "GET /jobs/{nobody}", "DELETE /jobs/{nobody}",
    *(f"POST /jobs/{{nobody}}/{verb}" for verb in ("cancel", "pause", "resume", "resubmit")),
    "GET /jobs/{nobody}/archive", "GET /jobs/{nobody}/nope",
])  # fmt: skip
def test_jobs_are_listed_and_missed_as_by_orthanc(pair, request_):
    pair.assert_alike(request_)


# -- changes and exports ----------------------------------------------------------------------------------------------


def test_what_comes_and_goes_is_told_in_the_same_changes(pair):
    begun = [one.json()["Last"] for one in pair.ask("GET /changes?last")]
    image = dcmread(sample("CT_small.dcm"))
    image.PatientID, image.StudyInstanceUID, image.SeriesInstanceUID = "CHANGE", "1.2.3.5", "1.2.3.6"
    image.SOPInstanceUID = image.file_meta.MediaStorageSOPInstanceUID = "1.2.3.7"
    written = io.BytesIO()
    image.save_as(written)
    stored = pair.store(written.getvalue())
    mine = {stored[name] for name in ("ID", "ParentSeries", "ParentStudy", "ParentPatient")}

    def told():
        return [
            requests.get(f"{url}/changes?since={last}&limit=100", timeout=PATIENCE_S)
            for url, last in zip(pair.urls, begun, strict=True)
        ]

    answers = told()
    pair.assert_same("GET /changes after a store", *answers)
    types = [sorted(one["ChangeType"] for one in answer.json()["Changes"] if one["ID"] in mine) for answer in answers]
    assert types[0] == types[1] == ["NewInstance", "NewPatient", "NewSeries", "NewStudy"]
    pair.names["coming"] = stored["ID"]
    pair.assert_alike("DELETE /instances/{coming}")
    pair.assert_same("GET /changes after a delete", *told())


def test_what_was_sent_is_told_in_exports(pair):
    for request in ("POST /modalities/alive/store", "POST /peers/alive/store"):
        answers = pair.ask(request, json={"Resources": [pair.names["instance"]]})
        assert [one.status_code for one in answers] == [200, 200]
    pair.assert_alike("GET /exports?limit=1000")
    pair.assert_alike("GET /exports?last")
    pair.assert_alike("DELETE /exports")
    theirs, ours = pair.assert_alike("GET /exports")
    assert theirs.json()["Exports"] == ours.json()["Exports"] == []


def test_changes_are_forgotten(pair):
    pair.assert_alike("DELETE /changes")
    theirs, ours = pair.ask("GET /changes")
    assert theirs.json()["Changes"] == ours.json()["Changes"] == []
    assert compared(theirs, ours) == []
