"""What hostd is known to answer otherwise than Orthanc 1.10.1: request, difference, reason. docs/orthanc.md says it for users.

A request stands here as the test writes it; the first word of its row in docs/orthanc.md is then `different`.
"""


def _only_here(why, *names, at="$"):
    return {f"{at}.{name}: only here": why for name in names}


_LABELS = "newer Orthancs tell labels, too"
_NO_OFFSET = {"$.PixelDataOffset: only in Orthanc": "an offset is of Orthanc's own reading"}

KNOWN = {
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
