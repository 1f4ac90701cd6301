"""Jobs that change and pack what is stored are paused, cancelled and begun anew while they run, as by Orthanc."""

import io
import zipfile

import pytest
import requests
from likeness import pair_of, stop
from peer_kit import PATIENCE_S, needs, sample, until
from pydicom import dcmread

from hostd.jobs import packing

pytestmark = [pytest.mark.peers, needs("Orthanc")]

INSTANCES = 200
"""So many that hardly a job ends before it is told to rest."""
ATTEMPTS = 20


@pytest.fixture(scope="module")
def pair(tmp_path_factory):
    made = pair_of(tmp_path_factory.mktemp("running"))
    try:
        image = dcmread(sample("MR_small.dcm"))
        uid = image.SOPInstanceUID
        for number in range(INSTANCES):
            image.SOPInstanceUID = image.file_meta.MediaStorageSOPInstanceUID = f"{uid}.{number}"
            out = io.BytesIO()
            image.save_as(out)
            stored = made.store(out.getvalue())
        made.names["study"] = stored["ParentStudy"]
        yield made
    finally:
        stop(made)


def resting(url, request, body):
    """Ask for a job and have it rest, again where it was too quick for that; return its path."""
    for _ in range(ATTEMPTS):
        path = url + requests.post(f"{url}{request}", json=body, timeout=PATIENCE_S).json()["Path"]
        requests.post(f"{path}/pause", timeout=PATIENCE_S).raise_for_status()
        if until(lambda path=path: (now := state_of(path)) in {"Paused", "Success"} and now, "it rests") == "Paused":
            return path
    raise AssertionError(f"{request} cannot be paused")


def state_of(path):
    return requests.get(path, timeout=PATIENCE_S).json()["State"]


class Jobs:
    """One job at each, which rests: it was told to as soon as it was asked for."""

    def __init__(self, pair, request, **body):
        self.paths = [resting(url, request, body | {"Asynchronous": True}) for url in pair.urls]

    def until(self, state):
        """Wait until both are in a state; return them."""

        def are():
            found = [requests.get(path, timeout=PATIENCE_S).json() for path in self.paths]
            return found if [one["State"] for one in found] == [state] * 2 else None

        return until(are, f"both are {state}")

    def do(self, verb):
        """Tell both; return their statuses."""
        return [requests.post(f"{path}/{verb}", timeout=PATIENCE_S).status_code for path in self.paths]


def count(url, study):
    return requests.get(f"{url}/studies/{study}/statistics", timeout=PATIENCE_S).json()["CountInstances"]


def asked(pair, kind):
    request = f"/studies/{pair.names['study']}/{kind}"
    return (request, {}) if kind == "archive" else (request, {"Replace": {"StudyDescription": "another"}})


def whole(url, path, kind):
    """Return of how many instances it is what came of a job."""
    if kind == "modify":
        return count(url, requests.get(path, timeout=PATIENCE_S).json()["Content"]["ID"])
    content = requests.get(f"{path}/archive", timeout=PATIENCE_S).content
    return len(zipfile.ZipFile(io.BytesIO(content)).namelist())


@pytest.fixture(autouse=True)
def _small_steps(monkeypatch):
    """Have each instance be packed by a step of its own, between which a job may rest."""
    monkeypatch.setattr(packing, "_SLICE_S", 0.0)


@pytest.mark.parametrize("kind", ["modify", "archive"])
def test_it_rests_and_goes_on_to_the_end(pair, kind):
    request, body = asked(pair, kind)
    jobs = Jobs(pair, request, **body)
    assert all(one["Progress"] < 100 and one["ErrorCode"] == 0 for one in jobs.until("Paused"))
    assert jobs.do("resubmit") == [400, 400]
    assert jobs.do("resume") == [200, 200]
    assert [one["Progress"] for one in jobs.until("Success")] == [100, 100]
    found = [whole(url, path, kind) for url, path in zip(pair.urls, jobs.paths, strict=True)]
    assert found == [INSTANCES, INSTANCES]


@pytest.mark.parametrize("kind", ["modify", "archive"])
def test_it_is_cancelled_and_only_hostd_does_it_anew(pair, kind):
    request, body = asked(pair, kind)
    jobs = Jobs(pair, request, **body)
    assert jobs.do("cancel") == [200, 200]
    assert [one["ErrorCode"] for one in jobs.until("Failure")] == [37, 37]
    assert jobs.do("resume") == [400, 400]
    theirs, ours = jobs.do("resubmit")
    assert (theirs, ours) == (200 if kind == "modify" else 500, 200)
    # Orthanc's modification then fails over what it had stored already, should it have come so far.
    until(lambda: state_of(jobs.paths[1]) == "Success", "hostd has done it")
    assert whole(pair.node.url, jobs.paths[1], kind) == INSTANCES
