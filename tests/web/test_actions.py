"""/actions: what scripts asked for that is done after their runs, and what people decide of it."""

import sys
from pathlib import Path

import pytest

from hostd.archive import tasks
from hostd.testing.made import arrive

sys.path.insert(0, str(Path(__file__).parents[1] / "jobs"))

from tasks_kit import ask, later


@pytest.fixture
def asked(face):
    """Two actions at the arrival of an instance: one that failed, and one that waits."""
    arrive(face.archive)
    ask(face.archive, later(verb="store", queue="store"), later(1, verb="post", queue="http:registry"))
    face.archive.writer.do(lambda c: tasks.fail(c, 1, "it cannot be made", 5.0))


def test_they_are_listed_the_newest_first_and_chosen_by_state(client, asked):
    assert [one["ID"] for one in client.get("/actions").json()] == [2, 1]
    assert [one["ID"] for one in client.get("/actions?state=failed").json()] == [1]
    assert [one["ID"] for one in client.get("/actions?limit=1").json()] == [2]
    shown = client.get("/actions/1").json()
    assert (shown["Verb"], shown["Script"], shown["State"]) == ("store", "a.py", "failed")
    assert (shown["SOPInstanceUID"], shown["LastError"]) == ("1.2.3.4.5", "it cannot be made")
    assert (shown["CompletionTime"], shown["NextAttempt"]) == ("1970-01-01T00:00:05.000+00:00", None)
    assert client.get("/actions/7").status_code == 404


def test_what_failed_is_tried_again_or_given_up_with_who_and_why(client, asked):
    again = client.post("/actions/1/retry")
    assert (again.status_code, again.json()["State"]) == (200, "waiting")
    assert client.post("/actions/1/discard").status_code in (400, 422)
    given_up = client.post("/actions/1/discard?why=too+old").json()
    assert (given_up["State"], given_up["LastError"]) == ("discarded", "discarded by this machine: too old")
    refused = client.post("/actions/1/retry")
    assert refused.status_code == 409
    assert "only one that failed or waits" in refused.text
    assert client.post("/actions/7/retry").status_code == 404
