"""/deliveries and /associations, and errors of routes that are not there."""

import pytest
from web_support import is_orthanc_error

from hostd.archive import associations, commitments, deliveries, instances
from hostd.archive.records import Attempt, Blob
from hostd.dicom.commitment import Report
from hostd.testing.made import arrive


@pytest.fixture
def asked(face):
    """Ask for two deliveries of one file: one to the archive, which failed, and one to a peer, which waits."""
    blob = Blob("test/00/" + "0" * 32, 10, "s", "1.2")

    def unit(connection):
        instances.add_blob(connection, blob, 1.0)
        common = {
            "instance": "i", "sop_instance_uid": "1.2", "sop_class_uid": "1.3",
            "content": "c", "blob": blob.name, "now": 1000.0,
        }  # fmt: skip
        first, _ = deliveries.ask(connection, destination="modality:archive", script="a.py", **common)
        second, _ = deliveries.ask(connection, destination="peer:buffer", **common)
        deliveries.claim(connection, "modality:archive", 7, 1001.0, 1)
        deliveries.finish(connection, Attempt(first, 1, 1002.5, "failed", "0xA900: no", 0xA900, 0.25, "1.2"), 7)
        return first, second

    return face.archive.writer.do(unit)


def test_deliveries_are_listed_the_newest_first_and_chosen(client, asked):
    first, second = asked
    assert [d["ID"] for d in client.get("/deliveries").json()] == [second, first]
    assert [d["ID"] for d in client.get("/deliveries?limit=1").json()] == [second]
    assert [d["ID"] for d in client.get("/deliveries?state=failed").json()] == [first]
    assert [d["ID"] for d in client.get("/deliveries?state=failed&state=waiting").json()] == [second, first]
    assert [d["ID"] for d in client.get("/deliveries?destination=peer:buffer").json()] == [second]
    assert client.get("/deliveries?instance=other").json() == []
    assert client.get("/deliveries?study=1.2.3").json() == []


def test_a_delivery_tells_its_attempts(client, asked):
    assert client.get(f"/deliveries/{asked[0]}").json() == {
        "ID": asked[0],
        "Instance": "i",
        "SOPInstanceUID": "1.2",
        "SOPClassUID": "1.3",
        "Destination": "modality:archive",
        "Transform": "",
        "Script": "a.py",
        "Priority": 10,
        "State": "failed",
        "Attempts": 1,
        "PossibleDoubles": 0,
        "LastError": "0xA900: no",
        "CreationTime": "1970-01-01T00:16:40.000+00:00",
        "NotBefore": None,
        "NextAttempt": None,
        "CompletionTime": "1970-01-01T00:16:42.500+00:00",
        "StandsInFor": None,
        "StandIn": None,
        "Commitment": None,
        "CommitmentTransaction": None,
        "CommitmentAsked": None,
        "CommitmentReported": None,
        "History": [
            {
                "Number": 1,
                "Time": "1970-01-01T00:16:42.500+00:00",
                "Outcome": "failed",
                "Answer": "0xA900: no",
                "Status": 0xA900,
                "Seconds": 0.25,
                "TransferSyntax": "1.2",
                "SentSOPInstanceUID": None,
            }
        ],
    }


def test_a_delivery_tells_what_stands_in_for_it_and_how_commitment_stands(face, client, asked):
    def unit(connection):
        first = deliveries.get(connection, asked[0])
        made, _ = deliveries.ask(
            connection, instance="i", sop_instance_uid="1.2", sop_class_uid="1.3", destination="modality:other",
            content="c", blob=first.blob, now=1000.0, alternate_of=first.id,
        )  # fmt: skip
        deliveries.claim(connection, "modality:other", 7, 2000.0, 1)
        deliveries.finish(connection, Attempt(made, 1, 2001.0, "delivered", "0x0000"), 7, commits=True)
        commitments.ask(connection, "modality:other", "2.25.1", 2002.0, asked_before=0.0, limit=9)
        return made

    made = face.archive.writer.do(unit)
    assert client.get(f"/deliveries/{asked[0]}").json()["StandIn"] == made
    told = client.get(f"/deliveries/{made}").json()
    assert (told["StandsInFor"], told["Commitment"], told["CommitmentTransaction"]) == (asked[0], "asked", "2.25.1")
    assert (told["CommitmentAsked"], told["CommitmentReported"]) == ("1970-01-01T00:33:22.000+00:00", None)
    report = Report("2.25.1", frozenset(("1.2",)), {})
    face.archive.writer.do(lambda c: commitments.settle(c, report, 2003.0))
    told = client.get(f"/deliveries/{made}").json()
    assert (told["Commitment"], told["CommitmentReported"]) == ("committed", "1970-01-01T00:33:23.000+00:00")
    assert client.get("/deliveries").json()[0]["Commitment"] == "committed"


def test_a_failed_delivery_is_tried_again_at_once(client, asked):
    answer = client.post(f"/deliveries/{asked[0]}/retry")
    assert answer.status_code == 200
    assert answer.json()["State"] == "waiting"
    assert answer.json()["NextAttempt"] is not None
    assert client.get(f"/deliveries/{asked[0]}").json()["State"] == "waiting"


def test_a_delivery_that_is_done_is_not_tried_again(face, client, asked):
    def deliver(connection):
        deliveries.claim(connection, "peer:buffer", 7, 2000.0, 1)
        deliveries.finish(connection, Attempt(asked[1], 1, 2001.0, "delivered", "200 OK"), 7)

    face.archive.writer.do(deliver)
    answer = client.post(f"/deliveries/{asked[1]}/retry")
    assert is_orthanc_error(answer, 409, 46)
    assert "delivered" in answer.json()["Details"]
    assert client.get(f"/deliveries/{asked[1]}").json()["State"] == "delivered"


@pytest.mark.parametrize(("method", "path"), [("GET", "/deliveries/99"), ("POST", "/deliveries/99/retry")])
def test_an_unknown_delivery_is_404(client, method, path):
    assert is_orthanc_error(client.request(method, path), 404, 17)


@pytest.mark.parametrize(
    "path", ["/deliveries/x", "/deliveries?limit=-1", "/deliveries?limit=99999999", "/associations?failed=x"]
)
def test_a_wrong_value_is_400(idle_face, path):
    assert is_orthanc_error(idle_face.client().get(path), 400, 5)


def test_associations_are_listed_and_chosen(face, client):
    def unit(connection):
        common = {"called_aet": "HOSTD", "ip": "192.0.2.1", "port": 4000, "facts": {"max_pdu": 16384}}
        good = associations.open_row(connection, at=1000.0, calling_aet="CT1", **common)
        ending = {"reason": "", "ended_at": 1001.0, "received": 2, "stored": 2, "failed": 0, "size": 99}
        associations.close_row(connection, good, ended="released", **ending)
        bad = associations.open_row(connection, at=1002.0, calling_aet="MR1", **common)
        associations.close_row(connection, bad, ended="aborted", **ending)
        return good, bad, associations.open_row(connection, at=1003.0, calling_aet="CT1", **common)

    good, bad, lasting = face.archive.writer.do(unit)
    assert [a["ID"] for a in client.get("/associations").json()] == [lasting, bad, good]
    assert [a["ID"] for a in client.get("/associations?failed=true").json()] == [bad]
    assert [a["ID"] for a in client.get("/associations?calling=CT1&limit=1").json()] == [lasting]
    assert client.get("/associations").json()[2] == {
        "ID": good,
        "CallingAet": "CT1",
        "CalledAet": "HOSTD",
        "RemoteIp": "192.0.2.1",
        "RemotePort": 4000,
        "BeginTime": "1970-01-01T00:16:40.000+00:00",
        "EndTime": "1970-01-01T00:16:41.000+00:00",
        "Ended": "released",
        "Reason": "",
        "Received": 2,
        "Stored": 2,
        "Failed": 0,
        "Bytes": 99,
        "Facts": {"max_pdu": 16384},
    }
    assert client.get("/associations").json()[0]["Ended"] is None


@pytest.mark.parametrize("path", ["/nope", "/instances/x/nope", "/docs/oauth2-redirect", "/redoc"])
def test_a_route_that_is_not_there_is_orthancs_404(idle_face, path):
    answer = idle_face.client().get(path)
    assert is_orthanc_error(answer, 404, 17)
    assert answer.json()["Message"] == "Unknown resource"


def test_a_method_that_is_not_there_is_405_and_tells_which_are(client):
    answer = client.put("/instances")
    assert is_orthanc_error(answer, 405, 8)
    assert answer.headers["allow"] == "GET, POST"
    assert client.post("/instances/x").headers["allow"] == "DELETE, GET"


def test_what_became_of_an_instance_is_explained(client, face):
    arrive(face.archive, "1.2.3.4.5")
    answer = client.get("/explain/1.2.3").json()
    assert (answer["Is"], answer["Count"], answer["Destinations"]) == (["Study Instance UID"], 1, {})
    (one,) = answer["Instances"]
    assert (one["SOPInstanceUID"], one["PatientID"]) == ("1.2.3.4.5", "P1")
    assert [event["Kind"] for event in one["Events"]] == ["stored_instance"]
    assert "P1" not in client.get("/explain/1.2.3?phi=false").text
    assert is_orthanc_error(client.get("/explain/9.9"), 404, 17)
