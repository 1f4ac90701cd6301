"""What a node says on standard error: one form for its own words and those of libraries, and no value of a patient in it."""

import json
import subprocess
import sys

SAYS = """
import logging
import pydicom, structlog
from hostd.cli import log
log.configure({form!r}, "info")
data_set = pydicom.Dataset()
raw = pydicom.dataelem.RawDataElement(pydicom.tag.Tag(0x0020000D), "UI", 8, b"1.2.19XX", 0, False, True)
data_set._dict[raw.tag] = raw
assert str(data_set.StudyInstanceUID) == "1.2.19XX"
logging.getLogger("some.library").warning("the %s is gone", "peer")
try:
    1 / 0
except ZeroDivisionError:
    logging.getLogger("some.library").exception("it broke")
structlog.get_logger("hostd.x").info("stored", calling_aet="CT")
"""


def said(form):
    ran = subprocess.run(
        [sys.executable, "-c", SAYS.format(form=form)], capture_output=True, text=True, timeout=60, check=False
    )
    assert ran.returncode == 0, ran.stderr
    return ran.stderr


def test_each_line_of_the_json_form_is_an_object_those_of_libraries_too():
    lines = [json.loads(line) for line in said("json").splitlines()]
    assert [line["event"] for line in lines] == ["the peer is gone", "it broke", "stored"]
    assert lines[0]["level"] == "warning"
    assert lines[0]["logger"] == "some.library"
    assert "ZeroDivisionError" in lines[1]["exception"]
    assert all(line["timestamp"].endswith("Z") for line in lines)


def test_a_value_that_pydicom_complains_of_is_not_in_the_log():
    for form in ("text", "json"):
        assert "19XX" not in said(form)


def test_the_text_form_says_which_library_speaks():
    assert "the peer is gone" in said("text")
    assert "some.library" in said("text")
