"""docs/scripts.md says what the code says."""

import re
from pathlib import Path

import pytest
from pydicom import dcmread
from pydicom.data import get_testdata_file
from scripts_kit import resolve

from hostd.archive.deliveries import PRIORITIES
from hostd.config.sections import Script
from hostd.dicom import syntaxes
from hostd.sandbox import api, facades, filters
from hostd.scripting.loading import Names, load_frame
from hostd.scripting.reference import COMMAND, MODULES, PARTS, main, render
from hostd.scripting.rehearsal import rehearse
from hostd.scripting.runtime import ScriptWorker

PAGE = Path(__file__).parents[2] / "docs" / "scripts.md"


@pytest.fixture(scope="module")
def page():
    return PAGE.read_text(encoding="utf-8")


def test_the_page_is_what_the_code_says(page):
    assert render(page) == page, f"docs/scripts.md is old: run `{COMMAND}`"


def test_every_part_is_on_the_page(page):
    assert set(re.findall(r"<!-- part: (\w+)", page)) == PARTS.keys()


@pytest.mark.parametrize(
    "name",
    [
        *api.HANDLERS,
        *filters.FILTERS,
        *(n for view in (api.Host, filters.FilterHost) for n in vars(view) if not n.startswith("_")),
        *Script.model_fields,
    ],
)
def test_every_handler_method_and_setting_is_on_the_page(page, name):
    assert re.search(rf"`(def |host\.)?{name}\b", page)


def test_the_signatures_on_the_page_are_those_of_python(page):
    signatures = re.findall(r"^### `host\.(\w+\(.*\))`$", page, re.MULTILINE)
    assert len(signatures) > 20
    for signature in signatures:
        compile(f"def {signature}: ...", "page", "exec")
    assert "query(modality, level, limit=100, **keys)" in signatures


def test_the_modules_are_those_that_scripts_can_import():
    assert set(MODULES) == facades.MODULES.keys()


def test_short_names_and_priorities_in_the_docs_are_those_that_there_are():
    said = set(
        re.findall(r'"([a-z0-9-]+)"', api.Host.transcode.__doc__.split("always lossless")[0].split("short names")[1])
    )
    assert said == syntaxes.short_names().keys()
    assert all(f'"{priority}"' in api.Host.forward.__doc__ for priority in PRIORITIES)


def test_the_example_of_the_page_does_what_it_says(page):
    example = re.search(r"```python\n(.*?)```", page, re.DOTALL)[1]
    worker = ScriptWorker.start(load_frame("compress.py", example, Script(), Names(["archive"]), resolve))
    try:
        file = Path(get_testdata_file("CT_small.dcm", download=False))
        shown = rehearse(worker, file, kind="stored_instance", now=1.7e9, destinations=resolve, time_limit_s=60.0)
    finally:
        worker.stop()
    assert shown.error is None
    assert shown.plan[1].startswith("forward to modality:archive in JPEG 2000 Lossless")


def test_the_example_of_pixels_does_what_it_says(page, tmp_path):
    example = re.search(r"### `instance.pixels`\n\n```python\n(.*?)```", page, re.DOTALL)[1]
    ct = Path(get_testdata_file("CT_small.dcm", download=False))
    blank, cut_off = tmp_path / "blank.dcm", tmp_path / "cut_off.dcm"
    for file, value in ((blank, bytes(2 * 128 * 128)), (cut_off, bytes(8))):
        ds = dcmread(ct)
        ds.PixelData = value
        ds.save_as(file)
    worker = ScriptWorker.start(load_frame("blank.py", example, Script(), Names(["archive"]), resolve))
    try:
        shown = [
            rehearse(worker, file, kind="stored_instance", now=1.7e9, destinations=resolve, time_limit_s=20.0)
            for file in (ct, blank, cut_off)
        ]
    finally:
        worker.stop()
    assert [one.error for one in shown] == [None] * 3
    assert [one.plan[0].split()[0] for one in shown] == ["forward", "label", "forward"]
    assert shown[2].log[0][1].startswith("nobody can look at it: the pixels cannot be read")


def test_the_page_is_written_where_it_is_told(tmp_path, page):
    copy = tmp_path / "page.md"
    copy.write_text(re.sub(r"(<!-- part: [^\n]*\n).*?(<!-- end)", r"\1\2", page, flags=re.DOTALL))
    assert copy.read_text() != page
    main([str(copy)])
    assert copy.read_text() == page
