"""samples/README.md has a row for every sample of Orthanc's, and names every recipe that there is."""

import re

from peer_kit import SAMPLES
from test_recipes import RECIPES

PAGE = (SAMPLES / "README.md").read_text(encoding="utf-8")
LUA = {
    "AutomatedJpeg2kCompression", "Autorouting", "AutoroutingConditional", "AutoroutingModification", "CallDcm2Xml", "CallImageJ",
    "CallWebService", "ClassifyUsingAet", "WriteToDisk", "IncomingFindRequestFilter", "ModifyInstanceWithSequence", "OnStableStudy",
    "ParseDoseReport",
}  # fmt: skip
"""Of Orthanc's source."""
SETUPS = {
    "robust-forwarder", "send-to-peer-with-retry", "sanitize", "sanitize-and-forward", "notify-external-webservice", "key-value-stores",
    "label-incoming-studies", "delete-studies-after-delay", "empty-at-startup", "filter-http", "filter-incoming-cstore-instance",
    "filter-outgoing-cstore-instance", "fix-incoming-worklist-request", "save-to-custom-tree", "transcode-middleman",
}  # fmt: skip
"""Of its collection of setups, in Lua."""
PYTHON = {
    "job-retries", "compress_us_to_lossy", "hide-image-area", "download-as-jpeg", "autorouting-1", "autorouting-2", "queues-and-kvs",
    "received-instance-callback", "pynetdicom", "multiprocessing",
}  # fmt: skip
"""In Python: of the setups and of the Orthanc Book."""


def test_every_sample_has_its_recipe_or_the_reason_why_there_is_none():
    rows = re.findall(r"^\| `([\w-]+)` \| ([^|]+) \| ?([^|]*)\|$", PAGE, re.MULTILINE)
    assert sorted(name for name, _, _ in rows) == sorted(LUA | SETUPS | PYTHON)
    for name, recipe, remark in rows:
        if recipe == "none":
            assert remark.strip(), name
        else:
            (folder,) = re.findall(r"^\[([\w-]+)\]\(\1/\)$", recipe)
            assert folder in RECIPES, name


def test_every_recipe_is_listed():
    listed = re.findall(r"^\| \[([\w-]+)\]\(\1/\) \| [^|]+ \|$", PAGE, re.MULTILINE)
    assert listed == sorted(RECIPES)
    for folder in re.findall(r"\]\(([\w-]+)/\)", PAGE):
        assert folder in RECIPES


def test_no_script_is_longer_than_forty_lines():
    for name, script in RECIPES.items():
        assert len((SAMPLES / name / script).read_text(encoding="utf-8").splitlines()) <= 40, name
