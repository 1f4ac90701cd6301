"""What hostd is known to answer otherwise than Orthanc 1.10.1 where a request is wrong, by route and reason; docs/orthanc.md tells users the reasons.

A difference is what is wrong, Orthanc's status with its number, and hostd's. Not here is what Orthanc answers with 500, because nobody
caught an exception or knew a tag, and hostd with 400.
"""

REASONS = {
    "looks": "What Orthanc takes without looking at it, or asks another system about, is refused (400): a value of a wrong type, a number that is"
    " none or is below nothing, what is no AE title, no address or no transfer syntax.",
    "number": "Some mistakes have another number than Orthanc's (`OrthancStatus`), with the same status: a port, a time-out or a flag of a kind that it"
    " cannot be, a tag that nobody knows.",
    "there": "What is not there is not found (404), also where Orthanc says that all went well, or that the request is wrong.",
    "method": "A method that a path has not is answered with 405, also where Orthanc says that nothing is there.",
    "newer": "What only newer Orthancs have is there.",
    "demands": "Less is demanded: of the keys of `find-…`, of an AE title that may be empty or in quotes, of `Manufacturer`, and of what"
    " is made without `Tags`.",
    "job": "A move that the other side refuses has failed as its job has (500), as in newer versions.",
}

_BELOW_NOTHING = {"looks": ["since=-1: 200 / 400 (5)", "limit=-1: 200 / 400 (5)"]}
_NO_NUMBER = {
    "looks": [f"{name}={one}: 200 / 400 (5)" for name in ("since", "limit") for one in ("", "x", "-1", "1.5", "9…", "null")]
}  # fmt: skip
_OTHER_METHODS = {"method": [f"{method}: 404 (17) / 405 (8)" for method in ("POST", "PUT", "DELETE")]}
_DECIDED = {"there": ["POST name: 400 / 404 (7)"], "newer": ["DELETE: 405 / 404 (7)"]}
_PACKED = {"looks": ["body: 200 / 400 (15)"]}


def _keys(*names, demanded):
    return {
        "looks": [f"{name}: 200 / 400 (15)" for name in names],
        "demands": [f"{said}{name}: 400 / 200" for name in demanded for said in ("", "no ")],
    }


KNOWN = {
    "POST /instances/{instance}/anonymize": {"looks": ["Transcode: 200 / 400 (15)", "Transcode: 200 / 400 (3)"]},
    "POST /studies/{study}/archive": _PACKED,
    "POST /studies/{study}/media": _PACKED,
    "POST /studies/{study}/split": {"number": ["body: 400 (8) / 400 (15)"]},
    "POST /tools/bulk-anonymize": {"looks": ["Level: 200 / 400 (15)", "Level: 200 / 400 (3)"]},
    "POST /tools/create-dicom": {"number": ["body: 400 (2019) / 400 (27)"], "demands": ["no Tags: 400 (2019) / 200"]},
    "POST /tools/dicom-echo": {
        "looks": ["AET: 500 (9) / 400 (15)", "CheckFind: 500 (9) / 400 (15)", "Host: 500 (9) / 400 (15)"],
        "demands": ["Manufacturer: 400 (3) / 500 (9)"],
        "number": ["Port: 400 (3) / 400 (15)"],
    },
    "POST /tools/find": {"looks": ["Expand: 200 / 400 (15)", "Query: 200 / 400 (8)"]},
    "PUT /tools/accepted-transfer-syntaxes": {"looks": ["body: 200 / 400 (3)"]},
    "PUT /modalities/{new}": {
        "looks": ["AET: 200 / 400 (15)", "Host: 200 / 400 (15)"],
        "demands": ["Manufacturer: 400 (3) / 200"],
        "number": ["Port: 400 (3) / 400 (15)"],
    },
    "PUT /peers/{new}": {"looks": ["Url: 200 / 400 (15)", "body: 200 / 400 (15)", "body: 404 / 400 (15)"]},
    "POST /modalities/{alive}/find-patient": {"looks": ["PatientID: 200 / 400 (15)"]},
    "POST /modalities/{alive}/find-study": _keys("PatientID", "StudyInstanceUID", demanded=["PatientID"]),
    "POST /modalities/{alive}/find-series": _keys(
        "PatientID", "StudyInstanceUID", "SeriesInstanceUID", demanded=["PatientID", "StudyInstanceUID"]
    ),
    "POST /modalities/{alive}/find-instance": _keys(
        "PatientID", demanded=["PatientID", "StudyInstanceUID", "SeriesInstanceUID", "SOPInstanceUID"]
    ),
    "POST /modalities/{alive}/find-worklist": {"number": ["body: 400 (5) / 400 (15)"]},
    "POST /modalities/{alive}/query": {"demands": ["LocalAet: 500 (9) / 200"]},
    "POST /modalities/{alive}/move": {
        "job": [
            f"{what}: 422 (9) / 500 (9)"
            for what in ("LocalAet", "TargetAet", "no LocalAet", "no TargetAet", "no Timeout")
        ]
    },
    "POST /modalities/{alive}/store": {"looks": ["LocalAet: 500 (9) / 400 (15)"]},
    "POST /peers/{alive}/store-straight": {"looks": ["body: 500 (9) / 400 (15)"]},
    "POST /queries/{query}/answers/0/query-series": {"looks": ["body: 200 / 400 (15)"]},
    "POST /queries/{query}/answers/0/query-instances": {"looks": ["body: 200 / 400 (15)"]},
    "POST /queries/{query}/answers/0/retrieve": {
        "looks": ["Full: 200 / 400 (15)", "Timeout: 200 / 400 (15)", "body: 500 (9) / 400 (15)"],
        "demands": ["TargetAet: 500 (9) / 200", "body: 500 (-1) / 500 (9)"],
        "number": ["Timeout: 400 (5) / 400 (15)"],
    },
    "POST /queries/{query}/retrieve": {
        "looks": ["body: 500 (9) / 400 (15)"],
        "demands": ["TargetAet: 500 (9) / 200", "body: 500 (-1) / 500 (9)"],
    },
    "PUT /instances/{instance}/metadata/1024": {"looks": ["body: 200 / 400 (8)"]},
    **{f"GET /{level}": _BELOW_NOTHING for level in ("patients", "studies", "series", "instances")},
    "GET /changes": _NO_NUMBER,
    "GET /exports": _NO_NUMBER,
    "GET /instances/{instance}/preview": {"looks": [f"quality={one}: 415 / 400 (5)" for one in ("x", "0", "101")]},
    "GET /instances/{instance}/rendered": {
        "looks": [
            "quality=x: 415 / 400 (5)",
            *(f"{one}: 404 / 400 (5)" for one in ("width=x", "width=-1", "window-center=x")),
        ]
    },
    "GET /instances/{instance}/file": {"newer": [f"transcode={one}: 200 / 400 (3)" for one in ("", "x", "1.2.3")]},
    "GET /tools/create-archive": {"newer": [": 405 / 400 (5)", "resources=nope: 405 / 404 (17)"]},
    "GET /series/{series}/numpy": {"number": ["compress=x: 400 (3) / 400 (5)", "rescale=x: 400 (3) / 400 (5)"]},
    "/{level}/{}/attachments/{}": {"there": ["PUT name: 200 / 404 (17)"]},
    "/{level}/{}/attachments/{}/verify-md5": {"there": ["POST attachments: 400 / 404 (17)"]},
    "/{level}/{}/content": _OTHER_METHODS,
    "/{level}/{}/content/{}": _OTHER_METHODS,
    "/{level}/{}/frames/{}": {"there": ["GET frames: 200 / 404 (17)", "GET name: 200 / 404 (17)"]},
    "/{level}/{}/frames/{}/numpy": {"there": ["GET frames: 400 (3) / 404 (17)"]},
    "/jobs/{}": {"newer": ["DELETE name: 405 / 404 (7)"]},
    **{f"/jobs/{{}}/{verb}": _DECIDED for verb in ("cancel", "pause", "resubmit", "resume")},
    "/jobs/{}/{}": {"newer": ["DELETE name: 405 / 404 (7)", "DELETE {job}: 405 / 404 (7)"]},
    "/modalities/{}/find-instance": {"there": ["POST name: 400 / 404 (7)"]},
    "/{level}/{}/protected": {"there": ["GET name: 400 (3) / 404 (17)", "PUT name: 400 (3) / 404 (17)"]},
}
