"""Modalities and peers by HTTP: those of the configuration win, passwords are never shown, and what is put is known to all that send."""

import pytest
import structlog
from ports import free_port
from web_support import is_orthanc_error

from hostd.config.settings import Settings
from hostd.delivery.configured import destinations_of, terms_of
from hostd.delivery.remotes import Remotes
from hostd.scripting.loading import Names

OF_FILE = Settings(
    modalities={"archive": {"aet": "ARCHIVE", "host": "192.0.2.7", "port": 104, "calling_aet": "ME", "timeout_s": 9}},
    peers={"buffer": {"url": "https://buffer.example/", "username": "anna", "password": "hush", "headers": {"X-Token": "hush"}}},
)  # fmt: skip


@pytest.fixture
def face(make_face):
    return make_face(settings=OF_FILE)


def test_those_of_the_configuration_are_listed_without_their_secrets(client):
    assert (client.get("/modalities").json(), client.get("/peers").json()) == (["archive"], ["buffer"])
    shown = client.get("/modalities?expand").json()["archive"]
    assert (shown["AET"], shown["Host"], shown["Port"], shown["LocalAet"], shown["Timeout"]) == ("ARCHIVE", "192.0.2.7", 104, "ME", 9)  # fmt: skip
    answer = client.get("/peers?expand")
    assert answer.json()["buffer"] == {
        "HttpHeaders": ["X-Token"], "Password": None, "Pkcs11": False, "Timeout": 0, "Url": "https://buffer.example/", "Username": "anna",
    }  # fmt: skip
    assert "hush" not in answer.text
    assert {"configuration", "echo", "store", "store-straight"} <= set(client.get("/modalities/archive").json())
    assert client.get("/peers/buffer").json() == ["configuration", "store", "store-straight", "system"]


@pytest.mark.parametrize(("kind", "name", "given"), [("modalities", "archive", ["A", "h", 1]), ("peers", "buffer", ["http://h/"])])  # fmt: skip
def test_the_configuration_wins_and_says_so(client, kind, name, given):
    for answer in (client.put(f"/{kind}/{name}", json=given), client.delete(f"/{kind}/{name}")):
        assert is_orthanc_error(answer, 409, 46)
        assert f"[{kind}.{name}]" in answer.json()["Details"]


def test_one_that_was_put_and_is_named_by_the_configuration_later_gives_way(face, client, capsys):
    assert client.put("/modalities/later", json=["A", "h", 104]).text == ""
    named = Settings(modalities={"later": {"aet": "B", "host": "h", "port": 105}})
    assert face.remotes.use(named).modalities["later"].aet == "B"
    assert "the modality later was put by HTTP, but stands in the configuration, which wins" in capsys.readouterr().out
    assert face.remotes.use(OF_FILE).modalities["later"].aet == "A"


def test_what_is_put_survives_and_is_known_to_couriers_and_scripts(face, client):
    assert client.put("/peers/new", json=["http://192.0.2.8/base", "otto", "quiet"]).status_code == 200
    assert client.put("/modalities/new", json={"AET": "N", "Host": "h", "Port": 104, "AllowTranscoding": False}).status_code == 200  # fmt: skip
    again = Remotes(face.archive, OF_FILE).settings
    assert destinations_of(again).keys() == {"modality:archive", "modality:new", "peer:buffer", "peer:new"}
    assert terms_of(again).keys() == destinations_of(again).keys()
    assert "peer:new" in Names.of(again).destinations
    assert again.peers["new"].password.get_secret_value() == "quiet"
    assert again.modalities["new"].calling_aet == again.delivery.calling_aet
    assert "quiet" not in client.get("/peers?expand").text + client.get("/peers/new/configuration").text
    assert client.delete("/peers/new").text == ""
    assert Remotes(face.archive, OF_FILE).settings.peers.keys() == {"buffer"}
    assert is_orthanc_error(client.delete("/peers/new"), 404, 7)


@pytest.mark.parametrize("name", ["_y", "-x", "__"])
def test_one_is_called_as_orthancs_may_be(face, client, name):
    assert client.put(f"/modalities/{name}", json=["A", "h", 104]).status_code == 200
    assert client.get(f"/modalities/{name}/configuration").json()["AET"] == "A"
    assert name in face.remotes.settings.modalities


WRONG = [
    ("modalities/.x", '["A", "h", 1]'),
    ("modalities/x", '["A"]'), ("modalities/x", "x"), ("modalities/x", '{"AET": "A"}'), ("modalities/x", '["A", "h", 70000]'),
    ("modalities/x", '{"AET": "much too long for one", "Host": "h", "Port": 1}'), ("modalities/x%20y", '["A", "h", 1]'),
    ("peers/x", '["http://h/", "anna"]'), ("peers/x", '["http://anna:hush@h/"]'), ("peers/x", "[]"), ("peers/x", "7"),
    ("peers/x", '{"Url": "http://h/", "CertificateFile": "/nowhere", "CertificateKeyFile": "/nowhere"}'),
    ("peers/x", r'{"Url": "http://h/", "HttpHeaders": {"Authorization": "Bearer hush\n"}}'),
    ("peers/x", '{"Url": "http://h/", "HttpHeaders": {"Authorization": " hush"}}'),
    ("peers/x", '{"Url": "http://h/", "HttpHeaders": {"Authorization": "hüsh"}}'),
]  # fmt: skip


@pytest.mark.parametrize(("path", "body"), WRONG)
def test_what_cannot_be_used_is_refused_and_not_repeated(face, client, path, body):
    answer = client.put(f"/{path}", content=body)
    assert is_orthanc_error(answer, 400, 15)
    assert "hush" not in answer.text
    assert face.remotes.settings == OF_FILE


def test_a_peer_that_does_not_answer_is_no_fault_of_hostd_and_leaves_no_traceback(client):
    port = free_port()
    client.put("/modalities/gone", json=["GONE", "127.0.0.1", port])
    with structlog.testing.capture_logs() as logs:
        assert is_orthanc_error(client.post("/modalities/gone/echo"), 500, 9)
    [entry] = [entry for entry in logs if entry["event"] == "request failed"]
    assert entry["log_level"] == "warning"
    assert "exc_info" not in entry
    assert str(port) in entry["reason"]


def test_one_that_is_not_there_is_not_found(client):
    for path in ("modalities/x", "modalities/x/configuration"):
        assert is_orthanc_error(client.get(f"/{path}"), 404, 7)
    for path in ("peers/x", "peers/x/configuration", "peers/x/system"):
        assert is_orthanc_error(client.get(f"/{path}"), 404, 17)
    assert is_orthanc_error(client.post("/modalities/x/echo"), 404, 7)
    assert is_orthanc_error(client.post("/modalities/x/store", content="[]"), 404, 7)
    assert is_orthanc_error(client.post("/peers/x/store", content="[]"), 404, 17)


REFUSED = [
    {"Host": "192.0.2.9"}, {"LocalAet": "much too long for one"}, {"Timeout": "7"}, {"Permissive": 1},
    {"StorageCommitment": True}, {"Priority": "high"}, {"Synchronous": 1}, {"Transcode": "nothing"}, {"Transcode": None},
    {"Transcode": "JPEG2000", "LossyQuality": 101},
]  # fmt: skip


@pytest.mark.parametrize("more", REFUSED, ids=str)
def test_what_a_store_says_besides_must_make_sense(client, more):
    answer = client.post("/modalities/archive/store", json={"Resources": []} | more)
    assert is_orthanc_error(answer, 400, 15)


@pytest.mark.parametrize(
    ("more", "number"), [({"LocalAet": 7}, 5), ({"MoveOriginatorAet": "A", "MoveOriginatorID": 70000}, 3)]
)
def test_what_a_store_says_of_its_association_must_make_sense(client, more, number):
    answer = client.post("/modalities/archive/store", json={"Resources": []} | more)
    assert is_orthanc_error(answer, 400, number)
    assert client.get("/jobs").json() == []


@pytest.mark.parametrize(("path", "more"), [
    ("modalities/x", {"AllowEcho": None}), ("modalities/x", {"UseDicomTls": "true"}), ("modalities/x", {"LocalAet": []}),
    ("modalities/x", {"Timeout": True}), ("peers/x", {"HttpHeaders": ""}), ("peers/x", {"Timeout": "5"}), ("peers/x", {"Password": "hush"}),
])  # fmt: skip
def test_options_have_the_kind_that_orthanc_demands(client, path, more):
    given = {"Url": "http://h/"} if path.startswith("peers") else {"AET": "A", "Host": "h", "Port": 1}
    answer = client.put(f"/{path}", json=given | more)
    assert is_orthanc_error(answer, 400, 15)
    assert "hush" not in answer.text
    assert client.put(f"/{path}", json=given).status_code == 200


@pytest.mark.parametrize("body", ["nonsense", '{"Timeout": "5"}', '{"Timeout": -1}', '{"CheckFind": 1}'])
def test_an_echo_is_asked_for_in_words_that_make_sense(client, body):
    client.put("/modalities/gone", json=["GONE", "127.0.0.1", free_port()])
    assert is_orthanc_error(client.post("/modalities/gone/echo", content=body), 400, 15)
