"""What hostd is known to answer otherwise than Orthanc 1.10.1: request, difference, reason. docs/orthanc.md says it for users.

A request stands here as the test writes it; the first word of its row in docs/orthanc.md is then `different`.
"""


def _only_here(why, *names, at="$"):
    return {f"{at}.{name}: only here": why for name in names}


_LABELS = "newer Orthancs tell labels, too"
_NO_OFFSET = {"$.PixelDataOffset: only in Orthanc": "an offset is of Orthanc's own reading"}

_PAGES = {
    f"GET /{level}?{query}": {difference: why}
    for level in ("patients", "studies", "series", "instances")
    for query, difference, why in (
        ("since=1", "status: 400 / 200", "one of both is enough: nothing is in doubt"),
        ("limit=1", "status: 400 / 200", "one of both is enough: nothing is in doubt"),
        (
            "limit=-1&since=0",
            "status: 200 / 400",
            "a number of nothing is below nothing: it is a mistake of the client, which is told",
        ),
    )
}


def _described(at="$"):
    return _only_here(_LABELS, "Labels", at=at)


_LEVELS = {
    **{
        f"GET /{plural}/{{{level}}}": _described()
        for plural, level in (("patients", "patient"), ("studies", "study"), ("series", "series"))
    },
    **{
        f"GET /{plural}/{{{level}}}/{above}": _described()
        for plural, level, all_above in (
            ("studies", "study", ("patient",)),
            ("series", "series", ("patient", "study")),
            ("instances", "instance", ("patient", "study", "series")),
        )
        for above in all_above
    },
    **{
        f"GET /{plural}/{{{level}}}/{below}": _described("$[]")
        for plural, level, all_below in (
            ("patients", "patient", ("studies", "series", "instances")),
            ("studies", "study", ("series", "instances")),
            ("series", "series", ("instances",)),
        )
        for below in all_below
    },
    "GET /patients?expand": _described("$[]"),
    "GET /patients?expand&limit=1&since=1": _described("$[]"),
    "GET /studies?expand": {"$[]: object, object / object, object": _LABELS},
    "GET /studies?expand&limit=1&since=1": _described("$[]"),
    "GET /series?expand": {"$[]: object, object, object / object, object, object": _LABELS},
    "GET /series?expand&limit=1&since=1": _described("$[]"),
}
_NOBODY = "who is not there is not found, as everywhere"
KNOWN = {
    **_PAGES,
    **_LEVELS,
    "GET /changes after a delete": {"$.Changes[]: nothing more / object": "what was deleted stays told, and that it was deleted"},
    "GET /modalities/{alive}/configuration": _only_here("newer Orthancs tell it, too", "AllowStorageCommitment"),
    "GET /modalities?expand": _only_here("newer Orthancs tell it, too", "alive.AllowStorageCommitment", "dead.AllowStorageCommitment"),
    "DELETE /jobs/{nobody}": {"status: 405 / 404": "newer Orthancs delete jobs, too"},
    **{f"POST /jobs/{{nobody}}/{verb}": {"status: 400 / 404": _NOBODY} for verb in ("cancel", "pause", "resubmit", "resume")},
    "GET /changes?limit=x": {"status: 200 / 400": "a number that is none is a mistake of the client, which is told"},
    "GET /instances/{instance}": _only_here(_LABELS, "Labels"),
    "GET /instances/{instance}/metadata?expand": _NO_OFFSET,
    "GET /instances?expand": _only_here(_LABELS, "Labels", at="$[]"),
    "POST /instances zip with a damaged file": {"status: 200 / 400": "what was not stored is not passed over in silence"},
    "GET /patients/{nowhere}/protected": {"status: 400 / 404": "who is not there is not found, as everywhere"},
    "PUT /patients/{nowhere}/protected": {"status: 400 / 404": "who is not there is not found, as everywhere"},
    "GET /system": {
        **_only_here(
            "newer Orthancs tell it, too", "Capabilities", "HasLabels", "IngestTranscoding", "MainDicomTags",
            "MaximumPatientCount", "MaximumStorageMode", "MaximumStorageSize", "OverwriteInstances", "ReadOnly",
            "StorageCompression", "UserMetadata",
        ),
        **_only_here("hostd's own", "HostdIsolation", "Software"),
    },
}  # fmt: skip
