"""Wrong requests are refused by hostd with the status and the number by which Orthanc refuses them, but for what docs/orthanc.md says."""

import re
from pathlib import Path

import pytest
import requests
from known_malformed import KNOWN, REASONS
from likeness import add_remotes, pair_of, stop
from malformed import ASKED, LEVELS, RIGHT, bodies, parameters, places
from peer_kit import PATIENCE_S, needs, sample, until

pytestmark = [pytest.mark.peers, needs("Orthanc")]

PAGE = (Path(__file__).parents[2] / "docs" / "orthanc.md").read_text("utf-8")
WORDS = ["changes", "exports", "instances", "jobs", "modalities", "patients", "peers", "plugins", "queries", "series", "statistics",
         "storage-commitment", "studies", "system", "tools"]  # fmt: skip
MR, CT = (sample(name).read_bytes() for name in ("MR_small.dcm", "CT_small.dcm"))


@pytest.fixture(scope="module")
def pair(tmp_path_factory):
    """Both, with a job that has ended and a query that was answered; `other` is a series that can be merged."""
    made = pair_of(
        tmp_path_factory.mktemp("malformed"), MR, http="metadata_numbers = {note = 1024}\nattachment_numbers = {note = 1024}\n",
        orthanc={
            "OrthancPeersInDatabase": True, "DicomModalitiesInDatabase": True, "JobsHistorySize": 1000, "UserMetadata": {"note": 1024},
            "UserContentType": {"note": 1024}, "DicomAlwaysAllowFind": True, "DicomAlwaysAllowMove": True,
        },
    )  # fmt: skip
    try:
        add_remotes(made)
        caller = ["HOSTD", "127.0.0.1", made.node.port]  # whom Orthanc must know to commit to it, and to send to it
        requests.put(f"{made.orthanc.url}/modalities/caller", json=caller, timeout=PATIENCE_S).raise_for_status()
        made.names |= {"new": "new", "other": made.store(CT)["ParentSeries"]}
        made.own = [set_up(made, url) for url in made.urls]
        yield made
    finally:
        stop(made)


def set_up(pair, url):
    """Attach and note something at each level, and have a job end and a query answered there; return what they are called."""
    for level, one in LEVELS.items():
        for what in ("attachments", "metadata"):
            path = f"{url}/{level}/{pair.names[one]}/{what}/1024"
            requests.put(path, data=b"x", timeout=PATIENCE_S).raise_for_status()
    wanted = {"Level": "Study", "Query": {"PatientID": "*"}}
    query = requests.post(f"{url}/modalities/alive/query", json=wanted, timeout=PATIENCE_S)
    packing = requests.post(
        f"{url}/studies/{pair.names['study']}/archive", json={"Asynchronous": True}, timeout=PATIENCE_S
    )
    job = packing.json()["ID"]
    until(lambda: requests.get(f"{url}/jobs/{job}", timeout=PATIENCE_S).json()["State"] == "Success", "it is packed")
    return {"job": job, "query": query.json()["ID"]}


def said(answer):
    """Return a status, with the number of Orthanc's where there is one."""
    if answer.status_code < 400:
        return str(answer.status_code), None
    try:
        error = answer.json()
        assert error["HttpStatus"] == answer.status_code
        number = error["OrthancStatus"]
    except (ValueError, TypeError, KeyError):  # Orthanc answers some errors with nothing
        return str(answer.status_code), None
    return str(answer.status_code), number


def differs(wrong, theirs, ours):
    """Return how the answers to a wrong request differ; what is no answer to a mistake of the client's is not compared."""
    (status, number), (own_status, own_number) = said(theirs), said(ours)
    assert ours.status_code < 500 or theirs.status_code >= 400, (wrong, ours.text)
    if status == "500" and number in {-1, 27} and own_status == "400":
        return None  # an exception that nobody caught, or a tag that nobody knows
    if status == own_status and number in {None, own_number}:
        return None
    shown = (
        f"{one} ({other})" if other is not None else one for one, other in ((status, number), (own_status, own_number))
    )
    return f"{wrong.what}: {' / '.join(shown)}"


def asked(pair, wrong):
    """Send a wrong request to both; return how the answers differ."""
    answers = []
    for own, url in zip(pair.own, pair.urls, strict=True):
        path, body = wrong.path, wrong.body
        for name, value in (pair.names | own).items():
            path = path.replace(f"{{{name}}}", value)
            body = body.replace(f"{{{name}}}", value) if isinstance(body, str) else body
        answers.append(requests.request(wrong.method, url + path, data=body, timeout=PATIENCE_S, allow_redirects=False))
    return differs(wrong, *answers)


def assert_known(found, route):
    known = {one for differences in KNOWN.get(route, {}).values() for one in differences}
    assert found - {None} == known, route


@pytest.mark.parametrize("request_", RIGHT)
def test_a_wrong_body_is_refused_as_by_orthanc(pair, request_):
    pair.store(MR)
    pair.store(CT)
    assert_known({asked(pair, wrong) for wrong in bodies(request_)}, request_)
    if isinstance(right := RIGHT[request_], str):
        pair.ask(request_, data=right)  # it may have been told otherwise


@pytest.mark.parametrize("request_", ASKED)
def test_a_wrong_parameter_is_refused_as_by_orthanc(pair, request_):
    assert_known({asked(pair, wrong) for wrong in parameters(request_)}, request_)


@pytest.mark.parametrize("word", WORDS)
def test_what_is_not_there_is_not_found_as_by_orthanc(pair, word):
    found = {}
    for route, wrong in places(word):
        of_level = re.sub(rf"^/({'|'.join(LEVELS)})(?=/|$)", "/{level}", route)
        found.setdefault(of_level, set()).add(asked(pair, wrong))
    for route, differences in found.items():
        assert_known(differences, route)


def test_the_manual_says_why_each_is_answered_otherwise():
    section = PAGE.partition("\n## Wrong requests\n")[2].partition("\n## ")[0]
    bullets = {" ".join(one.split()) for one in re.split(r"^- ", section, flags=re.MULTILINE)[1:]}
    used = {reason for differences in KNOWN.values() for reason in differences}
    assert used == set(REASONS)
    assert bullets == set(REASONS.values())
