"""The same requests to a real Orthanc and to hostd: statuses and the shape of JSON are the same, but for `known_differences`.

A test of a route writes it as docs/orthanc.md does, with `{instance}`, `{series}`, `{study}` and `{patient}` for what is stored in both:

    def test_tags(pair):
        pair.assert_alike("GET /instances/{instance}/tags?simplify")

What differs is told as `$.Labels: only here`, `$.Version: number / text`, `status: 404 / 400`: Orthanc's first, hostd's second. What is known to
differ stands in `known_differences.KNOWN` under the very request, with its reason; what stands there and no longer differs fails, too.
"""

import json
from dataclasses import dataclass, field

import pytest
import requests
from known_differences import KNOWN
from peer_kit import PATIENCE_S, LiveNode, Orthanc, sample
from ports import free_port

_SORTS = {bool: "flag", int: "number", float: "number", str: "text", type(None): "null"}


def shape(value):
    """Return what a JSON value looks like: names and sorts, no values. A list looks like all its elements together."""
    if isinstance(value, dict):
        return {name: shape(one) for name, one in value.items()}
    if isinstance(value, list):
        together = []
        for one in map(shape, value):
            if one not in together:
                together.append(one)
        return together
    return _SORTS[type(value)]


def differences(theirs, ours, at="$"):
    """Return how two shapes differ, as sorted words."""
    if isinstance(theirs, dict) and isinstance(ours, dict):
        found = [f"{at}.{name}: only in Orthanc" for name in theirs.keys() - ours.keys()]
        found += [f"{at}.{name}: only here" for name in ours.keys() - theirs.keys()]
        for name in theirs.keys() & ours.keys():
            found += differences(theirs[name], ours[name], f"{at}.{name}")
        return sorted(found)
    if isinstance(theirs, list) and isinstance(ours, list):
        if len(theirs) == len(ours) == 1:
            return differences(theirs[0], ours[0], f"{at}[]")
        left = [one for one in theirs if one not in ours]
        right = [one for one in ours if one not in theirs]
        return [f"{at}[]: {_words(left)} / {_words(right)}"] if left or right else []
    return [] if theirs == ours else [f"{at}: {_word(theirs)} / {_word(ours)}"]


def _words(shapes):
    return ", ".join(map(_word, shapes)) or "nothing more"


def _word(one):
    return {dict: "object", list: "list"}.get(type(one), one)


def compared(theirs, ours, *, exactly=False):
    """Return how two answers differ. Orthanc's error without a body is like any with one; `Details` are in the eye of the beholder."""
    found = []
    if theirs.status_code != ours.status_code:
        found.append(f"status: {theirs.status_code} / {ours.status_code}")
    if theirs.ok != ours.ok:
        return found  # an error looks like no answer
    if exactly and theirs.content != ours.content:
        found.append(f"body: {theirs.content[:80]!r} / {ours.content[:80]!r}")
    if not theirs.content and theirs.status_code >= 400:
        return found
    left, right = _json(theirs), _json(ours)
    if theirs.status_code >= 400 and isinstance(left, dict) and isinstance(right, dict):
        left.pop("Details", None)
        right.pop("Details", None)
    if left is None and right is None:
        kinds = [answer.headers.get("content-type", "").split(";")[0] for answer in (theirs, ours)]
        return found if kinds[0] == kinds[1] else [*found, f"type: {kinds[0]} / {kinds[1]}"]
    if left is None or right is None:
        return [*found, f"body: {_sort_of_body(theirs)} / {_sort_of_body(ours)}"]
    return found + differences(shape(left), shape(right))


def _json(answer):
    try:
        return json.loads(answer.content) if _says_json(answer) else None
    except ValueError:
        return None


def _says_json(answer):
    # Orthanc gives its errors no type.
    return answer.status_code >= 400 or answer.headers.get("content-type", "").startswith("application/json")


def _sort_of_body(answer):
    return "JSON" if _json(answer) is not None else "other" if answer.content else "nothing"


@dataclass
class Pair:
    """An Orthanc and a hostd node that hold the same."""

    orthanc: Orthanc
    node: LiveNode
    names: dict = field(default_factory=dict)
    """What stands for `{instance}` and its like."""

    def store(self, content):
        """Store a file in both; return Orthanc's answer."""
        answers = [requests.post(f"{url}/instances", data=content, timeout=PATIENCE_S) for url in self.urls]
        assert [answer.status_code for answer in answers] == [200, 200], [answer.text for answer in answers]
        stored = answers[0].json()
        assert stored | {"Status": ""} == answers[1].json() | {"Status": ""}
        return stored

    @property
    def urls(self):
        return self.orthanc.url, self.node.url

    def ask(self, request, **body):
        """Send a request to both; return Orthanc's answer and hostd's. `json`, `data` and `headers` are those of requests."""
        method, path = request.split(" ", 1)
        for name, value in self.names.items():
            path = path.replace(f"{{{name}}}", value)
        return [requests.request(method, url + path, timeout=PATIENCE_S, **body) for url in self.urls]

    def assert_alike(self, request, *, exactly=False, known=None, **body):
        """Send a request to both, and fail unless they differ in what is known and in nothing else; return both answers.

        `exactly`: the bodies are the same, byte for byte. `known` is the name under which that stands, where one request has several bodies.
        """
        theirs, ours = self.ask(request, **body)
        self.assert_same(known or request, theirs, ours, exactly=exactly)
        return theirs, ours

    def assert_same(self, known, theirs, ours, *, exactly=False):
        """Fail unless two answers differ in what is known under that name and in nothing else."""
        found = compared(theirs, ours, exactly=exactly)
        assert found == sorted(KNOWN.get(known, {})), (known, theirs.text[:1000], ours.text[:1000])


def pair_of(folder, *contents, more="", orthanc=None, http=""):
    """Start both, with these files in them; end it with `stop`. `more` is hostd's configuration, `http` of it what is in `[http]`, `orthanc` Orthanc's."""
    pair = Pair(Orthanc(folder / "orthanc", more=orthanc).start(), LiveNode(folder / "hostd", more=more, http=http))
    for content in contents:
        stored = pair.store(content)
        pair.names = {
            "instance": stored["ID"], "series": stored["ParentSeries"], "study": stored["ParentStudy"],
            "patient": stored["ParentPatient"], "nowhere": "0-0-0-0-0",
        }  # fmt: skip
    return pair


def add_remotes(pair):
    """Put a modality and a peer each that answers, `alive`, which is that Orthanc, and one each that does not, `dead`."""
    dead = free_port()
    pair.names |= {"alive": "alive", "nobody": "nobody"}
    for url in pair.urls:
        for path, body in (
            ("modalities/alive", ["ORTHANC", "127.0.0.1", pair.orthanc.dicom_port]),
            ("modalities/dead", ["DEAD", "127.0.0.1", dead]),
            ("peers/alive", [pair.orthanc.url]),
            ("peers/dead", [f"http://127.0.0.1:{dead}/"]),
        ):
            requests.put(f"{url}/{path}", json=body, timeout=PATIENCE_S).raise_for_status()


def stop(pair):
    pair.node.stop()
    pair.orthanc.stop()


@pytest.fixture(scope="module")
def pair(tmp_path_factory):
    """Both, with MR_small.dcm in them, which has no private elements: the last file stored is the one that the names stand for."""
    made = pair_of(tmp_path_factory.mktemp("pair"), sample("MR_small.dcm").read_bytes())
    yield made
    stop(made)
