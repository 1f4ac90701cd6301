"""Wrong requests: what is wrong in them, one thing at a time, and what each of Orthanc's routes is asked with when nothing is."""

import json
import re
from dataclasses import dataclass

from orthanc_routes import ORTHANC

LEVELS = {"patients": "patient", "studies": "study", "series": "series", "instances": "instance"}
BODIES = ("", "nonsense", "{", "[]", "5", '"x"', "null", "[5]", '["nope"]', '{"x": 1}', "\0")
VALUES = (None, 5, -1, "x", "", True, [], {"x": 1}, ["x"])
NAMES = ("nope", "99", "x" * 80)
NUMBERS = ("", "x", "-1", "1.5", "99999999999999999999", "null")
METHODS = ("GET", "POST", "PUT", "DELETE")
_IMPLICIT = "1.2.840.10008.1.2"
_JOB = {"Synchronous": True, "Priority": 0}
_CHANGE = {
    "Replace": {"StudyDescription": "A"}, "Remove": ["StudyID"], "Keep": ["StudyDate"], "Force": False, "PrivateCreator": "X",
    "Transcode": _IMPLICIT,
}  # fmt: skip
_ON_MODALITIES = {
    "echo": {"Timeout": 5, "CheckFind": False},
    "find": None,
    "find-patient": {"PatientID": "nobody"},
    "find-study": {"PatientID": "nobody", "StudyInstanceUID": ""},
    "find-series": {"PatientID": "nobody", "StudyInstanceUID": "1.2", "SeriesInstanceUID": ""},
    "find-instance": {"PatientID": "", "StudyInstanceUID": "1.2", "SeriesInstanceUID": "1.3", "SOPInstanceUID": ""},
    "find-worklist": {"PatientID": "nobody"},
    "query": {"Level": "Study", "Query": {"PatientID": "nobody"}, "Normalize": True, "LocalAet": "X", "Timeout": 5},
    "move": {"Level": "Study", "Resources": [{"StudyInstanceUID": "1.2"}], "TargetAet": "ORTHANC", "LocalAet": "X", "Timeout": 5},
    "storage-commitment": {"Resources": ["{instance}"], "Timeout": 5},
    "store": _JOB | {
        "Resources": ["{instance}"], "Permissive": False, "LocalAet": "X", "Timeout": 5, "MoveOriginatorAet": "X", "MoveOriginatorID": 5,
    },
    "store-straight": None,
}  # fmt: skip
RIGHT = {
    "POST /instances": None,
    "POST /instances/{instance}/modify": _CHANGE | {"RemovePrivateTags": False},
    "POST /instances/{instance}/anonymize": _CHANGE | {"KeepPrivateTags": False, "DicomVersion": "2021b"},
    "POST /patients/{patient}/modify": {"Replace": {"PatientID": "other"}, "Force": True},
    "POST /patients/{patient}/anonymize": {"Force": False},
    "POST /series/{series}/modify": {"Replace": {"SeriesDescription": "A"}},
    "POST /series/{series}/anonymize": {"Force": False},
    "POST /studies/{study}/modify": _JOB | _CHANGE | {"RemovePrivateTags": False, "KeepSource": True, "Permissive": False},
    "POST /studies/{study}/anonymize": {"Replace": {"PatientName": "A"}, "KeepSource": True},
    "POST /studies/{study}/archive": _JOB | {"Transcode": _IMPLICIT},
    "POST /studies/{study}/media": _JOB | {"Extended": False},
    "POST /studies/{study}/merge": _JOB | {"Resources": ["{other}"], "KeepSource": True},
    "POST /studies/{study}/split": {"Series": ["{series}"], "Replace": {}, "Remove": [], "KeepSource": True},
    "PUT /patients/{patient}/protected": "0",
    "POST /tools/bulk-anonymize": {"Resources": ["{instance}"], "Level": "Instance"},
    "POST /tools/bulk-modify": {"Resources": ["{instance}"], "Replace": {"StudyDescription": "A"}, "Level": "Study"},
    "POST /tools/bulk-content": {"Resources": ["{instance}"], "Level": "Study", "Full": False, "Metadata": False, "Short": False},
    "POST /tools/bulk-delete": {"Resources": ["0-0-0-0-0"]},
    "POST /tools/create-archive": _JOB | {"Resources": ["{instance}"], "Transcode": _IMPLICIT},
    "POST /tools/create-media": _JOB | {"Resources": ["{instance}"]},
    "POST /tools/create-media-extended": {"Resources": ["{instance}"], "Extended": True},
    "POST /tools/create-dicom": {
        "Tags": {"StudyDescription": "A"}, "Parent": "{patient}", "Force": False, "InterpretBinaryTags": True, "PrivateCreator": "X",
    },
    "POST /tools/dicom-echo": {"AET": "ORTHANC", "Host": "127.0.0.1", "Port": 9, "Timeout": 5, "CheckFind": False, "Manufacturer": "Generic"},
    "POST /tools/find": {
        "Level": "Study", "Query": {"PatientID": "nobody"}, "CaseSensitive": False, "Expand": False, "Full": False, "Short": False,
        "Since": 0, "Limit": 1,
    },
    "POST /tools/lookup": None,
    "PUT /tools/default-encoding": "Latin1",
    "PUT /tools/log-level": "default",
    "PUT /tools/metrics": "1",
    "PUT /tools/unknown-sop-class-accepted": "0",
    "PUT /tools/accepted-transfer-syntaxes": '["1.2.840.10008.1.*"]',
    "PUT /modalities/{new}": {
        "AET": "X", "Host": "127.0.0.1", "Port": 104, "AllowEcho": True, "AllowTranscoding": True, "UseDicomTls": False, "LocalAet": "Y",
        "Timeout": 5, "Manufacturer": "Generic",
    },
    "PUT /peers/{new}": {"Url": "http://127.0.0.1:1/", "Username": "u", "Password": "p", "HttpHeaders": {"A": "b"}, "Timeout": 5},
    **{f"POST /modalities/{{alive}}/{verb}": body for verb, body in _ON_MODALITIES.items()},
    "POST /peers/{alive}/store": _JOB | {"Resources": ["{instance}"], "Permissive": False, "Compress": False, "Transcode": _IMPLICIT},
    "POST /peers/{alive}/store-straight": None,
    "POST /queries/{query}/answers/0/query-series": {"Query": {"Modality": "x"}, "Timeout": 5},
    "POST /queries/{query}/answers/0/query-instances": {"Query": {"Modality": "x"}},
    "POST /queries/{query}/answers/0/retrieve": {"TargetAet": "ORTHANC", "Simplify": True, "Full": False, "Timeout": 5},
    "POST /queries/{query}/retrieve": {"TargetAet": "ORTHANC"},
    "POST /jobs/{job}/resubmit": None,
    "PUT /instances/{instance}/metadata/1024": None,
    "PUT /instances/{instance}/attachments/1024": None,
    "POST /instances/{instance}/attachments/1024/verify-md5": None,
}  # fmt: skip
"""Routes that take a body, with one that is right; None for those to which none of `BODIES` is."""

ASKED = {
    **{f"GET /{level}": [f"since={one}&limit=1" for one in NUMBERS] + [f"since=0&limit={one}" for one in NUMBERS] for level in LEVELS},
    "GET /changes": [f"{name}={one}" for name in ("since", "limit") for one in NUMBERS],
    "GET /exports": [f"{name}={one}" for name in ("since", "limit") for one in NUMBERS],
    "GET /jobs": ["expand=x"],
    "GET /instances/{instance}/preview": ["quality=x", "quality=0", "quality=101"],
    "GET /instances/{instance}/rendered": ["width=x", "width=-1", "window-center=x", "quality=x"],
    "GET /instances/{instance}/file": ["transcode=", "transcode=x", "transcode=1.2.3"],
    "GET /instances/{instance}/tags": ["simplify=x", "ignore-length=x"],
    "GET /studies/{study}/archive": ["transcode=x"],
    "GET /studies/{study}/media": ["transcode=x", "extended=x"],
    "GET /tools/create-archive": ["", "resources=nope"],
    "GET /tools/generate-uid": ["", "level=x", "level=STUDY"],
    "GET /series/{series}/numpy": ["rescale=x", "compress=x"],
}  # fmt: skip
"""Routes that take parameters, with wrong ones."""

_SPARED = {"/tools/shutdown", "/tools/reset"}
_NEWER = re.compile(
    r"/labels|/modalities/\{\}/get$|/tools/(log-level-|count-resources|accepted-sop|create-media|invalidate)|/export$"
)
"""What Orthanc 1.10.1 has not, or hostd; and media in their own right, which are archives in what may be wrong."""


@dataclass(frozen=True, slots=True)
class Wrong:
    """A wrong request: its method, path and body, and in a word what is wrong."""

    what: str
    method: str
    path: str
    body: object = None


def bodies(request):
    """Yield requests with a wrong body, or with a body in which one field is wrong or missing."""
    method, path = request.split(" ", 1)
    right = RIGHT[request]
    for body in BODIES:
        yield Wrong("body", method, path, body)
    for name in right if isinstance(right, dict) else ():
        rest = {key: value for key, value in right.items() if key != name}
        if name != "KeepSource":
            yield Wrong(f"no {name}", method, path, json.dumps(rest))
        for value in VALUES:
            if type(value) is not type(right[name]) or value in ("x", "", -1):
                yield Wrong(name, method, path, json.dumps(rest | {name: value}))


def parameters(request):
    """Yield requests with a wrong parameter."""
    method, path = request.split(" ", 1)
    for asked in ASKED[request]:
        yield Wrong(
            asked.replace("99999999999999999999", "9…").replace("since=0&", "").replace("&limit=1", ""),
            method,
            f"{path}?{asked}",
        )


def places(word):
    """Yield, with each route under a word, requests that name what is not there, and with methods that its path has not."""
    routes = {}
    for method, path in ORTHANC:
        if path.split("/")[1] == word and not _NEWER.search(path) and path not in _SPARED:
            routes.setdefault(path, set()).add(method)
    for path, known in sorted(routes.items()):
        for method in METHODS:
            if method not in known:
                yield path, Wrong(method, method, _named(path))
            for number, part in enumerate(path.split("/")):
                if part == "{}" and method in known:
                    yield from ((path, wrong) for wrong in _misnamed(method, path, number))


def _misnamed(method, path, number):
    """Yield the requests of a route in which one name, at that place of the path, is not of what is there."""
    parts = _named(path).split("/")
    noun = parts[number - 1] if number > 2 else "name"
    for name in NAMES:
        if method == "PUT" and (
            path in {"/modalities/{}", "/peers/{}"} or (noun in {"attachments", "metadata"} and name == "nope")
        ):
            continue  # what is put there is there then
        wrong = "/".join([*parts[:number], name, *parts[number + 1 :]])
        yield Wrong(f"{method} {noun}", method, wrong, _body(method, "/".join(parts)))


def _named(path):
    """Return a path with names in it of what is there."""
    return "/".join(_there(path, number) if part == "{}" else part for number, part in enumerate(path.split("/")))


def _there(path, number):
    before = path.split("/")[number - 1]
    if path.startswith("/jobs") and number == 3:
        return "archive"
    return {
        **{level: f"{{{one}}}" for level, one in LEVELS.items()}, "modalities": "{alive}", "peers": "{alive}", "jobs": "{job}",
        "queries": "{query}", "attachments": "1024", "metadata": "1024", "frames": "0", "content": "0010-0010", "answers": "0",
        "plugins": "explorer.js", "storage-commitment": "1.2.3",
    }[before]  # fmt: skip


def _body(method, path):
    """Return the right body of a route, as text, None where it takes none."""
    right = RIGHT.get(f"{method} {path}")
    if right is None and path.endswith(("/archive", "/media")) and method == "POST":
        right = {}
    return json.dumps(right) if isinstance(right, dict) else right
