"""What is sent by HTTP's order arrives at a real Orthanc, as modality and as peer, and the answers are Orthanc's own."""

import json
from pathlib import Path

import pytest
import requests
from peer_kit import LiveNode, Orthanc, needs, sample, until
from ports import free_port

pytestmark = [pytest.mark.peers, needs("Orthanc")]

RLE = "1.2.840.10008.1.2.5"


@pytest.fixture(scope="module")
def theirs(tmp_path_factory):
    """A real Orthanc that receives."""
    orthanc = Orthanc(tmp_path_factory.mktemp("theirs")).start()
    yield orthanc
    orthanc.stop()


@pytest.fixture(scope="module")
def model(tmp_path_factory, theirs):
    """A real Orthanc that sends, whose answers are compared with."""
    orthanc = Orthanc(
        tmp_path_factory.mktemp("model"),
        more={
            "DicomModalities": {"theirs": ["ORTHANC", "127.0.0.1", theirs.dicom_port], "dead": ["DEAD", "127.0.0.1", free_port()]},
            "OrthancPeers": {"theirs": [f"{theirs.url}/"], "dead": [f"http://127.0.0.1:{free_port()}/"]},
            "DicomAet": "HOSTD",
        },
    ).start()  # fmt: skip
    yield orthanc
    orthanc.stop()


@pytest.fixture(scope="module")
def ours(tmp_path_factory, theirs):
    live = LiveNode(
        tmp_path_factory.mktemp("ours"),
        more=f"""
[modalities.theirs]
aet = "ORTHANC"
host = "127.0.0.1"
port = {theirs.dicom_port}
[modalities.dead]
aet = "DEAD"
host = "127.0.0.1"
port = {free_port()}
[peers.theirs]
url = "{theirs.url}/"
[peers.dead]
url = "http://127.0.0.1:{free_port()}/"
""",
    )
    yield live
    live.stop()


@pytest.fixture(scope="module")
def instance(ours, model):
    """An instance that both have; its identifier."""
    content = Path(sample("CT_small.dcm")).read_bytes()
    (one,) = {requests.post(f"{url}/instances", data=content, timeout=60).json()["ID"] for url in (ours.url, model.url)}
    return one


@pytest.fixture(autouse=True)
def revived(theirs, model):
    theirs.revive()
    model.revive()


def post(url, path, body):
    body = body if isinstance(body, str | bytes) else json.dumps(body)
    return requests.post(url + path, data=body, timeout=120)


BODIES = {
    "bare": lambda one: one,
    "text": json.dumps,
    "list": lambda one: [one],
    "object": lambda one: {"Resources": [one], "LocalAet": "OTHER"},
    "nothing": lambda _one: [],
}


@pytest.mark.parametrize("body", BODIES.values(), ids=BODIES)
@pytest.mark.parametrize("kind", ["modalities", "peers"])
def test_a_store_is_answered_as_by_orthanc(ours, model, theirs, instance, kind, body):
    if theirs.holds(instance):
        requests.delete(f"{theirs.url}/instances/{instance}", timeout=60)
    said, meant = (post(one.url, f"/{kind}/theirs/store", body(instance)) for one in (ours, model))
    assert (said.status_code, said.json()) == (meant.status_code, meant.json())
    assert theirs.holds(instance) == (body(instance) != [])


WRONG = [
    ("{}", 400), ('{"Resources": "x"}', 400), ("[1]", 400), ("", 400), ("nope", 400), ('"nope"', 400), ('"f689ddd2-662f8fe1-8b18180d-ec2a2cee-937917aa"', 404),
    ('{"Resources": [], "Transcode": "1.2.3"}', 400),
]  # fmt: skip


@pytest.mark.parametrize(("body", "status"), WRONG)
def test_a_wrong_body_is_refused_as_by_orthanc(ours, model, body, status):
    said, meant = (post(one.url, "/peers/theirs/store", body) for one in (ours, model))
    assert said.status_code == meant.status_code == status, (said.text, meant.text)
    assert said.json()["OrthancStatus"] == meant.json()["OrthancStatus"]


@pytest.mark.parametrize("kind", ["modalities", "peers"])
def test_a_dead_one_is_told_at_once_and_nothing_goes_on_behind_anybodys_back(ours, model, instance, kind):
    for _ in range(2):  # the second finds the queue held
        said, meant = (post(one.url, f"/{kind}/dead/store", instance) for one in (ours, model))
        assert (said.status_code, meant.status_code) == (500, 500)
        assert said.json().keys() == meant.json().keys()
        assert {k: v for k, v in said.json().items() if k != "Details"} == {k: v for k, v in meant.json().items() if k != "Details"}  # fmt: skip
    job = requests.get(f"{ours.url}/jobs?expand", timeout=60).json()[-1]
    assert (job["State"], job["ErrorCode"]) == ("Failure", 9)
    destination = {"modalities": "modality:dead", "peers": "peer:dead"}[kind]
    mine = [one for one in ours.deliveries() if one.destination == destination]
    assert {one.state for one in mine} == {"failed"}
    assert f"the job {job['ID']} ended" in mine[0].last_error


def test_permissive_counts_what_failed(ours, model, instance):
    """Orthanc says success and counts nothing."""
    said = post(ours.url, "/peers/dead/store", {"Resources": [instance], "Permissive": True})
    assert (said.status_code, said.json()["FailedInstancesCount"]) == (200, 1)
    meant = post(model.url, "/peers/dead/store", {"Resources": [instance], "Permissive": True})
    assert (meant.status_code, meant.json()["FailedInstancesCount"]) == (200, 0)


def test_what_could_not_be_transcoded_is_told_and_not_sent(ours, theirs):
    """Orthanc sends it as it is and says success."""
    content = Path(sample("rtplan.dcm")).read_bytes()  # it has no pixels
    one = requests.post(f"{ours.url}/instances", data=content, timeout=60).json()["ID"]
    said = post(ours.url, "/peers/theirs/store", {"Resources": [one], "Transcode": RLE})
    assert said.status_code == 500, said.text
    assert said.json()["OrthancStatus"] == 2
    assert not theirs.holds(one)
    (delivery,) = [one for one in ours.deliveries() if one.state == "failed" and one.transform]
    assert "could not be brought to" in delivery.last_error


def test_transcode_and_compress_hold_for_one_request(ours, theirs, instance):
    requests.delete(f"{theirs.url}/instances/{instance}", timeout=60)
    said = post(ours.url, "/peers/theirs/store", {"Resources": [instance], "Transcode": RLE, "Compress": True})
    assert (said.status_code, said.json()["Transcode"], said.json()["Compress"]) == (200, RLE, True)
    metadata = requests.get(f"{theirs.url}/instances/{instance}/metadata/TransferSyntax", timeout=60)
    assert metadata.text == RLE
    size = len(requests.get(f"{theirs.url}/instances/{instance}/file", timeout=60).content)
    assert said.json()["Size"] == str(size)


def test_an_asynchronous_store_is_a_job(ours, model, instance):
    body = {"Resources": [instance], "Asynchronous": True, "Priority": 3}

    def ended(url):
        job = post(url, "/modalities/theirs/store", body).json()
        assert job == {"ID": job["ID"], "Path": f"/jobs/{job['ID']}"}
        return until(lambda: (found := requests.get(url + job["Path"], timeout=60).json())["State"] == "Success" and found, "it succeeds")  # fmt: skip

    said, meant = ended(ours.url), ended(model.url)
    assert said.keys() == meant.keys()
    same = ("Content", "ErrorCode", "ErrorDescription", "ErrorDetails", "Priority", "Progress", "State", "Type")
    assert {name: said[name] for name in same} == {name: meant[name] for name in same}


def test_the_title_of_the_caller_and_of_the_move_are_told(ours, theirs, instance):
    requests.delete(f"{theirs.url}/instances/{instance}", timeout=60)
    body = {
        "Resources": [instance],
        "LocalAet": "ROUTER7",
        "MoveOriginatorAet": "MOVER",
        "MoveOriginatorID": 7,
        "Timeout": 20,
    }
    assert post(ours.url, "/modalities/theirs/store", body).status_code == 200
    assert requests.get(f"{theirs.url}/instances/{instance}/metadata/RemoteAET", timeout=60).text == "ROUTER7"


@pytest.mark.parametrize("kind", ["modalities", "peers"])
def test_a_file_is_sent_straight_and_kept_nowhere(ours, model, theirs, kind):
    content = Path(sample("MR_small.dcm")).read_bytes()
    said, meant = (post(one.url, f"/{kind}/theirs/store-straight", content) for one in (ours, model))
    ignored = {"Status"}  # the second one finds it there
    assert said.status_code == meant.status_code == 200, (said.text, meant.text)
    assert {k: v for k, v in said.json().items() if k not in ignored} == {k: v for k, v in meant.json().items() if k not in ignored}  # fmt: skip
    uid = "1.3.6.1.4.1.5962.1.1.4.1.1.20040826185059.5457"
    assert ours.instance(uid) is None
    assert any(one.sop_instance_uid == uid and one.state == "delivered" for one in ours.deliveries(uid))
    dead = post(ours.url, f"/{kind}/dead/store-straight", content)
    assert (dead.status_code, dead.json()["OrthancStatus"]) == (500, 9)
    none = post(ours.url, f"/{kind}/theirs/store-straight", b"no file")
    assert (none.status_code, none.json()["OrthancStatus"]) == (400, 15)


def test_a_job_that_failed_is_sent_when_it_is_submitted_again(ours, tmp_path, instance):
    port = free_port()
    requests.put(f"{ours.url}/peers/later", json=[f"http://127.0.0.1:{port}/"], timeout=60).raise_for_status()
    assert post(ours.url, "/peers/later/store", instance).status_code == 500
    job = requests.get(f"{ours.url}/jobs", timeout=60).json()[-1]
    receiver = LiveNode(tmp_path / "receiver", aet="LATER")
    try:
        requests.put(f"{ours.url}/peers/later", json=[f"{receiver.url}/"], timeout=60).raise_for_status()
        assert requests.post(f"{ours.url}/jobs/{job}/resubmit", timeout=60).json() == {}
        until(lambda: requests.get(f"{ours.url}/jobs/{job}", timeout=60).json()["State"] == "Success", "it succeeds")
        assert [one.id for one in receiver.instances()] == [instance]
    finally:
        receiver.stop()
        requests.delete(f"{ours.url}/peers/later", timeout=60)


def test_modalities_and_peers_are_put_asked_and_forgotten_as_in_orthanc(ours, model, theirs):
    for kind, given, path in (
        ("modalities", ["ORTHANC", "127.0.0.1", theirs.dicom_port], "echo"),
        ("modalities", {"AET": "ORTHANC", "Host": "127.0.0.1", "Port": theirs.dicom_port, "AllowFind": False}, "echo"),
        ("peers", [f"{theirs.url}/"], "system"),
        ("peers", {"Url": f"{theirs.url}/", "Username": "anna", "Password": "secret", "HttpHeaders": {"X-Mine": "1"}}, "system"),
    ):  # fmt: skip
        seen = []
        for one in (ours, model):
            put = requests.put(f"{one.url}/{kind}/new", json=given, timeout=60)
            shown = requests.get(f"{one.url}/{kind}/new/configuration", timeout=60)
            assert "secret" not in shown.text
            listed = requests.get(f"{one.url}/{kind}", timeout=60).json()
            asked = requests.request("POST" if path == "echo" else "GET", f"{one.url}/{kind}/new/{path}", json={} if path == "echo" else None, timeout=60)  # fmt: skip
            gone = requests.delete(f"{one.url}/{kind}/new", timeout=60)
            again = requests.delete(f"{one.url}/{kind}/new", timeout=60)
            seen.append((put.status_code, shown.json(), listed, asked.status_code, asked.json(), gone.status_code, again.status_code, again.json()["OrthancStatus"]))  # fmt: skip
        mine, theirs_said = seen
        mine[1].pop("AllowFindWorklist", None), theirs_said[1].pop("AllowFindWorklist", None)
        assert {k: v for k, v in mine[1].items() if k in theirs_said[1]} == theirs_said[1]
        assert mine[:1] + mine[2:] == theirs_said[:1] + theirs_said[2:]
