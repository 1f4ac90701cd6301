"""/destinations, and what is decided of deliveries by HTTP."""

import pytest
from web_support import is_orthanc_error, user

from hostd.archive import acceptance, deliveries, instances
from hostd.archive.acceptance import Acceptance
from hostd.archive.records import Blob
from hostd.errors import DestinationFault


class Answering:
    name = "modality:archive"

    def examine(self):
        return ["C-ECHO: 0x0000 (success)"]


class Dead:
    name = "peer:buffer"

    def examine(self):
        raise DestinationFault("could not be reached: Connection refused")


@pytest.fixture
def face(make_face):
    made = {one.name: one for one in (Answering(), Dead())}
    return make_face(users={"anna": user("pw", "write"), "otto": user("pw", "read")}, destinations=lambda: made)


@pytest.fixture
def client(face):
    return face.client(auth=("anna", "pw"))


@pytest.fixture
def number(face):
    blob = Blob("test/00/" + "0" * 32, 10, "s", "1.2")

    def unit(connection):
        instances.add_blob(connection, blob, 1.0)
        return deliveries.ask(
            connection, destination="modality:archive", instance="i", sop_instance_uid="1.2", sop_class_uid="1.3",
            content="c", blob=blob.name, now=1000.0,
        )[0]  # fmt: skip

    return face.archive.writer.do(unit)


def test_destinations_are_listed_with_what_waits(client, number):
    found = {one["Destination"]: one for one in client.get("/destinations").json()}
    assert found["modality:archive"]["Backlog"] == 1
    assert found["modality:archive"]["Deliveries"] == {"waiting": 1}
    assert (found["peer:buffer"]["Backlog"], found["peer:buffer"]["Configured"]) == (0, True)


def test_a_destination_is_shown_with_what_it_accepted_when_it_was_last_sent_to(client, face, number):
    learnt = {"1.3": Acceptance(("1.2.840.10008.1.2.1",), ("1.2.840.10008.1.2.4.90",))}
    face.archive.writer.do(lambda c: acceptance.remember(c, "modality:archive", learnt, 1000.0))
    shown = client.get("/destinations/modality:archive").json()
    assert shown["Backlog"] == 1
    assert shown["Accepts"] == [
        {
            "SOPClassUID": "1.3", "Accepted": ["1.2.840.10008.1.2.1"], "Refused": ["1.2.840.10008.1.2.4.90"],
            "Time": "1970-01-01T00:16:40.000+00:00",
        }
    ]  # fmt: skip
    assert client.get("/destinations/peer:buffer").json()["Accepts"] == []
    assert is_orthanc_error(client.get("/destinations/peer:other"), 404, 17)


def test_destinations_are_asked_whether_they_answer(client):
    said = client.post("/destinations/modality:archive/test").json()
    assert said == {
        "Destination": "modality:archive", "Answers": True, "Said": ["C-ECHO: 0x0000 (success)"], "Error": None,
    }  # fmt: skip
    said = client.post("/destinations/peer:buffer/test").json()
    assert (said["Answers"], said["Error"]) == (False, "could not be reached: Connection refused")
    assert is_orthanc_error(client.post("/destinations/peer:other/test"), 404, 17)


def test_what_is_decided_stands_in_the_history_with_who_decided_it(client, number):
    held = client.post(f"/deliveries/{number}/hold?why=service").json()
    assert held["State"] == "held"
    assert held["History"][-1]["Answer"] == "held by anna: service"
    assert client.post(f"/deliveries/{number}/release").json()["State"] == "waiting"
    redirected = client.post(f"/deliveries/{number}/redirect?to=peer:buffer").json()
    assert redirected["State"] == "discarded"
    made = client.get(f"/deliveries/{redirected['Redirected']}").json()
    assert (made["Destination"], made["State"]) == ("peer:buffer", "waiting")
    discarded = client.post(f"/deliveries/{made['ID']}/discard?why=wrong").json()
    assert discarded["LastError"] == "discarded by anna: wrong"


def test_many_are_decided_of_by_destination_study_and_reason_and_only_on_purpose(client, face, number):
    def ask(connection, content):
        return deliveries.ask(
            connection, destination="modality:archive", instance="i", sop_instance_uid="1.2", sop_class_uid="1.3",
            content=content, blob="test/00/gone", now=1000.0,
        )[0]  # fmt: skip

    others = [face.archive.writer.do(lambda c, i=i: ask(c, f"c{i}")) for i in range(3)]
    for wrong in ("hold", "hold?all=false", "discard?all=true", "redirect?all=true", "hold?all=true&to=peer:buffer"):
        assert is_orthanc_error(client.post(f"/deliveries/{wrong}"), 400, 5), wrong
    assert client.post("/deliveries/burn?all=true").status_code == 400
    assert client.post("/deliveries/hold?all=true&destination=peer:buffer").json()["Done"] == []
    held = client.post("/deliveries/hold?all=true&destination=modality:archive&why=service&limit=3").json()
    assert held == {"Done": [number, *others[:2]], "Left": [], "Redirected": []}
    assert client.post("/deliveries/release?all=true&study=1.2.3").json()["Done"] == []
    moved = client.post("/deliveries/redirect?all=true&to=peer:buffer&reason=service").json()
    assert moved["Done"] == [number]
    assert moved["Redirected"] == [{"ID": number, "To": others[-1] + 1}]
    assert [left["ID"] for left in moved["Left"]] == others[:2]
    assert "no longer in the archive" in moved["Left"][0]["Reason"]
    assert client.post("/deliveries/discard?all=true&why=test&destination=modality:archive").json()["Done"] == others


def test_what_cannot_be_decided_is_refused_and_changes_nothing(client, face, number):
    assert is_orthanc_error(client.post(f"/deliveries/{number}/release"), 409, 46)
    assert is_orthanc_error(client.post(f"/deliveries/{number}/discard"), 400, 5)
    assert is_orthanc_error(client.post(f"/deliveries/{number}/redirect?to=nowhere"), 400, 5)
    assert is_orthanc_error(client.post("/deliveries/99/hold"), 404, 17)
    assert is_orthanc_error(face.client(auth=("otto", "pw")).post(f"/deliveries/{number}/hold"), 403, 45)
    assert client.get(f"/deliveries/{number}").json()["State"] == "waiting"
