"""docs/orthanc-spelling.md says what the code says."""

import re
from pathlib import Path

import pytest
from pydicom.data import get_testdata_file
from scripts_kit import resolve

from hostd.config.sections import Script
from hostd.sandbox.orthanc import callbacks, spelling
from hostd.scripting.loading import Names, load_frame
from hostd.scripting.rehearsal import rehearse
from hostd.scripting.runtime import ScriptWorker
from hostd.scripting.spelling_reference import COMMAND, PARTS, main, render

PAGE = Path(__file__).parents[2] / "docs" / "orthanc-spelling.md"


@pytest.fixture(scope="module")
def page():
    return PAGE.read_text(encoding="utf-8")


def test_the_page_is_what_the_code_says(page):
    assert render(page) == page, f"docs/orthanc-spelling.md is old: run `{COMMAND}`"
    assert set(re.findall(r"<!-- part: (\w+)", page)) == PARTS.keys()


@pytest.mark.parametrize(
    "name",
    [
        *callbacks.CALLBACKS, *callbacks.WITHOUT_COUNTERPART, *spelling.NAMES, *spelling.WITHOUT_COUNTERPART,
    ],
)  # fmt: skip
def test_every_name_is_on_the_page(page, name):
    assert re.search(rf"`{name}\b", page)


def test_the_page_is_written_where_it_is_told(tmp_path, page):
    copy = tmp_path / "page.md"
    copy.write_text(re.sub(r"(<!-- part: [^\n]*\n).*?(<!-- end)", r"\1\2", page, flags=re.DOTALL))
    assert copy.read_text() != page
    main([str(copy)])
    assert copy.read_text() == page


def test_the_example_of_the_page_does_what_it_says(page):
    example = re.search(r"```python\n(.*?)```", page, re.DOTALL)[1]
    entry = Script(may=("delete",), destinations=("archive",))
    worker = ScriptWorker.start(load_frame("router.py", example, entry, Names(["archive"]), resolve))
    try:
        file = Path(get_testdata_file("CT_small.dcm", download=False))
        shown = rehearse(worker, file, kind="stored_instance", now=1.7e9, destinations=resolve, time_limit_s=60.0)
    finally:
        worker.stop()
    assert shown.error is None
    assert shown.plan == ("forward to modality:archive", "delete once 1 named deliveries have arrived")
