"""Which recipe of samples/ does what a known sample for Orthanc does; samples/README.md says more of each."""

from __future__ import annotations

from pathlib import PureWindowsPath

RECIPES = {
    "AutomatedJpeg2kCompression": "compress-and-replace",
    "Autorouting": "auto-forwarding",
    "AutoroutingConditional": "route-by-called-ae",
    "AutoroutingModification": "change-and-forward",
    "CallDcm2Xml": "run-a-program",
    "CallImageJ": "run-a-program",
    "CallWebService": "dose-reports",
    "ClassifyUsingAet": "write-to-disk",
    "WriteToDisk": "write-to-disk",
    "IncomingFindRequestFilter": "filters",
    "ModifyInstanceWithSequence": "change-and-forward",
    "OnStableStudy": "stable-studies",
    "ParseDoseReport": "dose-reports",
    "robust-forwarder": "auto-forwarding",
    "send-to-peer-with-retry": "auto-forwarding",
    "sanitize": "change-and-forward",
    "sanitize-and-forward": "change-and-forward",
    "notify-external-webservice": "dose-reports",
    "key-value-stores": "daily-report",
    "label-incoming-studies": "label-by-sender",
    "delete-studies-after-delay": "delete-old-studies",
    "empty-at-startup": "delete-old-studies",
    "filter-http": "filters",
    "filter-incoming-cstore-instance": "filters",
    "filter-outgoing-cstore-instance": "filters",
    "fix-incoming-worklist-request": None,
    "save-to-custom-tree": "write-to-disk",
    "transcode-middleman": "jpeg2000-compression",
    "job-retries": "auto-forwarding",
    "compress_us_to_lossy": "teleradiology-ultrasound",
    "hide-image-area": "blank-image-area",
    "download-as-jpeg": None,
    "autorouting-1": "auto-forwarding",
    "autorouting-2": "route-by-called-ae",
    "queues-and-kvs": "auto-forwarding",
    "received-instance-callback": "patient-id-padding",
    "pynetdicom": None,
    "multiprocessing": None,
}


def _plain(name: str) -> str:
    return name.lower().replace("_", "").replace("-", "")


_BY_PLAIN_NAME = {_plain(name): recipe for name, recipe in RECIPES.items()}


def in_place_of(script: str) -> str:
    """Say what does here what that script file did there."""
    path = PureWindowsPath(script)  # which takes both kinds of slash
    names = [_plain(path.stem), _plain(path.parent.name)]
    name = next((name for name in names if name in _BY_PLAIN_NAME), names[0])
    if recipe := _BY_PLAIN_NAME.get(name):
        return f"the recipe samples/{recipe} does what that sample did"
    if name in _BY_PLAIN_NAME:
        return "nothing takes the place of that sample: samples/README.md says why"
    return "write it as a script of hostd: docs/from-orthanc.md says what takes the place of what, docs/orthanc-spelling.md how to keep its callbacks"
