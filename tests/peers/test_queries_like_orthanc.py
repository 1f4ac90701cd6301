"""The routes of queries answer as Orthanc's do, where both ask the same Orthanc; and each queries and retrieves from the other."""

import json

import pytest
import requests
from peer_kit import LiveNode, Orthanc, needs, sample, until
from ports import free_port
from pydicom import dcmread

pytestmark = [pytest.mark.peers, needs("Orthanc", "storescu")]

STUDY = "1.3.6.1.4.1.5962.1.2.1.20040119072730.12322"
SERIES = "1.3.6.1.4.1.5962.1.3.1.1.20040119072730.12322"


@pytest.fixture(scope="module")
def world(tmp_path_factory):
    """An Orthanc that has a study and queries itself, and a node that queries that Orthanc."""
    folder = tmp_path_factory.mktemp("queries")
    port = free_port()
    orthanc = Orthanc(folder / "orthanc")
    node = LiveNode(
        folder / "node", port=port,
        more=f'[modalities.pacs]\naet = "ORTHANC"\nhost = "127.0.0.1"\nport = {orthanc.dicom_port}\n'
        f'[modalities.dead]\naet = "DEAD"\nhost = "127.0.0.1"\nport = 9\n',
    )  # fmt: skip
    orthanc.more = {
        "DicomAlwaysAllowFind": True, "DicomAlwaysAllowMove": True, "DicomAlwaysAllowGet": True,
        "DicomModalities": {
            "pacs": ["ORTHANC", "127.0.0.1", orthanc.dicom_port], "hostd": ["HOSTD", "127.0.0.1", port],
            "dead": ["DEAD", "127.0.0.1", 9],
        },
    }  # fmt: skip
    orthanc.start()
    assert orthanc.post("/instances", sample("CT_small.dcm").read_bytes()).ok
    yield node, orthanc
    node.stop()
    orthanc.stop()


def ask(url, method, path, body=None):
    data = body if isinstance(body, (str, bytes)) or body is None else json.dumps(body)
    return requests.request(method, url + path, data=data, timeout=60)


def both(world, method, path, body=None, **names):
    """Ask both; return the answers. In the path and the body stand names for what differs: `{query}`."""
    node, orthanc = world
    answers = []
    for place, url in enumerate((node.url, orthanc.url)):
        mine = path
        for name, values in names.items():
            mine = mine.replace(f"{{{name}}}", values[place])
        answers.append(ask(url, method, mine, body))
    return answers


def same(answers):
    """Fail unless both answer alike; return what hostd says."""
    ours, theirs = answers
    assert ours.status_code == theirs.status_code, (ours.text, theirs.text)
    if ours.status_code >= 400:
        assert ours.json()["OrthancStatus"] == theirs.json()["OrthancStatus"], (ours.text, theirs.text)
        return ours.json()
    try:
        assert ours.json() == theirs.json()
        return ours.json()
    except ValueError:
        assert ours.text == theirs.text
        return ours.text


@pytest.fixture(scope="module")
def query(world):
    answers = both(
        world, "POST", "/modalities/pacs/query", {"Level": "Study", "Query": {"PatientID": "*", "StudyDescription": ""}}
    )
    assert [one.json().keys() for one in answers] == [{"ID", "Path"}] * 2
    return tuple(one.json()["ID"] for one in answers)


@pytest.mark.parametrize(
    "path",
    [
        "", "/answers", "/answers?expand", "/answers?expand&simplify", "/answers/0", "/answers/0/content",
        "/answers/0/content?simplify", "/answers/0/content?short", "/level", "/modality", "/query", "/query?simplify",
        "/answers/1/content", "/answers/x/content",
    ],
)  # fmt: skip
def test_what_there_is_of_a_query_is_shown_alike(world, query, path):
    same(both(world, "GET", f"/queries/{{query}}{path}", query=query))


@pytest.mark.parametrize(
    ("path", "body"),
    [
        ("/modalities/nobody/query", {"Level": "Study", "Query": {}}),
        ("/modalities/dead/query", {"Level": "Study", "Query": {}}),
        ("/modalities/pacs/query", {"Query": {}}),
        ("/modalities/pacs/query", {"Level": "Stdy", "Query": {}}),
        ("/modalities/pacs/query", {"Level": "Study", "Query": {"Foo": ""}}),
        ("/modalities/pacs/query", {"Level": "Study", "Query": {"PatientID": 5}}),
        ("/modalities/pacs/query", "xx"),
        ("/modalities/pacs/move", {"Level": "Study"}),
        ("/modalities/pacs/move", {"Resources": []}),
        ("/modalities/pacs/move", {"Level": "Study", "Resources": ["1.2"]}),
        ("/modalities/pacs/move", {"Level": "Study", "Resources": [{"PatientID": "x"}]}),
        ("/modalities/dead/move", {"Level": "Study", "Resources": [{"StudyInstanceUID": "1.2"}]}),
    ],
)
def test_what_cannot_be_asked_is_refused_alike(world, path, body):
    same(both(world, "POST", path, body))


def test_queries_that_are_not_remembered_are_not_there(world, query):
    assert query[0] in ask(world[0].url, "GET", "/queries").json()
    same(both(world, "GET", "/queries/nobody"))
    same(both(world, "DELETE", "/queries/nobody"))
    gone = tuple(
        one.json()["ID"] for one in both(world, "POST", "/modalities/pacs/query", {"Level": "Patient", "Query": {}})
    )
    assert same(both(world, "DELETE", "/queries/{gone}", gone=gone)) == ""
    same(both(world, "GET", "/queries/{gone}", gone=gone))


def test_what_was_found_is_asked_for_at_the_levels_below(world, query):
    for route, level, names in (("series", "Series", SERIES), ("instances", "Instance", None)):
        answers = both(world, "POST", f"/queries/{{query}}/answers/0/query-{route}", {"Query": {}}, query=query)
        below = tuple(one.json()["ID"] for one in answers)
        assert same(both(world, "GET", "/queries/{below}/level", below=below)) == level
        (found,) = ask(world[0].url, "GET", f"/queries/{below[0]}/answers?expand&simplify").json()
        assert found["StudyInstanceUID"] == STUDY
        assert names in (None, found["SeriesInstanceUID"])
    assert ask(world[0].url, "POST", f"/queries/{query[0]}/answers/0/query-studies", "{}").status_code == 404


def test_all_that_was_found_is_retrieved_by_a_job(world, query):
    node, _ = world
    uid = dcmread(sample("CT_small.dcm")).SOPInstanceUID
    node.forget(uid)
    ours, theirs = both(world, "POST", "/queries/{query}/retrieve", "", query=query)
    assert (ours.status_code, theirs.status_code) == (200, 200), (ours.text, theirs.text)
    shown = ours.json()
    assert shown == theirs.json() | {"LocalAet": "HOSTD", "TargetAet": "HOSTD"}
    assert node.instance(uid).origin.calling_aet == "ORTHANC"
    node.forget(uid)
    ours, theirs = both(world, "POST", "/queries/{query}/answers/0/retrieve", {"Asynchronous": True}, query=query)
    assert ours.json().keys() == theirs.json().keys() == {"ID", "Path"}
    path = ours.json()["Path"]
    until(lambda: ask(node.url, "GET", path).json()["State"] == "Success", "the job ends")
    job = ask(node.url, "GET", path).json()
    assert (job["Type"], job["Content"]["RemoteAet"]) == ("DicomMoveScu", "ORTHANC")
    assert node.instance(uid)


def test_a_move_to_who_is_unknown_fails_with_the_number_that_clients_look_at(world, query):
    body = {"TargetAet": "NOWHERE"}
    ours, theirs = both(world, "POST", "/queries/{query}/answers/0/retrieve", body, query=query)
    assert same((ours, theirs))["OrthancStatus"] == 9
    assert ours.json()["ErrorPayload"]["Type"] == "Dimse"
    named = {"Level": "Study", "Resources": [{"StudyInstanceUID": STUDY}]}
    assert ask(world[0].url, "POST", "/modalities/pacs/move", {**named, "TargetAet": "NOWHERE"}).status_code == 500


def test_a_move_by_who_does_not_answer_is_a_job_that_fails_and_is_refused_by_orthanc(world):
    node, _ = world
    body = {"Level": "Study", "Resources": [{"StudyInstanceUID": STUDY}], "TargetAet": "ORTHANC", "Asynchronous": True}
    ours, theirs = both(world, "POST", "/modalities/dead/move", body)
    assert (theirs.status_code, theirs.json()["OrthancStatus"]) == (500, 9)
    path = node.url + ours.json()["Path"]
    job = until(
        lambda: (found := requests.get(path, timeout=60).json())["State"] == "Failure" and found, "the job fails"
    )
    assert job["ErrorCode"] == 9


def test_named_resources_are_moved_and_got(world):
    node, _ = world
    uid = dcmread(sample("CT_small.dcm")).SOPInstanceUID
    for verb, kind in (("move", {"TargetAet"}), ("get", set())):
        node.forget(uid)
        body = {"Level": "Series", "Resources": [{"StudyInstanceUID": STUDY, "0020,000e": SERIES}], "Simplify": True}
        answer = ask(node.url, "POST", f"/modalities/pacs/{verb}", body)
        assert answer.status_code == 200, answer.text
        assert answer.json().keys() == {"Description", "LocalAet", "Query", "RemoteAet"} | kind
        assert answer.json()["Query"][0]["SeriesInstanceUID"] == SERIES
        assert node.instance(uid).blob.transfer_syntax == "1.2.840.10008.1.2.1"


def test_the_older_routes_of_finding_answer(world):
    node, orthanc = world
    (ours,), (theirs,) = (
        ask(url, "POST", "/modalities/pacs/find-patient", {"PatientID": "*"}).json() for url in (node.url, orthanc.url)
    )
    assert ours.items() >= {key: theirs[key] for key in ("PatientID", "PatientName", "PatientSex")}.items()
    (study,) = ask(node.url, "POST", "/modalities/pacs/find-study", {"PatientID": ours["PatientID"]}).json()
    assert study["StudyInstanceUID"] == STUDY
    (tree,) = ask(node.url, "POST", "/modalities/pacs/find", {"PatientID": "*"}).json()
    assert tree["Studies"][0]["Series"][0]["SeriesInstanceUID"] == SERIES


def test_orthanc_queries_hostd_and_has_it_send_what_it_found(world):
    node, orthanc = world
    image = dcmread(sample("MR_small_jp2klossless.dcm"))
    node.post(sample("MR_small_jp2klossless.dcm").read_bytes()).raise_for_status()
    made = ask(
        orthanc.url, "POST", "/modalities/hostd/query", {"Level": "Study", "Query": {"PatientID": image.PatientID}}
    )
    assert made.status_code == 200, made.text
    path = made.json()["Path"]
    (found,) = ask(orthanc.url, "GET", f"{path}/answers?expand&simplify").json()
    assert found["StudyInstanceUID"] == image.StudyInstanceUID
    moved = ask(orthanc.url, "POST", f"{path}/answers/0/retrieve", "ORTHANC")
    assert moved.status_code == 200, moved.text
    held = orthanc.post("/tools/lookup", image.SOPInstanceUID).json()
    assert [one["Type"] for one in held] == ["Instance"]
