"""docs/orthanc.md has every option that the code knows, and the code has every sample that samples/README.md knows."""

import re
from pathlib import Path

import pytest

from hostd.config.orthanc.options import OPTIONS, page_rows
from hostd.config.orthanc.recipes import RECIPES
from hostd.config.problems import model_at
from hostd.config.settings import Settings

ROOT = Path(__file__).parents[2]
PAGE = (ROOT / "docs" / "orthanc.md").read_text(encoding="utf-8")


def test_the_table_of_the_page_is_what_the_code_says():
    table = "\n".join(page_rows())
    assert table in PAGE, "docs/orthanc.md is old: paste what `python -m hostd.config.orthanc.options` prints"
    assert len(re.findall(r"^\| `\w[\w.]*` \|", PAGE, re.MULTILINE)) == len(OPTIONS)


@pytest.mark.parametrize("name", OPTIONS)
def test_every_option_says_what_becomes_of_it_or_what_to_use(name):
    option = OPTIONS[name]
    assert option.verdict == "same" or option.remark
    assert bool(option.becomes) == (option.verdict != "not there")


def test_every_setting_that_an_option_becomes_is_there():
    for name, option in OPTIONS.items():
        table = {"DicomModalities": "modalities.NAME.", "OrthancPeers": "peers.NAME."}.get(name.partition(".")[0], "")
        for setting in re.findall(r"`([^`\[]+)`", option.becomes):
            path = (setting if "." in setting else table + setting).split(".")
            assert path[-1] in model_at(Settings, tuple(path[:-1])).model_fields, (name, setting)


def test_the_page_is_linked():
    for page in ("README.md", "docs/from-orthanc.md", "docs/configuration.md"):
        assert "orthanc.md)" in (ROOT / page).read_text(encoding="utf-8").replace("from-orthanc.md)", ""), page


def test_every_sample_has_the_recipe_that_the_samples_page_says():
    page = (ROOT / "samples" / "README.md").read_text(encoding="utf-8")
    rows = re.findall(r"^\| `([\w-]+)` \| (?:\[([\w-]+)\]|none)", page, re.MULTILINE)
    assert {name: recipe or None for name, recipe in rows} == RECIPES
