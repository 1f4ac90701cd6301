"""A job that is running, paused, resumed, cancelled and submitted again, of a real Orthanc and of hostd: both send to somebody slow."""

import io
import threading

import pytest
import requests
from likeness import differences, pair_of, shape, stop
from peer_kit import PATIENCE_S, needs, sample, until
from pydicom import dcmread
from pydicom.uid import generate_uid
from pynetdicom import AE, StoragePresentationContexts, evt

pytestmark = [pytest.mark.peers, needs("Orthanc")]

INSTANCES = 4


class Slow:
    """Takes each instance only when it is allowed to."""

    def __init__(self):
        self.asked = 0
        self.stored = set()
        self._allowed = threading.Semaphore(0)
        self._is_open = threading.Event()
        ae = AE("SLOW")
        ae.supported_contexts = StoragePresentationContexts
        self._server = ae.start_server(("127.0.0.1", 0), block=False, evt_handlers=[(evt.EVT_C_STORE, self._store)])
        self.port = self._server.socket.getsockname()[1]

    def allow(self):
        """Let one instance be taken."""
        self._allowed.release()

    def open(self):
        """Let all be taken from now on."""
        self._is_open.set()
        self._allowed.release()

    def _store(self, event):
        self.asked += 1
        if not self._is_open.is_set():
            self._allowed.acquire(timeout=PATIENCE_S)
        self.stored.add(str(event.request.AffectedSOPInstanceUID))
        return 0x0000

    def stop(self):
        self.open()
        self._server.shutdown()


@pytest.fixture(scope="module")
def pair(tmp_path_factory):
    made = pair_of(tmp_path_factory.mktemp("jobs"), orthanc={"DicomModalitiesInDatabase": True, "DicomScuTimeout": 60})
    file = dcmread(sample("MR_small.dcm"))
    for _ in range(INSTANCES):
        file.SOPInstanceUID = file.file_meta.MediaStorageSOPInstanceUID = generate_uid()
        written = io.BytesIO()
        file.save_as(written, enforce_file_format=True)
        made.names["study"] = made.store(written.getvalue())["ParentStudy"]
    yield made
    stop(made)


class Jobs:
    """The same job of both, each sending to one of two that are slow."""

    def __init__(self, pair, slow):
        self._pair = pair
        self._slow = slow
        name = f"slow{slow[0].port}"  # another one of each test
        for url, one in zip(pair.urls, slow, strict=True):
            body = ["SLOW", "127.0.0.1", one.port]
            requests.put(f"{url}/modalities/{name}", json=body, timeout=PATIENCE_S).raise_for_status()
        body = {"Resources": [pair.names["study"]], "Asynchronous": True}
        answers = pair.ask(f"POST /modalities/{name}/store", json=body)
        self._paths = [f"{url}{one.json()['Path']}" for url, one in zip(pair.urls, answers, strict=True)]

    def told(self):
        return [requests.get(path, timeout=PATIENCE_S).json() for path in self._paths]

    def wait_for(self, state):
        """Wait until both are in a state, and fail where they are not described alike; return both."""
        for path in self._paths:
            until(lambda path=path: requests.get(path, timeout=PATIENCE_S).json()["State"] == state, f"{path}: {state}")
        theirs, ours = self.told()
        ends = [one.pop("EstimatedTimeOfArrival", None) for one in (theirs, ours)]
        assert bool(ends[1]) == (state == "Running" and ours["Progress"] > 0)
        assert state == "Running" or ends == [None, None]
        assert differences(shape(theirs), shape(ours)) == []
        for name in ("ErrorCode", "ErrorDescription", "ErrorDetails", "Priority", "Type", "State"):
            assert ours[name] == theirs[name], name
        differing = {"LocalAet"}
        assert {key: value for key, value in ours["Content"].items() if key not in differing} == {
            key: value for key, value in theirs["Content"].items() if key not in differing
        }
        return theirs, ours

    def wait_until_asked(self, asked):
        """Wait until both have an instance on its way, beyond so many that each was asked to take before."""
        for one, before in zip(self._slow, asked, strict=True):
            until(lambda one=one, before=before: one.asked > before, "an instance is on its way")
        return [one.asked for one in self._slow]

    def wait_for_progress(self, progress):
        """Wait until both are so far; return when each thinks that it will have ended."""

        def ends():
            found = self.told()
            return (
                [one.get("EstimatedTimeOfArrival") for one in found]
                if [one["Progress"] for one in found] == [progress] * 2
                else None
            )

        return until(ends, f"both are at {progress}")

    def do(self, verb, status):
        answers = [requests.post(f"{path}/{verb}", timeout=PATIENCE_S) for path in self._paths]
        assert [one.status_code for one in answers] == [status] * 2, (verb, [one.text for one in answers])
        if status == 200:
            assert [one.json() for one in answers] == [{}, {}]

    def allow(self):
        for one in self._slow:
            one.allow()

    def go_on_to_the_end(self, asked):
        """Wait until both send on, and take everything; return them when they have ended."""
        self.wait_until_asked(asked)
        self.wait_for("Running")
        for one in self._slow:
            one.open()
        ended = self.wait_for("Success")
        assert [len(one.stored) for one in self._slow] == [INSTANCES] * 2
        return ended


@pytest.fixture
def jobs(pair):
    slow = [Slow(), Slow()]
    yield Jobs(pair, slow)
    for one in slow:
        one.stop()


def test_a_job_that_sends_is_paused_and_goes_on(jobs):
    asked = jobs.wait_until_asked([0, 0])
    jobs.wait_for("Running")
    for verb in ("resume", "resubmit"):
        jobs.do(verb, 400)
    jobs.allow()
    assert all(jobs.wait_for_progress(100 // INSTANCES))
    jobs.do("pause", 200)
    jobs.allow()  # Orthanc pauses between two instances
    theirs, ours = jobs.wait_for("Paused")
    assert 0 < ours["Progress"] <= theirs["Progress"] < 100
    jobs.do("pause", 200)
    jobs.do("resubmit", 400)
    jobs.wait_for("Paused")
    jobs.do("resume", 200)
    assert [one["Progress"] for one in jobs.go_on_to_the_end(asked)] == [100] * 2
    for verb, status in (("cancel", 200), ("pause", 200), ("resume", 400), ("resubmit", 400)):
        jobs.do(verb, status)
        jobs.wait_for("Success")


@pytest.mark.parametrize("first", ["", "pause"])
def test_a_job_that_sends_is_cancelled_and_begins_anew(jobs, first):
    asked = jobs.wait_until_asked([0, 0])
    if first:
        jobs.do("pause", 200)
        jobs.allow()
        jobs.wait_for("Paused")
    jobs.do("cancel", 200)
    jobs.allow()
    for one in jobs.wait_for("Failure"):
        assert (one["ErrorCode"], one["ErrorDescription"]) == (37, "This job was canceled")
        assert "CompletionTime" in one
    for verb, status in (("cancel", 200), ("pause", 200), ("resume", 400)):
        jobs.do(verb, status)
        jobs.wait_for("Failure")
    jobs.do("resubmit", 200)
    for one in jobs.go_on_to_the_end(asked):
        assert (one["Progress"], one["ErrorCode"]) == (100, 0)
