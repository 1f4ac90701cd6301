"""`/jobs` in Orthanc's form: a list, each of them, and what can be done with it."""

import pytest
from web_support import is_orthanc_error

from hostd.archive import jobs
from hostd.jobs.faults import JobFault, of_dimse
from hostd.jobs.running import Step

FIELDS = {
    "Content", "CreationTime", "EffectiveRuntime", "ErrorCode", "ErrorDescription", "ErrorDetails", "ID", "Priority",
    "Progress", "State", "Timestamp", "Type",
}  # fmt: skip


class Kind:
    """Ends as `asked` says."""

    def __init__(self):
        self.gone = []

    def step(self, job):
        if job.asked.get("fails"):
            raise JobFault(9, "no route", of_dimse(0xA700))
        if job.asked.get("waits"):
            return Step(job.memo, {"Waits": True}, 0.25, rest_s=60)
        return Step(is_done=True, content={"Said": "hello"})

    def halted(self, *_):
        pass

    def forgotten(self, job):
        self.gone.append(job.id)


@pytest.fixture
def kind():
    return Kind()


@pytest.fixture
def working(make_face, kind):
    """A face whose jobs are carried out."""
    return make_face(kinds={"Greeting": kind})


def submit(face, *, ends=True, **asked):
    identifier = face.archive.writer.do(
        lambda c: jobs.submit(c, "Greeting", asked, face.archive.clock.now(), user_data=asked.get("user_data")),
        topics=jobs.TOPICS,
    )
    if ends:
        assert face.runner.await_end(identifier, seconds=60).has_ended
    return identifier


def test_a_job_has_orthancs_form(working):
    client = working.client()
    assert client.get("/jobs").json() == []
    one, two = submit(working, user_data={"mine": 1}), submit(working, fails=True)
    assert client.get("/jobs").json() == [one, two]
    succeeded, failed = client.get("/jobs?expand").json()
    assert succeeded.keys() == FIELDS | {"CompletionTime", "UserData"}
    assert (succeeded["State"], succeeded["Progress"], succeeded["ErrorCode"]) == ("Success", 100, 0)
    assert (succeeded["ErrorDescription"], succeeded["Content"]) == ("Success", {"Said": "hello"})
    assert succeeded["UserData"] == {"mine": 1}
    assert failed.keys() == FIELDS | {"CompletionTime", "ErrorPayload"}
    assert (failed["State"], failed["ErrorCode"], failed["ErrorDetails"]) == ("Failure", 9, "no route")
    assert failed["ErrorDescription"] == "Error in the network protocol"
    assert failed["ErrorPayload"] == {"Type": "Dimse", "Content": {"DimseErrorStatus": 0xA700}}
    shown = client.get(f"/jobs/{one}").json()
    assert shown | {"Timestamp": ""} == succeeded | {"Timestamp": ""}
    assert len(shown["CreationTime"]) == len("20260131T235959.000000")


def test_a_job_is_paused_resumed_cancelled_and_submitted_again(working):
    client = working.client()
    one = submit(working, ends=False, waits=True)

    def state():
        return client.get(f"/jobs/{one}").json()["State"]

    assert client.post(f"/jobs/{one}/pause").json() == {}
    assert state() == "Paused"
    assert client.post(f"/jobs/{one}/resume").json() == {}
    assert client.post(f"/jobs/{one}/cancel").json() == {}
    assert (state(), client.get(f"/jobs/{one}").json()["ErrorCode"]) == ("Failure", 37)
    assert client.post(f"/jobs/{one}/cancel").json() == {}
    assert client.post(f"/jobs/{one}/pause").json() == {}
    assert is_orthanc_error(client.post(f"/jobs/{one}/resume"), 400, 8)
    assert client.post(f"/jobs/{one}/resubmit").json() == {}
    assert is_orthanc_error(client.post(f"/jobs/{one}/resubmit"), 400, 8)
    assert state() in {"Pending", "Running"}


def test_one_that_has_ended_can_be_deleted(working, kind):
    client = working.client()
    one, two = submit(working), submit(working, ends=False, waits=True)
    assert client.delete(f"/jobs/{one}").json() == {}
    assert kind.gone == [one]
    assert is_orthanc_error(client.get(f"/jobs/{one}"), 404, 7)
    assert is_orthanc_error(client.delete(f"/jobs/{two}"), 409, 46)


@pytest.mark.parametrize("verb", ["cancel", "pause", "resume", "resubmit"])
def test_there_is_nothing_to_do_with_a_job_that_is_not_there(client, verb):
    assert is_orthanc_error(client.post(f"/jobs/nope/{verb}"), 404, 7)
    assert is_orthanc_error(client.get("/jobs/nope"), 404, 7)
    assert is_orthanc_error(client.delete("/jobs/nope"), 404, 7)
